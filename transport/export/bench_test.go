package export

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"lapid/engine"
)

// million is a choice of so many entries: 78 % IPv4 hosts, the rest ranges and IPv6.
func million() *Choice {
	r, now := rand.New(rand.NewPCG(1, 1)), int64(1e18)
	c := &Choice{Now: now, words: []Words{{Type: "ban", Origin: "crowdsec", Scenario: "crowdsecurity/ssh-bf"}}}
	for i := range 1_000_000 {
		var p netip.Prefix
		four := netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
		six := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 15: byte(r.Uint32())})
		switch k := i % 100; {
		case k < 78:
			p = netip.PrefixFrom(four, 32)
		case k < 80:
			p = netip.PrefixFrom(four, 24)
		case k < 95:
			p = netip.PrefixFrom(six, 128)
		default:
			p = netip.PrefixFrom(six, 64)
		}
		e := entryOf(p)
		e.until, e.id = now+int64(4*time.Hour)+r.Int64N(int64(time.Hour)), uint64(i)
		c.Entries = append(c.Entries, e)
	}
	return c
}

// BenchmarkSort puts a million in order, which is most of a rendering.
func BenchmarkSort(b *testing.B) {
	c := million()
	for b.Loop() {
		list := slices.Clone(c.Entries)
		sortEntries(list)
	}
}

// BenchmarkAggregate joins a million, exactly.
func BenchmarkAggregate(b *testing.B) {
	c := million()
	c.Entries = sortEntries(c.Entries)
	for b.Loop() {
		aggregate(slices.Clone(c.Entries), false, 0)
	}
}

// BenchmarkRender writes a million that are in order.
func BenchmarkRender(b *testing.B) {
	c := million()
	c.Entries = sortEntries(c.Entries)
	for _, name := range []string{"plain_text", "mikrotik", "nftables", "csv"} {
		f, err := FormatOf(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.SetBytes(int64(len(Render(c, f, &engine.Export{}))))
			}
		})
	}
}
