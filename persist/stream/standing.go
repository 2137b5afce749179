package stream

import (
	"context"
	"encoding/json"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// standing is what lay under the keys that say who writes, at one moment.
type standing struct {
	revision               int64            // etcd's
	id, writer, beat, head *mvccpb.KeyValue // nil: absent
}

// gets reads a standing, as operations of a transaction; standingOf reads their answers.
func (l *Log) gets() []clientv3.Op {
	return []clientv3.Op{clientv3.OpGet(l.key(keyID)), clientv3.OpGet(l.key(keyWriter)), clientv3.OpGet(l.key(keyBeat)), clientv3.OpGet(l.key(keyHead))}
}

// standingOf takes the answers to gets, which are the last four.
func standingOf(a answer) standing {
	s := standing{revision: a.Header.Revision}
	last := a.Responses[len(a.Responses)-4:]
	for i, to := range []**mvccpb.KeyValue{&s.id, &s.writer, &s.beat, &s.head} {
		*to = one(last[i])
	}
	return s
}

// look reads a standing, linearizable, and checks that it is of this cluster.
func (l *Log) look(ctx context.Context) (standing, error) {
	known := l.knows() // before it is asked: a history may begin here meanwhile
	a, err := l.ask(ctx, request{then: l.gets()})
	if err != nil {
		return standing{}, err
	}
	s := standingOf(a)
	if s.id == nil && !known {
		return s, ErrNotBegun
	}
	if _, err := l.identify(s); err != nil {
		return s, err
	}
	return s, l.attend(s)
}

// knows reports whether this node knows a history under the prefix.
func (l *Log) knows() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.identity != nil || l.options.Trace.Cluster != ClusterID{}
}

// begun: a history that was there and is gone is more than one that has not begun.
func (l *Log) begun(err error) error {
	if l.knows() {
		return l.stop(fmt.Errorf("%w: the prefix %s is empty, though this node knows a history. Is cluster.etcd.prefix the one that the other nodes have, and cluster.etcd.endpoints their etcd? "+
			"If so, the history was deleted: if it is lost for good, %s", ErrOtherHistory, l.options.Prefix, beginAnew))
	}
	return err
}

// identify reads whose history it is, and compares that with what is known.
func (l *Log) identify(s standing) (Identity, error) {
	if s.id == nil {
		return Identity{}, l.begun(ErrNotBegun)
	}
	var id Identity
	if err := l.unsealJSON(ClusterID{}, keyID, s.id.Value, &id); err != nil {
		return id, err
	}
	l.mu.Lock()
	want := l.options.Trace.Cluster
	if l.identity != nil {
		want = l.identity.Cluster
	}
	if want == id.Cluster || want == (ClusterID{}) {
		l.identity = &id
		l.mu.Unlock()
		return id, nil
	}
	l.mu.Unlock()
	return id, l.stop(belongs(l.options.Prefix, want, id.Cluster))
}

// attend takes from a standing who writes and how far the history reaches.
func (l *Log) attend(s standing) error {
	if s.head != nil {
		head, err := parsePlace(s.head.Value)
		if err != nil {
			return err
		}
		l.saw(head.Revision)
	}
	l.sawSigns(mod(s.writer), mod(s.beat), mod(s.head))
	return l.sawWriter(s.writer)
}

// sawWriter reads the key writer. An older one than is known says nothing.
func (l *Log) sawWriter(kv *mvccpb.KeyValue) error {
	if kv == nil {
		return nil
	}
	l.mu.Lock()
	known, identity := l.writer.Term, l.identity
	l.mu.Unlock()
	if kv.ModRevision <= known || identity == nil {
		return nil
	}
	var w Writer
	if err := l.unsealJSON(identity.Cluster, keyWriter, kv.Value, &w); err != nil {
		return err
	}
	w.Term = kv.ModRevision
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.Term > l.writer.Term {
		l.writer = w
	}
	return nil // a reign that this ends is ended by what compares it: a commit in flight has its fate first
}

func (l *Log) sealJSON(cluster ClusterID, key string, v any) string {
	plain, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("BUG: %T cannot be written: %v", v, err))
	}
	return string(l.options.Seal.close(cluster, key, plain))
}

func (l *Log) unsealJSON(cluster ClusterID, key string, value []byte, v any) error {
	plain, _, err := l.options.Seal.open(cluster, key, value)
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrSeal, err)
	}
	if err := json.Unmarshal(plain, v); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// one is the value that a Get of one key found; nil: none.
func one(r *etcdserverpb.ResponseOp) *mvccpb.KeyValue {
	if g := r.GetResponseRange(); g != nil && len(g.Kvs) > 0 {
		return g.Kvs[0]
	}
	return nil
}

// mod is the mod_revision of what was found; 0: absent, as etcd compares it.
func mod(kv *mvccpb.KeyValue) int64 {
	if kv == nil {
		return 0
	}
	return kv.ModRevision
}

// at compares a key with the mod_revision that it had.
func (l *Log) at(name string, mod int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(l.key(name)), "=", mod)
}
