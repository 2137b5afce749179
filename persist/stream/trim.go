package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
)

// trimAtMost is how many entries one transaction forgets; trimWithin bounds one Trim.
const (
	trimAtMost = 1000
	trimWithin = 10 * time.Second
)

// Trim forgets entries of the log and their pieces, but never the newest. Only the writer may: engine.ErrNotWriter
// for all others. Whether a node still needs them is not asked here; Run does.
func (l *Log) Trim(to engine.Revision) error {
	r := l.reigning()
	if r == nil {
		return engine.ErrNotWriter
	}
	ctx, cancel := context.WithTimeout(l.life, trimWithin)
	defer cancel()
	_, err := l.trim(ctx, r, to)
	return err
}

// trim forgets at most trimAtMost entries at a time until all up to a revision are gone, and returns etcd's revision after.
func (l *Log) trim(ctx context.Context, r *reign, to engine.Revision) (revision int64, err error) {
	for {
		a, err := l.ask(ctx, request{then: []clientv3.Op{
			clientv3.OpGet(l.key(keyHead)),
			clientv3.OpGet(l.key(underLog), clientv3.WithRange(l.key(behind(underLog))), clientv3.WithKeysOnly(), clientv3.WithLimit(1),
				clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend)),
		}})
		if err != nil {
			return revision, explain(err)
		}
		head, oldest := one(a.Responses[0]), one(a.Responses[1])
		if head == nil || oldest == nil {
			return revision, nil
		}
		newest, err := parsePlace(head.Value)
		if err != nil {
			return revision, err
		}
		first, err := parseRevision(string(oldest.Key[len(l.key(underLog)):]))
		if err != nil {
			return revision, err
		}
		if newest.Revision == 0 || first > min(to, newest.Revision-1) {
			return revision, nil
		}
		upto := min(to, newest.Revision-1, first+trimAtMost-1)
		if revision, err = l.forget(ctx, r, upto); err != nil {
			return revision, err
		}
	}
}

func (l *Log) forget(ctx context.Context, r *reign, upto engine.Revision) (int64, error) {
	a, err := l.ask(ctx, request{
		when: []clientv3.Cmp{l.at(keyWriter, r.term)},
		then: []clientv3.Op{
			clientv3.OpDelete(l.key(underLog), clientv3.WithRange(l.key(keyLog(upto+1)))),
			clientv3.OpDelete(l.key(underPart), clientv3.WithRange(fmt.Sprintf("%s%016x", l.key(underPart), uint64(upto+1)))),
		},
		otherwise: []clientv3.Op{clientv3.OpGet(l.key(keyWriter))},
	})
	if err != nil {
		return 0, explain(err)
	}
	if !a.Succeeded {
		return 0, fmt.Errorf("%w: nothing was trimmed", engine.ErrNotWriter)
	}
	return a.Header.Revision, nil
}

// trims forgets each second what no node needs, while this node writes.
func (c *campaign) trims(ctx context.Context, r *reign) {
	l := c.log
	t := trimmer{log: l, reign: r}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := t.turn(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, engine.ErrNotWriter) {
				l.log.Warn("the log in etcd is not trimmed", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// trimmer is what one reign trims.
type trimmer struct {
	log       *Log
	reign     *reign
	done      engine.Revision // trimmed up to here
	alone     bool            // what only this node has synced is forgotten, as was told
	compacted int64           // when last, steady
	marks     []mark          // oldest first
	refused   bool            // compacting was, as was told
}

// mark is a revision of etcd and when it was the newest, steady.
type mark struct{ revision, at int64 }

const (
	// compactEvery is how often, and compactTo how far back: readers of pages are done by then.
	compactEvery = 10 * time.Second
	compactTo    = time.Minute
	// absentFor is how long no other node may tell of itself before this one trims by what it alone has.
	absentFor = 10 * time.Minute
)

func (t *trimmer) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, trimWithin)
	defer cancel()
	if to := t.bound(); to > t.done {
		if _, err := t.log.trim(ctx, t.reign, to); err != nil {
			return err
		}
		t.done = to
	}
	if t.log.options.Compact {
		return t.compact(ctx)
	}
	return nil
}

// bound is up to where nobody needs the log: two nodes have it on their disks (or the only one), and it is older
// than KeepTime, or more than KeepBytes came after it.
func (t *trimmer) bound() engine.Revision {
	l := t.log
	o := &l.options
	l.mu.Lock()
	old := l.ledger.old(o.KeepTime, o.KeepBytes)
	l.mu.Unlock()
	nodes := l.nodes()
	synced := make([]engine.Revision, 0, len(nodes))
	var mine engine.Revision
	others := false
	for _, k := range nodes {
		if k.Node == o.Node {
			mine = k.Synced
		} else if k.Heard < absentFor {
			others = true
		}
		synced = append(synced, k.Synced)
	}
	slices.Sort(synced)
	safe := mine
	if n := len(synced); n > 1 {
		safe = synced[n-2]
	}
	if alone := len(synced) > 1 && mine > safe && (!others || l.roomIs().over(warnedAbove)); alone {
		if !t.alone {
			l.log.Warn("the log in etcd is trimmed up to what this node alone has on its disk: other nodes are absent, or etcd has little room left", "from", uint64(safe), "to", uint64(mine))
		}
		t.alone, safe = true, mine
	} else {
		t.alone = false
	}
	return min(old, safe)
}

// compact has etcd forget what was deleted a minute ago.
func (t *trimmer) compact(ctx context.Context) error {
	l, now := t.log, steady()
	t.marks = append(t.marks, mark{l.etcd.revision.Load(), now})
	to := int64(0)
	for len(t.marks) > 0 && now-t.marks[0].at >= int64(compactTo) { // at most one a second: some sixty are left
		to = t.marks[0].revision
		t.marks = t.marks[1:]
	}
	if to == 0 || t.refused || now-t.compacted < int64(compactEvery) {
		return nil
	}
	t.compacted = now
	c, err := l.endpoints.ready(ctx, l.endpoints.pick())
	if err != nil {
		return err
	}
	_, err = c.Compact(ctx, to)
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		t.refused = true
		l.mu.Lock()
		l.room.noCompact = true
		l.mu.Unlock()
		l.log.Warn("etcd does not let this user compact: run etcd with auto-compaction-mode: periodic and auto-compaction-retention: 5m, and set cluster.compact: false")
		return nil
	case isCompacted(err):
		return nil // somebody did
	}
	return err
}

// ledger is which commits there are, when they came and how large they are in etcd, oldest first.
type ledger struct {
	lines []line
	bytes int64
	past  engine.Revision // what left it: old
}

type line struct {
	rev  engine.Revision
	size int32
	at   int64 // steady
}

// ledgerAtMost bounds it; older commits are taken for old.
const ledgerAtMost = 1 << 16

func (g *ledger) add(rev engine.Revision, size int) {
	if n := len(g.lines); n > 0 && g.lines[n-1].rev >= rev {
		return // it was appended, and now is followed
	}
	if len(g.lines) == ledgerAtMost {
		g.drop()
	}
	g.lines = append(g.lines, line{rev, int32(size), steady()})
	g.bytes += int64(size)
}

func (g *ledger) drop() {
	g.past, g.bytes = g.lines[0].rev, g.bytes-int64(g.lines[0].size)
	g.lines = g.lines[1:]
}

// old is the newest revision that is older than so long, or has more than so many bytes behind it.
func (g *ledger) old(keep time.Duration, bytes int64) engine.Revision {
	now := steady()
	for len(g.lines) > 0 && (time.Duration(now-g.lines[0].at) > keep || g.bytes > bytes) {
		g.drop()
	}
	return g.past
}
