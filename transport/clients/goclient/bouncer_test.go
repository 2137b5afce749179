package goclient

import (
	"testing"

	"github.com/crowdsecurity/crowdsec/pkg/apiclient"
	"github.com/crowdsecurity/crowdsec/pkg/models"
	csbouncer "github.com/crowdsecurity/go-cs-bouncer"
)

func newLive(t *testing.T, key int) *csbouncer.LiveBouncer {
	t.Helper()
	b := &csbouncer.LiveBouncer{
		APIKey: part(t, "LAPID_BOUNCER_KEYS", key), APIUrl: setting(t, "LAPID_URL"), UserAgent: "goclient-live/v0.0.21",
	}
	if err := b.Init(); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStreamBouncer: what is there at the start, what comes, what goes; each heard of once.
func TestStreamBouncer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const scenario = "goclient/stream"
	lp := newLogProcessor(t, 0)
	push := func(a ...*models.Alert) {
		t.Helper()
		if _, _, err := lp.Alerts.Add(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	push(report("192.0.2.111", scenario), report("192.0.2.119", "goclient/others"))
	s := newStream(t, 0, "goclient/stream")
	s.until(t, "startup names 192.0.2.111", func() bool { return s.added["192.0.2.111"] > 0 })
	d := s.last["192.0.2.111"]
	if *d.Type != "ban" || *d.Scope != "Ip" || *d.Origin != "crowdsec" || *d.Scenario != scenario || d.ID <= 0 {
		t.Errorf("startup names %+v", d)
	}

	push(report("2001:db8::111", scenario), manual("Range", "203.0.113.0/24", scenario, "captcha", "10m"),
		manual("username", "alice", scenario, "ban", "10m"), report("192.0.2.118", "goclient/others"))
	s.until(t, "the news arrive", func() bool {
		return s.added["2001:db8::111"] > 0 && s.added["203.0.113.0/24"] > 0
	})
	if _, _, err := lp.Decisions.Delete(ctx, apiclient.DecisionsDeleteOpts{IPEquals: "192.0.2.111"}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "192.0.2.111 leaves", func() bool { return s.deleted["192.0.2.111"] > 0 })
	if _, _, err := lp.Alerts.Delete(ctx, apiclient.AlertsDeleteOpts{ScenarioEquals: scenario}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "what the deleted alerts had decided leaves", func() bool {
		return s.deleted["2001:db8::111"] > 0 && s.deleted["203.0.113.0/24"] > 0
	})
	push(report("192.0.2.112", scenario))
	s.until(t, "192.0.2.112 arrives", func() bool { return s.added["192.0.2.112"] > 0 })

	for _, value := range []string{"192.0.2.111", "2001:db8::111", "203.0.113.0/24"} {
		if s.added[value] != 1 || s.deleted[value] != 1 {
			t.Errorf("%s was added %d times and deleted %d times", value, s.added[value], s.deleted[value])
		}
	}
	for _, value := range []string{"192.0.2.118", "192.0.2.119", "alice"} {
		if s.added[value]+s.deleted[value] > 0 {
			t.Errorf("%s arrived, of a scenario or scope that was not asked for", value)
		}
	}
}

// TestLiveBouncer: one address at a time.
func TestLiveBouncer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const scenario = "goclient/live"
	lp := newLogProcessor(t, 1)
	_, _, err := lp.Alerts.Add(ctx, models.AddAlertsRequest{
		report("192.0.2.121", scenario), report("2001:db8::121", scenario), manual("Range", "198.51.100.128/25", scenario, "captcha", "10m"),
	})
	if err != nil {
		t.Fatal(err)
	}
	b := newLive(t, 0)
	holds := func(address string, want ...string) {
		t.Helper()
		answer, err := b.Get(ctx, address)
		if err != nil {
			t.Fatalf("ask for %s: %v", address, err)
		}
		if len(*answer) != len(want)/2 {
			t.Fatalf("%s: %d decisions, want %d", address, len(*answer), len(want)/2)
		}
		for i, d := range *answer {
			if *d.Value != want[2*i] || *d.Type != want[2*i+1] {
				t.Errorf("%s: %s %s, want %v", address, *d.Value, *d.Type, want[2*i:2*i+2])
			}
		}
	}
	holds("192.0.2.121", "192.0.2.121", "ban")
	holds("2001:db8::121", "2001:db8::121", "ban")
	holds("2001:0db8:0:0::121", "2001:db8::121", "ban")
	holds("198.51.100.129", "198.51.100.128/25", "captcha")
	holds("192.0.2.122")
	holds("198.51.101.1")
	if _, _, err := lp.Decisions.Delete(ctx, apiclient.DecisionsDeleteOpts{IPEquals: "192.0.2.121"}); err != nil {
		t.Fatal(err)
	}
	holds("192.0.2.121")

	wrong := newLive(t, 0)
	wrong.APIKey = "guessed"
	if err := wrong.Init(); err != nil {
		t.Fatal(err)
	}
	if answer, err := wrong.Get(ctx, "192.0.2.121"); err == nil {
		t.Errorf("a wrong key is answered with %v", answer)
	}
}
