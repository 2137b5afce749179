package engine_test

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// filled is an engine with n running decisions: nine of ten hosts of IPv4, the
// rest hosts of IPv6 and ranges, as fleets have them.
func filled(b testing.TB, n int) *enginetest.Rig {
	r := enginetest.NewRig(b, func(o *engine.Options) { o.NoSync = true })
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
