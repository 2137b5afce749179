package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"lapid/engine"
	"lapid/persist"
)

// TestStartIsLeft: a start whose disk does not answer, at whatever operation, is left
// when its context ends. When the disk answers again the folder is given back, and
// the next start finds all that there was.
func TestStartIsLeft(t *testing.T) {
	t.Parallel()
	want := summaries(t)
	disk := persist.NewCrashFS()
	l := newLife(disk)
	if err := errors.Join(l.begin(), l.live()); err != nil {
		t.Fatal(err)
	}
	killed := disk.CrashKeeping(100, rand.New(rand.NewPCG(1, 1)))
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	var operations atomic.Int64
	count := newLife(persist.NewFaultyFS(killed.Crash(), func(persist.Op) error { operations.Add(1); return nil }))
	e, err := engine.Open(count.options())
	wants(t, err, nil)
	n := operations.Load()
	wants(t, e.Close(), nil)
	var all sync.WaitGroup
	for at := int64(1); at <= n; at += 1 + n/100 {
		all.Go(func() {
			if err := leaveAt(killed.Crash(), at, want[len(want)-1]); err != nil {
				t.Errorf("operation %d of %d: %v", at, n, err)
			}
		})
	}
	all.Wait()
}

// leaveAt has one operation of a start hang until the start has been left.
func leaveAt(disk *persist.CrashFS, at int64, want string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var operations atomic.Int64
	answer := make(chan struct{})
	l := newLife(persist.NewFaultyFS(disk, func(persist.Op) error {
		if operations.Add(1) == at {
			cancel()
			<-answer
		}
		return nil
	}))
	e, err := engine.OpenContext(ctx, l.options())
	close(answer)
	if err == nil { // it did without the operation, or was through
		return e.Close()
	}
	if !errors.Is(err, context.Canceled) {
		return err
	}
	for {
		e, err = engine.Open(l.options())
		if !errors.Is(err, persist.ErrLocked) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("the next start: %w", err)
	}
	l.e = e
	got, err := l.summary()
	if err == nil && got != want {
		err = fmt.Errorf("the next start finds\n%s\nand there was\n%s", got, want)
	}
	return errors.Join(err, e.Check(), e.Close())
}
