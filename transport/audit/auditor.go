package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// Pace of an Auditor.
const (
	// lookEvery is how long it rests between two looks at the history, so that a flood of
	// commits is read in large bites.
	lookEvery = time.Second
	// retainEvery is how often rows are forgotten.
	retainEvery = time.Minute
	// flushWithin is what the last look may take at the end. What it does not come to is made
	// by the next start.
	flushWithin = 2 * time.Second
)

// Options are what an Auditor needs. Engine must be there.
type Options struct {
	Engine *engine.Engine
	Logger *slog.Logger // nil: slog.Default
}

// Auditor keeps the audit going. Note may be called from any goroutine.
type Auditor struct {
	engine *engine.Engine
	trail  *engine.Trail
	log    *slog.Logger
	notes  notes
	wake   chan struct{} // one token: a row waits that is not counted

	failing atomic.Bool
}

// New makes an Auditor.
func New(o *Options) *Auditor {
	a := &Auditor{engine: o.Engine, trail: o.Engine.Trail(), log: o.Logger, wake: make(chan struct{}, 1)}
	if a.log == nil {
		a.log = slog.Default()
	}
	return a
}

// Run writes rows until ctx ends, then what is left. Call it once. It never fails: what
// cannot be written is tried again, told once in the log, and made of the journal when that
// can be read again.
func (a *Auditor) Run(ctx context.Context) {
	retained := time.Time{}
	for ctx.Err() == nil {
		changed := a.engine.Changed()
		if !a.turn(ctx, false) {
			return // none is kept
		}
		if now := time.Now(); now.Sub(retained) >= retainEvery {
			retained = now
			if _, err := a.trail.Retain(ctx); err != nil {
				a.tell(ctx, err)
			}
		}
		a.rest(ctx, changed)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	a.turn(last, true)
}

// turn writes what is new; at the end also what is counted. False: no audit is kept.
func (a *Auditor) turn(ctx context.Context, all bool) bool {
	err := a.settle(ctx, all)
	if again := a.trail.Follow(ctx, all); err == nil {
		err = again
	}
	a.tell(ctx, err)
	return !errors.Is(err, engine.ErrRefused)
}

// tell says once that the audit cannot be written, and once that it can again.
func (a *Auditor) tell(ctx context.Context, err error) {
	switch {
	case err == nil:
		if a.failing.Swap(false) {
			a.log.Info("the audit can be written again")
		}
	case ctx.Err() == nil && !errors.Is(err, engine.ErrRefused) && !errors.Is(err, engine.ErrClosed):
		if !a.failing.Swap(true) {
			a.log.Error("the audit cannot be written: it is tried again, and the history is kept for it (bookmark_journal)", "error", err)
		}
	}
}

// Settle writes the rows that wait, those of minutes that go on left out, so that who lists
// rows then sees what was noted before. Errors are those of engine.Trail.Add.
func (a *Auditor) Settle(ctx context.Context) error { return a.settle(ctx, false) }

// settle is Settle; all: with the minute that goes on.
func (a *Auditor) settle(ctx context.Context, all bool) error {
	rows := a.notes.due(a.engine.Now(), all)
	if len(rows) == 0 {
		return nil
	}
	err := a.trail.Add(ctx, rows)
	if err != nil {
		a.notes.back(rows)
	}
	return err
}

// rest waits for news, and for as long as a look rests; no longer than until the minute that
// is counted may be over.
func (a *Auditor) rest(ctx context.Context, changed <-chan struct{}) {
	pause := time.NewTimer(lookEvery)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return
	}
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	select {
	case <-changed:
	case <-a.wake:
	case <-late.C:
	case <-ctx.Done():
	}
}
