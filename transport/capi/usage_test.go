package capi

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// crew adds a machine and a bouncer.
func (f *fake) crew() {
	f.t.Helper()
	if err := f.rig.AddMachine(f.t.Context(), &engine.Machine{
		ID: "m", Version: "v1", Scenarios: "s", CreatedAt: f.rig.Now().UnixNano(), UpdatedAt: f.rig.Now().UnixNano(),
		DataSources: []engine.Count{{Name: "file", N: 2}}, HubItems: map[string][]engine.HubItem{"scenarios": {{Name: "s", Version: "1", Status: "ok"}}},
	}, false); err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.rig.AddBouncer(f.t.Context(), &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{1}, IP: netip.MustParseAddr("10.0.0.1"),
		Software: &engine.Software{Type: "nft", Version: "2", FeatureFlags: []string{"x"}}}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fake) reportUsage(kind engine.UsageKind, name string, n int, size int) {
	f.t.Helper()
	f.rig.Advance(time.Second)
	payload := fmt.Sprintf(`[{"items":[{"value":%d}],"meta":{"pad":"%s"}}]`, n, strings.Repeat("x", size))
	if err := f.rig.AddUsage(f.t.Context(), &engine.Usage{Kind: kind, Name: name, ReceivedAt: f.rig.Now().UnixNano(), Payload: []byte(payload)}); err != nil {
		f.t.Fatal(err)
	}
}

// told are the values of the metrics that were sent, by sender, one text for each request.
func (f *fake) toldUsage() (list []string) {
	for _, s := range f.asked("/v3/usage-metrics") {
		type sender struct {
			Name    string
			Metrics []struct{ Items []struct{ Value int } }
		}
		var said struct {
			Processors []sender `json:"log_processors"`
			Components []sender `json:"remediation_components"`
		}
		if err := json.Unmarshal(s.body, &said); err != nil {
			f.t.Error(err)
		}
		var out []string
		for _, who := range append(said.Processors, said.Components...) {
			text := who.Name
			for _, m := range who.Metrics {
				text += fmt.Sprint(" ", m.Items[0].Value)
			}
			out = append(out, text)
		}
		list = append(list, strings.Join(out, ", "))
	}
	f.mu.Lock()
	f.seen = nil
	f.mu.Unlock()
	return list
}

// Each report is sent until it was taken, and then never again; 422 is taken.
func TestUsageIsSent(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.crew()
	c := f.client(nil)
	send := func() error { _, err := c.sendUsage(t.Context()); return err }
	f.reportUsage(engine.UsageMachine, "m", 1, 0)
	f.reportUsage(engine.UsageBouncer, "fw", 2, 0)
	f.fails("/v3/usage-metrics", status(500))
	if send() == nil {
		t.Error("500 is no error")
	}
	f.reportUsage(engine.UsageMachine, "m", 3, 0)
	if err := send(); err != nil {
		t.Error(err)
	}
	f.rig.Restart()
	c = f.client(nil)
	f.reportUsage(engine.UsageBouncer, "fw", 4, 0)
	f.fails("/v3/usage-metrics", status(422))
	for range 2 {
		if err := send(); err != nil {
			t.Error(err)
		}
	}
	want := []string{"m 1, fw 2", "m 1 3, fw 2", "m, fw 4", "m, fw"}
	if got := f.toldUsage(); strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("%q, not %q", got, want)
	}
	// What is long goes in several requests.
	for i := range 10 {
		f.reportUsage(engine.UsageMachine, "m", 10+i, 900<<10)
	}
	requests := 0
	for more := true; more; requests++ {
		var err error
		if more, err = c.sendUsage(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.toldUsage(); requests != 3 || strings.Join(got, "; ") != "m 10 11 12 13, fw; m 14 15 16 17, fw; m 18 19, fw" {
		t.Errorf("%d requests: %q", requests, got)
	}
}

// The report and the sign of life have the fields of the contract.
func TestWhatIsToldOfMachinesAndBouncers(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.crew()
	c := f.client(nil)
	b, err := json.Marshal(c.present())
	at := f.rig.Now().Format(time.RFC3339)
	want := `{"apil_version":"1","machines":[{"name":"m","version":"v1","last_push":"` + at + `","last_update":"` + at + `"}],"bouncers":[{"custom_name":"fw","name":"nft","version":"2"}]}`
	if err != nil || string(b) != want {
		t.Errorf("%s, not %s, %v", b, want, err)
	}
	r, err := c.usage(t.Context(), 0, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	b, err = json.Marshal(r)
	for _, part := range []string{
		`"console_options":["custom,tainted"]`, `"feature_flags":[""]`, `"datasources":{"file":2}`, `"hub_items":{"scenarios":[{"name":"s","version":"1","status":"ok"}]}`,
		`"utc_startup_timestamp":null`, `"feature_flags":["x"],"metrics":[]`, `"window_size_seconds":1800`, `"name":"fw","type":"nft","last_pull":0`,
	} {
		if err != nil || !strings.Contains(string(b), part) {
			t.Errorf("%s is not in %s", part, b)
		}
	}
}

// The sign of life comes at once, and again when a machine came.
func TestPresence(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	turns := 0
	c := f.client(nil)
	ctx, cancel := cancelled(t)
	var at []int
	c.o.After = func(d time.Duration) <-chan time.Time {
		at = append(at, len(f.asked("/v3/metrics/")))
		switch turns++; turns {
		case 2:
			f.crew()
		case 4:
			f.rig.Advance(time.Hour)
			f.fails("/v3/metrics/", status(500))
		case 7:
			cancel()
			return nil
		}
		f.rig.Advance(d)
		over := make(chan time.Time)
		close(over)
		return over
	}
	c.presenceJob(ctx)
	if got := fmt.Sprint(at); got != "[1 1 2 2 3 3 3]" {
		t.Errorf("%s", got)
	}
}
