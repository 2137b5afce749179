package engine

import (
	"context"
	"fmt"
	"iter"
)

// recover brings memory up to the last commit: the newest good snapshot, then
// the journal after it, by the same apply that made it. An empty store gets
// its first commit.
func (e *Engine) recover(ctx context.Context) error {
	told := newStarting(&e.options)
	rev, err := e.store.LoadSnapshot(func(rev uint64, sections iter.Seq2[uint16, []byte]) error {
		e.state = newState()
		told = newStarting(&e.options) // the one before may have been damaged
		told.begin(fmt.Sprintf("reading the snapshot of revision %d", rev))
		return e.state.load(ctx, rev, sections, e.options.History, told)
	})
	if err != nil {
		return fmt.Errorf("loading the newest snapshot: %w", err)
	}
	if rev == 0 {
		e.state = newState()
		e.state.history.Reset(0)
	}
	if e.store.Last() == 0 {
		e.state.endLoading()
		if e.options.Journal != nil {
			e.publish(0)
			return nil
		}
		return e.begin()
	}
	if rev != 0 {
		e.counters.snapshotRevision.Store(rev)
		e.log.Info("the snapshot is read", "revision", rev, "decisions", e.state.ids.Len(), "alerts", told.alerts,
			"bouncers", told.bouncers, "machines", told.machines, "bytes", told.bytes, "seconds", told.seconds())
	}
	if err := e.askBodies(ctx, told); err != nil {
		return fmt.Errorf("reading bodies of alerts: %w", err)
	}
	if err := e.replay(ctx, rev, told); err != nil {
		return err
	}
	if err := e.noteFloor(); err != nil {
		return err
	}
	e.state.endLoading()
	if err := e.loadOwnRows(); err != nil {
		return err
	}
	e.state.reborn = e.state.next.revision
	e.publish(e.state.next.revision)
	return nil
}

func (e *Engine) replay(ctx context.Context, after uint64, told *starting) error {
	s := e.state
	s.next.revision = Revision(after)
	n := e.store.Last() - after
	if n == 0 {
		return e.replayed(nil)
	}
	told.bytes = 0
	told.begin(fmt.Sprintf("replaying the journal: %d commits after revision %d", n, after))
	err := e.decodeAhead(ctx, after).each(func(c decodedCommit) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.replay(c.rev, c.commit); err != nil {
			return fmt.Errorf("commit %d: %w", c.rev, err)
		}
		s.complete(c.rev)
		e.counters.journalBytes.Add(int64(c.size))
		told.commits++
		told.bytes += int64(c.size)
		told.at(func() string { return told.journal(n) })
		if s.rows.bytes >= rowsAtOnce {
			return e.writeReplayed()
		}
		return nil
	})
	if err = e.replayed(err); err == nil {
		e.log.Info("the journal is replayed", "commits", told.commits, "revision", e.store.Last(), "decisions", s.ids.Len(),
			"bytes", told.bytes, "seconds", told.seconds())
	}
	return err
}

// replayed ends a replay, which may have failed.
func (e *Engine) replayed(err error) error {
	if err == nil {
		err = e.writeReplayed()
	}
	if err == nil && e.readOnly {
		e.keepLacking()
	}
	if err != nil {
		return fmt.Errorf("replaying the journal: %w", err)
	}
	return nil
}

// writeReplayed makes the bodies anew that the crash took. An engine that only
// inspects writes nothing.
func (e *Engine) writeReplayed() error {
	if e.remade != nil {
		e.state.rows.pass(e.remade)
		return nil
	}
	if e.readOnly {
		return e.state.rows.compare(e.store, e.lacking)
	}
	return e.state.rows.write(e.store, e.batch)
}
