package transport

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// TestHoldingsAreMeasured: a bouncer's lag is 0 once it has shown that it has everything,
// what it has told of itself is added up, and words of strangers make no more series.
func TestHoldingsAreMeasured(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.ban("192.0.2.1")
	h.asBouncer("GET", "/v1/decisions/stream?startup=true")
	tag := h.asBouncer("GET", "/v1/decisions/stream").bare()
	row := func() *engine.BouncerRow {
		var found *engine.BouncerRow
		h.Engine.EachPoller(func(r *engine.BouncerRow) bool { found = r; return true })
		return found
	}()
	name := row.Load().Name
	of := func() engine.Holding { return h.Engine.Holdings(h.Engine.Now()).Of(row) }
	if o := of(); o.Behind != 0 || o.Lag != 0 || o.Expected != 1 || !o.HasAcknowledged {
		t.Errorf("%+v", o)
	}
	h.ban("192.0.2.2")
	if o := of(); o.Behind == 0 || o.Expected != 2 {
		t.Errorf("%+v", o)
	}
	if got := h.asBouncer("GET", "/v1/decisions/stream?after="+tag); got.status != 200 {
		t.Fatal(got)
	}
	told := `{"remediation_components":[{"type":"x","version":"1","utc_startup_timestamp":1,"metrics":[{"meta":{"window_size_seconds":1,"utc_now_timestamp":%d},` +
		`"items":[{"name":"active_decisions","value":1,"unit":"ip","labels":{"origin":"cscli"}},{"name":"dropped","value":5,"unit":"byte","labels":{"origin":"lists:a\"b\n"}},` +
		`{"name":"dropped","value":2,"unit":"furlong","labels":{"origin":"\u202e"}},{"name":"nonsense","value":1,"unit":"x","labels":{}}]}]}]}`
	for _, at := range []int{1, 1, 2} { // the second is the first, sent again
		if got := h.ask("POST", "/v1/usage-metrics", fmt.Sprintf(told, at), "X-Api-Key: "+testKey); got.status != 201 {
			t.Fatal(got)
		}
	}
	text := h.scrape("/metrics")
	for _, line := range []string{
		`lapid_bouncer_reported_decisions{bouncer="` + name + `"} 1`, `lapid_bouncer_expected_decisions{bouncer="` + name + `"} 2`,
		`cs_bouncer_dropped_total{bouncer="` + name + `",origin="lists",unit="byte"} 10`, `cs_bouncer_dropped_total{bouncer="` + name + `",origin="other",unit="other"} 4`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
}

// TestBouncersByState: every row is in one state, and who has come has the moment of that.
func TestBouncersByState(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.ban("192.0.2.1")
	poll := func(name, path string) {
		t.Helper()
		if got := h.ask("GET", path, "", "X-Api-Key: key-of-"+name); got.status != 200 && got.status != 304 {
			t.Fatal(got)
		}
	}
	for _, name := range []string{"dead", "late", "good", "live", otherBouncers} {
		h.addBouncer(name, "key-of-"+name, false)
		if poll(name, "/v1/decisions?ip=192.0.2.1"); name != "live" {
			poll(name, "/v1/decisions/stream?startup=true")
			poll(name, "/v1/decisions/stream")
		}
	}
	at := h.Now().Unix()
	h.Advance(engine.SilentAfter + time.Second)
	h.ban("192.0.2.2")
	poll("late", "/v1/decisions?ip=192.0.2.1") // alive, but never asks for what is new
	h.Advance(engine.BehindAfter + time.Second)
	poll("good", "/v1/decisions/stream")
	poll("good", "/v1/decisions/stream")
	poll("live", "/v1/decisions?ip=192.0.2.1")
	poll("late", "/v1/decisions?ip=192.0.2.1")
	for _, line := range []string{ // a visit is noted a moment after its answer
		`lapid_bouncers{state="never"} 1`, `lapid_bouncers{state="silent"} 2`, `lapid_bouncers{state="behind"} 1`, `lapid_bouncers{state="current"} 2`,
		`lapid_bouncer_lag_seconds{bouncer="late"} 61`, `lapid_bouncer_lag_seconds{bouncer="good"} 0`,
	} {
		h.eventually(line, func() bool { return strings.Contains(h.scrape("/metrics"), line+"\n") })
	}
	text := h.scrape("/metrics")
	for name, want := range map[string]int64{"dead": at, "good": h.Now().Unix(), "live": h.Now().Unix(), otherBouncers: at} {
		if line := fmt.Sprintf("lapid_bouncer_last_pull_timestamp_seconds{bouncer=%q} %v\n", name, float64(want)); !strings.Contains(text, line) {
			t.Errorf("no %s", line)
		}
	}
	for _, line := range []string{`last_pull_timestamp_seconds{bouncer="fw"}`, `lag_seconds{bouncer="live"}`, `lag_seconds{bouncer="fw"}`} {
		if strings.Contains(text, line) {
			t.Errorf("there is %s", line)
		}
	}
}

// TestHoldingsAreBounded: as many bouncers have series of their own as polls are remembered
// of; of all others there is the worst, with the one that is called as they are.
func TestHoldingsAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.ban("192.0.2.1")
	for i := range engine.PollsKept + 200 {
		name := fmt.Sprintf("b%d", i)
		if i == engine.PollsKept+100 {
			name = otherBouncers
		}
		row, err := h.Engine.AddBouncer(context.Background(), &engine.Bouncer{Name: name, KeyHash: engine.KeyHash{byte(i), byte(i >> 8), 1}, IP: netip.IPv6Loopback(), AuthType: engine.AuthAPIKey})
		h.must(err)
		row.AcknowledgePlace(1)
		row.Visit(int64(i+1) * int64(time.Second))
		h.Engine.NotePoll(row, &engine.PollNote{At: int64(i + 1)}, []byte(""), &engine.Query{Dedup: true})
		h.Engine.NoteReport(name, &engine.Report{At: int64(i), Active: 7, HasActive: true, Figures: []engine.Figure{{Name: "dropped", Unit: "ip", Value: 1}}})
	}
	text := h.scrape("/metrics")
	for _, family := range []string{"lapid_bouncer_last_pull_timestamp_seconds", "lapid_bouncer_lag_seconds", "lapid_bouncer_lag_revisions", "lapid_bouncer_expected_decisions", "lapid_bouncer_reported_decisions"} {
		if n := strings.Count(text, "\n"+family+"{"); n > engine.PollsKept+1 || n < engine.PollsKept-1 {
			t.Errorf("%d series of %s", n, family)
		}
		if n := strings.Count(text, "\n"+family+`{bouncer="other"} `); n != 1 {
			t.Errorf("%d of the others of %s", n, family)
		}
	}
	if !strings.Contains(text, "lapid_bouncer_last_pull_timestamp_seconds{bouncer=\"other\"} 1\n") {
		t.Error("the one of the others that came longest ago is not told")
	}
	if !strings.Contains(text, `cs_bouncer_dropped_total{bouncer="other",origin="",unit="ip"} 201`) {
		t.Error("what others counted is not added up")
	}
	if strings.Contains(text, `lapid_bouncer_lag_seconds{bouncer="b5"}`) || !strings.Contains(text, fmt.Sprintf(`lapid_bouncer_lag_seconds{bouncer="b%d"}`, engine.PollsKept+199)) {
		t.Error("it is not those that polled last")
	}
}
