package stream

import (
	"context"
	"fmt"
	"path"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
)

// Entry is what is told of one entry of the log. Of what its commit says it has the kinds of operations alone.
type Entry struct {
	Revision engine.Revision    `json:"revision"`
	Term     int64              `json:"term"`
	Node     string             `json:"node,omitempty"` // that wrote it; "": etcd does not know any more who had the term
	At       time.Time          `json:"at"`             // by that node's clock
	Stored   int                `json:"stored"`         // bytes in etcd, without pieces
	Pieces   int                `json:"pieces,omitempty"`
	Commit   int                `json:"commit"` // bytes
	Kinds    []engine.KindCount `json:"kinds"`
	Error    string             `json:"error,omitempty"` // why it cannot be read
}

// EntriesAtMost is how many entries one question tells.
const EntriesAtMost = 1000

// Entries returns the newest n entries after a revision that are still in etcd, oldest first. n is 1 to EntriesAtMost. Errors are
// those of Join, and of etcd; an entry that cannot be read says so itself.
func (l *Log) Entries(ctx context.Context, after engine.Revision, n int) ([]Entry, error) {
	if n < 1 || n > EntriesAtMost {
		return nil, fmt.Errorf("%d entries: 1 to %d are told at a time", n, EntriesAtMost)
	}
	s, err := l.look(ctx)
	if err != nil {
		return nil, explain(err)
	}
	head, err := l.endOf(s)
	if err != nil {
		return nil, err
	}
	at := after + 1
	if uint64(head) > uint64(n) {
		at = max(at, head-engine.Revision(n)+1)
	}
	var all []Entry
	terms := map[int64]string{}
	for ; at <= head; at += pageOf {
		end := min(at+pageOf, head+1)
		a, err := l.ask(ctx, request{then: []clientv3.Op{clientv3.OpGet(l.key(keyLog(at)), clientv3.WithRange(l.key(keyLog(end))))}})
		if err != nil {
			return nil, explain(err)
		}
		for _, kv := range a.Responses[0].GetResponseRange().Kvs {
			one := Entry{Stored: len(kv.Value)}
			one.Revision, _ = parseRevision(path.Base(string(kv.Key)))
			rev, e, err := l.openEntry(kv)
			if err == nil {
				one.Revision, one.Term, one.Pieces = rev, e.term, e.parts
				err = l.outline(ctx, &one, e, a.Header.Revision)
			}
			if err != nil {
				one.Error = err.Error()
			} else {
				one.Node = l.writerOf(ctx, e.term, terms)
			}
			all = append(all, one)
		}
	}
	return all, nil
}

// outline reads what an entry holds.
func (l *Log) outline(ctx context.Context, one *Entry, e entry, revision int64) error {
	commit, err := l.commitOf(ctx, one.Revision, e, revision)
	if err != nil {
		return err
	}
	o, err := engine.OutlineOf(commit)
	if err != nil {
		return err
	}
	one.Commit, one.At, one.Kinds = len(commit), time.Unix(0, o.At).UTC(), o.Kinds
	return nil
}

// writerOf is who had a term: what lay under writer when it began, or what is known of the one of now.
func (l *Log) writerOf(ctx context.Context, term int64, known map[int64]string) string {
	if w, ok := l.Writer(); ok && w.Term == term {
		return w.Node
	}
	if name, asked := known[term]; asked {
		return name
	}
	known[term] = ""
	a, err := l.ask(ctx, request{then: []clientv3.Op{clientv3.OpGet(l.key(keyWriter), clientv3.WithRev(term))}})
	if err != nil { // compacted
		return ""
	}
	id, err := l.Join(ctx)
	if kv := one(a.Responses[0]); kv != nil && err == nil {
		var w Writer
		if l.unsealJSON(id.Cluster, keyWriter, kv.Value, &w) == nil {
			known[term] = w.Node
		}
	}
	return known[term]
}
