package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// life is an engine on a disk that may fail, and the few steps of a fixed
// scenario. Every step is one write; it is asked for again until it is answered,
// a second later each time, so that a life on any disk must come to the same
// end as one on a good disk.
type life struct {
	disk   persist.FS
	now    atomic.Int64
	e      *engine.Engine
	stop   func() error
	log    *slog.Logger
	digest [32]byte     // of the state at the end
	done   atomic.Int64 // steps answered
	cursor atomic.Int64 // how far the bouncer advanced
}

const tries = 200

func newLife(disk persist.FS) *life {
	l := &life{disk: disk}
	l.now.Store(enginetest.Epoch.UnixNano())
	return l
}

func (l *life) clock() time.Time { return time.Unix(0, l.now.Load()).UTC() }

func (l *life) options() *engine.Options {
	return &engine.Options{Dir: "var/store", FS: l.disk, Now: l.clock, Logger: l.log}
}

// begin opens the engine, again and again while the disk explains why not.
func (l *life) begin() error {
	for n := 0; ; n++ {
		e, err := engine.Open(l.options())
		if err == nil {
			l.e = e
			break
		}
		if n == tries || (!errors.Is(err, persist.ErrDisk) && !errors.Is(err, persist.ErrCorrupt)) {
			return fmt.Errorf("opening: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	e := l.e
	go func() { ended <- e.Run(ctx) }()
	l.stop = func() error {
		cancel()
		err := <-ended
		l.digest = e.Digest()
		if err = errors.Join(err, e.Close()); err != nil && !errors.Is(err, persist.ErrDisk) && !errors.Is(err, engine.ErrDisk) {
			return fmt.Errorf("closing: %w", err)
		}
		return nil
	}
	return nil
}

// live takes the steps from the one after done on.
func (l *life) live() error {
	steps := scenario()
	for int(l.done.Load()) < len(steps) {
		s := steps[l.done.Load()]
		if err := l.insist(s); err != nil {
			return fmt.Errorf("step %d: %w", l.done.Load(), err)
		}
		l.done.Add(1)
		if row := l.e.View().Bouncer("fw"); row != nil {
			rev := l.e.View().Revision()
			l.cursor.Store(int64(rev))
			row.Advance(rev, l.now.Load())
		}
	}
	return nil
}

// insist asks until it is answered.
func (l *life) insist(step func(*life) error) error {
	for n := 0; ; n++ {
		err := step(l)
		if err == nil {
			return nil
		}
		if n == tries || (!errors.Is(err, persist.ErrDisk) && !errors.Is(err, engine.ErrDisk)) {
			return err
		}
		l.now.Add(int64(time.Second))
		_ = l.e.PruneMachines(context.Background(), nil) // some write: it is writes that look whether the disk is well
	}
}

// scenario is a write of every kind, with snapshots between.
func scenario() []func(*life) error {
	ctx := context.Background()
	ban := func(values ...string) func(*life) error {
		return func(l *life) error {
			a := &engine.Alert{Scenario: "ssh-bf", Message: strings.Join(values, " "), StopAt: engine.StampOf(enginetest.Epoch)}
			for _, v := range values {
				a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: v, Type: "ban", Origin: "crowdsec", Scenario: "ssh-bf", Duration: "4h"})
			}
			_, err := l.e.AddAlerts(ctx, "edge-1", []*engine.Alert{a}, l.now.Load())
			return err
		}
	}
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
	}
	snapshot := func(l *life) error { return l.e.Snapshot(ctx) }
	return []func(*life) error{
		func(l *life) error { return l.e.AddMachine(ctx, &engine.Machine{ID: "edge-1", Validated: true}, false) },
		func(l *life) error { _, err := l.e.AddBouncer(ctx, &engine.Bouncer{Name: "fw"}); return err },
		ban("192.0.2.1"), ban("192.0.2.2", "192.0.2.0/24"), ban("2001:db8::1"),
		snapshot,
		func(l *life) error { return l.e.EndDecision(ctx, 2, l.now.Load()) },
		ban(many...),
		func(l *life) error { return l.e.DeleteAlert(ctx, 1, l.now.Load()) },
		snapshot,
		func(l *life) error { return l.e.CreateAllowlist(ctx, "trusted", "", l.now.Load()) },
		func(l *life) error {
			_, _, err := l.e.AddToAllowlist(ctx, "trusted", []engine.AllowlistItem{{Value: "10.0.0.0/25", Prefix: netip.MustParsePrefix("10.0.0.0/25")}}, l.now.Load())
			return err
		},
		ban("192.0.2.1"),
		func(l *life) error {
			return l.e.ChangeMachine(ctx, "edge-1", func(m *engine.Machine) { m.Version = "2" })
		},
		snapshot,
		func(l *life) error { // everything so far ends
			l.now.Store(max(l.now.Load(), enginetest.Epoch.Add(5*time.Hour).UnixNano()))
			return l.e.PruneMachines(ctx, nil)
		},
		func(l *life) error { return l.e.DeleteAlert(ctx, 4, l.now.Load()) },
		func(l *life) error { return l.e.DeleteAllowlist(ctx, "trusted", false) },
		ban("198.51.100.1"),
		func(l *life) error {
			_, err := l.e.Secret(ctx, "tokens", func() ([]byte, error) { return []byte("s"), nil })
			return err
		},
	}
}

// summary spells all that the writes have made true, but for moments that a
// repeated write moves.
func (l *life) summary() (string, error) {
	var b strings.Builder
	v := l.e.View()
	err := l.e.Alerts(context.Background(), v, &engine.AlertQuery{Ascending: true}, func(a *engine.Alert, decisions []engine.Decision) bool {
		fmt.Fprintf(&b, "alert %d by %q: %s\n", a.ID, a.MachineID, a.Message)
		for _, d := range decisions {
			fmt.Fprintf(&b, "  #%d %s ended %v\n", d.ID(), d.Value(), d.Ended())
		}
		return true
	})
	for _, m := range v.Machines() {
		fmt.Fprintf(&b, "machine %s %s\n", m.ID, m.Version)
	}
	for _, r := range v.Bouncers() {
		fmt.Fprintf(&b, "bouncer %s\n", r.Load().Name)
	}
	for _, a := range v.Allowlists() {
		fmt.Fprintf(&b, "allowlist %s %d\n", a.Name, len(a.Items))
	}
	return b.String(), err
}

// summaries is what is true after each number of steps, on a good disk.
func summaries(t *testing.T) []string {
	l := newLife(persist.NewMemFS())
	if err := l.begin(); err != nil {
		t.Fatal(err)
	}
	all := []string{}
	note := func() {
		s, err := l.summary()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	note()
	for _, step := range scenario() {
		if err := step(l); err != nil {
			t.Fatal(err)
		}
		note()
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	return all
}

// found opens what is left on a disk, checks it, and says which summary it is:
// one from low to high.
func found(disk persist.FS, now int64, cursor int64, want []string, low, high int) error {
	l := newLife(disk)
	l.now.Store(now)
	e, err := engine.Open(l.options())
	if err != nil {
		return fmt.Errorf("the next start: %w", err)
	}
	l.e = e
	defer e.Close()
	if err := e.Check(); err != nil {
		return err
	}
	got, err := l.summary()
	if err != nil {
		return err
	}
	for n := low; n <= min(high, len(want)-1); n++ {
		if got == want[n] {
			return l.place(cursor)
		}
	}
	return fmt.Errorf("after %d to %d steps there is\n%s instead of\n%s", low, high, got, want[low])
}

// same opens what a life left behind: everything, to the last bit.
func (l *life) same(disk persist.FS, want []string) error {
	if err := found(disk, l.now.Load(), l.cursor.Load(), want, len(want)-1, len(want)-1); err != nil {
		return err
	}
	again := newLife(disk)
	e, err := engine.Open(again.options())
	if err != nil {
		return err
	}
	if e.Digest() != l.digest {
		err = errors.New("the state is another after the next start")
	}
	return errors.Join(err, e.Close())
}

// place checks that the bouncer will miss nothing.
func (l *life) place(cursor int64) error {
	row := l.e.View().Bouncer("fw")
	if row == nil {
		return nil
	}
	if at, pulled := row.Cursor(); pulled && int64(at) > cursor {
		return fmt.Errorf("the cursor is at %d, the bouncer at %d", at, cursor)
	}
	return nil
}

// keepOrder makes the disk keep the entries of a directory in their order, as
// file systems with a journal do: the store's library relies on it where it
// first makes a manifest and then the mark that names it.
func keepOrder(disk *persist.CrashFS, op persist.Op) {
	if op.Kind != persist.OpCreate || !strings.HasPrefix(disk.PathBase(op.Path), "marker.") {
		return
	}
	if dir, err := disk.OpenDir(disk.PathDir(op.Path)); err == nil {
		_ = dir.Sync() // of a disk in memory: it cannot fail
		_ = dir.Close()
	}
}

// Every operation of the disk fails once, in turn. The engine goes on or says
// why not, every write is answered in the end, nothing that was refused leaves a
// trace, and the next start finds the same.
func TestEveryOperationFailsOnce(t *testing.T) {
	t.Parallel()
	want := summaries(t)
	kinds := map[string]int{}
	total, stride := int64(1), strides(t)
	for fails := int64(1); fails <= total; fails += stride() {
		disk := persist.NewCrashFS()
		var operations atomic.Int64
		var failed atomic.Pointer[persist.Op]
		l := newLife(persist.NewFaultyFS(disk, func(op persist.Op) error {
			if operations.Add(1) == fails {
				failed.Store(&op)
				return syscall.EIO
			}
			return nil
		}))
		err := l.begin()
		if err == nil {
			if err = l.live(); err == nil {
				err = l.isLike(want[len(want)-1])
			}
			err = errors.Join(err, l.stop())
		}
		if err == nil {
			err = l.same(disk.Crash(), want)
		}
		op := failed.Load()
		if op != nil {
			kinds[string(op.Kind)+" "+filepath.Ext(op.Path)]++
		}
		if err != nil {
			t.Fatalf("operation %d of about %d fails (%v): %v", fails, total, op, err)
		}
		if fails == 1 {
			total = operations.Load()
		}
	}
	t.Logf("%d operations: %v", total, kinds)
}

// isLike compares what runs with a summary.
func (l *life) isLike(want string) error {
	got, err := l.summary()
	if err != nil {
		got, err = l.summary() // a read that failed once
	}
	if err == nil && got != want {
		err = fmt.Errorf("there is\n%s instead of\n%s", got, want)
	}
	return err
}

// The power fails before every operation that changes the disk; nothing that was
// not synced survives, or some of it.
func TestPowerFailsAnywhere(t *testing.T) {
	t.Parallel()
	want := summaries(t)
	for _, percent := range []int{0, 50} {
		t.Run(fmt.Sprintf("keeps %d%%", percent), func(t *testing.T) {
			t.Parallel()
			disk := persist.NewCrashFS()
			var n atomic.Uint64
			var l *life
			var checks sync.WaitGroup
			limit := make(chan struct{}, 4)
			l = newLife(persist.NewFaultyFS(disk, func(op persist.Op) error {
				if !op.Kind.Writes() {
					return nil
				}
				keepOrder(disk, op)
				i := n.Add(1)
				low := int(l.done.Load())
				left := disk.CrashKeeping(percent, rand.New(rand.NewPCG(i, 1)))
				high, cursor, now := int(l.done.Load())+1, l.cursor.Load(), l.now.Load()
				limit <- struct{}{}
				checks.Go(func() {
					defer func() { <-limit }()
					if err := found(left, now, cursor, want, low, high); err != nil {
						t.Errorf("power fails before operation %d (%s %s): %v", i, op.Kind, op.Path, err)
					}
				})
				return nil
			}))
			if err := l.begin(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(l.live(), l.stop()); err != nil {
				t.Fatal(err)
			}
			checks.Wait()
			t.Logf("%d disks", n.Load())
		})
	}
}

// One write fails, or some do for a while, or one in a few: then, sooner or
// later, the power fails too.
func TestPowerFailsOnAShakyDisk(t *testing.T) {
	t.Parallel()
	want := summaries(t)
	first := *seed
	if first == 0 {
		first = rand.Uint64()
	}
	for s := first; s < first+uint64(sized(150)); s++ {
		chance := rand.New(rand.NewPCG(s, 0))
		from, length, oneIn := chance.Int64N(190), 1+chance.Int64N(20)*chance.Int64N(2), 1+chance.Int64N(3)
		crashAt := from + chance.Int64N(60)
		disk := persist.NewCrashFS()
		var l *life
		var n atomic.Int64
		var once sync.Once
		var left *persist.CrashFS
		var low, high int
		var cursor, now int64
		crash := func() {
			low = int(l.done.Load())
			left = disk.CrashKeeping(chance.IntN(2)*50, rand.New(rand.NewPCG(s, 2)))
			high, cursor, now = int(l.done.Load())+1, l.cursor.Load(), l.now.Load()
		}
		l = newLife(persist.NewFaultyFS(disk, func(op persist.Op) error {
			if !op.Kind.Writes() {
				return nil
			}
			keepOrder(disk, op)
			i := n.Add(1)
			if i >= crashAt {
				once.Do(crash)
			}
			if i >= from && i < from+length && (i-from)%oneIn == 0 {
				return syscall.EIO
			}
			return nil
		}))
		err := l.begin()
		if err == nil {
			err = errors.Join(l.live(), l.stop())
		}
		if err == nil && left != nil {
			err = found(left, now, cursor, want, low, high)
		}
		if err == nil {
			err = l.same(disk.Crash(), want)
		}
		if err != nil {
			t.Fatalf("seed %d: write %d and %d after it fail, one in %d, the power at %d: %v", s, from, length, oneIn, crashAt, err)
		}
	}
	t.Logf("seeds from %d", first)
}
