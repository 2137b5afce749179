package index

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

type stamped struct{ begun, ended atomic.Uint64 }

// chunksOf is how many chunks of a slab take memory.
func chunksOf[T any](s *Slab[T]) (n int) {
	for _, c := range *s.records.dir.Load() {
		if c != s.none || s.none == nil {
			n++
		}
	}
	return n
}

// What is free goes, chunk by chunk, but for what shall be spared; what is in use
// stays where it is; and all slots are given again.
func TestSlabRelease(t *testing.T) {
	t.Parallel()
	const chunks = 20
	var slab Slab[stamped]
	places := map[Slot]*stamped{}
	for n := Slot(1); n < chunks<<chunkBits; n++ {
		got, r := slab.New()
		if got != n {
			t.Fatalf("slot %d instead of %d", got, n)
		}
		r.begun.Store(uint64(n))
		places[n] = r
	}
	var told []Slot
	tell := func(first, last Slot) {
		told = append(told, first>>chunkBits)
		if last-first != chunkMask {
			t.Errorf("%d to %d", first, last)
		}
	}
	for n := Slot(1); n < chunks<<chunkBits; n++ {
		if n != 5<<chunkBits+7 && n>>chunkBits != 9 { // one in chunk 5, all of chunk 9
			slab.Free(n)
			delete(places, n)
		}
	}
	slab.Release(3<<chunkBits, tell)
	// Free are 19 chunks, less one record; 17 of them whole; three chunks' worth is spared.
	if want := []Slot{19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 8, 7, 6, 4, 3}; !slices.Equal(told, want) || chunksOf(&slab) != chunks-len(want) {
		t.Errorf("released %d, want %d; %d chunks are left", told, want, chunksOf(&slab))
	}
	for n, r := range places {
		if slab.At(n) != r || r.begun.Load() != uint64(n) {
			t.Errorf("record %d is another", n)
		}
	}
	for n := Slot(1); n < slab.End(); n++ {
		if r := slab.At(n); places[n] == nil && slices.Contains(told, n>>chunkBits) && r.begun.Load() != 0 {
			t.Errorf("record %d has memory", n)
		}
	}
	released := len(told)
	slab.Release(0, tell) // nothing was freed since
	if len(told) != released {
		t.Error("released without need")
	}
	end, spared := slab.End(), 4<<chunkBits-2 // chunks 0, 1, 2 and 5, but for slot 0 and the one in use
	for len(places) < int(end)-1 {
		n, r := slab.New()
		if places[n] != nil || n >= end || spared > 0 && slices.Contains(told, n>>chunkBits) {
			t.Fatalf("slot %d, with %d spared ones left", n, spared)
		}
		spared--
		if r.begun.Load() != 0 || r.ended.Load() != 0 || r != slab.At(n) {
			t.Fatalf("record %d is not new", n)
		}
		r.begun.Store(uint64(n))
		places[n] = r
	}
	if n, _ := slab.New(); n != end {
		t.Errorf("slot %d, want %d", n, end)
	}
	if slab.Len() != int(end) || chunksOf(&slab) != chunks+1 {
		t.Errorf("%d in use, %d chunks", slab.Len(), chunksOf(&slab))
	}
}

// A slab against a map, with releases at random.
func TestSlabReleaseAtRandom(t *testing.T) {
	t.Parallel()
	r := chance(t)
	var slab Slab[stamped]
	var links links
	held := map[Slot]uint64{}
	var order []Slot
	for round := range 25 {
		for range r.IntN(3 * chunkLen) {
			n, record := slab.New()
			if _, twice := held[n]; twice || record.begun.Load() != 0 {
				t.Fatalf("slot %d was given twice, or is not new", n)
			}
			record.begun.Store(uint64(round)<<32 | uint64(n))
			links.reach(n)
			*links.of(n) = n
			held[n] = record.begun.Load()
			order = append(order, n)
		}
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		if r.IntN(2) == 0 {
			slices.Sort(order) // whole chunks
		}
		left := r.IntN(len(order) + 1)
		for _, n := range order[left:] {
			slab.Free(n)
			delete(held, n)
		}
		order = order[:left]
		slab.Release(r.IntN(2*chunkLen), links.release)
		for n, begun := range held {
			if slab.At(n).begun.Load() != begun || *links.of(n) != n {
				t.Fatalf("record %d is another", n)
			}
		}
		if slab.Len() != len(held) {
			t.Fatalf("%d in use, want %d", slab.Len(), len(held))
		}
	}
}

// Readers that go through all slots while memory goes and comes meet no record that
// never was.
func TestSlabReleaseBesideReaders(t *testing.T) {
	t.Parallel()
	var slab Slab[stamped]
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				for n := Slot(1); n < slab.End(); n++ {
					r := slab.At(n)
					if begun := r.begun.Load(); begun != 0 && begun != uint64(n) {
						t.Errorf("record %d says it is %d", n, begun)
						return
					}
				}
			}
		})
	}
	for range 8 {
		var list []Slot
		for range 4 * chunkLen {
			n, r := slab.New()
			r.begun.Store(uint64(n))
			list = append(list, n)
		}
		for _, n := range list {
			slab.Free(n)
		}
		slab.Release(0, func(Slot, Slot) {})
	}
	stop.Store(true)
	readers.Wait()
	if n := chunksOf(&slab); n > 2 { // the first, and the last, which was never full
		t.Errorf("%d chunks are left", n)
	}
}
