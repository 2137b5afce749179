package capi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// report has a machine report alerts with these scenarios, in one commit.
func (f *fake) report(change func(*engine.Alert), names ...string) {
	f.t.Helper()
	var list []*engine.Alert
	for _, name := range names {
		a := &engine.Alert{
			Scenario: name, ScenarioHash: "h", ScenarioVersion: "0.1", Message: "<&>", Kind: "crowdsec",
			StartAt: engine.StampOf(f.rig.Now()), StopAt: engine.StampOf(f.rig.Now()), Meta: []engine.Meta{{Key: "k", Value: "v"}},
			Source:    engine.Source{Scope: "Ip", Value: "192.0.2.7", IP: "192.0.2.7"},
			Decisions: []engine.NewDecision{{Duration: "4h", Origin: "crowdsec", Scenario: name, Scope: "Ip", Type: "ban", Value: "192.0.2.7"}},
		}
		if change != nil {
			change(a)
		}
		list = append(list, a)
	}
	if _, err := f.rig.AddAlerts(context.Background(), "m", list, f.rig.Now().UnixNano()); err != nil {
		f.t.Fatal(err)
	}
}

// signals are the scenarios that were pushed, in order, and how many batches it took.
func (f *fake) signals() (names []string, batches int) {
	for _, s := range f.asked("/v3/signals") {
		var list []struct{ Scenario string }
		if err := json.Unmarshal(s.body, &list); err != nil {
			f.t.Error(err)
		}
		batches++
		for _, one := range list {
			names = append(names, one.Scenario)
		}
	}
	return names, batches
}

func (f *fake) pusher(change func(*Options)) *pusher {
	c := f.client(change)
	p := c.newPusher()
	if !p.begin(context.Background()) {
		f.t.Fatal("not begun")
	}
	return p
}

func numbered(from, to int) (names []string) {
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprint("s", i))
	}
	return names
}

// Signals come in order, in batches, each at least once, whatever fails and whenever the
// server starts again.
func TestSignalsComeInOrder(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx := context.Background()
	f.report(nil, "before sharing began")
	p := f.pusher(nil)
	f.report(nil, numbered(0, 120)...)
	f.report(nil, numbered(120, 130)...)
	if err := p.turn(ctx); err != nil {
		t.Fatal(err)
	}
	if got, batches := f.signals(); !slices.Equal(got, numbered(0, 130)) || batches != 3 {
		t.Errorf("%d signals in %d batches: %q", len(got), batches, got)
	}
	f.seen = nil
	f.report(nil, numbered(130, 250)...)
	if err := f.client(nil).session.ask(ctx, &request{method: http.MethodPost, path: "v3/metrics/", body: f.client(nil).present()}); err != nil {
		t.Fatal(err)
	}
	f.fails("/v3/signals", says(""), status(500))
	if err := p.turn(ctx); err == nil {
		t.Error("500 is no error")
	}
	if err := p.turn(ctx); err != nil {
		t.Error(err)
	}
	if got, _ := f.signals(); !slices.Equal(got, slices.Concat(numbered(130, 180), numbered(180, 230), numbered(180, 250))) {
		t.Errorf("%q", got)
	}
	// A start goes on behind the last commit of which all was sent.
	f.seen = nil
	f.report(nil, numbered(250, 260)...)
	f.report(nil, numbered(260, 330)...)
	f.fails("/v3/signals", says("{}"), status(503))
	if err := p.turn(ctx); err == nil {
		t.Error("503 is no error")
	}
	f.rig.Restart()
	p = f.pusher(nil)
	f.seen = nil
	if err := p.turn(ctx); err != nil {
		t.Error(err)
	}
	if got, _ := f.signals(); !slices.Equal(got, numbered(260, 330)) {
		t.Errorf("after a restart %q", got)
	}
	rev := f.rig.View().Revision()
	for range 3 {
		if err := p.turn(ctx); err != nil || f.rig.View().Revision() != rev {
			t.Errorf("a turn without news makes a commit: %v", err)
		}
	}
}

// One signal that is refused does not hold up the others.
func TestSignalThatIsRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := f.pusher(nil)
	f.report(nil, numbered(0, 4)...)
	f.fails("/v3/signals", status(400), says(""), status(422), says(""), status(400))
	if err := p.turn(context.Background()); err != nil {
		t.Fatal(err)
	}
	got, _ := f.signals()
	if want := []string{"s0", "s1", "s2", "s3", "s0", "s1", "s2", "s3", "s2", "s3"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if n := strings.Count(f.log.String(), "is refused by the Central API and left out"); n != 1 || !strings.Contains(f.log.String(), "scenario=s3") {
		t.Errorf("said %d times:\n%s", n, &f.log)
	}
}

// What is shared is what console.yaml says, by the word of trust.
func TestSharing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		console Console
		want    []string
	}{
		{UsualConsole, []string{"certified certified", "custom custom", "tainted tainted", "question tainted"}},
		{Console{}, []string{"certified certified"}},
		{Console{Manual: true}, []string{"certified certified", "manual manual", "import manual"}},
	} {
		f := newFake(t)
		p := f.pusher(func(o *Options) { o.Console = c.console })
		f.report(nil, "certified")
		f.report(func(a *engine.Alert) { a.ScenarioHash = "" }, "custom")
		f.report(func(a *engine.Alert) { a.ScenarioVersion = "" }, "tainted")
		f.report(func(a *engine.Alert) { a.ScenarioVersion = "?" }, "question")
		f.report(func(a *engine.Alert) { a.Decisions[0].Origin = engine.OriginManual }, "manual")
		f.report(func(a *engine.Alert) { a.Decisions[0].Origin = engine.OriginImport }, "import")
		f.report(func(a *engine.Alert) { a.Simulated = true }, "simulated")
		f.stream = communityOf("198.18.0.1")
		f.mustPull(p.c)
		if err := p.turn(context.Background()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range f.asked("/v3/signals") {
			var list []struct {
				Scenario string
				Trust    string `json:"scenario_trust"`
			}
			_ = json.Unmarshal(s.body, &list)
			for _, one := range list {
				got = append(got, one.Scenario+" "+one.Trust)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q", c.console, got)
		}
	}
}

// A signal has the fields of the contract and no others.
func TestSignalFields(t *testing.T) {
	t.Parallel()
	for _, context := range []bool{false, true} {
		f := newFake(t)
		p := f.pusher(func(o *Options) { o.Console.Context = context })
		f.report(nil, "s")
		if err := p.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
		var list []map[string]any
		if err := json.Unmarshal(f.asked("/v3/signals")[0].body, &list); err != nil {
			t.Fatal(err)
		}
		s := list[0]
		told := "<nil>"
		if context {
			told = "[map[key:k value:v]]"
		}
		decision := s["decisions"].([]any)[0].(map[string]any)
		if fmt.Sprint(s["context"]) != told || s["message"] != "<&>" || fmt.Sprint(s["source"]) != "map[ip:192.0.2.7 scope:Ip value:192.0.2.7]" ||
			s["machine_id"] != "" && s["machine_id"] != "m" || decision["duration"] != "4h" || decision["id"] != 0.0 || decision["uuid"] == "" || len(decision) != 8 {
			t.Errorf("%v", s)
		}
		for _, absent := range []string{"events", "capacity", "leakspeed", "id", "created_at"} {
			if _, there := s[absent]; there {
				t.Errorf("a signal has %s", absent)
			}
		}
	}
}

// Without sharing nothing is sent, and nothing of the history is kept for it.
func TestNoSharing(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := f.pusher(nil)
	if _, stored := p.mark.At(); !stored {
		t.Fatal("no bookmark")
	}
	f.client(func(o *Options) { o.NoSharing = true }).pushJob(t.Context())
	if _, stored := p.mark.At(); stored {
		t.Error("the bookmark is still there")
	}
}

// Without a connection it is the same.
func TestForget(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := f.pusher(nil)
	for range 2 {
		before := f.rig.View().Revision()
		if err := Forget(t.Context(), f.rig.Engine); err != nil {
			t.Fatal(err)
		}
		if _, stored := p.mark.At(); stored || f.rig.View().Revision() > before+1 {
			t.Error("the bookmark is still there")
		}
	}
}

func TestLasting(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{4 * time.Hour: "4h", 90 * time.Minute: "1h30m", time.Second: "1s", 10 * time.Minute: "10m", 36001 * time.Second: "10h0m1s"} {
		if got := lasting(d); got != want {
			t.Errorf("%v is %s", d, got)
		}
	}
}

// What is reported between the first start and the first turn is sent too.
func TestFirstSignals(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	turns := 0
	c := f.client(func(o *Options) {
		o.After = func(time.Duration) <-chan time.Time {
			switch turns++; turns {
			case 1:
				f.report(nil, "first")
			case 3:
				cancel()
				return nil
			}
			over := make(chan time.Time)
			close(over)
			return over
		}
	})
	c.pushJob(ctx)
	if got, _ := f.signals(); !slices.Equal(got, []string{"first"}) {
		t.Errorf("%q", got)
	}
}
