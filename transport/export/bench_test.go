package export

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
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

// processor is what of processors the process has used, system calls included, nanoseconds.
func processor(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// inUse is what is on the heap after it was tidied up.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkChangedList is what the first pull after a change costs, of a store with a million bans of
// hosts that come in no order: milliseconds of processors, without and with compression, and what is
// kept afterwards as a share of body and compressed body.
func BenchmarkChangedList(b *testing.B) {
	r := enginetest.NewRig(b, nil)
	banRandom(b, r, 1_000_000)
	for _, gzip := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "gzip"}[gzip], func(b *testing.B) {
			used, kept, share := int64(0), inUse(), 0.0
			for b.Loop() {
				g := newGetter(b, r, 512<<20)
				from := processor(b)
				body := g.get(&engine.Export{Name: "x", Format: "plain_text"}, "")
				bytes := len(body.Plain)
				if gzip {
					bytes += len(body.Gzip())
				}
				used += processor(b) - from
				b.StopTimer()
				share = float64(inUse()-kept) / float64(bytes)
				runtime.KeepAlive(g)
				b.StartTimer()
			}
			b.ReportMetric(float64(used)/1e6/float64(b.N), "cpu-ms/op")
			b.ReportMetric(share, "kept/bytes")
		})
	}
}

// banRandom stores n bans of hosts all over.
func banRandom(b *testing.B, r *enginetest.Rig, n int) {
	random := rand.New(rand.NewPCG(3, 3))
	for i := 0; i < n; {
		a := &engine.Alert{Scenario: "s", StartAt: engine.StampOf(r.Now()), StopAt: engine.StampOf(r.Now()), Source: engine.Source{Scope: "Ip", Value: "203.0.113.250"}}
		for ; len(a.Decisions) < 1000 && i < n; i++ {
			host := netip.AddrFrom4([4]byte{byte(1 + random.UintN(222)), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
			a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: host.String(), Type: "ban", Origin: "cscli", Scenario: "s", Duration: "4h"})
		}
		if _, err := r.AddAlerts(b.Context(), "edge-1", []*engine.Alert{a}, r.Now().UnixNano()); err != nil {
			b.Fatal(err)
		}
	}
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
