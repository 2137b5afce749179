package wire

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// worded stores decisions with such words and values and gives them as the view
// has them, by ascending id.
func worded(tb testing.TB, list []engine.NewDecision) (ds []engine.Decision, now int64) {
	tb.Helper()
	rig := enginetest.NewRig(tb, nil)
	now = rig.Engine.Now()
	if _, err := rig.AddAlerts(context.Background(), "m", []*engine.Alert{newAlert(rig, list...)}, now); err != nil {
		tb.Fatal(err)
	}
	view := rig.View()
	for id := engine.DecisionID(1); ; id++ {
		d, ok := view.Decision(id)
		if !ok {
			return ds, now
		}
		ds = append(ds, d)
	}
}

func newAlert(rig *enginetest.Rig, list ...engine.NewDecision) *engine.Alert {
	return &engine.Alert{
		Scenario: "crowdsecurity/ssh-bf", StartAt: engine.StampOf(rig.Now()), StopAt: engine.StampOf(rig.Now()),
		Source: engine.Source{Scope: engine.ScopeIP, Value: "192.0.2.7"}, Decisions: list,
	}
}

// sameBytes holds an encoder's bytes against AppendDecision's, in buffers that are
// too small, just large enough and much larger.
func sameBytes(tb testing.TB, e *StreamEncoder, d engine.Decision, now int64) {
	tb.Helper()
	want := "kept" + string(AppendDecision(nil, d, now, true, nil))
	for _, room := range []int{4, len(want), usualRoom + 4, 8 << 10} {
		if got := string(e.Append(append(make([]byte, 0, room), "kept"...), d)); got != want {
			tb.Fatalf("at %d:\n%s\nwant\n%s", now, got, want)
		}
	}
}

// TestStreamEncoder writes decisions of many words, so that phrases push each
// other out, and at moments that give durations of all lengths.
func TestStreamEncoder(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 2))
	words := []string{"ban", "a\"b", "é\u2028", "<&>", "x\x00\xff", strings.Repeat("long-", 20), strings.Repeat("<", 100), strings.Repeat("w", 300)}
	for i := range 60 {
		words = append(words, fmt.Sprintf("crowdsecurity/scenario-%d", i))
	}
	word := func() string { return words[chance.IntN(len(words))] }
	var list []engine.NewDecision
	for i := range 2000 {
		d := engine.NewDecision{Duration: "4h", Origin: word(), Scenario: word(), Type: word()}
		switch i % 5 {
		case 0:
			d.Scope, d.Value = word(), word()
		case 1:
			d.Scope, d.Value = "Range", fmt.Sprintf("2001:db8:%x::/%d", i, 48+i%81)
		case 2:
			d.Scope, d.Value = "Range", fmt.Sprintf("%d.%d.0.0/%d", i%224, i%256, 16+i%17)
		default:
			d.Scope, d.Value = "Ip", fmt.Sprintf("%d.%d.%d.%d", i%224, chance.IntN(256), chance.IntN(256), chance.IntN(256))
		}
		list = append(list, d)
	}
	ds, now := worded(t, list)
	if len(ds) < len(list)*9/10 {
		t.Fatalf("%d of %d decisions were stored", len(ds), len(list))
	}
	for i, at := range []int64{
		now, now + 1, now + 3*int64(time.Hour), now + 4*int64(time.Hour) - 1, now + 9*int64(time.Hour),
		now - 996*int64(time.Hour), now - 995*int64(time.Hour), now - int64(time.Second), math.MinInt64, math.MaxInt64,
	} {
		e := NewStreamEncoder(at, i%2 == 1, nil)
		for _, d := range ds {
			sameBytes(t, e, d, at)
		}
	}
}

// FuzzStreamEncoder gives one decision any words and any moment, twice: the
// second time its phrase is known.
func FuzzStreamEncoder(f *testing.F) {
	f.Add("cscli", "a/manual", "Ip", "ban", "192.0.2.7", int64(0))
	f.Add("<", strings.Repeat("é", 99), "session", "", "\xff", int64(math.MinInt64))
	f.Add("", strings.Repeat("x", 99), "Range", "b", "2001:db8::/33", int64(1e18))
	rig := enginetest.NewRig(f, nil)
	f.Fuzz(func(t *testing.T, origin, scenario, scope, kind, value string, at int64) {
		a := newAlert(rig, engine.NewDecision{Duration: "4h", Origin: origin, Scenario: scenario, Scope: scope, Type: kind, Value: value})
		ids, err := rig.AddAlerts(context.Background(), "m", []*engine.Alert{a}, rig.Engine.Now())
		if err != nil || len(ids) == 0 {
			return // no decision to be had
		}
		view := rig.View()
		d, ok := view.Decision(engine.DecisionID(ids[0])) // one each
		if !ok {
			t.Fatalf("decision %d was not stored", ids[0])
		}
		e := NewStreamEncoder(at, true, nil)
		sameBytes(t, e, d, at)
		sameBytes(t, e, d, at)
	})
}

// TestPutNumbers holds the short ways against the general ones.
func TestPutNumbers(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 3))
	number := func(n uint64) {
		var b [24]byte
		if got, want := string(b[:putNumber(b[:], n)]), strconv.FormatUint(n, 10); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if got, want := string(b[:putDuration(b[:], int64(n))]), string(AppendDuration(nil, int64(n))); got != want {
			t.Fatalf("duration of %d: %s, want %s", int64(n), got, want)
		}
	}
	for n := uint64(1); n < 1e19; n *= 10 {
		for _, n := range []uint64{n - 1, n, n + 1, n*2 + 7, -n} {
			number(n)
		}
	}
	for s := uint64(0); s < 4000; s++ {
		number(s * second / 2)
		number(1000*3600*second - s*second/2)
	}
	for range 100_000 {
		number(chance.Uint64() >> chance.IntN(64))
	}
}

// BenchmarkStreamEncoder writes as many decisions as fit the cache, beside
// AppendDecision and a copy.
func BenchmarkStreamEncoder(b *testing.B) {
	var list []engine.NewDecision
	for i := range 1000 {
		list = append(list, engine.NewDecision{
			Duration: fmt.Sprintf("%dh%dm", 24+i%144, i%60), Origin: []string{"CAPI", "lists"}[i%2], Scope: "Ip", Type: "ban",
			Scenario: fmt.Sprintf("crowdsecurity/scenario-%d", i%40), Value: fmt.Sprintf("%d.%d.%d.%d", 1+i%223, i*7%256, i*31%256, i*97%256),
		})
	}
	ds, now := worded(b, list)
	buffer := make([]byte, 0, 1<<10)
	each := func(name string, append func(d engine.Decision)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(AppendDecision(nil, ds[0], now, true, nil))))
			for i := 0; b.Loop(); i++ {
				append(ds[i%len(ds)])
			}
		})
	}
	e := NewStreamEncoder(now, false, nil)
	each("encoder", func(d engine.Decision) { e.Append(buffer, d) })
	each("AppendDecision", func(d engine.Decision) { AppendDecision(buffer, d, now, true, nil) })
	text := AppendDecision(nil, ds[0], now, true, nil)
	each("copy", func(engine.Decision) { _ = append(buffer, text...) })
}
