package engine

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"unsafe"
)

// TestAppendAddress holds how addresses and ranges are spelled against the
// standard library.
func TestAppendAddress(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 4))
	spelled := func(p netip.Prefix) {
		t.Helper()
		var r targetKey
		r.set(p.Masked())
		want := r.prefix().Addr().String()
		if got := string(r.appendAddress(nil)); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		r.flags |= flagSlash
		want = p.Masked().String()
		for _, room := range []int{4, 4 + len(want), 64} {
			if got := string(r.appendAddress(append(make([]byte, 0, room), "kept"...))); got != "kept"+want {
				t.Fatalf("%s, want kept%s", got, want)
			}
		}
	}
	for i := range 256 {
		for at := range 4 {
			var b [4]byte
			b[at], b[3-at] = byte(i), byte(i)
			spelled(netip.PrefixFrom(netip.AddrFrom4(b), 32))
		}
	}
	for range 10_000 {
		var b [16]byte
		for i := range b {
			b[i] = byte(chance.Uint32() >> chance.IntN(16))
		}
		spelled(netip.PrefixFrom(netip.AddrFrom16(b), chance.IntN(129)))
		spelled(netip.PrefixFrom(netip.AddrFrom4([4]byte(b[:])), chance.IntN(33)))
	}
}

// TestRecordHoldsWhatItIsAbout: whatever a decision is about, and whatever marks and actor
// it gets, its record says so, and it is one line of the cache.
func TestRecordHoldsWhatItIsAbout(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(record{}); n != 64 {
		t.Errorf("a record has %d bytes", n)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 5))
	s := newState()
	for range 10_000 {
		k := targetKey{text: s.strings.Acquire(string(rune('a' + chance.IntN(9))))}
		if chance.IntN(5) > 0 {
			addr := netip.AddrFrom4([4]byte{byte(chance.Uint32()), byte(chance.Uint32())})
			if chance.IntN(2) == 0 {
				addr = netip.AddrFrom16([16]byte{byte(chance.Uint32()), 15: byte(chance.Uint32())})
			}
			k.set(netip.PrefixFrom(addr, chance.IntN(addr.BitLen()+1)).Masked())
			k.flags |= uint8(chance.IntN(2)) * flagSlash
			k.text *= uint32(chance.IntN(2))
		}
		flags := k.flags | uint8(chance.IntN(2))*flagSimulated | uint8(chance.IntN(2))*flagUUID
		_, r := s.records.New()
		s.setTarget(r, &k, flags)
		r.words = s.acquireWords("Ip", "ban", "o", string(rune('a'+chance.IntN(9))))
		mark, by := uint32(markCrowded<<chance.IntN(3)), uint16(chance.Uint32())
		r.setBy(uint16(chance.Uint32()))
		r.mark(mark)
		r.setBy(by)
		whole := k
		whole.scope, whole.kind = s.wordsOf(r).Scope, s.wordsOf(r).Type
		if s.onOf(r) != k || s.keyOf(r) != whole || s.textOf(r) != k.text || s.targetOf(r) != k.prefix() || s.hostOf(r) != k.prefix().IsSingleIP() ||
			r.flags()&storedFlags != flags || r.by() != by || r.mixed.Load()&marksMask != mark {
			t.Fatalf("%+v, flags %x, mark %x, actor %d: it holds %+v, mixed %x", k, flags, mark, by, s.onOf(r), r.mixed.Load())
		}
		to := k
		to.scope, to.kind = chance.Uint32(), whole.kind
		var c copied
		(&era{view: &View{state: s}}).copyTo(&c, r, &to)
		if got := s.keyOf(&c.record); got != to || c.flags()&storedFlags != flags || s.wordsOf(&c.record).Scenario != s.wordsOf(r).Scenario {
			t.Fatalf("a copy for %+v, flags %x, is about %+v, flags %x", to, flags, got, c.flags())
		}
	}
}

// TestWordsAreShared: records have the words they were given, each combination is there
// once, and it goes with the last record that has it.
func TestWordsAreShared(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 6))
	s := newState()
	type held struct {
		row   uint32
		texts [4]string
	}
	var all []held
	for step := range 20_000 {
		if n := len(all); n > 0 && chance.IntN(1000) < step/20 {
			i := chance.IntN(n)
			s.releaseWords(all[i].row)
			all[i] = all[n-1]
			all = all[:n-1]
			continue
		}
		var h held
		for i := range h.texts { // many fall on one place of recent
			h.texts[i] = "x" + string(rune('a'+chance.IntN(4))) + "yz"
		}
		h.row = s.acquireWords(h.texts[0], h.texts[1], h.texts[2], h.texts[3])
		all = append(all, h)
		for range 3 {
			h = all[chance.IntN(len(all))]
			w := s.wordings.at(h.row)
			if got := [4]string{s.strings.At(w.Scope), s.strings.At(w.Type), s.strings.At(w.Origin), s.strings.At(w.Scenario)}; got != h.texts {
				t.Fatalf("%v became %v", h.texts, got)
			}
		}
	}
	different := map[[4]string]uint32{}
	for _, h := range all {
		if row, known := different[h.texts]; known && row != h.row {
			t.Fatalf("%v is there twice", h.texts)
		}
		different[h.texts] = h.row
	}
	if n := s.wordings.rows.Len(); n != len(different) {
		t.Errorf("%d rows are held for %d combinations", n, len(different))
	}
	for _, h := range all {
		s.releaseWords(h.row)
	}
	if _, known := s.strings.Lookup("xayz"); known || s.wordings.rows.Len() != 0 || len(s.wordings.found) != 0 {
		t.Errorf("something stays when no record is left: %d rows", s.wordings.rows.Len())
	}
}

// TestNoNumbersOfEarlierPrograms: a store that has coordinates that no answer can say reads
// them as 0.
func TestNoNumbersOfEarlierPrograms(t *testing.T) {
	t.Parallel()
	stored := Alert{Scenario: "s", Source: Source{Latitude: float32(math.Inf(1)), Longitude: float32(math.NaN())}}
	var a Alert
	d := &decoder{rest: stored.appendBody(nil)}
	if a.decodeBody(d); a.Scenario != "s" || a.Source.Latitude != 0 || a.Source.Longitude != 0 {
		t.Errorf("it reads %+v", a)
	}
}
