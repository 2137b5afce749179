package stream

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Beginning is how a history in etcd begins.
type Beginning struct {
	// Cluster is the id it is to have. A caller that wrote it down first may ask again after a crash: a history
	// that has the id already has begun.
	Cluster ClusterID
	// Place is that of the node's store: its revision (0: empty), and the chain, which is made of the id if it is zero.
	Place Place
	// Epoch and Level as in Identity.
	Epoch uint64
	Level uint32
	// Again puts the new history into the place of the one that lies there, which is forgotten: etcd was lost or restored, and this
	// node has the highest revision. Was is the id that lies there, as this node knows it; zero: none may lie there.
	Again bool
	Was   ClusterID
}

// Init begins a history under the prefix, and makes this node the writer of its first term. Errors say what to do;
// whatever they are, asking again with the same Cluster is right. A log that has stopped (ErrOtherHistory) begins
// nothing: another is opened for that, without a Trace.
func (l *Log) Init(ctx context.Context, b Beginning) (Identity, error) {
	if b.Cluster == (ClusterID{}) {
		return Identity{}, errors.New("a cluster needs an id")
	}
	if err := l.Check(ctx); err != nil {
		return Identity{}, err
	}
	if b.Place.Chain == (Chain{}) {
		b.Place.Chain = Chain{}.Next(b.Cluster[:])
	}
	id := Identity{Cluster: b.Cluster, Base: b.Place, Epoch: b.Epoch, Level: b.Level}
	a, err := l.ask(ctx, request{then: l.gets()})
	if err != nil {
		return id, err
	}
	s := standingOf(a)
	if done, err := l.mayBegin(b, s); done || err != nil {
		return l.joined(ctx, s, err)
	}
	if b.Again && s.id == nil {
		if err := l.aloneHere(ctx); err != nil {
			return id, err
		}
	}
	when := []clientv3.Cmp{l.at(keyID, mod(s.id)), l.at(keyWriter, mod(s.writer)), l.at(keyHead, mod(s.head))}
	then := []clientv3.Op{
		clientv3.OpDelete(l.key(keyBeat)),
		clientv3.OpDelete(l.key(underKnow), clientv3.WithRange(l.key(behind(underKnow)))),
		clientv3.OpDelete(l.key(underLog), clientv3.WithRange(l.key(behind(underLog)))),
		clientv3.OpDelete(l.key(underPart), clientv3.WithRange(l.key(behind(underPart)))),
		clientv3.OpPut(l.key(keyID), l.sealJSON(ClusterID{}, keyID, id)),
		clientv3.OpPut(l.key(keyHead), b.Place.text()),
		clientv3.OpPut(l.key(keyWriter), l.sealJSON(id.Cluster, keyWriter, l.me())),
	}
	if a, err = l.ask(ctx, request{when: when, then: then, otherwise: l.gets()}); err != nil {
		return id, fmt.Errorf("beginning a cluster: %w", err)
	}
	if a.Succeeded {
		l.mu.Lock()
		l.identity, l.options.Trace.Cluster = &id, id.Cluster
		l.mu.Unlock()
		l.reignFrom(a.Header.Revision, b.Place, a.Header.Revision)
		return id, nil
	}
	s = standingOf(a)
	if done, err := l.mayBegin(b, s); done || err != nil { // a first try of this request came through
		return l.joined(ctx, s, err)
	}
	return id, fmt.Errorf("beginning a cluster: something changes under %s at the same time: look with `lapid cluster status`, and try again", l.options.Prefix)
}

// mayBegin refuses where another history is. done: this very one has begun.
func (l *Log) mayBegin(b Beginning, s standing) (done bool, err error) {
	if s.id == nil {
		if s.writer == nil && s.head == nil || b.Again {
			return false, nil
		}
		return false, fmt.Errorf("under %s there are keys without an id: if they are what a deletion left of a cluster, `lapid cluster init --again` on the node with the "+
			"highest revision begins anew; else choose another cluster.etcd.prefix", l.options.Prefix)
	}
	var there Identity
	err = l.unsealJSON(ClusterID{}, keyID, s.id.Value, &there)
	switch {
	case err != nil:
		return false, err
	case there.Cluster == b.Cluster:
		return true, nil
	case b.Again && there.Cluster == b.Was:
		return false, l.lostSomething(b, s)
	}
	return false, fmt.Errorf("under %s there is cluster %s already: let this node join it (an empty store and the same cluster.etcd.prefix), "+
		"or give this cluster another prefix", l.options.Prefix, there.Cluster)
}

// ErrNothingLost: a history was to begin anew in the place of one that is whole: what other nodes have committed since would be lost.
var ErrNothingLost = errors.New("etcd has lost nothing of this cluster's history")

// lostSomething is nil if etcd has less of a history than the node that wants to begin anew.
func (l *Log) lostSomething(b Beginning, s standing) error {
	if s.head == nil {
		return nil
	}
	head, err := parsePlace(s.head.Value)
	if err != nil || head.Revision < b.Place.Revision {
		return nil // what lies there is of no use
	}
	return fmt.Errorf("%w: it goes to revision %d there, and this node has %d. Start this node, and it follows; if what lies there is another history all the same (an etcd "+
		"that was restored, and written to since), remove all keys under %s first (etcdctl del --prefix)", ErrNothingLost, head.Revision, b.Place.Revision, l.options.Prefix)
}

// joined ends an Init that found its history begun. Where this node was made the writer, and the answer was lost, it
// makes itself the writer again.
func (l *Log) joined(ctx context.Context, s standing, err error) (Identity, error) {
	if err != nil {
		return Identity{}, err
	}
	l.mu.Lock()
	l.identity, l.options.Trace.Cluster = nil, ClusterID{}
	l.mu.Unlock()
	id, err := l.identify(s)
	if err != nil {
		return id, err
	}
	if err := l.attend(s); err != nil {
		return id, err
	}
	if w, _ := l.Writer(); w.Node == l.options.Node {
		return id, l.claim(ctx, s)
	}
	return id, nil
}

// me is what is put under writer.
func (l *Log) me() Writer {
	return Writer{Node: l.options.Node, Start: l.start, Address: l.options.Address}
}
