package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/persist"
)

// told collects the messages of a log, one a line.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (*told) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (t *told) WithAttrs([]slog.Attr) slog.Handler         { return t }
func (t *told) WithGroup(string) slog.Handler              { return t }

func (t *told) Handle(_ context.Context, r slog.Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprint(&t.text, r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&t.text, " %v", a); return true })
	t.text.WriteByte('\n')
	return nil
}

// take gives what was told since the last time.
func (t *told) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.text.Reset()
	return t.text.String()
}

func bans(n int, origin string) (ds []engine.NewDecision) {
	for i := range n {
		ds = append(ds, engine.NewDecision{Scope: "Ip", Value: fmt.Sprintf("10.0.%d.%d", i>>8, i&255), Type: "ban", Origin: origin, Scenario: "s", Duration: "4h"})
	}
	return ds
}

// TestAlertsAreLogged: each decision has its line in the reference's words, and no report
// makes the log as long as it likes.
func TestAlertsAreLogged(t *testing.T) {
	t.Parallel()
	log, clock := &told{}, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	var at atomic.Int64
	at.Store(clock)
	e, err := engine.Open(&engine.Options{
		Dir: "store", FS: persist.NewMemFS(), Logger: slog.New(log), Now: func() time.Time { return time.Unix(0, at.Load()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
		_ = e.Close()
	}()
	if err := e.AddMachine(ctx, &engine.Machine{ID: "m"}, false); err != nil {
		t.Fatal(err)
	}
	report := func(machine string, alerts ...*engine.Alert) string {
		t.Helper()
		log.take()
		now := at.Add(int64(time.Second))
		if _, err := e.AddAlerts(ctx, machine, alerts, now); err != nil {
			t.Fatal(err)
		}
		return log.take()
	}
	alert := func(scenario string, s engine.Source, ds ...engine.NewDecision) *engine.Alert {
		return &engine.Alert{Scenario: scenario, Source: s, StopAt: engine.Stamp{At: clock}, Decisions: ds}
	}
	ip := engine.Source{Scope: "ip", Value: "192.0.2.9", Cn: "FR", AsNumber: "1234"}
	long := strings.Repeat("x", 10_000)
	for _, c := range []struct{ got, want string }{
		{report("m", alert("crowdsecurity/ssh-bf", ip, bans(1, "crowdsec")...)), "(m/crowdsec) crowdsecurity/ssh-bf by ip 192.0.2.9 (FR/1234) : 4h ban on Ip 10.0.0.0\n"},
		{report("m", alert("crowdsecurity/x", engine.Source{Scope: "Range", Value: "192.0.2.0/24", Cn: "FR"})), "(m) alert : crowdsecurity/x by range 192.0.2.0/24 (FR)\n"},
		{report("m", &engine.Alert{Scenario: "simul", Simulated: true, Source: engine.Source{Scope: "username", Value: "bob"}, StopAt: engine.Stamp{At: clock},
			Decisions: []engine.NewDecision{{Scope: "username", Value: "bob", Type: "mfa", Origin: "crowdsec", Duration: "1h"}}}),
			"(m/crowdsec) simul by username bob : (simulated alert)1h mfa on username bob\n"},
		{report("", alert("import f.csv: 1000 IPs", engine.Source{}, bans(1000, "cscli-import")...)), "(operator) alert : import f.csv: 1000 IPs\n"},
		{report("m", alert("", ip)), "(m) alert : empty scenario by ip 192.0.2.9 (FR/1234)\n"},
		{report("m", &engine.Alert{Scenario: "s", Unlogged: true, StopAt: engine.Stamp{At: clock}}), ""},
	} {
		if c.got != c.want {
			t.Errorf("told %q, want %q", c.got, c.want)
		}
	}
	if got := report("m", alert("many", ip, bans(3000, "crowdsec")...)); strings.Count(got, "\n") != 6 || !strings.HasSuffix(got, "(m) many by ip 192.0.2.9 (FR/1234) : and 2995 more decisions\n") {
		t.Errorf("3000 decisions: %s", got)
	}
	var many []*engine.Alert
	for range 1000 {
		many = append(many, alert("many", ip))
	}
	if got := report("m", many...); strings.Count(got, "\n") != 100 {
		t.Errorf("1000 alerts: %s", got)
	}
	var banned []*engine.Alert
	for _, d := range bans(160, "x") {
		banned = append(banned, alert("many", ip, d))
	}
	if got := report("m", banned...); strings.Count(got, ": 4h ban on Ip 10.0.0.") != 100 || !strings.Contains(got, "10.0.0.99\n") {
		t.Errorf("160 bans: %s", got)
	}
	at.Add(2 * int64(time.Second)) // a second without reports
	missed := ""
	for deadline := time.Now().Add(time.Minute); !strings.Contains(missed, "10.0.0.100 10.0.0.101 ") && time.Now().Before(deadline); {
		if _, err := e.AddAlerts(ctx, "m", []*engine.Alert{alert("next", ip)}, at.Add(1)); err != nil {
			t.Fatal(err)
		}
		missed += log.take()
	}
	if !strings.Contains(missed, "10.0.0.100 10.0.0.101 ") || !strings.Contains(missed, "more alerts came than the log has lines for in a second alerts=60 decisions=60 lines=100 first=10.0.0.100") || len(missed) > 1<<20 {
		t.Errorf("what had no line is not named: %s", missed)
	}
	if got := report("m", alert("a", ip, append(bans(2, "x"), engine.NewDecision{Scope: "Ip", Value: "192.0.2.7:443", Type: "ban", Duration: "4h"})...)); strings.Count(got, ": 4h ban on") != 2 ||
		!strings.Contains(got, "value=192.0.2.7:443 discarded=1 machine=m scenario=a") {
		t.Errorf("one cannot be read: %s", got)
	}
	if got := report("m", alert(long, engine.Source{Scope: long, Value: long}, engine.NewDecision{Scope: long, Value: "v", Type: long, Origin: long, Duration: "4h"})); len(got) > 2500 {
		t.Errorf("a line of %d bytes", len(got))
	}
	log.take()
	now := at.Add(int64(time.Second))
	for i := range 300 { // some have waited for long
		if _, err := e.AddAlerts(ctx, "m", []*engine.Alert{alert("a", ip, bans(1, "x")...)}, now-int64(i%3)*int64(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	e.LogMissed(now + int64(time.Second)) // the committer's clock stands still
	if got := log.take(); strings.Count(got, "(m/x)") != 100 || !strings.Contains(got, "alerts=200 decisions=200 lines=100") {
		t.Errorf("300 reports in a second: %d lines: %s", strings.Count(got, "\n"), got[max(len(got)-300, 0):])
	}
}
