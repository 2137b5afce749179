package budget

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

func holdOf(p *Purse, name string) *Hold { return &Hold{Of: Holder{Name: name}, From: p} }

// TestPurse holds the rules by which memory is shared out.
func TestPurse(t *testing.T) {
	t.Parallel()
	p := NewPurse(1000, nil)
	whole := holdOf(p, "a")
	if !whole.Take(600) || !whole.Take(400) || whole.Take(1) || holdOf(p, "b").Take(1) {
		t.Error("a single body may not have all, or more than that")
	}
	whole.Release()
	first, second, other := holdOf(p, "a"), holdOf(p, "a"), holdOf(p, "b")
	if !first.Take(300) || second.Take(300) || !second.Take(200) || holdOf(p, "a").Take(1) {
		t.Error("two bodies of one holder take more or less than half")
	}
	if other.Take(501) || !other.Take(500) || p.InUse() != 1000 {
		t.Error("another may have more or less than half")
	}
	for _, h := range []*Hold{first, second, other, holdOf(p, "c")} {
		h.Release()
	}
	if p.InUse() != 0 || len(p.by) != 0 {
		t.Errorf("%d bytes are lost", p.InUse())
	}
}

// TestPurseIsNeverEmpty has greedy holders take all they may, again and again: as
// much as each of them has is left for a newcomer.
func TestPurseIsNeverEmpty(t *testing.T) {
	t.Parallel()
	const greedy = 10
	p := NewPurse(1<<20, nil)
	var has [greedy][]*Hold
	for range 200 {
		for i := range greedy {
			for _, h := range has[i] {
				h.Release()
			}
			has[i] = nil
			for one := holdOf(p, fmt.Sprint(i)); one.Take(1 << 10); one = holdOf(p, fmt.Sprint(i)) {
				has[i] = append(has[i], one)
			}
		}
	}
	if left := p.most - p.InUse(); left < p.most/(greedy+2) {
		t.Errorf("%d of %d bytes are left", left, p.most)
	}
}

// TestPurseWaits holds who is let in when somebody leaves: who has least, before
// who asked first.
func TestPurseWaits(t *testing.T) {
	t.Parallel()
	p := NewPurse(1000, nil)
	a, b, again, c := holdOf(p, "a"), holdOf(p, "b"), holdOf(p, "a"), holdOf(p, "c")
	a.Take(500)
	b.Take(500)
	got := make(chan *Hold, 2)
	life := make(chan struct{})
	queued := func(n int) {
		for {
			p.mu.Lock()
			m := len(p.queue)
			p.mu.Unlock()
			if m == n {
				return
			}
			runtime.Gosched()
		}
	}
	wait := func(h *Hold) {
		if h.Await(200, time.Hour, life) {
			got <- h
		} else {
			got <- nil
		}
	}
	go wait(again)
	queued(1)
	go wait(c)
	queued(2)
	if holdOf(p, "d").Await(1, time.Nanosecond, life) {
		t.Error("there is more than there is")
	}
	b.Release()
	if h := <-got; h != c {
		t.Errorf("%v was let in", h)
	}
	close(life)
	if h := <-got; h != nil || len(p.queue) != 0 {
		t.Error("who waited at the end was let in")
	}
}

// TestLabour has bodies come and go: whoever shares the processors out is told of
// each once, and when it is over.
func TestLabour(t *testing.T) {
	t.Parallel()
	var at, most int
	p := NewPurse(1000, func(change int) { at += change; most = max(most, at) })
	var a, b Hold
	a.Of, b.Of, a.From, b.From = Holder{Name: "a"}, Holder{Name: "b"}, p, p
	for _, h := range []*Hold{&a, &a, &b} {
		if !h.Take(100) {
			t.Fatal("there is room")
		}
	}
	if b.Take(1000) || at != 2 {
		t.Error("two are at work, told:", at)
	}
	a.Release()
	b.Release()
	if b.Release(); at != 0 || most != 2 {
		t.Error("nobody is at work any more, told:", at, most)
	}
}
