package engine

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
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
		var r record
		r.setTarget(p.Masked())
		want := r.target().Addr().String()
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
