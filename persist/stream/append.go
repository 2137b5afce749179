package stream

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
	"lapid/persist"
)

// Append stores a commit if this node's term and the end of the log are what it knows, in one transaction. It asks again,
// with the same bytes and elsewhere, until the fate of the commit is known or ctx ends (engine.ErrUnsure then, if anything
// was sent). After engine.ErrNotWriter for another's term, and after engine.ErrUnsure, only Claim or Run make it the writer again.
func (l *Log) Append(ctx context.Context, after engine.Revision, commit []byte) error {
	err := l.append(ctx, after, commit)
	l.counts.appended(err)
	return err
}

func (l *Log) append(ctx context.Context, after engine.Revision, commit []byte) error {
	r := l.reigning()
	if r == nil {
		return engine.ErrNotWriter
	}
	if after != r.head.Revision {
		return fmt.Errorf("%w: the history ends with revision %d, not %d", engine.ErrNotWriter, r.head.Revision, after)
	}
	w, err := l.prepare(r, commit)
	if err != nil {
		return err
	}
	if err := l.roomFor(w.size()); err != nil {
		return err
	}
	err = w.store(ctx)
	switch {
	case err == nil:
		l.passed(r.head, w.size())
	case errors.Is(err, engine.ErrNotWriter), errors.Is(err, engine.ErrUnsure):
		l.depose(r)
	default:
		l.dropParts(l.life, r.term, w.place.Revision, w.keys)
	}
	return err
}

// dropParts deletes pieces whose commit was given up, while the term is still the one given. What it leaves is deleted when
// a term begins.
func (l *Log) dropParts(ctx context.Context, term int64, rev engine.Revision, keys []string) {
	if len(keys) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	_, err := l.ask(ctx, request{
		when: []clientv3.Cmp{l.at(keyWriter, term)},
		then: []clientv3.Op{clientv3.OpDelete(l.key(fmt.Sprintf("%s%016x", underPart, uint64(rev))), clientv3.WithRange(l.key(behind(underPart))))},
	})
	if err != nil {
		l.log.Debug("pieces of a commit that was given up stay in etcd until a term begins", "error", err)
	}
}

// write is one commit on its way.
type write struct {
	log   *Log
	reign *reign
	place Place // after it
	value string
	parts []string // sealed
	keys  []string // of parts
}

// prepare packs, cuts and seals: once, for every try sends the same bytes.
func (l *Log) prepare(r *reign, commit []byte) (*write, error) {
	if len(commit) > persist.MaxRecord {
		return nil, fmt.Errorf("a commit of %d bytes: %w", len(commit), persist.ErrTooLarge)
	}
	l.mu.Lock()
	cluster := l.identity.Cluster
	l.mu.Unlock()
	w := &write{log: l, reign: r, place: Place{r.head.Revision + 1, r.head.Chain.Next(commit)}}
	codec, body := l.packer.pack(commit)
	e := entry{codec: codec, term: r.term, chain: w.place.Chain, body: body}
	if len(body) > pieceSize {
		e.parts = (len(body) + pieceSize - 1) / pieceSize
		if e.parts > maxPieces {
			return nil, fmt.Errorf("a commit of %d bytes, %d when packed: etcd takes %d: %w", len(commit), len(body), maxPieces*pieceSize, persist.ErrTooLarge)
		}
		_, _ = rand.Read(e.attempt[:])
		for i := range e.parts {
			key := keyPart(w.place.Revision, e.attempt, i)
			piece := body[i*pieceSize : min((i+1)*pieceSize, len(body))]
			w.keys = append(w.keys, l.key(key))
			w.parts = append(w.parts, string(l.options.Seal.close(cluster, key, piece)))
		}
	}
	w.value = string(l.options.Seal.close(cluster, keyLog(w.place.Revision), e.append(nil)))
	return w, nil
}

// size is how many bytes it has in etcd.
func (w *write) size() int {
	n := len(w.value)
	for _, p := range w.parts {
		n += len(p)
	}
	return n
}

// store asks until the fate is known.
func (w *write) store(ctx context.Context) error {
	l, r := w.log, w.reign
	if err := w.storeParts(ctx); err != nil {
		return err
	}
	sent := false
	for {
		a, err := l.ask(ctx, w.request())
		sent = sent || a.sent
		if err != nil {
			if sent {
				return fmt.Errorf("%w (%w)", engine.ErrUnsure, err)
			}
			return explain(err)
		}
		if a.Succeeded {
			r.head, r.mod = w.place, a.Header.Revision
			r.stored.Store(steady())
			return nil
		}
		done, err := w.fate(ctx, a)
		if done || err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", engine.ErrUnsure, ctx.Err())
		}
	}
}

// request is the fence: this term, in this cluster, behind this head, with all its pieces.
func (w *write) request() request {
	l, r := w.log, w.reign
	q := request{
		when:      []clientv3.Cmp{l.at(keyWriter, r.term), l.at(keyID, r.term), l.at(keyHead, r.mod)},
		then:      []clientv3.Op{clientv3.OpPut(l.key(keyLog(w.place.Revision)), w.value), clientv3.OpPut(l.key(keyHead), w.place.text())},
		otherwise: append([]clientv3.Op{clientv3.OpGet(l.key(keyLog(w.place.Revision)))}, l.gets()...),
	}
	for _, key := range w.keys {
		q.when = append(q.when, clientv3.Compare(clientv3.CreateRevision(key), ">", 0))
	}
	return q
}

// fate reads what became of a commit whose compare failed. done with no error: it is stored. Neither: to be asked again.
func (w *write) fate(ctx context.Context, a answer) (done bool, err error) {
	l, r := w.log, w.reign
	stored, now := one(a.Responses[0]), standingOf(a)
	if stored != nil && bytes.Equal(stored.Value, []byte(w.value)) {
		return true, w.stored(now, stored)
	}
	if now.id == nil || mod(now.id) != r.term {
		if _, err := l.identify(now); err != nil { // another history, or none
			return false, fmt.Errorf("%w: %w", engine.ErrUnsure, err)
		}
	}
	if mod(now.writer) != r.term || mod(now.id) != r.term {
		if err := l.attend(now); err != nil {
			return false, fmt.Errorf("%w (%w)", engine.ErrUnsure, err)
		}
		return false, w.deposed(now, stored)
	}
	if mod(now.head) == r.mod { // a piece is missing; once it is there, a late copy may still find its place
		if err := w.storeParts(ctx); err != nil {
			return false, fmt.Errorf("%w: %w", engine.ErrUnsure, err)
		}
		return false, nil
	}
	return false, w.mend(ctx, now)
}

// stored: the commit is in the log. The head is where it left it, or another has gone on from there.
func (w *write) stored(now standing, stored *mvccpb.KeyValue) error {
	w.reign.head, w.reign.mod = w.place, stored.ModRevision
	if mod(now.writer) != w.reign.term {
		w.log.depose(w.reign) // the next Append would learn it anyway
	}
	return nil
}

// deposed tells what became of a commit whose term is over: no late copy of it can be stored any more.
func (w *write) deposed(now standing, stored *mvccpb.KeyValue) error {
	who, _ := w.log.Writer()
	if stored == nil && now.head != nil {
		head, err := parsePlace(now.head.Value)
		if err != nil || head.Revision >= w.place.Revision {
			return fmt.Errorf("%w: revision %d was trimmed already by node %s", engine.ErrUnsure, w.place.Revision, who.Node)
		}
	}
	return fmt.Errorf("%w: node %s, since term %d", engine.ErrNotWriter, who.Node, who.Term)
}

// mend puts head back where a foreign hand altered it. A second time within a minute this node gives up: somebody else uses
// the keys. The commit is not stored, and as head has another mod_revision now, no late copy of it will be.
func (w *write) mend(ctx context.Context, now standing) error {
	l, r := w.log, w.reign
	l.log.Error("head in etcd was deleted or altered by somebody else: nothing but lapid may write under the prefix", "prefix", l.options.Prefix)
	if r.mended != 0 && steady()-r.mended < int64(time.Minute) {
		return fmt.Errorf("%w: somebody else alters the keys under %s", engine.ErrNotWriter, l.options.Prefix)
	}
	r.mended = steady()
	put := clientv3.OpPut(l.key(keyHead), r.head.text())
	a, err := l.ask(ctx, request{when: []clientv3.Cmp{l.at(keyWriter, r.term), l.at(keyHead, mod(now.head))}, then: []clientv3.Op{put},
		otherwise: []clientv3.Op{clientv3.OpGet(l.key(keyHead))}})
	if err != nil {
		return fmt.Errorf("%w: head could not be put back (%w)", engine.ErrNotWriter, err)
	}
	if a.Succeeded {
		r.mod = a.Header.Revision
		return nil
	}
	if kv := one(a.Responses[0]); kv != nil && string(kv.Value) == r.head.text() {
		r.mod = kv.ModRevision // an earlier try
	}
	return nil
}

// storeParts puts the pieces one by one, each if it is not there yet and the term is this node's, with a sign of life.
func (w *write) storeParts(ctx context.Context) error {
	l, r := w.log, w.reign
	for i, key := range w.keys {
		absent := clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
		a, err := l.ask(ctx, request{
			when:      []clientv3.Cmp{l.at(keyWriter, r.term), absent},
			then:      []clientv3.Op{clientv3.OpPut(key, w.parts[i]), clientv3.OpPut(l.key(keyBeat), l.beatText(r.term))},
			otherwise: []clientv3.Op{clientv3.OpGet(l.key(keyWriter))},
		})
		if err != nil {
			return explain(err) // without its entry a piece is nothing
		}
		if !a.Succeeded && mod(one(a.Responses[0])) != r.term {
			_ = l.sawWriter(one(a.Responses[0]))
			return fmt.Errorf("%w: it changed while a large commit was stored in pieces", engine.ErrNotWriter)
		}
	}
	return nil
}

// beatText is what lies under beat: whose sign of life it is.
func (l *Log) beatText(term int64) string { return fmt.Sprintf("%d %s", term, l.start) }

// collect reads the pieces of a commit, as of a revision of etcd, or of now when that is compacted.
func (l *Log) collect(ctx context.Context, rev engine.Revision, e entry, revision int64) ([]byte, error) {
	l.mu.Lock()
	cluster := l.identity.Cluster
	l.mu.Unlock()
	var body []byte
	for i := range e.parts {
		name := keyPart(rev, e.attempt, i)
		kv, err := l.readPart(ctx, name, revision)
		if err != nil {
			return nil, err
		}
		if kv == nil {
			return nil, fmt.Errorf("%w: a piece of commit %d is not there any more", engine.ErrForgotten, rev)
		}
		piece, _, err := l.options.Seal.open(cluster, name, kv.Value)
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrSeal, err)
		}
		body = append(body, piece...)
	}
	return body, nil
}

func (l *Log) readPart(ctx context.Context, name string, revision int64) (*mvccpb.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	a, err := l.ask(ctx, request{then: []clientv3.Op{clientv3.OpGet(l.key(name), clientv3.WithRev(revision))}})
	if isCompacted(err) {
		a, err = l.ask(ctx, request{then: []clientv3.Op{clientv3.OpGet(l.key(name))}})
	}
	if err != nil {
		return nil, err
	}
	return one(a.Responses[0]), nil
}
