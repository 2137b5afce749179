package engine_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// turnstile is a disk on which each sync of the journal, once it is armed, waits to be told
// what comes of it.
type turnstile struct {
	disk  *persist.CrashFS
	armed atomic.Bool
	sick  atomic.Bool   // every change is refused
	came  chan struct{} // a sync waits
	pass  chan error    // what comes of it
}

func newTurnstile(t *testing.T) (*enginetest.Rig, *turnstile) {
	d := &turnstile{disk: persist.NewCrashFS(), came: make(chan struct{}), pass: make(chan error)}
	return enginetest.NewRig(t, func(o *engine.Options) {
		o.FS = persist.NewFaultyFS(d.disk, d.operate)
	}), d
}

func (d *turnstile) operate(op persist.Op) error {
	if d.sick.Load() && op.Kind.Writes() {
		return syscall.EIO
	}
	if op.Kind == persist.OpSync && filepath.Ext(op.Path) == ".log" && d.armed.Load() {
		d.came <- struct{}{}
		return <-d.pass
	}
	return nil
}

// answered is an answer to a writer.
type answered struct {
	value string
	ids   []engine.AlertID
	err   error
}

func write(r *enginetest.Rig, value string, answers chan answered) {
	ids, err := r.AddAlerts(context.Background(), "", one(r, value), r.Now().UnixNano())
	answers <- answered{value, ids, err}
}

// stored counts the running decisions on each address.
func stored(r *enginetest.Rig) map[string]int {
	n := map[string]int{}
	running, _ := enginetest.FullState(r.View(), r.Ask())
	for _, d := range running {
		n[d.Value()]++
	}
	return n
}

// The next commit is at the disk while the one before is published and answered, and is
// itself neither before the disk has it.
func TestNextCommitIsBegunAhead(t *testing.T) {
	t.Parallel()
	r, d := newTurnstile(t)
	answers := make(chan answered, 3)
	d.armed.Store(true)
	go write(r, "192.0.2.1", answers)
	<-d.came
	go write(r, "192.0.2.2", answers)
	go write(r, "192.0.2.3", answers)
	until(func() bool { return r.Metrics().Queued == 2 })
	d.pass <- nil
	<-d.came // the sync of both, with the first not answered yet, or just now
	if a := <-answers; a.err != nil || a.value != "192.0.2.1" {
		t.Errorf("answered first: %+v", a)
	}
	if got := stored(r); len(got) != 1 || got["192.0.2.1"] != 1 || len(answers) > 0 {
		t.Errorf("before the disk has the others there are %v, and %d were answered", got, len(answers))
	}
	d.armed.Store(false)
	d.pass <- nil
	for range 2 {
		if a := <-answers; a.err != nil || len(a.ids) != 1 {
			t.Errorf("%+v", a)
		}
	}
	if got := stored(r); len(got) != 3 {
		t.Errorf("there are %v", got)
	}
	r.Restart()
}

// A sync fails, with the next commit gathered, or it is that of the commit which was begun
// ahead: whoever was not stored is told so, nothing of it is seen, what was answered stays,
// and what is asked for again is there once, also after a restart, and told once.
func TestFailedSyncWithTheNextGathered(t *testing.T) {
	t.Parallel()
	for _, good := range []int{0, 1} { // syncs before the one that fails
		t.Run(fmt.Sprint(good), func(t *testing.T) {
			t.Parallel()
			r, d := newTurnstile(t)
			told, heard := map[string]int{}, r.View().Revision()
			poll := func() { // what a stream is told, from where it is
				t.Helper()
				var news engine.Delta
				if v := r.View(); v.Changes(&news, heard, r.Ask()) {
					heard = v.Revision()
				} else {
					t.Errorf("the history does not reach back to %d", heard)
				}
				for _, n := range news.New {
					told[n.Value()]++
				}
			}
			answers := make(chan answered, 3)
			d.armed.Store(true)
			go write(r, "192.0.2.1", answers)
			<-d.came
			go write(r, "192.0.2.2", answers)
			go write(r, "192.0.2.3", answers)
			until(func() bool { return r.Metrics().Queued == 2 })
			for range good {
				d.pass <- nil
				<-d.came
			}
			d.armed.Store(false)
			d.sick.Store(true)
			d.pass <- syscall.EIO
			var refused []string
			for range 3 {
				a := <-answers
				if a.err == nil {
					if a.value != "192.0.2.1" || good == 0 {
						t.Errorf("%s was stored on a disk that refuses", a.value)
					}
					continue
				}
				if !errors.Is(a.err, engine.ErrDisk) {
					t.Errorf("%s: %v", a.value, a.err)
				}
				refused = append(refused, a.value)
			}
			if got := stored(r); len(refused) != 3-good || len(got) != good {
				t.Fatalf("%v were refused, and there are %v", refused, got)
			}
			poll()
			d.sick.Store(false)
			for _, value := range refused {
				r.Step(2 * time.Second)
				if _, err := r.AddAlerts(context.Background(), "", one(r, value), r.Now().UnixNano()); err != nil {
					t.Error(err)
				}
			}
			poll()
			check := func(when string) {
				t.Helper()
				for _, value := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
					if n := stored(r)[value]; n != 1 || told[value] != 1 {
						t.Errorf("%s %s is there %d times, and was told %d times", when, value, n, told[value])
					}
				}
			}
			check("before a restart")
			left := d.disk.Crash()
			r.Stop()
			r.Options.FS = left
			r.Start()
			poll()
			check("after a loss of power and a restart")
		})
	}
}

// Whatever a reader has seen survives a loss of power, at any moment of many commits that
// are begun ahead.
func TestReadersSeeWhatIsOnTheDisk(t *testing.T) {
	t.Parallel()
	const writers, writes = 8, 12
	disk := persist.NewCrashFS()
	var e atomic.Pointer[engine.Engine]
	var looks atomic.Int64
	look := func(when string) {
		running := e.Load()
		if running == nil {
			return
		}
		seen := running.View().Revision()
		left := disk.Crash()
		s, err := persist.Open(&persist.Options{Dir: "store", FS: left})
		if err != nil {
			t.Errorf("%s: %v", when, err)
			return
		}
		if last := s.Last(); last < uint64(seen) {
			t.Errorf("%s: a reader has seen revision %d, and the disk has %d", when, seen, last)
		}
		looks.Add(1)
		_ = s.Close()
	}
	r := enginetest.NewRig(t, func(o *engine.Options) {
		o.FS = persist.NewFaultyFS(disk, func(op persist.Op) error {
			if op.Kind == persist.OpSync && filepath.Ext(op.Path) == ".log" {
				look("before a sync")
			}
			return nil
		})
	})
	e.Store(r.Engine)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range writes {
				value := fmt.Sprintf("10.%d.%d.1", w, i)
				ids, err := r.AddAlerts(context.Background(), "", one(r, value), r.Now().UnixNano())
				if err != nil || len(ids) != 1 {
					t.Error(ids, err)
					return
				}
				if _, decisions, err := r.Alert(r.View(), ids[0]); err != nil || len(decisions) != 1 || decisions[0].Value() != value {
					t.Errorf("alert %d, which was answered, is not seen: %v", ids[0], err)
				}
				look("after an answer")
			}
		})
	}
	all.Wait()
	e.Store(nil)
	if n := len(stored(r)); n != writers*writes {
		t.Errorf("%d decisions instead of %d", n, writers*writes)
	}
	t.Logf("%d looks", looks.Load())
	r.Restart()
}
