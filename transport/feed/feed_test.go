package feed

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
)

// TestWhichAnswer follows one bouncer: which answer each of its polls gets, and what
// that does to its cursor.
func TestWhichAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	row := h.row("fw")
	at := func() engine.Revision { rev, _ := row.Cursor(); return rev }
	hasty := func(raw string) *Poll { p := h.asks(row, raw); p.MayWait = false; return p }

	h.ban("192.0.2.1")
	if a, err := h.feed.Poll(hasty("")); !errors.Is(err, ErrWouldWait) || a.Whole != nil || a.Body != nil {
		t.Errorf("a bouncer that never pulled, on a loop: %v %v", a, err)
	}
	if fresh, _ := lists(t, string(h.hear(h.asks(row, "")))); !slices.Equal(fresh, []string{"192.0.2.1"}) {
		t.Errorf("a bouncer that never pulled is told %v", fresh)
	}
	if all := h.hear(hasty("")); &all[0] != &EmptyAnswer[0] {
		t.Errorf("at the newest revision: %s", all)
	}
	h.ban("192.0.2.2")
	before := at()
	a, err := h.feed.Poll(hasty(""))
	h.must(err)
	if fresh, _ := lists(t, string(a.Whole)); !slices.Equal(fresh, []string{"192.0.2.2"}) || at() != before {
		t.Errorf("a delta: %v, and the cursor went from %d to %d before it left", fresh, before, at())
	}
	if !a.Moves.Offer(nil) || at() != h.View().Revision() {
		t.Error("the cursor does not move when the answer leaves")
	}
	a.Moves.Lost()
	if at() != before {
		t.Error("an answer that was lost is not taken back")
	}
	if all := h.hear(hasty("origins=CAPI")); &all[0] != &EmptyAnswer[0] || at() != h.View().Revision() {
		t.Errorf("nothing changed for the question: %s, and the cursor is at %d", all, at())
	}
	if _, err := h.feed.Poll(hasty("startup=true")); !errors.Is(err, ErrWouldWait) {
		t.Errorf("a startup, on a loop: %v", err)
	}
	before = at()
	h.banMany(longDelta + 1)
	if _, err := h.feed.Poll(hasty("")); !errors.Is(err, ErrWouldWait) || at() != before {
		t.Errorf("a long delta, on a loop: %v, and the cursor went from %d to %d", err, before, at())
	}
	if fresh, _ := lists(t, string(h.hear(h.asks(row, "")))); len(fresh) != longDelta+1 || at() != h.View().Revision() {
		t.Errorf("a long delta: %d decisions, and the cursor is at %d", len(fresh), at())
	}
}

// TestSharedDelta has bouncers follow closely: they get the same bytes, also when a
// commit came between that changes no decision; and others with another question.
func TestSharedDelta(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	one, two, three := h.row("one"), h.row("two"), h.row("three")
	for _, row := range []*engine.BouncerRow{one, two, three} {
		row.Advance(h.View().Revision(), h.Engine.Now())
	}
	h.banMany(30)
	first := h.hear(h.asks(one, ""))
	h.row("another")
	if second := h.hear(h.asks(two, "")); &first[0] != &second[0] || len(first) != len(second) {
		t.Error("the delta was encoded twice")
	}
	if fresh, _ := lists(t, string(first)); len(fresh) != 30 {
		t.Errorf("%d decisions", len(fresh))
	}
	if third := h.hear(h.asks(three, "dedup=false")); &first[0] == &third[0] {
		t.Error("another question got the same answer")
	}
}

// TestPollAllocatesNothing holds it for polls that have nothing to tell: at the newest
// revision, and past changes that the question does not admit.
func TestPollAllocatesNothing(t *testing.T) {
	h := newHouse(t)
	row := h.row("fw")
	h.ban("192.0.2.1")
	before := h.View().Revision()
	row.Advance(before, h.Engine.Now())
	h.ban("192.0.2.2")
	for name, after := range map[string]engine.Revision{"newest": h.View().Revision(), "behind": before} {
		p := h.asks(row, "origins=CAPI")
		p.MayWait = false
		poll := func() {
			row.Forget()
			row.Advance(after, p.Query.Now)
			if a, err := h.feed.Poll(p); err != nil || !bytes.Equal(a.Whole, EmptyAnswer) {
				t.Fatal(name, err, string(a.Whole))
			}
		}
		poll()
		if n := testing.AllocsPerRun(200, poll); n != 0 && !raced {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestStartupsAskNoDisk has a full state shared after a commit that changes no
// decision, while the store is closed: whether it is still good is asked with all
// shared answers locked, and must not wait for a disk.
func TestStartupsAskNoDisk(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	row := h.row("fw")
	h.banMany(3000)
	want := h.hear(h.asks(row, "startup=true"))
	before := h.View().Revision()
	h.row("other")
	if h.View().Revision() == before {
		t.Fatal("nothing was committed")
	}
	p := h.asks(row, "startup=true")
	h.Stop()
	if got := h.hear(p); !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d", len(got), len(want))
	}
	if n := h.feed.Usage().Encoded; n != 1 {
		t.Errorf("%d answers were encoded", n)
	}
}

// TestHiddenChange ends the longer of two decisions between two startups of one
// second: a delta would not tell, but the second startup must. And so must one that
// comes after a decision that was over when it came, which no delta tells.
func TestHiddenChange(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	row := h.row("fw")
	h.banFor("1h", "192.0.2.1")
	h.banFor("4h", "192.0.2.1")
	started := func() string { return string(h.hear(h.asks(row, "startup=true"))) }
	if got := started(); !strings.Contains(got, `"4h0m0s"`) || strings.Contains(got, `"1h0m0s"`) {
		t.Errorf("before: %s", got)
	}
	h.must(h.EndDecision(t.Context(), 2, h.Engine.Now()))
	if got := started(); !strings.Contains(got, `"1h0m0s"`) || strings.Contains(got, `"4h0m0s"`) {
		t.Errorf("after: %s", got)
	}
	h.banFor("-1h", "192.0.2.9")
	if got := started(); !strings.Contains(got, "192.0.2.9") {
		t.Errorf("over on arrival: %s", got)
	}
}

// TestTooManyQuestions asks more different questions at once than answers are shared:
// all polls are answered all the same, and nothing is kept in the end.
func TestTooManyQuestions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.banMany(3000)
	var all sync.WaitGroup
	for i := range 30 {
		p := h.asks(h.row(fmt.Sprint("fw", i)), fmt.Sprintf("startup=true&x=%d", i%10))
		all.Go(func() {
			if fresh, _ := lists(t, string(h.hear(p))); len(fresh) != 3000 {
				t.Errorf("%d decisions", len(fresh))
			}
		})
	}
	all.Wait()
	h.Advance((staleAtMost + 1) * time.Second)
	h.feed.Sweep(h.Engine.Now())
	if u := h.feed.Usage(); u.AnswerBytes != 0 || u.SharedBytes != 0 || u.Shared != 0 {
		t.Errorf("in the end %+v", u)
	}
}

// TestNoSharedMemory: answers that find no memory to be shared in are encoded for each
// of their readers, and are the same bytes.
func TestNoSharedMemory(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.banMany(5000)
	row := h.row("fw")
	want := h.hear(h.asks(row, "startup=true"))
	h.feed = h.newFeed(func(o *Options) { o.SharedMemory = 64 << 10 })
	got := h.hear(h.asks(row, "startup=true"))
	if fresh, _ := lists(t, string(got)); len(fresh) != 5000 || !bytes.Equal(got, want) {
		t.Errorf("%d decisions, %d bytes of %d", len(fresh), len(got), len(want))
	}
}
