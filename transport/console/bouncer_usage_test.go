package console

import (
	"context"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
)

// What a bouncer has told of itself stands on its page, by origin; and how it asks, and about how often.
func TestBouncerUsage(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	v := b.visitor().enter(viewer)
	row := func(name string, key byte) *engine.BouncerRow {
		t.Helper()
		r, err := b.rig.AddBouncer(context.Background(), &engine.Bouncer{Name: name, KeyHash: engine.KeyHash{key}, AuthType: engine.AuthAPIKey})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	fw, waf := row("fw", 7), row("waf", 8)
	has(t, "one that came never", v.get("/bouncers/fw"), "It has told nothing of itself", "Mode</dt><dd>–")
	now := b.rig.Now().UnixNano()
	for i := range 5 {
		at := now - int64(5-i)*int64(10*time.Second)
		fw.AcknowledgePlace(1)
		fw.Visit(at)
		b.rig.NotePoll(fw, &engine.PollNote{At: at}, nil, &engine.Query{})
	}
	waf.Visit(now)
	report := func(sent int64, dropped float64) *engine.Report {
		return &engine.Report{At: now, Sent: sent, Active: 30, HasActive: true,
			Holds:   []engine.Figure{{Name: "active_decisions", Origin: "CAPI", Unit: "ip", Value: 25}, {Name: "active_decisions", Origin: "crowdsec", Unit: "ip", Value: 5}},
			Figures: []engine.Figure{{Name: "dropped", Origin: "CAPI", Unit: "byte", Value: dropped}, {Name: "dropped", Origin: "crowdsec", Unit: "packet", Value: 7}, {Name: "processed", Unit: "packet", Value: 99000}}}
	}
	b.rig.NoteReport("fw", report(1, 1024))
	b.rig.NoteReport("fw", report(2, 3072))
	b.rig.NoteReport("fw", report(2, 3072)) // sent again
	page := v.get("/bouncers/fw")
	has(t, "its page", page, "stream, every 10 s", "Active decisions, addresses", "Dropped, bytes", "Dropped, packets", "Processed, packets", "4.0 KiB", "198\u202f000", "of no origin",
		`<a href="/decisions?community=true&amp;origin=CAPI">CAPI</a>`, `<b>30</b>`, `data-label="Dropped, packets" class="number">14</td>`)
	if strings.Contains(page, "7.0 KiB") {
		t.Error("a report that was sent twice counts twice")
	}
	has(t, "the list", v.get("/bouncers"), "stream, every 10 s", `data-label="Mode" class="minor">live</td>`)
	got := b.is(200, "GET", "/admin/v1/bouncers/fw", "")
	if got["mode"] != "stream" || got["period_seconds"] != 10.0 {
		t.Errorf("the API has %v, %v", got["mode"], got["period_seconds"])
	}
	b.is(200, "DELETE", "/admin/v1/bouncers/fw", "")
	row("fw", 9)
	has(t, "another of the name", v.get("/bouncers/fw"), "It has told nothing of itself")
}

// One that asks often is silent soon; of one whose period is not known that is not said so soon.
func TestSilentAfter(t *testing.T) {
	t.Parallel()
	for want, b := range map[time.Duration]*admin.Bouncer{
		silentBouncer: {Streams: true}, briefestSilence: {Streams: true, Period: int64(10 * time.Second)}, 3 * time.Hour: {Streams: true, Period: int64(time.Hour)},
	} {
		if got := silentAfter(b); got != want {
			t.Errorf("%+v: %s, want %s", b, got, want)
		}
	}
	if got := silentAfter(&admin.Bouncer{Period: int64(time.Second)}); got != silentBouncer {
		t.Errorf("one that asks live: %s", got)
	}
}
