package notify

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
)

// hook is a webhook that fails as it is told to.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	fails  []string // what happens to the next requests; then all is well
	asked  int
	bodies []string // of requests that were answered well
	poison []string // texts that it never takes a body with
	code   string   // what it answers to those; "": 500
}

func newHook(t *testing.T, fails ...string) *hook {
	h := &hook{fails: fails}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	h.asked++
	fault := ""
	if len(h.fails) > 0 {
		fault = h.fails[0]
		if more := strings.TrimPrefix(fault, "always "); more != fault {
			fault = more
		} else if fault != "down" {
			h.fails = h.fails[1:]
		}
	}
	if slices.ContainsFunc(h.poison, func(p string) bool { return strings.Contains(string(body), p) }) {
		fault = cmp.Or(h.code, "500")
	}
	if fault == "" {
		h.bodies = append(h.bodies, string(body))
	}
	h.mu.Unlock()
	switch fault {
	case "500", "down":
		http.Error(w, "no", http.StatusInternalServerError)
	case "429":
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	case "slow", "cut", "":
	default:
		code, _ := strconv.Atoi(fault)
		w.Header().Set("Location", "/round")
		w.WriteHeader(code)
	}
	switch fault {
	case "slow":
		<-r.Context().Done()
	case "cut":
		c, _, _ := w.(http.Hijacker).Hijack()
		_, _ = io.WriteString(c, "HTTP/1.1 2")
		c.Close()
	}
}

func (h *hook) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.bodies)
}

func (h *hook) mend() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails = nil
}

func (h *hook) tries() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

const valuesOnly = `{{range .}}{{.Source.Value}} {{end}}`

func (h *hook) configuration(name string) *Configuration {
	return &Configuration{Name: name, Type: "http", Format: valuesOnly, HTTP: &HTTP{URL: h.URL + "/secret-path", Method: "POST"}}
}

// An alert reaches the webhook once, in the form that the field gives it.
func TestAlertReachesTheWebhook(t *testing.T) {
	t.Parallel()
	h, o := newHook(t), newOffice(t, "ops", "elsewhere")
	c := h.configuration("ops")
	c.Format = `{{.|toJson}}`
	o.open(c)
	o.report("192.0.2.1")
	o.report("192.0.2.2")
	await(t, "both are there", func() bool { return len(h.got()) == 2 })
	o.stop()
	got := h.got()
	if len(got) != 2 {
		t.Fatalf("%d messages", len(got))
	}
	var alerts []map[string]any
	if err := json.Unmarshal([]byte(got[0]), &alerts); err != nil || len(alerts) != 1 {
		t.Fatalf("%s: %v", got[0], err)
	}
	var keys []string
	for key := range alerts[0] {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	const want = "capacity decisions events events_count labels leakspeed machine_id message meta remediation scenario scenario_hash scenario_version simulated source start_at stop_at uuid"
	if strings.Join(keys, " ") != want {
		t.Errorf("keys %v", keys)
	}
	d := alerts[0]["decisions"].([]any)[0].(map[string]any)
	if d["duration"] != "4h" || d["type"] != "ban" || d["value"] != "192.0.2.1" || d["origin"] != "crowdsec" || len(d["uuid"].(string)) != 36 {
		t.Errorf("%v", d)
	}
	if at, stored := o.Bookmark("notify.ops").At(); !stored || at == 0 {
		t.Error("no bookmark")
	}
}

// A receiver that fails delays, and nothing is lost or out of order.
func TestReceiverThatFails(t *testing.T) {
	t.Parallel()
	h, o := newHook(t, "500", "cut", "slow", "500"), newOffice(t, "ops")
	c := h.configuration("ops")
	c.Timeout = 50 * time.Millisecond
	o.open(c)
	o.reports(3)
	o.report("198.51.100.1")
	// What was taken after the time was over is sent again.
	got := func() string { return strings.Join(slices.Compact(slices.Clone(h.got())), "") }
	await(t, "all are there", func() bool { return strings.HasSuffix(got(), "198.51.100.1 ") })
	o.stop()
	if got := got(); got != "192.0.2.1 192.0.2.2 192.0.2.3 198.51.100.1 " {
		t.Errorf("%s", got)
	}
	if strings.Contains(o.log.String(), "secret-path") {
		t.Errorf("the address is in the log:\n%s", o.log)
	}
}

// No refusal gives a message up: whatever a receiver answers to everything, all wait for
// it, it is a trouble, and they come when it is well.
func TestReceiverThatRefusesEverything(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"302", "307", "400", "401", "403", "404", "405", "407", "410", "413", "422", "429", "451", "500"} {
		for _, retries := range []int{0, 1} {
			t.Run(answer, func(t *testing.T) {
				t.Parallel()
				h, o := newHook(t, "always "+answer), newOffice(t, "ops")
				c := h.configuration("ops")
				c.MaxRetry = retries
				n := o.open(c)
				o.reports(3)
				await(t, "it is told", func() bool { return n.Trouble() != nil })
				h.mend()
				await(t, "all are there", func() bool { return len(h.got()) == 3 })
				o.stop()
				f := n.Figures()[0]
				if f.Dropped != [dropReasons]uint64{} || n.Trouble() != nil {
					t.Errorf("%+v\n%s", f, o.log)
				}
			})
		}
	}
}

// The default, without max_retry, is told of while its first round goes on.
func TestTroubleComesSoon(t *testing.T) {
	t.Parallel()
	h, o := newHook(t), newOffice(t, "ops")
	n := o.open(h.configuration("ops"))
	o.stop()
	o.reports(1)
	c := n.couriers["ops"].courier
	c.gather()
	c.leaving = len(c.pending)
	first := o.clock.Now()
	for n.Trouble() == nil {
		c.failed(t.Context(), 1, errors.New("answered 401"))
		o.clock.After(c.outage.again.Sub(o.clock.Now()))
		if o.clock.Now().Sub(first) >= firstRound {
			t.Fatal("not told in the first round")
		}
	}
	if told := c.clock.Now().Sub(first) - c.outage.wait/2; told > 10*time.Second || n.Trouble().Since != first.UnixNano() {
		t.Errorf("told after %v: %+v", told, n.Trouble())
	}
}

// A message that is refused for what it is, where others are taken, is given up before its
// round is over; what is behind it comes.
func TestRefusedMessage(t *testing.T) {
	t.Parallel()
	h, o := newHook(t), newOffice(t, "ops")
	h.poison, h.code = []string{"192.0.2.1 "}, "422"
	n := o.open(h.configuration("ops"))
	before := o.clock.Now()
	o.reports(2)
	await(t, "the second is there", func() bool { return len(h.got()) == 1 && n.Figures()[0].Waiting == 0 })
	o.stop()
	if f := n.Figures()[0]; f.Dropped[DroppedRefused] != 1 || o.clock.Now().Sub(before) >= firstRound {
		t.Errorf("%+v\n%s", f, o.log)
	}
}

// What is alone and refused waits; what comes behind it is tried long before the next round.
func TestRefusedAndAlone(t *testing.T) {
	t.Parallel()
	h, o := newHook(t), newOffice(t, "ops")
	h.poison, h.code = []string{"192.0.2.1 "}, "400"
	n := o.open(h.configuration("ops"))
	o.stop()
	c := n.couriers["ops"].courier
	o.reports(1)
	c.gather()
	c.next(false)
	c.send(t.Context())
	c.outage.again = o.clock.Now().Add(roundPause)
	o.report("198.51.100.1")
	c.gather()
	if wait, ever := c.next(false); !ever || wait > longestPause || c.leaving != 2 {
		t.Fatalf("%v %v %d", wait, ever, c.leaving)
	}
	c.send(t.Context())
	if f := n.Figures()[0]; len(c.pending) != 0 || len(h.got()) != 1 || f.Dropped[DroppedRefused] != 1 {
		t.Errorf("%+v %v", f, h.got())
	}
}

// A receiver that never comes back costs a message a day, and each is told.
func TestReceiverThatStaysAway(t *testing.T) {
	t.Parallel()
	h, o := newHook(t, "down"), newOffice(t, "ops")
	c := h.configuration("ops")
	c.MaxRetry = 3
	o.open(c)
	o.reports(1)
	await(t, "it is given up", func() bool { return strings.Contains(o.log.String(), "they are too old by now") })
	h.mend()
	o.report("198.51.100.1")
	await(t, "the next is there", func() bool { return len(h.got()) == 1 })
	if !strings.Contains(o.log.String(), "delivery failed after retries") {
		t.Errorf("%s", o.log)
	}
}

// A restart while the receiver is down loses nothing, and what was sent is not sent again.
func TestRestartDelays(t *testing.T) {
	t.Parallel()
	h, o := newHook(t), newOffice(t, "ops")
	o.open(h.configuration("ops"))
	o.reports(2)
	await(t, "both are there", func() bool { return len(h.got()) == 2 })
	o.stop()
	h.mu.Lock()
	h.fails = []string{"down"}
	h.mu.Unlock()
	o.clock.held = true
	o.open(h.configuration("ops"))
	o.report("198.51.100.1")
	o.report("198.51.100.2")
	before := h.tries()
	await(t, "it was tried", func() bool { return h.tries() > before })
	o.stop()
	o.Restart()
	h.mend()
	o.clock.held = false
	o.open(h.configuration("ops"))
	await(t, "all are there", func() bool { return len(h.got()) == 4 })
	o.stop()
	if got := strings.Join(h.got(), ""); got != "192.0.2.1 192.0.2.2 198.51.100.1 198.51.100.2 " {
		t.Errorf("%s", got)
	}
}

// Messages are as large as the group says.
func TestGroups(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		wait      time.Duration
		threshold int
		alerts    int
		want      string // how many alerts each message has
	}{
		{"alone", 0, 0, 3, "1 1 1"},
		{"threshold", 0, 3, 7, "3 3 1"},
		{"wait does not group", 5 * time.Second, 0, 2, "1 1"},
		{"both", time.Hour, 2, 5, "2 2 1"},
		{"both, few", time.Hour, 10, 2, "2"},
		{"fewer than the group wait for the end", 0, 10, 5, "5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, o := newHook(t), newOffice(t, "ops")
			f := h.configuration("ops")
			f.Format, f.GroupWait, f.GroupThreshold = `{{len .}}`, c.wait, c.threshold
			o.open(f)
			o.reports(c.alerts)
			if c.threshold != 10 || c.wait != 0 {
				await(t, "all are there", func() bool { return strings.Join(h.got(), " ") == c.want })
			}
			o.stop()
			if got := strings.Join(h.got(), " "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// A notification that is no longer named leaves no bookmark; one that has changed goes on.
func TestReplace(t *testing.T) {
	t.Parallel()
	h, o := newHook(t), newOffice(t, "ops", "old")
	n := o.open(h.configuration("ops"), h.configuration("old"))
	o.reports(1)
	await(t, "both are told", func() bool { return len(h.got()) == 2 })
	changed := h.configuration("ops")
	changed.Format = "changed"
	if err := n.Replace(t.Context(), []*Configuration{changed}); err != nil {
		t.Fatal(err)
	}
	o.report("198.51.100.1")
	await(t, "one more", func() bool { return len(h.got()) == 3 })
	o.stop()
	if _, stored := o.Bookmark("notify.old").At(); stored || h.got()[2] != "changed" {
		t.Errorf("%v %q", stored, h.got())
	}
}

// What waits for a notification that is no longer named is told, at a reload and at a
// start, and goes out when it is named again; it is given up, and counted, after a day.
func TestUnnamed(t *testing.T) {
	t.Parallel()
	h, o := newHook(t, "down"), newOffice(t, "ops")
	o.clock.held = true
	n := o.open(h.configuration("ops"))
	o.reports(3)
	await(t, "it was tried", func() bool { return h.tries() > 0 })
	if err := n.Replace(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	const said = "3 alert(s) wait for notification 'ops', which no profile names now"
	if trouble := n.Trouble(); trouble == nil || !strings.Contains(trouble.Text, said) || strings.Count(o.log.String(), said) != 1 {
		t.Fatalf("%+v\n%s", trouble, o.log)
	}
	o.stop()
	o.Restart()
	n = o.open()
	if trouble := n.Trouble(); trouble == nil || !strings.Contains(trouble.Text, said) || strings.Count(o.log.String(), said) != 2 {
		t.Fatalf("%+v\n%s", trouble, o.log)
	}
	h.mend()
	if err := n.Replace(t.Context(), []*Configuration{h.configuration("ops")}); err != nil {
		t.Fatal(err)
	}
	await(t, "they are there", func() bool { return len(h.got()) == 3 && n.Figures()[0].Waiting == 0 })
	if n.Trouble() != nil || n.Figures()[0].Dropped != [dropReasons]uint64{} {
		t.Errorf("%+v %+v", n.Trouble(), n.Figures())
	}
	h.mu.Lock()
	h.fails = []string{"down"}
	h.mu.Unlock()
	o.report("198.51.100.1")
	before := h.tries()
	await(t, "it was tried", func() bool { return h.tries() > before })
	o.clock.mu.Lock()
	o.clock.held = false
	o.clock.mu.Unlock()
	if err := n.Replace(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	await(t, "it is given up", func() bool { return n.Figures()[0].Dropped[DroppedOld] == 1 && n.Trouble() == nil })
	if !strings.Contains(o.log.String(), "alerts are given up") {
		t.Errorf("%s", o.log)
	}
	if err := n.Replace(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, stored := o.Bookmark("notify.ops").At(); stored || len(n.Figures()) != 0 {
		t.Errorf("%v %+v", stored, n.Figures())
	}
}

// What profiles that matched before a decision name is told without it.
func TestUndecided(t *testing.T) {
	t.Parallel()
	h, o := newHook(t), newOffice(t, "ops", "ops")
	o.rules.verdict.Undecided = 1
	c := h.configuration("ops")
	c.Format = `{{range .}}{{len .Decisions}}{{end}}`
	o.open(c)
	o.reports(1)
	await(t, "both are there", func() bool { return len(h.got()) == 2 })
	if got := h.got(); got[0] != "0" || got[1] != "1" {
		t.Errorf("%q", got)
	}
}

// A receiver that takes others and not one of them does not hold them up: after one round
// the one is given up, told with its name, and counted; also two after one another.
func TestPoison(t *testing.T) {
	t.Parallel()
	h, o := newHook(t), newOffice(t, "ops")
	h.poison = []string{"192.0.2.1 ", "192.0.2.2 ", "192.0.2.4 "}
	c := h.configuration("ops")
	c.MaxRetry = 1
	n := o.open(c)
	o.reports(5)
	await(t, "the good ones are there", func() bool { return len(h.got()) == 2 && n.Figures()[0].Waiting == 0 })
	o.report("198.51.100.1")
	await(t, "what comes after it too", func() bool { return len(h.got()) == 3 && n.Figures()[0].Delivered == 3 })
	f := n.Figures()[0]
	if f.Failed == 0 || f.Retried == 0 {
		t.Errorf("%+v", f)
	}
	o.stop()
	// The last of all blocks nobody: on this clock it may have become too old meanwhile.
	if f := n.Figures()[0]; f.Dropped[DroppedPoison] < 2 || f.Dropped[DroppedPoison]+f.Dropped[DroppedOld] != 3 ||
		!strings.Contains(o.log.String(), "its receiver takes others and not this one") || !strings.Contains(o.log.String(), "value=192.0.2.1") {
		t.Errorf("%+v\n%s", f, o.log)
	}
}

// Of a group that is not taken each alert has its own message: only the bad one is lost.
func TestPoisonInAGroup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, format string
		poison       []string
		why          DropReason
	}{
		{"the receiver", valuesOnly, []string{"192.0.2.2"}, DroppedPoison},
		{"the format", `{{range .}}{{if eq .GetValue "192.0.2.2"}}{{fail "no"}}{{end}}{{.GetValue}} {{end}}`, nil, DroppedFormat},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, o := newHook(t), newOffice(t, "ops")
			h.poison = c.poison
			f := h.configuration("ops")
			f.Format, f.GroupThreshold, f.MaxRetry = c.format, 3, 1
			n := o.open(f)
			o.reports(3)
			o.report("198.51.100.1", "198.51.100.2", "198.51.100.3")
			await(t, "all others are there", func() bool {
				all := strings.Join(h.got(), "")
				return strings.Count(all, " ") == 5 && n.Figures()[0].Dropped[c.why] == 1
			})
			o.stop()
			if got := strings.Fields(strings.Join(h.got(), "")); len(got) != 5 || slices.Contains(got, "192.0.2.2") {
				t.Errorf("%v", got)
			}
		})
	}
}

// A dead receiver is a trouble that names the notification and what to do, and goes when it
// takes messages again; the figures tell what waits.
func TestDeadReceiverIsTold(t *testing.T) {
	t.Parallel()
	h, o := newHook(t, "down"), newOffice(t, "ops")
	c := h.configuration("ops")
	c.MaxRetry = 2
	n := o.open(c)
	o.reports(2)
	await(t, "it is told", func() bool { return n.Trouble() != nil })
	trouble := n.Trouble()
	if trouble.Kind != engine.TroubleNotification || !trouble.Kind.Aside() || !strings.Contains(trouble.Text, "'ops'") || !strings.Contains(trouble.Text, "SIGHUP") || strings.Contains(trouble.Text, "secret") {
		t.Errorf("%+v", trouble)
	}
	if f := n.Figures()[0]; f.Waiting != 2 || f.Oldest.IsZero() || f.Down.IsZero() {
		t.Errorf("%+v", f)
	}
	h.mend()
	await(t, "it is over", func() bool { return n.Trouble() == nil && n.Figures()[0].Delivered == 2 })
	if f := n.Figures()[0]; f.Delivered != 2 || f.Failed < 3 || f.Retried < 2 {
		t.Errorf("%+v", f)
	}
	// It may have come back between an attempt with the first and the one with the second.
	if all := strings.Join(h.got(), ""); !strings.Contains(all, "192.0.2.1 ") || !strings.Contains(all, "192.0.2.2 ") || strings.Count(o.log.String(), "delivery failed after retries") != 1 {
		t.Errorf("%q\n%s", h.got(), o.log)
	}
}

// What an answer says of when to come again is kept to, within bounds.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "x": 0, "-5": 0, "30": 30 * time.Second, "99999999": roundPause, "Wed, 01 Jul 2026 10:01:00 GMT": time.Minute,
		"Wed, 01 Jul 2026 09:00:00 GMT": 0, "Thu, 02 Jul 2026 10:00:00 GMT": roundPause,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	h, o := newHook(t, "429"), newOffice(t, "ops")
	o.open(h.configuration("ops"))
	before := o.clock.Now()
	o.reports(1)
	await(t, "it is there", func() bool { return len(h.got()) == 1 })
	o.stop()
	if waited := o.clock.Now().Sub(before); waited < 2*time.Minute {
		t.Errorf("waited %v", waited)
	}
}

// What the history has forgotten is told and counted, once, and the courier goes on with
// what comes.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	h, o := newHook(t), newOffice(t, "ops")
	n := o.open(h.configuration("ops"))
	o.stop()
	c := n.couriers["ops"].courier
	c.read = o.Engine.View().Revision() + 5 // nothing is known of that place
	if c.gather() || n.Figures()[0].Skipped == 0 || strings.Count(o.log.String(), "notifications are lost") != 1 {
		t.Errorf("%+v\n%s", n.Figures(), o.log)
	}
	if c.gather(); strings.Count(o.log.String(), "notifications are lost") != 1 {
		t.Errorf("told twice\n%s", o.log)
	}
}
