package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// pair is two engines on one history, each with a disk of its own.
type pair struct {
	t      *testing.T
	agreed *enginetest.Agreed
	nodes  [2]*enginetest.AgreedNode
	rigs   [2]*enginetest.Rig
	engine [2]atomic.Pointer[engine.Engine] // of rigs, for other goroutines: a crash replaces it
	writer atomic.Int32

	mu       sync.Mutex
	answered map[string]bool // values of bans that were answered
	unsure   map[string]bool // of bans whose fate is not known
	settled  chan struct{}   // has room for one: some ban is in either
}

func newPair(t *testing.T, seed uint64) *pair {
	p := &pair{t: t, agreed: enginetest.NewAgreed(seed), answered: map[string]bool{}, unsure: map[string]bool{}, settled: make(chan struct{}, 1)}
	for i := range p.rigs {
		p.nodes[i] = p.agreed.Node()
		p.rigs[i] = enginetest.NewRig(t, func(o *engine.Options) {
			o.FS, o.Journal = persist.NewCrashFS(), p.nodes[i]
		})
		p.engine[i].Store(p.rigs[i].Engine)
	}
	return p
}

// lead makes an engine the writer, whatever the log does to its first commit.
func (p *pair) lead(i int) {
	for p.nodes[i].Claim(); ; {
		err := p.rigs[i].Lead(context.Background())
		if err == nil {
			break
		}
		if !errors.Is(err, engine.ErrUnsure) {
			p.t.Fatalf("leading: %v", err)
		}
	}
	p.writer.Store(int32(i))
}

// ban asks one engine after the other until the write is answered or its fate is not known.
func (p *pair) ban(value string) {
	for {
		e := p.engine[p.writer.Load()].Load()
		a := &engine.Alert{Scenario: "load", StopAt: engine.StampOf(enginetest.Epoch), Decisions: []engine.NewDecision{
			{Scope: "Ip", Value: value, Type: "ban", Origin: "crowdsec", Scenario: "load", Duration: "4h"}}}
		_, err := e.AddAlerts(context.Background(), "", []*engine.Alert{a}, enginetest.Epoch.UnixNano())
		if errors.Is(err, engine.ErrNotWriter) || errors.Is(err, engine.ErrClosed) {
			select { // whoever makes another the writer must not wait for those who only ask again
			case <-e.Changed():
			case <-time.After(time.Millisecond):
			}
			continue
		}
		p.mu.Lock()
		if err == nil {
			p.answered[value] = true
		} else if p.unsure[value] = true; !errors.Is(err, engine.ErrUnsure) {
			p.t.Errorf("ban %s: %v", value, err)
		}
		p.mu.Unlock()
		select {
		case p.settled <- struct{}{}:
		default:
		}
		return
	}
}

// poll is a bouncer of one engine: it asks again and again until stop is closed, and
// once more, and then holds what is so.
func (p *pair) poll(i int, stop <-chan struct{}) {
	c := &enginetest.Client{Query: p.rigs[i].Ask()}
	for last := false; ; {
		e := p.engine[i].Load()
		if err := c.Poll(e, enginetest.Epoch.UnixNano()); err != nil {
			p.t.Errorf("a reader of engine %d: %v", i, err)
		}
		if last {
			break
		}
		changed := e.Changed()
		select {
		case <-stop:
			last = true
		case <-changed:
		case <-time.After(time.Millisecond): // a crash took the engine
		}
	}
	if want := p.running(i); !maps.Equal(c.Holds, want) {
		p.t.Errorf("a reader of engine %d holds %d decisions of %d", i, len(c.Holds), len(want))
	}
}

func (p *pair) running(i int) map[enginetest.Target]bool {
	q := p.rigs[i].Ask()
	q.Now = enginetest.Epoch.UnixNano()
	all := map[enginetest.Target]bool{}
	running, _ := enginetest.FullState(p.engine[i].Load().View(), q)
	for _, d := range running {
		all[enginetest.Target{Scope: d.Scope().S, Value: d.Value(), Type: d.Type().S}] = true
	}
	return all
}

// agree waits until both have everything and compares them.
func (p *pair) agree() {
	p.t.Helper()
	newest, _ := p.nodes[0].Newest(context.Background())
	for i := range p.rigs {
		if err := p.rigs[i].Reach(context.Background(), newest); err != nil {
			p.t.Fatal(err)
		}
	}
	a, b := p.rigs[0], p.rigs[1]
	if a.View().Revision() != b.View().Revision() || a.Digest() != b.Digest() {
		p.t.Errorf("at revisions %d and %d the digests are %x and %x", a.View().Revision(), b.View().Revision(), a.Digest(), b.Digest())
	}
}

// Two engines on one history: one writes under load, the other follows with readers on it;
// the writer changes in the middle, by order and by surprise, and followers crash.
// Nothing that was answered is lost, nothing is there twice or without being asked for, both
// have the same state, and no reader notices.
func TestLeadAndYield(t *testing.T) {
	t.Parallel()
	var wrong struct{ lost, late, doubled, refused, unsure atomic.Int64 }
	t.Run("seed", func(t *testing.T) {
		for seed := range uint64(6) { // 0 is without accidents
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				p := newPair(t, seed)
				p.lead(0)
				p.disturbUnderLoad(8, max(sized(60), 30))
				p.agree()
				for _, r := range p.rigs {
					r.Restart() // on what its own disk has, and the rest of the history
				}
				p.agree()
				wrong.lost.Add(int64(p.agreed.Lost))
				wrong.late.Add(int64(p.agreed.Late))
				wrong.doubled.Add(int64(p.agreed.Doubled))
				wrong.refused.Add(int64(p.agreed.Refused))
				wrong.unsure.Add(int64(p.agreed.Unsure))
			})
		}
	})
	w := &wrong
	for name, n := range map[string]*atomic.Int64{"lost": &w.lost, "late": &w.late, "doubled": &w.doubled, "refused": &w.refused, "unsure": &w.unsure} {
		if n.Load() == 0 {
			t.Errorf("nothing was %s", name)
		}
	}
}

// disturbUnderLoad changes the writer again and again while others write and read. Between two changes a write comes to
// its end, if there is one who writes: on a machine at work none ever would otherwise.
func (p *pair) disturbUnderLoad(writers, each int) {
	stop := make(chan struct{})
	var load, readers sync.WaitGroup
	for i := range p.rigs {
		readers.Go(func() { p.poll(i, stop) })
	}
	for w := range writers {
		load.Go(func() {
			for n := range each {
				p.ban(fmt.Sprintf("10.%d.0.%d", w, n))
			}
		})
	}
	over := make(chan struct{})
	go func() { load.Wait(); close(over) }()
	for turn := 0; p.goesOn(over); turn++ {
		now := int(p.writer.Load())
		next := 1 - now
		switch turn % 4 {
		case 0: // the writer is asked to go
			p.must(p.rigs[now].Yield(context.Background()))
			p.lead(next)
		case 1: // the writer learns of it by its next commit
			p.lead(next)
		case 2: // a follower crashes
			p.rigs[next].Crash()
			p.engine[next].Store(p.rigs[next].Engine)
		case 3: // the same one again
			p.must(p.rigs[now].Yield(context.Background()))
			p.lead(now)
		}
	}
	if !p.rigs[p.writer.Load()].Writes() {
		p.lead(int(p.writer.Load()))
	}
	p.agree()
	close(stop)
	readers.Wait()
	p.nothingLost()
}

// goesOn waits for the next write that comes to its end, unless the writer does not write, as after an answer that was
// lost: then none does. False: there is none any more.
func (p *pair) goesOn(over <-chan struct{}) bool {
	for p.rigs[p.writer.Load()].Writes() {
		select {
		case <-p.settled:
			return true
		case <-over:
			return false
		case <-time.After(time.Millisecond): // it may have lost that
		}
	}
	select {
	case <-over:
		return false
	default:
		return true
	}
}

func (p *pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) nothingLost() {
	p.t.Helper()
	for i := range p.rigs {
		running := p.running(i)
		for value := range p.answered {
			if !running[enginetest.Target{Scope: "Ip", Value: value, Type: "ban"}] {
				p.t.Errorf("engine %d does not have %s, which was answered", i, value)
			}
		}
		for target := range running {
			if !p.answered[target.Value] && !p.unsure[target.Value] {
				p.t.Errorf("engine %d has %s, which nobody asked for", i, target.Value)
			}
		}
		values := map[string]int{}
		q := p.rigs[i].Ask()
		q.Dedup = false
		list, _ := enginetest.FullState(p.rigs[i].View(), q)
		for _, d := range list {
			values[d.Value()]++
		}
		for _, value := range slices.Sorted(maps.Keys(values)) {
			if values[value] != 1 {
				p.t.Errorf("engine %d has %s %d times", i, value, values[value])
			}
		}
	}
}

// An engine that follows refuses writes and begins nothing itself: decisions end where the
// writer says so, and until then a reader is told by their time.
func TestFollowerBeginsNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t, 0)
	p.lead(0)
	p.ban("192.0.2.1")
	p.agree()
	writer, follower := p.rigs[0], p.rigs[1]
	ctx := context.Background()
	if _, err := follower.AddBouncer(ctx, &engine.Bouncer{Name: "fw"}); !errors.Is(err, engine.ErrNotWriter) {
		t.Errorf("a write: %v", err)
	}
	if err := follower.Snapshot(ctx); err != nil {
		t.Errorf("a snapshot is a chore: %v", err)
	}
	follower.Step(5 * time.Hour)
	for range 3 { // it has looked at the clock by then
		p.must(follower.Snapshot(ctx))
	}
	if rev := follower.View().Revision(); rev != writer.View().Revision() {
		t.Errorf("the follower went on to revision %d by itself", rev)
	}
	q := follower.Ask()
	q.Now = follower.Now().UnixNano()
	if running, _ := enginetest.FullState(follower.View(), q); len(running) != 0 {
		t.Errorf("%d decisions run though their time is over", len(running))
	}
	writer.Advance(5 * time.Hour)
	p.agree()
	if err := errors.Join(p.rigs[0].Yield(ctx), p.rigs[0].Yield(ctx)); err != nil {
		t.Errorf("yielding twice: %v", err)
	}
	if _, err := writer.AddBouncer(ctx, &engine.Bouncer{Name: "fw"}); !errors.Is(err, engine.ErrNotWriter) {
		t.Errorf("a write after Yield: %v", err)
	}
	p.lead(1)
	if _, err := follower.AddBouncer(ctx, &engine.Bouncer{Name: "fw"}); err != nil {
		t.Errorf("a write after Lead: %v", err)
	}
	p.agree()
}

// A follower whose disk refuses goes on following in memory; when the disk is willing again
// the store is brought up by a snapshot, and goes on from there.
func TestFollowerWithoutDisk(t *testing.T) {
	t.Parallel()
	p := newPair(t, 0)
	f := &full{disk: persist.NewCrashFS()}
	p.rigs[1] = enginetest.NewRig(t, func(o *engine.Options) { o.FS, o.Journal = f.fs(), p.agreed.Node() })
	p.engine[1].Store(p.rigs[1].Engine)
	follower := p.rigs[1]
	p.lead(0)
	p.ban("192.0.2.1")
	p.agree()
	var cause error = syscall.ENOSPC
	f.err.Store(&cause)
	for i := range 20 {
		p.ban(fmt.Sprintf("192.0.2.%d", 10+i))
		if i == 10 { // unsynced writes do not learn what the disk says
			p.agree()
			until(func() bool { return errors.Is(follower.Store().Mark(), persist.ErrDisk) })
		}
	}
	p.agree()
	if last := follower.Store().Last(); last >= uint64(follower.View().Revision()) {
		t.Errorf("the store has revision %d on a disk that refuses", last)
	}
	f.err.Store(nil)
	until(func() bool {
		follower.Step(2 * time.Second)
		return follower.Store().Last() == uint64(follower.View().Revision())
	})
	before := follower.View().Revision()
	p.ban("192.0.2.99")
	p.agree()
	if commits, ok := follower.Commits(before); !ok {
		t.Error("the history does not reach back to where the store was brought up")
	} else {
		for rev := range commits {
			before = rev
		}
		if before != follower.View().Revision() {
			t.Errorf("the history ends with revision %d", before)
		}
	}
	if _, ok := follower.Commits(2); ok {
		t.Error("the history reaches back over what the store missed")
	}
	follower.Restart()
	p.agree()
	p.nothingLost()
}
