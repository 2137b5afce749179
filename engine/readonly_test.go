package engine_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// A start on a disk that takes no writes serves what is there and says so; when the
// disk is willing, it goes on by itself, without a write being asked for, and what
// the crash took of bodies is there as after any other start.
func TestStartOnADiskThatRefuses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, cause := range []error{syscall.ENOSPC, syscall.EROFS} {
		for seed := range uint64(6) {
			disk := persist.NewCrashFS()
			before := enginetest.NewRig(t, func(o *engine.Options) { o.FS = disk })
			everyKindOfWrite(t, before)
			if seed%2 == 1 {
				wants(t, before.Snapshot(ctx), nil)
			}
			p := populated{before, t}
			ids := []engine.AlertID{p.add("192.0.2.101", "4h"), p.add("192.0.2.102", "4h"), p.add("192.0.2.103", "4h")}
			wants(t, before.DeleteAlert(ctx, ids[1], before.Now().UnixNano()), nil)
			p.add("192.0.2.104", "4h")
			left := disk.CrashKeeping(int(seed/2)*50, rand.New(rand.NewPCG(seed, 0)))

			at := before.Now()
			now := func() time.Time { return at }
			healthy, err := engine.Open(&engine.Options{Dir: before.Options.Dir, FS: left.Crash(), Now: now})
			wants(t, err, nil)
			want := digestAndTell(t, healthy)
			wants(t, healthy.Close(), nil)

			var unwilling atomic.Bool
			unwilling.Store(true)
			f := persist.NewFaultyFS(left, func(op persist.Op) error {
				if unwilling.Load() && op.Kind.Writes() && op.Kind != persist.OpLock {
					return cause
				}
				return nil
			})
			// Fifty times as fast as the wall: retries, which come once a second, do not take
			// long, and however slow the machine is no decision of hours ends meanwhile.
			began := time.Now()
			o := &engine.Options{Dir: before.Options.Dir, FS: f, Now: now, Steady: func() time.Duration { return 50 * time.Since(began) }}
			e, err := engine.Open(o)
			wants(t, err, nil)
			if ts := e.Troubles(); len(ts) != 1 || ts[0].Kind != engine.TroubleReadOnly || !strings.Contains(ts[0].Text, cause.Error()) {
				t.Errorf("its troubles are %+v", ts)
			}
			if got := digestAndTell(t, e); strings.SplitN(got, "\n", 2)[0] != strings.SplitN(want, "\n", 2)[0] {
				t.Errorf("it serves %.100s, not %.100s", got, want)
			}
			running, stop := context.WithCancel(ctx)
			ended := make(chan error)
			go func() { ended <- e.Run(running) }()
			if _, err := e.AddAlerts(ctx, "", one(before, "192.0.2.9"), at.UnixNano()); !errors.Is(err, engine.ErrDisk) {
				t.Errorf("a write: %v", err)
			}
			unwilling.Store(false)
			until(func() bool { e.Wake(); return len(e.Troubles()) == 0 })
			stop()
			wants(t, <-ended, nil)
			if told := bodies(digestAndTell(t, e)); told != bodies(want) {
				t.Errorf("%v, %d: afterwards it tells\n%s\nnot\n%s", cause, seed, told, bodies(want))
			}
			wants(t, e.Close(), nil)
			again, err := engine.Open(&engine.Options{Dir: before.Options.Dir, FS: left, Now: now})
			wants(t, err, nil)
			if told := bodies(digestAndTell(t, again)); told != bodies(want) {
				t.Errorf("%v, %d: the next start tells\n%s\nnot\n%s", cause, seed, told, bodies(want))
			}
			wants(t, again.Close(), nil)
			before.Stop()
		}
	}
	_, err := engine.Open(&engine.Options{Dir: "none", FS: persist.NewFaultyFS(persist.NewMemFS(), func(op persist.Op) error {
		if op.Kind.Writes() {
			return syscall.ENOSPC
		}
		return nil
	})})
	if !errors.Is(err, persist.ErrDisk) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a store that is not there yet: %v", err)
	}
}

// bodies is the part of what is told that rows on the disk are asked for.
func bodies(told string) string {
	_, told, _ = strings.Cut(told, "\n")
	told, _, _ = strings.Cut(told, "\nmachine ")
	return told
}
