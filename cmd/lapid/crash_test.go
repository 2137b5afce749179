package main

import (
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var (
	kills     = flag.Int("kills", 20, "how often TestCrash kills the server")
	crashSeed = flag.Uint64("crash-seed", 0, "replay the choices of TestCrash and TestSoak; 0: new ones each time")
)

func seedOf(t *testing.T) uint64 {
	s := *crashSeed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-crash-seed %d", s)
	return s
}

// TestCrash kills a real server with SIGKILL at random moments, in the middle of
// writes of every kind, of polls, of snapshots, and of the start after the last
// kill. Nothing that was answered is lost, nothing that was not is half there,
// and bouncers that go on from their cursor miss nothing.
func TestCrash(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	chance := rand.New(rand.NewPCG(seed, 1<<32))
	o := newOracle(newHouse(t), seed, 5, 3, 40)
	o.killed = true
	env := []string{"LAPID_SNAPSHOT_EVERY=1s"}
	p := start(t, env, "-c", o.file, "serve")
	o.awaitHealth(p)
	began := time.Now()
	for round := range *kills {
		o.up()
		o.turmoil(t, p, round, time.Duration(chance.IntN(int(lengthOf(chance)))))
		for chance.IntN(4) == 0 { // and again while it starts
			p = start(t, env, "-c", o.file, "serve")
			<-time.After(time.Duration(chance.IntN(int(80 * time.Millisecond))))
			kill(t, p)
		}
		p = start(t, env, "-c", o.file, "serve")
		o.awaitHealth(p)
		o.up()
		o.compare()
		o.compareFollowers()
		if t.Failed() {
			t.Fatalf("after kill %d", round+1)
		}
	}
	if o.answers.Load() == 0 {
		t.Error("nothing was ever answered")
	}
	t.Logf("%d kills, %d writes answered, %v", *kills, o.answers.Load(), time.Since(began).Round(time.Second))
}

// lengthOf is how long a round lasts at most: mostly a moment, sometimes long
// enough for a snapshot.
func lengthOf(chance *rand.Rand) time.Duration {
	if chance.IntN(6) == 0 {
		return 2500 * time.Millisecond
	}
	return 150 * time.Millisecond
}

// loose has writers write and bouncers follow until ctx ends.
func (o *oracle) loose(ctx context.Context, all *sync.WaitGroup) {
	for _, w := range o.writers {
		all.Go(func() { o.write(ctx, w) })
	}
	for _, f := range o.bouncers {
		all.Go(func() { o.follow(ctx, f) })
	}
}

// turmoil lets everybody loose on the server, and kills it after a while.
func (o *oracle) turmoil(t *testing.T, p *process, round int, after time.Duration) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	o.loose(ctx, &all)
	all.Go(func() { o.name(ctx, round) })
	<-time.After(after)
	kill(t, p)
	stop()
	all.Wait()
}

func kill(t *testing.T, p *process) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
}
