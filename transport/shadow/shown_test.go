package shadow

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// counting is a server with one alert for each address, whose numbers begin where a test says.
type counting struct {
	mu      sync.Mutex
	alerts  []string // the addresses; their numbers are at + their place
	at      int
	deleted []string
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodDelete {
		c.deleted = append(c.deleted, r.RequestURI)
		fmt.Fprint(w, `{"nbDeleted":"1"}`)
		return
	}
	var list []string
	for i, value := range c.alerts {
		list = append(list, fmt.Sprintf(`{"id":%d,"scenario":"s","source":{"scope":"Ip","value":%q},"start_at":"2026-01-01T00:00:00Z","stop_at":"2026-01-01T00:00:00Z","decisions":[{"id":%d,"scope":"Ip","type":"ban","value":%q,"origin":"o","scenario":"s","duration":"1h"}]}`,
			c.at+i, value, c.at+i, value))
	}
	fmt.Fprintf(w, "[%s]", strings.Join(list, ","))
}

func (c *counting) gone() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.deleted, " ")
}

// tokenOf is a token of a machine that nobody has signed.
func tokenOf(machine string) string {
	return "h." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"id":%q}`, machine)) + ".s"
}

// TestNumbersOfTheOther: a machine that has listed alerts before a change of who answers means that server's numbers, until the
// other has shown it its own; other machines are not touched by it; what has no pair is refused, and nothing is done.
func TestNumbersOfTheOther(t *testing.T) {
	t.Parallel()
	theirs := &counting{at: 8, alerts: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}}
	ours := &counting{at: 7, alerts: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}}
	p := begin(t, theirs, ours, nil)
	as := func(machine, method, target string) int {
		r, _ := p.raw(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: lapi\r\nAuthorization: Bearer %s\r\n\r\n", method, target, tokenOf(machine)))
		return r.StatusCode
	}
	level := func() {
		await(t, "both are level", func() bool { return p.shadow.passed.Load() == p.shadow.queued.Load() })
	}
	as("edge", "GET", "/v1/alerts")
	as("mail", "GET", "/v1/heartbeat")
	if err := p.shadow.Switch(Ours, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		machine, target string
		status          int
		theirs, ours    string
	}{
		{"edge", "/v1/decisions/9?x=1", 200, "/v1/decisions/9?x=1", "/v1/decisions/8?x=1"},
		{"edge", "/v1/alerts/8", 200, "/v1/alerts/8", "/v1/alerts/7"},
		{"edge", "/v1/decisions/11", 409, "", ""}, // the old server alone has it
		{"mail", "/v1/decisions/9", 200, "/v1/decisions/10", "/v1/decisions/9"},
	} {
		before, beforeOurs := theirs.gone(), ours.gone()
		if status := as(c.machine, "DELETE", c.target); status != c.status {
			t.Errorf("%+v: status %d", c, status)
		}
		level()
		if got := strings.TrimSpace(strings.TrimPrefix(theirs.gone(), before)); got != c.theirs {
			t.Errorf("%+v: the old server is asked for %q", c, got)
		}
		if got := strings.TrimSpace(strings.TrimPrefix(ours.gone(), beforeOurs)); got != c.ours {
			t.Errorf("%+v: lapid is asked for %q", c, got)
		}
	}
	as("edge", "GET", "/v1/alerts") // and from here on it means lapid's
	before := ours.gone()
	as("edge", "DELETE", "/v1/decisions/9")
	if got := strings.TrimSpace(strings.TrimPrefix(ours.gone(), before)); got != "/v1/decisions/9" {
		t.Errorf("after lapid's own list lapid is asked for %q", got)
	}
}

// TestShownIsBounded: no more numbers are remembered than fit, and the oldest is forgotten.
func TestShownIsBounded(t *testing.T) {
	t.Parallel()
	m := newShown(2)
	for id := range int64(5) {
		m.note("edge", "alert", Theirs, id)
		m.note("edge", "alert", Ours, id)
	}
	for id := range int64(5) {
		if side, known := m.by("edge", "alert", id); known != (id > 2) || known && side != Ours {
			t.Errorf("%d: %v %v", id, side, known)
		}
	}
	if len(m.sides) != 2 || len(m.order) != 2 {
		t.Errorf("%d and %d are remembered, not 2", len(m.sides), len(m.order))
	}
}
