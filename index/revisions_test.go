package index

import (
	"slices"
	"testing"
)

type change struct {
	rev   uint64
	event Event
}

func TestRevisionsLikeSlice(t *testing.T) {
	t.Parallel()
	r := chance(t)
	for range 6 {
		var revisions Revisions
		var twin []change
		rev, floor := uint64(r.IntN(2)*1000), uint64(0)
		if rev > 0 {
			floor = rev
			revisions.Reset(floor)
		}
		type bookmark struct {
			window Window
			want   []Event
		}
		var kept []bookmark
		for range 400 {
			rev += 1 + uint64(r.IntN(3))
			events := r.IntN(5)
			if r.IntN(30) == 0 {
				events = r.IntN(3 * chunkLen)
			}
			begun := len(twin)
			for range events {
				n, ended := Slot(r.Uint32N(uint32(MaxSlot)))+1, r.IntN(2) == 0
				revisions.Append(rev, n, ended)
				e := Event(n) << 1
				if ended {
					e |= 1
				}
				if e.Slot() != n || e.Ended() != ended {
					t.Fatalf("event %x is about %d, %v", e, e.Slot(), e.Ended())
				}
				twin = append(twin, change{rev, e})
			}
			if got := revisions.Len(); got != begun {
				t.Fatalf("%d events are seen before they are published, want %d", got, begun)
			}
			revisions.Publish(rev)
			after := floor + uint64(r.IntN(int(rev-floor)+2))
			upto := after + uint64(r.IntN(int(rev-floor)+2))
			window, ok := revisions.Window(after, upto)
			want := stretch(twin, after, upto)
			if got := events32(window); !ok || !slices.Equal(got, want) {
				t.Fatalf("%d to %d: %d events (%v), want %d", after, upto, len(got), ok, len(want))
			}
			kept = append(kept, bookmark{window, want})
			if r.IntN(20) == 0 {
				twin, floor = trim(t, &revisions, twin, floor, r.IntN(2*chunkLen))
			}
		}
		for _, b := range kept {
			if !slices.Equal(events32(b.window), b.want) {
				t.Fatal("a window has changed")
			}
		}
		revisions.Reset(7)
		if _, ok := revisions.Window(6, 9); ok || revisions.Len() != 0 || revisions.Floor() != 7 {
			t.Fatalf("after Reset: %d events after %d", revisions.Len(), revisions.Floor())
		}
	}
}

// trim cuts both, compares what is left, and returns the twin's rest and floor.
func trim(t *testing.T, r *Revisions, twin []change, floor uint64, keep int) ([]change, uint64) {
	t.Helper()
	cut := 0
	for len(twin)-cut > keep {
		floor = twin[cut].rev
		for cut < len(twin) && twin[cut].rev == floor {
			cut++
		}
	}
	r.Trim(keep)
	if r.Floor() != floor || r.Len() != len(twin)-cut {
		t.Fatalf("%d events after %d, want %d after %d", r.Len(), r.Floor(), len(twin)-cut, floor)
	}
	if floor > 0 {
		if _, ok := r.Window(floor-1, floor); ok {
			t.Fatalf("history reaches before %d", floor)
		}
	}
	if _, ok := r.Window(floor, floor); !ok {
		t.Fatalf("history does not reach back to %d", floor)
	}
	return twin[cut:], floor
}

func stretch(twin []change, after, upto uint64) []Event {
	var events []Event
	for _, c := range twin {
		if after < c.rev && c.rev <= upto {
			events = append(events, c.event)
		}
	}
	return events
}

func events32(w Window) []Event {
	var events []Event
	for i := range w.Len() {
		events = append(events, w.At(i))
	}
	return events
}

func TestRevisionsForgetMemory(t *testing.T) {
	t.Parallel()
	var r Revisions
	for rev := uint64(1); rev <= 20*chunkLen; rev++ {
		r.Append(rev, 1, false)
		r.Publish(rev)
		if rev%1000 == 0 {
			r.Trim(100)
		}
	}
	if chunks := len(r.events.chunks) + len(r.marks.chunks); chunks > 4 {
		t.Errorf("%d chunks are kept for 100 events", chunks)
	}
}
