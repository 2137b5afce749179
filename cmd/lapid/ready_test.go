package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
)

// condition asks /live, /ready or /metrics; 0 when nobody listens.
func (h *house) condition(path string) (int, string) {
	w, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", h.metrics, path))
	if err != nil {
		return 0, err.Error()
	}
	defer w.Body.Close()
	text, _ := io.ReadAll(w.Body)
	return w.StatusCode, string(text)
}

// TestReady: a server says whether it is ready from its first moment to its last,
// over the network and to the operator, and the two agree.
func TestReady(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.expect(h.do("", "ready"), exitFails, "", "~no server is running")
	blocker, err := engine.Open(&engine.Options{Dir: filepath.Join(h.dir, "lapid", "store")})
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "-c", h.file, "serve")
	await(t, "the start is told", func() bool {
		code, text := h.condition("/ready")
		return code == 503 && strings.Contains(text, `"kind":"starting"`) && strings.Contains(text, "another process has the store")
	})
	if code, text := h.condition("/live"); code != 200 || text != `{"live":true,"reasons":[]}`+"\n" {
		t.Errorf("/live while it starts: %d %s", code, text)
	}
	if code, text := h.condition("/metrics"); code != 503 {
		t.Errorf("/metrics while it starts: %d %s", code, text)
	}
	h.expect(h.do("", "ready"), exitFails, "~starting since ", "~not ready")
	if err := blocker.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "it is ready", func() bool { code, _ := h.condition("/ready"); return code == 200 })
	if code, text := h.condition("/ready"); text != `{"ready":true,"reasons":[]}`+"\n" {
		t.Errorf("/ready: %d %s", code, text)
	}
	h.steps([]step{
		{"ready", exitGood, "ready\n", ""},
		{"ready -o json", exitGood, "{\n \"ready\": true,\n \"reasons\": []\n}\n", ""},
	})
	if _, text := h.condition("/metrics"); !strings.Contains(text, "\nlapid_ready 1\n") || !strings.Contains(text, "\nlapid_trouble{kind=\"disk\"} 0\n") {
		t.Errorf("metrics: %s", text)
	}
	h.awaitHealth(p)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != exitGood {
		t.Errorf("it ends with %d", code)
	}
}

// TestStartYearsAhead: a server whose clock is ten years ahead of its store
// deletes no key, says so, and believes an operator who knows better. Here it is
// the store that was written by a clock ten years behind.
func TestStartYearsAhead(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	text := fmt.Sprintf(strings.Replace(serverConfig, "max_items: 1000000", "max_age: 7d, bouncers_autodelete: {api_key: 30d}, agents_autodelete: {login_password: 30d}", 1),
		h.dir, freePort(t), h.metrics)
	h.file = write(t, h.dir, "config.yaml", text)
	then := time.Now().AddDate(-10, 0, 0)
	seed(t, filepath.Join(h.dir, "lapid", "store"), func() time.Time { return then })

	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	await(t, "the doubt is told", func() bool {
		code, text := h.condition("/ready")
		return code == 503 && strings.Contains(text, `"kind":"clock"`) && strings.Contains(text, then.UTC().Format("2006-01-02"))
	})
	h.expect(h.do("", "ready"), exitFails, "~clock since ", "~not ready")
	await(t, "it is told loudly, once", func() bool {
		return strings.Count(p.out.String(), "level=error") == 1 && strings.Contains(p.out.String(), "--trust-clock")
	})
	awaitRounds(t, h, 3)
	h.steps([]step{
		{"bouncers list -o raw", exitGood, "~\nfw,", ""},
		{"machines list -o raw", exitGood, "~\nedge-1,", ""},
		{"alerts list -o raw", exitGood, "~\n1,", ""},
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != exitGood {
		t.Errorf("it ends with %d", code)
	}

	p = start(t, nil, "-c", h.file, "serve", "--trust-clock")
	h.awaitHealth(p)
	await(t, "it is ready", func() bool { code, _ := h.condition("/ready"); return code == 200 })
	await(t, "the old alert is deleted", func() bool { return !strings.Contains(h.do("", "alerts", "list", "-o", "raw").out, "\n1,") })
	h.steps([]step{{"bouncers list -o raw", exitGood, "~\nfw,", ""}}) // it may still come by
}

// seed writes a store in which a bouncer, a machine and an alert are.
func seed(t *testing.T, dir string, clock func() time.Time) {
	t.Helper()
	e, err := engine.Open(&engine.Options{Dir: dir, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	row, err := e.AddBouncer(ctx, &engine.Bouncer{Name: "fw", CreatedAt: e.Now()})
	if err == nil {
		row.Advance(e.View().Revision(), e.Now())
		err = e.AddMachine(ctx, &engine.Machine{ID: "edge-1", Validated: true, IP: "192.0.2.9", CreatedAt: e.Now()}, false)
	}
	if err == nil {
		e.Heartbeat("edge-1", e.Now())
		_, err = e.AddAlerts(ctx, "", []*engine.Alert{{Scenario: "s", StopAt: engine.StampOf(clock()), Decisions: []engine.NewDecision{
			{Scope: "Ip", Value: "192.0.2.1", Type: "ban", Origin: "crowdsec", Scenario: "s", Duration: "4h"}}}}, e.Now())
	}
	cancel()
	if err = errors.Join(err, <-ended, e.Close()); err != nil {
		t.Fatal(err)
	}
}

// awaitRounds waits until the committer has looked after itself so often: each
// write is committed in a round of its own.
func awaitRounds(t *testing.T, h *house, n int) {
	t.Helper()
	for i := range n {
		h.steps([]step{{fmt.Sprintf("allowlists create round-%d -d x", i), exitGood, "~created", ""}})
	}
}
