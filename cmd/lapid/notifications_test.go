package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// webhook notes what a server tells it, and can keep it waiting.
type webhook struct {
	*httptest.Server
	mu   sync.Mutex
	got  []string
	hold chan struct{} // not nil: answers come when it is closed
}

func newWebhook(t *testing.T) *webhook {
	w := &webhook{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		w.got = append(w.got, string(body)+" "+r.Header.Get("Authorization"))
		hold := w.hold
		w.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *webhook) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

// notifies has the only profile of a house name a notification.
func (h *house) notifies(documents string) {
	h.t.Helper()
	h.must(os.MkdirAll(filepath.Join(h.dir, "notifications"), 0o755))
	write(h.t, filepath.Join(h.dir, "notifications"), "hooks.yaml", documents)
	write(h.t, h.dir, "profiles.yaml", fmt.Sprintf(rule, "first", "ban")+"notifications: [ops]\n")
}

// TestNotification: an alert that a profile names a notification for reaches the webhook
// once; one that was under way when the server was killed reaches it after the next
// start.
func TestNotification(t *testing.T) {
	t.Parallel()
	w, h := newWebhook(t), newHouse(t)
	h.notifies(`type: http
name: ops
format: '{{range .}}{{.Scenario}} {{range .Decisions}}{{.Type}} {{.Value}} {{.Duration}}{{end}}{{end}}'
url: ` + w.URL + `
method: POST
headers: {Authorization: "Bearer ${OPS_TOKEN}"}
timeout: 1m
`)
	alert := func(scenario string) {
		t.Helper()
		if code, text, err := h.ask("POST", "/v1/alerts", alertText(scenario, 0, 0)); err != nil || code != 201 {
			t.Fatalf("%d %s %v", code, text, err)
		}
	}
	env := []string{"OPS_TOKEN=a: b #c"}
	p := start(t, env, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	alert("one")
	alert("two")
	await(t, "both are told", func() bool { return len(w.told()) == 2 })
	if got := strings.Join(w.told(), "\n"); got != "one ban 203.0.113.9 1h Bearer a: b #c\ntwo ban 203.0.113.9 1h Bearer a: b #c" {
		t.Fatalf("%s", got)
	}
	w.mu.Lock()
	w.hold = make(chan struct{})
	w.mu.Unlock()
	alert("three")
	alert("four")
	await(t, "the third is under way", func() bool { return len(w.told()) == 3 })
	kill(t, p)
	w.mu.Lock()
	close(w.hold)
	w.hold = nil
	w.mu.Unlock()
	p = start(t, env, "-c", h.file, "serve")
	h.awaitHealth(p)
	await(t, "all are told", func() bool {
		return slices.ContainsFunc(w.told()[3:], func(s string) bool { return strings.HasPrefix(s, "three") }) &&
			slices.ContainsFunc(w.told(), func(s string) bool { return strings.HasPrefix(s, "four") })
	})
}

// TestNotificationVerbs: what is configured is listed and shown without its secrets put
// in, and tried without a server.
func TestNotificationVerbs(t *testing.T) {
	t.Parallel()
	w, h := newWebhook(t), newHouse(t)
	h.notifies(`type: http
name: ops
format: '{{range .}}{{.Scenario}} {{.EventsCount}} {{.GetValue}}{{range .Decisions}} {{.Origin}} {{.Duration}}{{end}}{{end}}'
url: ` + w.URL + `
method: POST
headers: {Authorization: "Bearer $OPS_TOKEN"}
---
type: http
name: gone
url: http://127.0.0.1:1/secret
`)
	h.steps([]step{
		{"notifications list -o raw", 0, "Name,Type,Profile name\nops,http,first\ngone,http,\n", ""},
		{"notifications list", 0, "~ops", ""},
		{"notifications list -o json", 0, "~Bearer $OPS_TOKEN", ""},
		{"notifications inspect ops", 0, "~Bearer $OPS_TOKEN", ""},
		{"notifications inspect nope", 1, "", "~plugin 'nope' does not exist"},
		{"notifications test ops", 0, "~was taken", ""},
		{"notifications test gone", 1, "", "~notification 'gone' was not taken: 127.0.0.1:1: "},
	})
	if got := w.told(); len(got) != 1 || !strings.HasPrefix(got[0], "test alert 1 10.10.10.10 cscli 4h ") {
		t.Errorf("%q", got)
	}
}
