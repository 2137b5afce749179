package index

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
)

func TestStringsLikeMap(t *testing.T) {
	t.Parallel()
	r := chance(t)
	var texts Strings
	twin := map[string]int{}       // holders
	numbers := map[string]uint32{} // of those held
	for range 30_000 {
		text := fmt.Sprintf("crowdsecurity/%d", r.IntN(500))
		if twin[text] == 0 || r.IntN(2) == 0 {
			n := texts.Acquire(text)
			if old, held := numbers[text]; held && old != n {
				t.Fatalf("%q was %d, is %d", text, old, n)
			}
			numbers[text] = n
			twin[text]++
		} else {
			texts.Release(numbers[text])
			if twin[text]--; twin[text] == 0 {
				delete(twin, text)
				delete(numbers, text)
			}
		}
	}
	seen := map[uint32]bool{}
	for text, n := range numbers {
		if got, ok := texts.Lookup(text); !ok || got != n || texts.At(n) != text || n == 0 || seen[n] {
			t.Fatalf("%q is %d, want %d, whose text is %q", text, got, n, texts.At(n))
		}
		seen[n] = true
	}
	if held := len(texts.holders) - 1 - len(texts.free); held != len(twin) {
		t.Fatalf("%d texts, want %d", held, len(twin))
	}
	if _, ok := texts.Lookup("unheard of"); ok {
		t.Fatal("a text nobody holds has a number")
	}
}

func TestStringsEmptyAndPlain(t *testing.T) {
	t.Parallel()
	var texts Strings
	if n := texts.Acquire(""); n != 0 || texts.At(0) != "" || !texts.Plain(0) || len(texts.holders) != 0 {
		t.Errorf(`"" is %d`, n)
	}
	texts.Release(0)
	if n, ok := texts.Lookup(""); n != 0 || !ok {
		t.Errorf(`Lookup("") = %d, %v`, n, ok)
	}
	for _, text := range []string{"ban", "192.0.2.0/24", "a b ~!'"} {
		if !texts.Plain(texts.Acquire(text)) {
			t.Errorf("%q is not plain", text)
		}
	}
	for _, text := range []string{`a"`, `\`, "<", ">", "&", "\n", "\x7f", "é", "\xff"} {
		if texts.Plain(texts.Acquire(text)) {
			t.Errorf("%q is plain", text)
		}
	}
}

// Texts that share the 32 bits of a hash are told apart by their cells.
func TestStringsCollide(t *testing.T) {
	t.Parallel()
	first := map[uint32]string{}
	var a, b string
	for i := 0; b == ""; i++ {
		text := fmt.Sprint(i)
		key := textKey(text)
		if other, ok := first[key]; ok {
			a, b = other, text
		}
		first[key] = text
	}
	var texts Strings
	na, nb := texts.Acquire(a), texts.Acquire(b)
	if na == nb || texts.At(na) != a || texts.At(nb) != b {
		t.Fatalf("%q is %d, %q is %d", a, na, b, nb)
	}
	texts.Release(na)
	if _, ok := texts.Lookup(a); ok {
		t.Errorf("%q is still known", a)
	}
	if n, ok := texts.Lookup(b); !ok || n != nb {
		t.Errorf("%q is %d, want %d", b, n, nb)
	}
}

type record struct {
	begun, ended atomic.Uint64
	value        uint64
	small        [3]uint32
}

func TestSlabReuses(t *testing.T) {
	t.Parallel()
	r := chance(t)
	var slab Slab[record]
	var again Slab[record] // the same history gives the same slots
	if slab.End() != 1 || slab.Len() != 0 {
		t.Fatalf("an empty slab ends at %d and has %d", slab.End(), slab.Len())
	}
	live := map[Slot]uint64{}
	var held, freed []Slot
	for step := range uint64(50_000) {
		if len(held) > 0 && r.IntN(100) < 40 {
			i := r.IntN(len(held))
			n := held[i]
			held = slices.Delete(held, i, i+1)
			slab.Free(n)
			again.Free(n)
			delete(live, n)
			freed = append(freed, n)
			continue
		}
		n, rec := slab.New()
		if m, _ := again.New(); m != n {
			t.Fatalf("the same history gives %d and %d", n, m)
		}
		if last := len(freed) - 1; last >= 0 {
			if n != freed[last] {
				t.Fatalf("slot %d is given, %d was freed last", n, freed[last])
			}
			freed = freed[:last]
		}
		if rec.begun.Load() != 0 || rec.ended.Load() != 0 || rec.value != 0 || rec.small != [3]uint32{} {
			t.Fatalf("record %d is not zeroed", n)
		}
		rec.begun.Store(step + 1)
		rec.ended.Store(step + 1)
		rec.value, rec.small = step, [3]uint32{1, 2, 3}
		live[n] = step
		held = append(held, n)
	}
	for n, value := range live {
		if n >= slab.End() || slab.At(n).value != value {
			t.Fatalf("record %d holds %d, want %d", n, slab.At(n).value, value)
		}
	}
	if slab.Len() != len(live) {
		t.Fatalf("%d records, want %d", slab.Len(), len(live))
	}
}

func TestSlabWithPointers(t *testing.T) {
	t.Parallel()
	var slab Slab[struct {
		name string
		list []int
		n    uint64
	}]
	n, rec := slab.New()
	rec.name, rec.list, rec.n = "a", []int{1}, 2
	slab.Free(n)
	if m, rec := slab.New(); m != n || rec.name != "" || rec.list != nil || rec.n != 0 {
		t.Fatalf("slot %d, record %v", m, *rec)
	}
}

// Ids in ascending order, of which the older go first, more or less.
func TestPagesLikeMap(t *testing.T) {
	t.Parallel()
	r := chance(t)
	var pages Pages[uint64]
	twin := map[uint64]bool{}
	var held []uint64
	id := uint64(r.IntN(1 << 30))
	first := id
	for range 60_000 {
		if len(held) > 0 && r.IntN(100) < 49 {
			i := min(r.IntN(len(held)), r.IntN(len(held)), r.IntN(len(held)))
			pages.Delete(held[i])
			delete(twin, held[i])
			held = slices.Delete(held, i, i+1)
			continue
		}
		id += 1 + uint64(r.IntN(2))
		*pages.Set(id) = id
		twin[id] = true
		held = append(held, id)
	}
	if pages.Len() != len(twin) {
		t.Fatalf("%d ids, want %d", pages.Len(), len(twin))
	}
	from, to := pages.Bounds()
	for n := first; n < id+5; n++ {
		value := pages.At(n)
		if twin[n] && (value == nil || *value != n || n < from || n >= to) {
			t.Fatalf("id %d is not found between %d and %d", n, from, to)
		}
	}
	scanned := 0
	for n := pages.NextPage(0); n < to; n = pages.NextPage(n) {
		for end := n + 1<<pageBits; n < end; n++ {
			if twin[n] {
				scanned++
			}
		}
	}
	if scanned != len(twin) {
		t.Fatalf("%d ids are scanned, want %d", scanned, len(twin))
	}
	scattered := map[uint64]bool{}
	for n, page := range pages.Scattered {
		for i := range page {
			if scattered[n+uint64(i)] {
				t.Fatalf("id %d is met twice", n+uint64(i))
			}
			if scattered[n+uint64(i)] = true; &page[i] != pages.At(n+uint64(i)) {
				t.Fatalf("another value than that of id %d is met", n+uint64(i))
			}
		}
	}
	for n := range twin {
		if !scattered[n] {
			t.Fatalf("id %d is not met", n)
		}
	}
	for range 200 {
		a, b := first+uint64(r.IntN(int(id-first))), first+uint64(r.IntN(int(id-first)))
		upwards, downwards := slices.Collect(pages.Ascending(a, b)), slices.Collect(pages.Descending(a, b))
		slices.Reverse(downwards)
		if !slices.Equal(upwards, downwards) || !slices.IsSorted(upwards) {
			t.Fatalf("from %d to %d there are %d ids, and %d downwards", a, b, len(upwards), len(downwards))
		}
		met := map[uint64]bool{}
		for _, n := range upwards {
			met[n] = true
		}
		for n := range twin {
			if met[n] != (n >= a && n < b) && twin[n] {
				t.Fatalf("id %d between %d and %d: %v", n, a, b, met[n])
			}
		}
	}
	if n := len(slices.Collect(pages.Descending(0, math.MaxUint64))); n < len(twin) {
		t.Fatalf("%d ids in all, want %d at least", n, len(twin))
	}
}
