package enginetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/persist"
)

// Epoch is when every scenario begins.
var Epoch = time.Date(2026, 7, 1, 10, 0, 0, 500_000_000, time.UTC)

// Rig is an engine with a disk in memory and a clock set by hand. It checks
// the engine at every start and end, so a test need not. Its methods are for
// the test's own goroutine; those of the engine are for any.
type Rig struct {
	*engine.Engine
	T       testing.TB
	Options engine.Options

	now    atomic.Int64
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// NewRig opens and runs an engine in an empty disk; it is closed with the
// test. change may adjust the options. The disk is a memory that loses
// nothing unless change puts another there.
func NewRig(t testing.TB, change func(*engine.Options)) *Rig {
	r := &Rig{T: t}
	r.now.Store(Epoch.UnixNano())
	r.Options = engine.Options{Dir: "store", FS: persist.NewMemFS(), Now: r.Now}
	if change != nil {
		change(&r.Options)
	}
	r.Start()
	t.Cleanup(r.Stop)
	return r
}

// Now is the clock of the rig.
func (r *Rig) Now() time.Time { return time.Unix(0, r.now.Load()).UTC() }

// Start opens the store and runs the engine.
func (r *Rig) Start() {
	r.T.Helper()
	r.open()
	r.run()
}

// open opens the store and checks it, with nothing running yet.
func (r *Rig) open() {
	r.T.Helper()
	e, err := engine.Open(&r.Options)
	if err != nil {
		r.T.Fatalf("opening: %v", err)
	}
	if err := e.Check(); err != nil {
		r.T.Fatalf("check after opening: %v", err)
	}
	r.Engine = e
}

// run starts the committer.
func (r *Rig) run() {
	e := r.Engine
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.done.Add(1)
	go func() {
		defer r.done.Done()
		if err := e.Run(ctx); err != nil {
			r.T.Errorf("running: %v", err)
		}
	}()
}

// Stop ends the engine in an orderly way and checks it. It may be called
// twice.
func (r *Rig) Stop() {
	if r.Engine == nil {
		return
	}
	r.cancel()
	r.done.Wait()
	if err := r.Engine.Check(); err != nil {
		r.T.Errorf("check after running: %v", err)
	}
	if err := r.Engine.Close(); err != nil {
		r.T.Errorf("closing: %v", err)
	}
	r.Engine = nil
}

// Restart stops, opens and runs again; the state must be the same. The
// digests of before and after are compared, which covers everything that is
// stored.
func (r *Rig) Restart() {
	r.T.Helper()
	r.RestartAt(0)
}

// RestartAt does so with the clock set by so much in between.
func (r *Rig) RestartAt(by time.Duration) {
	r.T.Helper()
	r.cancel()
	r.done.Wait()
	before := r.Engine.Digest()
	r.Stop()
	r.now.Add(int64(by))
	r.open()
	if after := r.Engine.Digest(); after != before {
		r.T.Fatalf("a restart changed the state")
	}
	r.run()
}

// Crash takes the power away, on a rig whose disk is a *persist.CrashFS, and
// starts again from what was synced by then. What was answered must be there
// afterwards; the caller compares.
func (r *Rig) Crash() {
	r.T.Helper()
	left := r.Options.FS.(*persist.CrashFS).Crash()
	r.Stop()
	r.Options.FS = left
	r.Start()
}

// Advance moves the clock on and waits until what is over by then has ended.
func (r *Rig) Advance(d time.Duration) {
	r.now.Add(int64(d))
	r.Settle()
}

// Step moves the clock on and waits for nothing: what is due may not be
// committed, on a disk that refuses.
func (r *Rig) Step(d time.Duration) {
	r.now.Add(int64(d))
	r.Engine.Wake()
}

// Settle waits until everything due has been committed: a write is committed
// after what was due before it, and the second one after the housekeeping that
// followed the first.
func (r *Rig) Settle() {
	r.T.Helper()
	for range 2 {
		r.settle()
	}
}

// settle has one commit made that changes nothing.
func (r *Rig) settle() {
	r.T.Helper()
	if err := r.Engine.PruneMachines(context.Background(), nil); err != nil {
		r.T.Fatalf("settling: %v", err)
	}
}

// Ask is a stream's question with the defaults of the contract.
func (r *Rig) Ask() *engine.Query {
	q := &engine.Query{}
	q.Reset()
	q.Now = r.now.Load()
	q.Dedup = true
	q.Scopes = engine.Words{Given: true, List: []string{engine.ScopeIP, engine.ScopeRange}}
	return q
}
