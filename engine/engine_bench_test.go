package engine_test

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// filled is an engine with n running decisions: nine of ten hosts of IPv4, the
// rest hosts of IPv6 and ranges, as fleets have them.
func filled(b testing.TB, n int, change ...func(*engine.Options)) *enginetest.Rig {
	r := enginetest.NewRig(b, func(o *engine.Options) {
		o.NoSync = true
		for _, c := range change {
			c(o)
		}
	})
	const batch = 20_000
	for from := 0; from < n; from += batch {
		a := &engine.Alert{Scenario: "import", StopAt: engine.StampOf(r.Now())}
		for i := from; i < min(from+batch, n); i++ {
			scope, value := "Ip", netip.AddrFrom4([4]byte{byte(11 + i>>24), byte(i >> 16), byte(i >> 8), byte(i)}).String()
			switch i % 20 {
			case 0:
				scope, value = "Range", fmt.Sprintf("%d.%d.%d.0/24", 100+i>>16&15, byte(i>>8), byte(i))
			case 1:
				value = fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff)
			}
			a.Decisions = append(a.Decisions, engine.NewDecision{Duration: "4h", Scope: scope, Value: value,
				Type: "ban", Origin: "cscli-import", Scenario: "crowdsecurity/ssh-bf"})
		}
		if _, err := r.AddAlerts(context.Background(), "", []*engine.Alert{a}, r.Now().UnixNano()); err != nil {
			b.Fatal(err)
		}
	}
	return r
}

func BenchmarkImport(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				began := time.Now()
				r := filled(b, n)
				b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(n), "ns/decision")
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(m.HeapAlloc)/float64(n), "heap-B/decision")
				r.Stop()
			}
		})
	}
}

func BenchmarkFind(b *testing.B) {
	r := filled(b, 1_000_000)
	for name, text := range map[string]string{"hit": "11.5.5.5", "miss": "250.1.2.3", "range": "100.0.20.9"} {
		b.Run(name, func(b *testing.B) {
			q := r.Ask()
			q.Scopes = engine.Words{}
			q.Address = netip.PrefixFrom(netip.MustParseAddr(text), 32)
			var found []engine.Decision
			b.ReportAllocs()
			for b.Loop() {
				found = r.View().Find(found[:0], q)
			}
		})
	}
}

func BenchmarkStartup(b *testing.B) {
	r := filled(b, 1_000_000)
	q := r.Ask()
	b.ReportAllocs()
	var buf [32]engine.Decision
	for b.Loop() {
		s := r.View().Scan(q)
		for len(s.Running(buf[:])) > 0 {
		}
	}
}

// BenchmarkBesideItems has allowlists win over a million decisions, with a thousand items that
// touch fifty of their ranges, beside the same without.
func BenchmarkBesideItems(b *testing.B) {
	for _, wins := range []bool{false, true} {
		r := filled(b, 1_000_000, func(o *engine.Options) { o.AllowlistsWin = &wins })
		r.Settle()
		var items []engine.AllowlistItem
		for i := range 1000 {
			value := fmt.Sprintf("203.%d.%d.9", i>>8, byte(i))
			if i < 50 {
				value = fmt.Sprintf("100.%d.%d.77", 20*i>>8, byte(20*i))
			}
			p, _ := engine.ParseTarget(value)
			items = append(items, engine.AllowlistItem{Value: value, Prefix: p})
		}
		now := r.Now().UnixNano()
		if err := r.CreateAllowlist(context.Background(), "office", "", now); err != nil {
			b.Fatal(err)
		}
		if _, _, err := r.AddToAllowlist(context.Background(), "office", items, now); err != nil {
			b.Fatal(err)
		}
		before := r.View().Revision()
		a := &engine.Alert{Scenario: "import", StopAt: engine.StampOf(r.Now())}
		for i := range 1000 {
			a.Decisions = append(a.Decisions, engine.NewDecision{Duration: "4h", Scope: "Ip", Value: fmt.Sprintf("10.0.%d.%d", i>>8, byte(i)), Type: "ban", Origin: "crowdsec", Scenario: "s"})
		}
		if _, err := r.AddAlerts(context.Background(), "", []*engine.Alert{a}, now); err != nil {
			b.Fatal(err)
		}
		q := r.Ask()
		q.Entries = true
		var buf [32]engine.Decision
		b.Run(fmt.Sprintf("startup/wins=%v", wins), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s := r.View().Scan(q)
				for len(s.Running(buf[:])) > 0 {
				}
			}
		})
		b.Run(fmt.Sprintf("delta/wins=%v", wins), func(b *testing.B) {
			b.ReportAllocs()
			var d engine.Delta
			for b.Loop() {
				r.View().Changes(&d, before, q)
			}
		})
		for name, text := range map[string]string{"hit": "11.5.5.5", "miss": "250.1.2.3", "range": "100.0.40.9"} {
			b.Run(fmt.Sprintf("%s/wins=%v", name, wins), func(b *testing.B) {
				q := r.Ask()
				q.Scopes, q.Entries = engine.Words{}, true
				q.Address = netip.PrefixFrom(netip.MustParseAddr(text), 32)
				var found []engine.Decision
				b.ReportAllocs()
				for b.Loop() {
					found = r.View().Find(found[:0], q)
				}
			})
		}
		r.Stop()
	}
}

// BenchmarkStart opens a store of a million decisions, from a snapshot and from the journal
// alone, as a start of the server does. The disk is memory.
func BenchmarkStart(b *testing.B) {
	for _, from := range []string{"snapshot", "journal"} {
		b.Run(from, func(b *testing.B) {
			const n = 1_000_000
			r := filled(b, n, func(o *engine.Options) { o.SnapshotEvery, o.SnapshotBytes = 24*time.Hour, 1<<40 })
			if from == "snapshot" {
				if err := r.Snapshot(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			r.Stop()
			b.ReportAllocs()
			for b.Loop() {
				e, err := engine.Open(&r.Options)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := e.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/decision")
			r.Start() // for its end
		})
	}
}

// BenchmarkWriters is 64 writers of an alert each, on the machine's disk: what an alert
// takes of processor time, and how many share a commit.
func BenchmarkWriters(b *testing.B) {
	const writers = 64
	r := enginetest.NewRig(b, func(o *engine.Options) { o.Dir, o.FS = b.TempDir(), nil })
	before, used := r.Metrics(), processorTime()
	var next atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				value := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
				if _, err := r.AddAlerts(context.Background(), "", one(r, value), r.Now().UnixNano()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64((processorTime()-used).Nanoseconds())/1000/float64(b.N), "cpu-µs/alert")
	b.ReportMetric(float64(b.N)/float64(r.Metrics().Commits-before.Commits), "alerts/commit")
}
