package stream

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
)

// Claim makes this node the writer, whoever was it, and deposes that one. From then on nothing of an earlier term can be
// stored, and Newest tells how far the history reaches: an engine applies all of it before it appends (engine.Lead does).
// Errors: engine.ErrNotWriter when somebody else changed something meanwhile, and those of Join.
func (l *Log) Claim(ctx context.Context) error {
	s, err := l.look(ctx)
	if err != nil {
		return err
	}
	return l.claim(ctx, s)
}

// claim is won if everything is still as it was seen: a commit, a beat or another writer is a sign of life.
func (l *Log) claim(ctx context.Context, s standing) error {
	id, err := l.identify(s)
	if err != nil {
		return err
	}
	when := []clientv3.Cmp{l.at(keyID, mod(s.id)), l.at(keyWriter, mod(s.writer)), l.at(keyBeat, mod(s.beat)), l.at(keyHead, mod(s.head))}
	then := append([]clientv3.Op{
		clientv3.OpPut(l.key(keyID), l.sealJSON(ClusterID{}, keyID, id)),
		clientv3.OpPut(l.key(keyWriter), l.sealJSON(id.Cluster, keyWriter, l.me())),
		clientv3.OpGet(l.key(underLog), clientv3.WithRange(l.key(behind(underLog))), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend),
			clientv3.WithLimit(1)),
	}, l.gets()...)
	a, err := l.ask(ctx, request{when: when, then: then, otherwise: l.gets()})
	if err != nil {
		return fmt.Errorf("becoming the writer: %w", err)
	}
	now := standingOf(a)
	if !a.Succeeded {
		return l.claimed(ctx, id, s, now)
	}
	return l.crown(ctx, id, now, one(a.Responses[2]))
}

// claimed looks whether an earlier try of a claim, whose answer was lost, was the one that changed things since they
// were seen.
func (l *Log) claimed(ctx context.Context, id Identity, seen, now standing) error {
	if err := l.attend(now); err != nil {
		return err
	}
	if w, _ := l.Writer(); w.Start != l.start || w.Term != mod(now.writer) || mod(now.id) != w.Term || w.Term == mod(seen.writer) {
		return fmt.Errorf("%w: there was a sign of life of the writer", engine.ErrNotWriter)
	}
	if r := l.reigning(); r != nil && r.term == mod(now.writer) {
		return nil
	}
	a, err := l.ask(ctx, request{then: []clientv3.Op{clientv3.OpGet(l.key(underLog), clientv3.WithRange(l.key(behind(underLog))),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(1))}})
	if err != nil {
		return err
	}
	return l.crown(ctx, id, now, one(a.Responses[0]))
}

// crown begins a reign. A head that is absent, or behind the newest key of the log, was deleted or altered by a foreign
// hand: that key is the head then.
func (l *Log) crown(ctx context.Context, id Identity, now standing, last *mvccpb.KeyValue) error {
	term := mod(now.writer)
	head, err := id.Base, error(nil)
	if now.head != nil {
		if head, err = parsePlace(now.head.Value); err != nil {
			return err
		}
	}
	newer, err := l.placeOf(last)
	if err != nil {
		return err
	}
	if now.head == nil && last == nil && id.Base.Revision > 0 {
		return l.stop(fmt.Errorf("%w: head and log were deleted under %s", ErrOtherHistory, l.options.Prefix))
	}
	if now.head != nil && newer.Revision <= head.Revision {
		l.dropParts(ctx, term, head.Revision+1, []string{""})
		l.reignFrom(term, head, mod(now.head))
		return l.attend(now)
	}
	if newer.Revision > head.Revision {
		head = newer
	}
	l.log.Error("head in etcd was deleted or altered by somebody else, and is put back", "revision", uint64(head.Revision))
	a, err := l.ask(ctx, request{when: []clientv3.Cmp{l.at(keyWriter, term), l.at(keyHead, mod(now.head))},
		then: []clientv3.Op{clientv3.OpPut(l.key(keyHead), head.text())}})
	if err != nil || !a.Succeeded {
		return fmt.Errorf("%w: head could not be put back (%v)", engine.ErrNotWriter, err)
	}
	l.reignFrom(term, head, a.Header.Revision)
	return l.attend(now)
}

// placeOf is the place that an entry of the log says; zero for none.
func (l *Log) placeOf(kv *mvccpb.KeyValue) (Place, error) {
	if kv == nil {
		return Place{}, nil
	}
	rev, e, err := l.openEntry(kv)
	return Place{rev, e.chain}, err
}

// reignFrom makes this node the writer, as far as it knows.
func (l *Log) reignFrom(term int64, head Place, mod int64) {
	l.mu.Lock()
	l.reign = &reign{term: term, head: head, mod: mod}
	l.writer = l.me()
	l.writer.Term = term
	l.mu.Unlock()
	l.saw(head.Revision)
	l.log.Info("this node is the one that writes", "node", l.options.Node, "term", term, "after", uint64(head.Revision))
}
