package index

import (
	"math"
	"slices"
	"testing"
)

const (
	tick  = int64(1) << tickBits
	day   = int64(86_400e9)
	birth = int64(1_750_000_000e9) // some moment in 2025
)

// wheel is a Deadlines and its twin, a map.
type wheel struct {
	*Deadlines
	at    map[Slot]int64
	order []Slot // everything handed out
	last  int64  // the latest now
}

func newWheel() *wheel {
	w := &wheel{at: map[Slot]int64{}, last: math.MinInt64}
	w.Deadlines = NewDeadlines(func(n Slot) int64 { return w.at[n] })
	return w
}

func (w *wheel) add(n Slot, at int64) {
	w.at[n] = at
	w.Add(n)
}

// due asks for what is due and compares it with what should be.
func (w *wheel) due(t *testing.T, now int64) {
	t.Helper()
	next, ok := w.Next()
	earliest, waiting := w.earliest()
	if ok != waiting || ok && next > max(earliest, w.last) {
		t.Fatalf("Next is %d, %v; the earliest is %d, %v", next, ok, earliest, waiting)
	}
	var got []Slot
	w.Due(now, func(n Slot) {
		at, known := w.at[n]
		if !known || at > now {
			t.Fatalf("at %d slot %d is due, its time is %d (%v)", now, n, at, known)
		}
		delete(w.at, n)
		got = append(got, n)
	})
	w.order = append(w.order, got...)
	if len(got) > 0 && now < next {
		t.Fatalf("%d are due at %d, before %d", len(got), now, next)
	}
	if now >= w.last {
		w.last = now
		if earliest, waiting := w.earliest(); waiting && earliest <= now {
			t.Fatalf("at %d one of %d is still waiting", now, earliest)
		}
	} else if len(got) > 0 {
		t.Fatalf("the clock went back from %d to %d, and %v are due", w.last, now, got)
	}
	if w.Len() != len(w.at) {
		t.Fatalf("%d are waiting, want %d", w.Len(), len(w.at))
	}
}

func (w *wheel) earliest() (at int64, ok bool) {
	at = math.MaxInt64
	for _, other := range w.at {
		at = min(at, other)
	}
	return at, len(w.at) > 0
}

func TestDeadlinesLikeMap(t *testing.T) {
	t.Parallel()
	steps := []int64{0, 1, 1000, tick - 1, tick, tick + 1, 63 * tick, 64 * tick, 1e9, 60e9, 3600e9, 4 * 3600e9,
		day, 30 * day, 365 * day, 10_000 * day}
	r := chance(t)
	for range 60 {
		w := newWheel()
		now := birth
		switch r.IntN(4) {
		case 0:
			now = -birth
		case 1:
			now = 0
		}
		if r.IntN(2) == 0 {
			w.due(t, now)
		}
		for n := Slot(1); n < 2_000; n++ {
			at := now + r.Int64N(2*steps[r.IntN(len(steps))]+1)
			switch r.IntN(50) {
			case 0:
				at = now - r.Int64N(day)
			case 1:
				at = []int64{0, -1, math.MinInt64, math.MaxInt64, math.MaxInt64 - 1}[r.IntN(5)]
			}
			w.add(n, at)
			switch r.IntN(12) {
			case 0:
				now += r.Int64N(steps[r.IntN(len(steps)-2)] + 1)
				w.due(t, now)
			case 1:
				w.due(t, now-r.Int64N(day))
			case 2:
				if next, ok := w.Next(); ok && next < now+40*365*day {
					now = max(now, next)
					w.due(t, now)
				}
			}
		}
		w.due(t, math.MaxInt64)
		if w.Len() != 0 {
			t.Fatalf("%d wait for ever", w.Len())
		}
	}
}

// A caller that sleeps until Next and then asks Due hands out everything in its moment.
func TestDeadlinesByNext(t *testing.T) {
	t.Parallel()
	r := chance(t)
	w := newWheel()
	w.due(t, birth)
	for n := Slot(1); n < 1_000; n++ {
		w.add(n, birth+r.Int64N(400*day))
	}
	asked := 0
	for w.Len() > 0 {
		next, _ := w.Next()
		w.due(t, next)
		asked++
	}
	if asked > 1_000*levels {
		t.Errorf("asked %d times for 1 000 slots", asked)
	}
}

func TestDeadlinesSameHistorySameOrder(t *testing.T) {
	t.Parallel()
	first := chance(t).Uint64()
	var orders [2][]Slot
	for i := range orders {
		r := newPCG(first)
		w := newWheel()
		now := birth
		for n := Slot(1); n < 5_000; n++ {
			w.add(n, now+r.Int64N(20)*tick/4)
			if r.IntN(5) == 0 {
				now += r.Int64N(3 * tick)
				w.due(t, now)
			}
		}
		orders[i] = w.order
	}
	if !slices.Equal(orders[0], orders[1]) {
		t.Error("the same history gave two orders")
	}
}

func TestDeadlinesAddWhileDue(t *testing.T) {
	t.Parallel()
	at := map[Slot]int64{1: 5, 2: 6, 3: 9}
	d := NewDeadlines(func(n Slot) int64 { return at[n] })
	d.Due(4, func(Slot) { t.Error("due before anything was added") })
	for n := range Slot(3) {
		d.Add(n + 1)
	}
	var got []Slot
	d.Due(7, func(n Slot) {
		got = append(got, n)
		d.Add(n) // once more, and due already
	})
	if !slices.Equal(got, []Slot{1, 2}) || d.Len() != 3 {
		t.Fatalf("%v are due, %d wait", got, d.Len())
	}
	if next, ok := d.Next(); next != 7 || !ok {
		t.Errorf("Next is %d, want the latest moment", next)
	}
	got = nil
	d.Due(9, func(n Slot) { got = append(got, n) })
	if !slices.Equal(sorted(got), []Slot{1, 2, 3}) || d.Len() != 0 {
		t.Fatalf("%v are due, %d wait", got, d.Len())
	}
}

// Many in one tick are a heap, not a list that is searched again and again.
func TestDeadlinesCrowdedTick(t *testing.T) {
	t.Parallel()
	const many = 50_000
	r := chance(t)
	at := make([]int64, many+1)
	asked := 0
	d := NewDeadlines(func(n Slot) int64 { asked++; return at[n] })
	d.Due(birth, nil)
	start := (birth>>tickBits + 100) << tickBits
	for n := Slot(1); n <= many; n++ {
		at[n] = start + r.Int64N(tick)
		d.Add(n)
	}
	last := int64(0)
	for now := start; d.Len() > 0; now += tick / 1000 {
		d.Due(now, func(n Slot) {
			if at[n] < last || at[n] > now {
				t.Fatalf("%d is handed out at %d, after %d", at[n], now, last)
			}
			last = at[n]
		})
	}
	if asked > 4*many {
		t.Errorf("asked for %d due times of %d slots", asked, many)
	}
	if cap(d.near) > nearKept {
		t.Errorf("room for %d is kept", cap(d.near))
	}
}

// A turn that moves many slots pauses between stretches of few, whether they come due at
// once or go to another level.
func TestLongTurnsPause(t *testing.T) {
	t.Parallel()
	const held = 10_000
	w := newWheel()
	pauses := 0
	w.Pause = func() { pauses++ }
	w.due(t, birth)
	for n := range Slot(held) {
		w.add(n+1, birth+10*day)
	}
	w.due(t, birth+10*day-1)
	if least := held / turnedAtOnce; pauses < least {
		t.Errorf("%d pauses while %d slots come nearer, want %d", pauses, held, least)
	}
	pauses = 0
	w.due(t, birth+20*day)
	if w.Len() != 0 {
		t.Errorf("%d slots are left", w.Len())
	}
}
