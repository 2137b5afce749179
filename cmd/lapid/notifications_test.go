package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// webhook notes what a server tells it, and can keep it waiting.
type webhook struct {
	*httptest.Server
	mu   sync.Mutex
	got  []string
	hold chan struct{} // not nil: answers come when it is closed
}

func newWebhook(t *testing.T) *webhook { return newWebhookAt(t, "127.0.0.1:0") }

// newWebhookAt listens where another has.
func newWebhookAt(t *testing.T, at string) *webhook {
	t.Helper()
	w := &webhook{}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
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
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	w.Listener.Close()
	w.Listener = l
	w.Start()
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
		{"notifications inspect gone", 0, "type: http\nname: gone\ntimeout: 5s\nurl: http://127.0.0.1:1/***\n", ""},
		{"notifications inspect gone -o json", 0, "~\"timeout\": \"5s\"", ""},
		{"notifications test ops", 0, "~was taken", ""},
		{"notifications test gone", 1, "", "~notification 'gone' was not taken: 127.0.0.1:1: "},
		{"notifications test ops -a {\"x\":1} -o json", 0, "~\"sent\": true", "~it has no effect"},
		{"notifications test ops -a x", 1, "", "~--alert: not the JSON of an alert"},
	})
	if got := w.told(); len(got) != 2 || !strings.HasPrefix(got[0], "test alert 1 10.10.10.10 cscli 4h ") {
		t.Errorf("%q", got)
	}
}

// TestReinject: a stored alert is judged once more and its notifications are sent, beside a
// running server and without one; nothing is stored by it.
func TestReinject(t *testing.T) {
	t.Parallel()
	w, h := newWebhook(t), newHouse(t)
	h.notifies(`type: http
name: ops
format: '{{range .}}{{.Scenario}} {{.ID}} {{.Source.Cn}} {{range .Decisions}}{{.Type}} {{.Value}} {{.Origin}}{{end}}{{end}}'
url: ` + w.URL + `
method: POST
---
type: http
name: dead
url: http://127.0.0.1:1/
`)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	if code, text, err := h.ask("POST", "/v1/alerts", alertText("one", 0, 0)); err != nil || code != 201 {
		t.Fatalf("%d %s %v", code, text, err)
	}
	await(t, "it is told", func() bool { return len(w.told()) == 1 })
	h.steps([]step{
		{"notifications reinject 1", 0, "alert 1 was taken by the receiver of notification 'ops'\n", ""},
		{"notifications reinject 1 -o json -a {\"source\":{\"cn\":\"FR\"}}", 0, "~\"sent\": [\n  \"ops\"\n ]", ""},
		{"notifications reinject 99", 1, "", "~can't find alert with id 99: API error: object not found"},
		{"notifications reinject x", 1, "", "~bad alert id x"},
	})
	const ban = "ban 203.0.113.9 crowdsec "
	if got := strings.Join(w.told()[1:], "\n"); got != "one 1  "+ban+"\none 1 FR "+ban {
		t.Errorf("%q", got)
	}
	h.must(p.cmd.Process.Signal(os.Interrupt))
	p.wait(t)
	h.steps([]step{{"notifications reinject 1", 0, "~was taken", ""}, {"alerts list -o raw", 0, "~1,Ip,203.0.113.9,one", ""}})
	write(t, h.dir, "profiles.yaml", fmt.Sprintf(rule, "first", "ban")+"notifications: [dead, ops]\n")
	h.steps([]step{{"notifications reinject 1", 1, "~of notification 'ops'", "~notification 'dead' was not taken: 127.0.0.1:1"}})
	write(t, h.dir, "profiles.yaml", "name: none\nfilters: ['false']\nnotifications: [ops]\n")
	h.steps([]step{{"notifications reinject 1", 0, "~nothing was sent", ""}})
	if got := len(w.told()); got != 5 {
		t.Errorf("%d messages", got)
	}
}

// TestReceiverAway: with a receiver that is away for a whole run, killed in between, all
// alerts reach it at the next, in order and each at least once; meanwhile /ready names it
// and stays good, the metrics tell what waits, and a group goes on where it was.
func TestReceiverAway(t *testing.T) {
	t.Parallel()
	w, h := newWebhook(t), newHouse(t)
	at := strings.TrimPrefix(w.URL, "http://")
	w.Close()
	document := func(more string) string {
		return "type: http\nname: ops\nformat: '{{range .}}{{.Scenario}} {{end}}'\nmethod: POST\nmax_retry: 1\nurl: http://" + at + "/\n" + more
	}
	h.notifies(document(""))
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	alert := func(scenario string) {
		t.Helper()
		if code, text, err := h.ask("POST", "/v1/alerts", alertText(scenario, 0, 0)); err != nil || code != 201 {
			t.Fatalf("%d %s %v", code, text, err)
		}
	}
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("s%02d", i))
		alert(want[i])
	}
	await(t, "it is a trouble", func() bool { return strings.Contains(h.do("", "ready").out, "notification since ") })
	if r := h.do("", "ready"); r.exit != 0 || !strings.HasPrefix(r.out, "ready\n") || !strings.Contains(r.out, "notification 'ops'") {
		t.Errorf("%+v", r)
	}
	await(t, "it is measured", func() bool {
		text := h.scrape()
		return strings.Contains(text, `lapid_notifications_waiting{notification="ops"} 20`) && strings.Contains(text, `lapid_trouble{kind="notification"} 1`) &&
			strings.Contains(text, "lapid_ready 1")
	})
	kill(t, p)
	again := newWebhookAt(t, at)
	p = start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	await(t, "all are told", func() bool { return len(again.told()) >= len(want) })
	var got []string
	for _, s := range again.told() {
		if word := strings.Fields(s)[0]; len(got) == 0 || got[len(got)-1] != word { // at least once
			got = append(got, word)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	before := len(again.told())
	h.notifies(document("group_threshold: 3\n"))
	h.must(p.cmd.Process.Signal(syscall.SIGHUP))
	await(t, "it is reloaded", func() bool { return strings.Contains(p.out.String(), "notifications (1)") })
	alert("x")
	alert("y")
	await(t, "they wait", func() bool { return strings.Contains(h.scrape(), `lapid_notifications_waiting{notification="ops"} 2`) })
	kill(t, p)
	p = start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	alert("z")
	await(t, "the group is told", func() bool { return len(again.told()) > before })
	if got := again.told()[len(again.told())-1]; got != "x y z  " {
		t.Errorf("%q", got)
	}
}

// scrape reads the metrics.
func (h *house) scrape() string {
	h.t.Helper()
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", h.metrics))
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return string(text)
}

// TestNotificationsReload: what a document says takes effect with SIGHUP, also for what
// waits; one that is wrong changes nothing.
func TestNotificationsReload(t *testing.T) {
	t.Parallel()
	w, h := newWebhook(t), newHouse(t)
	document := func(url, format string) string {
		return "type: http\nname: ops\nformat: '" + format + "'\nmethod: POST\nmax_retry: 1\nurl: " + url + "\n"
	}
	h.notifies(document("http://127.0.0.1:1/", "old"))
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	if code, text, err := h.ask("POST", "/v1/alerts", alertText("one", 0, 0)); err != nil || code != 201 {
		t.Fatalf("%d %s %v", code, text, err)
	}
	await(t, "it waits", func() bool { return strings.Contains(p.out.String(), "delivery failed after retries") })
	h.notifies(document(w.URL, "{{nope}}"))
	h.must(p.cmd.Process.Signal(syscall.SIGHUP))
	await(t, "it is refused", func() bool {
		return strings.Contains(p.out.String(), "nothing was reloaded") && strings.Contains(p.out.String(), "hooks.yaml:3: format of 'ops'")
	})
	h.notifies(document(w.URL, "{{range .}}{{.Scenario}}{{end}}"))
	h.must(p.cmd.Process.Signal(syscall.SIGHUP))
	await(t, "it is told", func() bool { return len(w.told()) == 1 })
	if got := w.told()[0]; got != "one " {
		t.Errorf("%q", got)
	}
	await(t, "no trouble is left", func() bool { return h.do("", "ready").out == "ready\n" })
}

// TestNotificationProxy: a webhook that is not on this machine is reached by way of the
// proxy that the environment names.
func TestNotificationProxy(t *testing.T) {
	t.Parallel()
	proxy, h := newWebhook(t), newHouse(t)
	h.notifies("type: http\nname: ops\nformat: x\nmethod: POST\nurl: http://hooks.example.org/a\nheaders: {Authorization: mine}\n")
	p := start(t, []string{"HTTP_PROXY=" + proxy.URL, "NO_PROXY="}, "-c", h.file, "notifications", "test", "ops")
	if code := p.wait(t); code != 0 || len(proxy.told()) != 1 || proxy.told()[0] != "x mine" {
		t.Errorf("exit %d, %q: %s", code, proxy.told(), p.out)
	}
}
