package stream

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
)

const (
	// pageOf is how many entries are asked for at once: one answer with thousands never arrives in time.
	pageOf = 16
	// quietFor is how long a watch may bring nothing though the history went on, the first time.
	quietFor = 300 * time.Millisecond
	// quietAtMost bounds the doubling of that.
	quietAtMost = 10 * time.Second
	// readFor is how long reading waits for etcd before Follow reports that it has none.
	readFor = 5 * time.Second
)

// Follow reads pages until it is at the end, then watches. It returns engine.ErrForgotten when the log no longer reaches
// back to after, ErrOtherHistory when what comes is not what this node's own history leads to, and an error that
// says so when no etcd answers for five seconds: asking again is right then.
func (l *Log) Follow(ctx context.Context, after engine.Revision, deliver func(engine.Revision, []byte) error) error {
	ctx, cancel := l.until(ctx)
	defer cancel()
	if _, err := l.Join(ctx); err != nil {
		return l.followed(ctx, err)
	}
	f := follower{log: l, deliver: deliver, at: Place{Revision: after}, quiet: quietFor}
	f.at.Chain, f.sure = l.chainAfter(after)
	for pause := again; ; {
		start := f.at
		revision, err := f.pages(ctx)
		if err == nil {
			err = f.watch(ctx, revision)
		}
		if err != nil && !errors.Is(err, errWatch) {
			return l.followed(ctx, err)
		}
		if pause = min(2*pause, watchAgain); f.at != start {
			pause = again
		}
		if !wait(ctx, pause) {
			return l.followed(ctx, ctx.Err())
		}
	}
}

// followed is the error that Follow returns.
func (l *Log) followed(ctx context.Context, err error) error {
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return refused.err
	case l.over() != nil:
		return l.over()
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return explain(err)
}

// refusal is an error of deliver.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }

// errWatch: the watch is not what it should be. Pages are read again.
var errWatch = errors.New("the watch is thrown away")

// follower is one Follow.
type follower struct {
	log     *Log
	deliver func(engine.Revision, []byte) error
	at      Place // what was delivered
	sure    bool  // its chain is known
	quiet   time.Duration
}

// pages delivers what is there, and returns the revision of etcd after which a watch goes on.
func (f *follower) pages(ctx context.Context) (int64, error) {
	l := f.log
	bounded, cancel := context.WithTimeout(ctx, readFor)
	s, err := l.look(bounded)
	cancel()
	if err != nil {
		return 0, err
	}
	head, err := f.headOf(s)
	if err != nil {
		return 0, err
	}
	for f.at.Revision < head.Revision {
		bounded, cancel := context.WithTimeout(ctx, readFor)
		a, err := l.ask(bounded, request{then: []clientv3.Op{clientv3.OpGet(l.key(keyLog(f.at.Revision+1)), clientv3.WithRange(l.key(keyLog(head.Revision+1))),
			clientv3.WithLimit(pageOf), clientv3.WithRev(s.revision))}})
		cancel()
		if isCompacted(err) {
			return 0, errWatch // a newer revision has what is left
		}
		if err != nil {
			return 0, err
		}
		kvs := a.Responses[0].GetResponseRange().Kvs
		if len(kvs) == 0 {
			return 0, fmt.Errorf("%w: revision %d is not in etcd any more, which goes to %d", engine.ErrForgotten, f.at.Revision+1, head.Revision)
		}
		for _, kv := range kvs {
			if err := f.take(ctx, kv, s.revision); err != nil {
				return 0, err
			}
		}
	}
	return s.revision, nil
}

// headOf compares the end of the log with where this node is.
func (f *follower) headOf(s standing) (Place, error) {
	if s.head == nil {
		return f.at, nil // deleted by a foreign hand: the writer puts it back
	}
	head, err := parsePlace(s.head.Value)
	if err != nil {
		return head, err
	}
	if head.Revision < f.at.Revision {
		return head, f.log.stop(fmt.Errorf("%w: this node has revision %d, etcd ends with %d: etcd was restored from an older state, or the cluster began anew. "+
			"`lapid cluster status` shows which node has the highest revision", ErrOtherHistory, f.at.Revision, head.Revision))
	}
	if head.Revision == f.at.Revision && f.sure && head.Chain != f.at.Chain {
		return head, f.other(head.Revision)
	}
	return head, nil
}

// take delivers one entry if it is the next. kv is as of a revision of etcd.
func (f *follower) take(ctx context.Context, kv *mvccpb.KeyValue, revision int64) error {
	l := f.log
	rev, err := parseRevision(path.Base(string(kv.Key)))
	if err != nil {
		return err
	}
	if rev <= f.at.Revision {
		return nil
	}
	if rev > f.at.Revision+1 {
		return fmt.Errorf("%w: revision %d is not in etcd any more, which begins with %d", engine.ErrForgotten, f.at.Revision+1, rev)
	}
	_, e, err := l.openEntry(kv)
	if err != nil {
		return err
	}
	commit, err := l.commitOf(ctx, rev, e, revision)
	if err != nil {
		return err
	}
	if next := f.at.Chain.Next(commit); f.sure && next != e.chain {
		return f.other(rev)
	}
	l.saw(rev)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.deliver(rev, commit); err != nil {
		return &refusal{err}
	}
	f.at, f.sure, f.quiet = Place{rev, e.chain}, true, quietFor
	l.passed(f.at, len(kv.Value)+e.parts*pieceSize)
	return nil
}

// other stops: the history has another commit at a revision than this node.
func (f *follower) other(rev engine.Revision) error {
	return f.log.stop(fmt.Errorf("%w: revision %d there does not follow what this node has: set this node's store aside and let it join with an empty one, "+
		"or, if this node is right, look with `lapid cluster status`", ErrOtherHistory, rev))
}

// watch delivers what comes after a revision of etcd, until the watch fails, leaves something out, or brings
// nothing though the history is known to go on.
func (f *follower) watch(ctx context.Context, after int64) error {
	l := f.log
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	e := l.endpoints.pick()
	bounded, stop := context.WithTimeout(ctx, mostPatience)
	c, err := l.endpoints.ready(bounded, e)
	stop()
	if err != nil {
		e.failed()
		return errWatch
	}
	events := c.Watch(ctx, l.key(keyLog(f.at.Revision+1)), clientv3.WithRange(l.key(behind(underLog))), clientv3.WithRev(after+1),
		clientv3.WithFilterDelete(), clientv3.WithFragment())
	quiet := time.NewTimer(f.quiet)
	defer quiet.Stop()
	for {
		advanced := l.advanced.next()
		late := quiet.C
		if engine.Revision(l.newest.Load()) <= f.at.Revision {
			late = nil // nothing is missing
		}
		select {
		case r, ok := <-events:
			if !ok || r.Err() != nil {
				e.failed()
				return errWatch
			}
			if err := f.events(ctx, r.Events); err != nil {
				return err
			}
			quiet.Reset(f.quiet)
		case <-advanced:
			if late == nil {
				quiet.Reset(f.quiet)
			}
		case <-late:
			l.log.Debug("a watch brought nothing though the history went on", "endpoint", e.url, "at", uint64(f.at.Revision), "waited", f.quiet)
			f.quiet = min(2*f.quiet, quietAtMost)
			e.failed()
			return errWatch
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *follower) events(ctx context.Context, events []*clientv3.Event) error {
	for _, ev := range events {
		if ev.Type != mvccpb.PUT {
			continue
		}
		err := f.take(ctx, ev.Kv, ev.Kv.ModRevision)
		if errors.Is(err, engine.ErrForgotten) {
			return errWatch // it left something out; whether that is still there, pages tell
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openEntry unseals an entry and compares its key.
func (l *Log) openEntry(kv *mvccpb.KeyValue) (engine.Revision, entry, error) {
	rev, err := parseRevision(path.Base(string(kv.Key)))
	if err != nil {
		return 0, entry{}, err
	}
	l.mu.Lock()
	cluster := l.identity.Cluster
	l.mu.Unlock()
	plain, _, err := l.options.Seal.open(cluster, keyLog(rev), kv.Value)
	if err != nil {
		return rev, entry{}, fmt.Errorf("%w (%w)", ErrSeal, err)
	}
	e, err := decodeEntry(plain)
	return rev, e, err
}

// commitOf is the commit of an entry, with its pieces as of a revision of etcd.
func (l *Log) commitOf(ctx context.Context, rev engine.Revision, e entry, revision int64) (commit []byte, err error) {
	body := e.body
	if e.parts > 0 {
		if body, err = l.collect(ctx, rev, e, revision); err != nil {
			return nil, err
		}
	}
	return l.packer.unpack(e.codec, body)
}

func isCompacted(err error) bool { return errors.Is(err, rpctypes.ErrCompacted) }
