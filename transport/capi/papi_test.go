package capi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// enrolled are the claims with which orders come in.
var enrolled = map[string]any{"organization_id": "x", "subscription_type": "ENTERPRISE"}

// ordered is an order as the service sends it. data is JSON, or ""; event changes the rest.
func ordered(kind, command, data string) map[string]any {
	o := map[string]any{"header": map[string]any{"operation_type": kind, "operation_cmd": command, "timestamp": "2026-01-01T00:00:00Z",
		"message": "from the console", "uuid": "4c1e5b32-f542-4269-b510-6e0aece76b98", "source": map[string]any{"user": "jane@example.com"}, "destination": "m"}}
	if data != "" {
		o["data"] = json.RawMessage(data)
	}
	return o
}

// answerWith is an answer with orders, the newest first. at is the time of the answer.
func answerWith(at int64, orders ...any) string {
	var events []map[string]any
	for i, o := range slices.Backward(orders) {
		b, _ := json.Marshal(o)
		events = append(events, map[string]any{"id": fmt.Sprintf("00000000-0000-4000-8000-%012d", i), "timestamp": at - 1, "category": "x", "data": string(b)})
	}
	b, _ := json.Marshal(map[string]any{"events": events, "timestamp": at})
	return string(b)
}

const pollPath = "/v1/decisions/stream/poll"

// orders has them be handed out one answer after the other, and the poller take them all.
func (f *fake) orders(c *Client, answers ...string) *poller {
	f.t.Helper()
	for _, text := range answers {
		f.fails(pollPath, says(text))
	}
	p := c.newPoller()
	for range answers {
		if _, err := p.turn(f.t.Context()); err != nil {
			f.t.Fatalf("%v\n%s", err, &f.log)
		}
	}
	return p
}

const alertOrder = `{"uuid":"11111111-1111-4111-8111-111111111111","created_at":"2026-11-22T00:40:10Z","decisions":[
	{"duration":"6h","origin":"console","scenario":"","scope":"Ip","type":"ban","value":"198.51.100.77","uuid":"22222222-2222-4222-8222-222222222222"},
	{"duration":"1d","origin":"console","scenario":"x","scope":"Range","type":"captcha","value":"203.0.113.0/24","uuid":"22222222-2222-4222-8222-222222222223"}]}`

// An alert of the console is stored once, however often the order comes, and is a signal.
func TestOrderedAlert(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(nil)
	push := c.newPusher()
	push.begin(t.Context())
	one := answerWith(1000, ordered("alert", "add", alertOrder))
	for range 2 {
		f.orders(c, one, one)
	}
	if got := f.running("console", ""); !slices.Equal(got, []string{"198.51.100.77", "203.0.113.0/24"}) {
		t.Fatalf("%q run\n%s", got, &f.log)
	}
	v := f.rig.View()
	if v.NewestAlert() != 1 {
		t.Errorf("%d alerts", v.NewestAlert())
	}
	a, decisions, err := f.rig.Alert(v, 1)
	if err != nil || a.UUID.String() != "11111111-1111-4111-8111-111111111111" || a.Kind != "papi" || a.Scenario != "from the console" || a.Message != "" || a.Simulated ||
		a.MachineID != "" || a.Source.Scope != "Ip" || a.Source.Value != "198.51.100.77" || !a.StopAt.Time().Equal(f.rig.Now()) || a.CreatedAt != time.Date(2026, 11, 22, 0, 40, 10, 0, time.UTC).UnixNano() {
		t.Errorf("%+v, %v", a, err)
	}
	if d := decisions[0]; d.UUID().String() != "22222222-2222-4222-8222-222222222222" || d.Scenario().S != "from the console" || d.Until() != f.rig.Now().Add(6*time.Hour).UnixNano() || d.Type().S != "ban" {
		t.Errorf("%s %s %v", d.UUID(), d.Scenario().S, d.Until())
	}
	if d := decisions[1]; d.Scenario().S != "x" || d.Scope().S != "Range" || d.Until() != f.rig.Now().Add(24*time.Hour).UnixNano() {
		t.Errorf("%s %s", d.Scenario().S, d.Scope().S)
	}
	if c.o.Orders.Carried() != 4 || c.o.Orders.Invalid() != 0 || c.o.Orders.Asked() != f.rig.Now().Unix() {
		t.Errorf("%d carried out, %d invalid", c.o.Orders.Carried(), c.o.Orders.Invalid())
	}

	// What is added to it later comes in; what ended does not come again.
	if _, err := f.rig.EndThese(t.Context(), []engine.DecisionID{decisions[0].ID()}, f.rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(alertOrder, `"decisions":[`, `"decisions":[{"duration":"9999h","origin":"console","scenario":"y","scope":"Ip","type":"ban","value":"198.51.100.78","uuid":"22222222-2222-4222-8222-222222222220"},`, 1)
	f.orders(c, answerWith(1001, ordered("alert", "add", more)), answerWith(1002, ordered("alert", "add", more)))
	if got := f.running("console", ""); !slices.Equal(got, []string{"198.51.100.78", "203.0.113.0/24"}) {
		t.Errorf("%q run", got)
	}
	if f.rig.View().NewestAlert() != 2 {
		t.Errorf("%d alerts", f.rig.View().NewestAlert())
	}

	if err := push.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent := string(f.asked("/v3/signals")[0].body)
	if n := strings.Count(sent, `"scenario_trust":"custom"`); n != 2 || !strings.Contains(sent, `"kind":"papi"`) || !strings.Contains(sent, `"22222222-2222-4222-8222-222222222222"`) {
		t.Errorf("%d signals: %s", n, sent)
	}
}

// What an allowlist holds is left out of an order; nothing left is nothing stored.
func TestOrderedAlertOnAllowlist(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client(nil)
	target, _ := engine.ParseTarget("198.51.100.0/24")
	if _, err := f.rig.PutConsoleAllowlist(t.Context(), &engine.Allowlist{Name: "a", Items: []engine.AllowlistItem{{Value: "198.51.100.0/24", Prefix: target}}}, f.rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	f.extra = enrolled
	f.orders(c, answerWith(1000, ordered("alert", "add", alertOrder)))
	if got := f.running("console", ""); !slices.Equal(got, []string{"203.0.113.0/24"}) {
		t.Errorf("%q run", got)
	}
	alone := `{"uuid":"11111111-1111-4111-8111-111111111112","decisions":[{"duration":"6h","scope":"Ip","type":"ban","value":"198.51.100.7"}]}`
	f.orders(c, answerWith(1001, ordered("alert", "add", alone)))
	if n := f.rig.View().NewestAlert(); n != 1 || c.o.Orders.Invalid() != 0 {
		t.Errorf("%d alerts, %d invalid", n, c.o.Orders.Invalid())
	}
}

// Decisions end by their UUIDs, those that were made here too; lists end by their names.
func TestOrderedEnds(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(nil)
	f.orders(c, answerWith(1000, ordered("alert", "add", alertOrder)))
	if _, err := f.rig.AddAlerts(t.Context(), "", []*engine.Alert{{Scenario: "s", StartAt: engine.StampOf(f.rig.Now()), StopAt: engine.StampOf(f.rig.Now()), Decisions: []engine.NewDecision{{Scope: "Ip", Value: "192.0.2.1", Type: "ban", Origin: "cscli", Duration: "4h"}}}}, f.rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	ours, _ := f.rig.View().Decision(3)
	one := answerWith(1001, ordered("decision", "delete", `{"uuid":"a","decisions":["22222222-2222-4222-8222-222222222222","`+strings.ToUpper(ours.UUID().String())+`","33333333-3333-4333-8333-333333333333","?"]}`))
	f.orders(c, one, one)
	if got := f.running("console", ""); !slices.Equal(got, []string{"203.0.113.0/24"}) || f.running("cscli", "") != nil || c.o.Orders.Invalid() != 0 {
		t.Errorf("%q run\n%s", got, &f.log)
	}
	gone, _ := f.rig.View().Decision(3)
	if by := gone.EndedBy(); by.Kind != engine.ActorConsole || by.Name != "jane@example.com" {
		t.Errorf("ended by %v", by)
	}
	for i, name := range []string{"bots", "bots", "scanners"} { // the first is an operator's own
		if _, err := f.rig.ReplaceList(t.Context(), &engine.List{Origin: engine.OriginLists, Name: name, Own: i == 0, Groups: []engine.ListGroup{{
			Scope: "Ip", Type: "ban", Scenario: name, Values: []engine.ListValue{{Value: fmt.Sprintf("192.0.2.%d", 90+i), Lasts: time.Hour}}}}}, f.rig.Now().UnixNano()); err != nil {
			t.Fatal(err)
		}
	}
	one = answerWith(1002, ordered("management", "blocklist_unsubscribe", `{"name":"bots"}`))
	f.orders(c, one, one)
	if got := f.running("lists", "bots"); len(got) != 1 || got[0] != "192.0.2.90" || len(f.running("lists", "scanners")) != 1 {
		t.Error("the wrong list ended")
	}
}

// An allowlist of the console goes by its id, and what it ended does not come back.
func TestOrderedAllowlists(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(nil)
	f.lists["/lists/allow"] = `{"value":"198.51.100.77"}`
	f.orders(c, answerWith(1000, ordered("alert", "add", alertOrder)))
	pull := `{"allowlist":{"id":"7","name":"ours","description":"d","url":"` + f.web.URL + `/lists/allow","created_at":"c","updated_at":"u"}}`
	f.orders(c, answerWith(1001, ordered("management", "force_pull", pull)))
	if l := f.rig.View().ConsoleAllowlist("7"); l == nil || len(l.Items) != 1 {
		t.Fatalf("%+v\n%s", l, &f.log)
	}
	f.orders(c, answerWith(1002, ordered("management", "allowlist_unsubscribe", `{"name":"another name","id":"7"}`)))
	if f.rig.View().ConsoleAllowlist("7") != nil || c.o.Orders.Invalid() != 0 || !slices.Equal(f.running("console", ""), []string{"203.0.113.0/24"}) {
		t.Errorf("%q run\n%s", f.running("console", ""), &f.log)
	}
	if err := f.rig.CreateAllowlist(t.Context(), "mine", "", f.rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	f.orders(c, answerWith(1003, ordered("management", "allowlist_unsubscribe", `{"name":"mine","id":"7"}`), ordered("management", "allowlist_unsubscribe", `{"name":"mine"}`)))
	if f.rig.View().Allowlist("mine") == nil || c.o.Orders.Invalid() != 2 {
		t.Errorf("%d invalid", c.o.Orders.Invalid())
	}
}

// A pull that is ordered fetches every list whole, one list also where lists are not pulled.
func TestOrderedPull(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(func(o *Options) { o.NoBlocklists = true })
	f.lists["/lists/bots"] = "192.0.2.1\n"
	f.stream = `{"links":{"blocklists":[{"name":"bots","url":"` + f.web.URL + `/lists/bots","remediation":"ban","scope":"ip","duration":"24h"}]}}`
	for _, data := range []string{"", "null", "{}"} {
		f.orders(c, answerWith(1000, ordered("management", "force_pull", data)))
	}
	asked := f.asked("/lists/bots")
	if len(asked) != 3 || asked[2].since != "" || len(f.asked("/v3/decisions/stream")) != 3 {
		t.Errorf("%+v\n%s", asked, &f.log)
	}
	f.lists["/lists/more"] = "192.0.2.2\n"
	f.orders(c, answerWith(1001, ordered("management", "force_pull", `{"blocklist":{"name":"more","url":"`+f.web.URL+`/lists/more","remediation":"captcha","scope":"ip","duration":"24h"}}`)))
	if got := f.running("lists", "more"); !slices.Equal(got, []string{"192.0.2.2"}) {
		t.Errorf("%q run", got)
	}
	f.fails("/lists/more", status(500))
	f.fails("/v3/decisions/stream", status(500))
	before := c.o.Orders.Invalid()
	f.orders(c, answerWith(1002, ordered("management", "force_pull", ""),
		ordered("management", "force_pull", `{"blocklist":{"name":"more","url":"`+f.web.URL+`/lists/more","remediation":"captcha","scope":"ip","duration":"24h"}}`),
		ordered("management", "force_pull", `{"blocklist":{"name":"more"}}`), ordered("management", "force_pull", `{"allowlist":{"name":"more"}}`)))
	if n := c.o.Orders.Invalid() - before; n != 4 {
		t.Errorf("%d of four failed\n%s", n, &f.log)
	}
	logins := f.logins
	f.orders(c, answerWith(1003, ordered("management", "reauth", "")))
	f.orders(c, answerWith(1004))
	if f.logins != logins+1 {
		t.Errorf("%d logins after %d", f.logins, logins)
	}
}

// Orders that make no sense are counted, and those beside them carried out; nothing panics,
// whatever is missing.
func TestOrdersThatMakeNoSense(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(nil)
	good := ordered("alert", "add", alertOrder)
	without := func(name string) map[string]any {
		o := ordered("alert", "add", alertOrder)
		delete(o["header"].(map[string]any), name)
		return o
	}
	bad := []any{map[string]any{}, "text", 7, nil, []any{}, map[string]any{"header": nil}, map[string]any{"header": map[string]any{"operation_type": 7}},
		without("source"), without("operation_type"), without("operation_cmd"), ordered("foo", "bar", "{}"), ordered("management", "shutdown", "{}"), ordered("alert", "delete", "{}")}
	for _, what := range [][2]string{{"alert", "add"}, {"decision", "delete"}, {"management", "blocklist_unsubscribe"}, {"management", "allowlist_unsubscribe"}} {
		for _, data := range []string{"", "null", "{}", "[]", `"x"`, "7", `{"uuid":"11111111-1111-4111-8111-111111111111"}`, `{"decisions":[]}`, `{"decisions":[7]}`, `{"decisions":["no uuid"]}`,
			`{"uuid":"11111111-1111-4111-8111-111111111111","decisions":[null]}`, `{"uuid":"11111111-1111-4111-8111-111111111111","stop_at":"soon","decisions":[{"scope":"Ip","type":"ban","value":"192.0.2.1","duration":"1h"}]}`,
			`{"name":7,"id":7}`, `{"name":"","id":""}`} {
			bad = append(bad, ordered(what[0], what[1], data))
		}
	}
	bad = append(bad, ordered("management", "force_pull", "7"), ordered("management", "force_pull", `{"blocklist":7}`))
	for _, part := range []string{"duration", "scope", "type", "value"} { // each is needed
		d := map[string]any{"duration": "1h", "scope": "Ip", "type": "ban", "value": "192.0.2.1"}
		for _, wrong := range []any{nil, "", 7} {
			d[part] = wrong
			b, _ := json.Marshal(map[string]any{"uuid": "11111111-1111-4111-8111-111111111111", "decisions": []any{d}})
			bad = append(bad, ordered("alert", "add", string(b)))
		}
	}
	for _, d := range []string{`{"duration":"soon","scope":"Ip","type":"ban","value":"192.0.2.1"}`, `{"duration":"-1h","scope":"Ip","type":"ban","value":"192.0.2.1"}`, `{"duration":"1h","scope":"Ip","type":"ban","value":"nowhere"}`} {
		bad = append(bad, ordered("alert", "add", `{"uuid":"11111111-1111-4111-8111-111111111111","decisions":[`+d+`]}`))
	}
	p := f.orders(c, answerWith(2000, append(append([]any{}, bad...), good)...))
	if n := c.o.Orders.Invalid(); n != int64(len(bad)) || c.o.Orders.Carried() != 1 {
		t.Errorf("%d of %d are invalid, %d carried out\n%s", n, len(bad), c.o.Orders.Carried(), &f.log)
	}
	if got := f.running("console", ""); len(got) != 2 || p.since != 2000 || f.rig.View().NewestAlert() != 1 {
		t.Errorf("%q run, since %d, %d alerts", got, p.since, f.rig.View().NewestAlert())
	}
	noUUID := strings.Replace(answerWith(2001, good), `"00000000-`, `"0-`, 1)
	f.orders(c, noUUID)
	if n := c.o.Orders.Invalid(); n != int64(len(bad))+1 {
		t.Errorf("%d are invalid", n)
	}
	// One decision that can be used among others is made.
	f.orders(c, answerWith(2002, ordered("alert", "add", `{"uuid":"11111111-1111-4111-8111-111111111119","decisions":[{},{"duration":"1h","scope":"ip","type":"ban","value":"192.0.2.77"},{"scope":"Ip"}]}`)))
	target, _ := engine.ParseTarget("192.0.2.77")
	if found := f.rig.View().Find(nil, &engine.Query{Now: f.rig.Now().UnixNano(), Address: target, Limit: -1}); len(found) != 1 || found[0].Scope().S != "ip" || found[0].Origin().S != "console" {
		t.Errorf("%v: a scope stays as it is spelt", found)
	}
}

// However much of an order is left out, the log has one line of each reason.
func TestOrderOfMuchNonsense(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(nil)
	long := `{"duration":"1h","scope":"user","type":"ban","value":"` + strings.Repeat("x", engine.LongestValue+1) + `"}`
	data := `{"uuid":"11111111-1111-4111-8111-111111111111","decisions":[` + strings.Repeat(`{"scope":"Ip"},`, 500) + long + "]}"
	f.orders(c, answerWith(1000, ordered("alert", "add", data)))
	if n := strings.Count(f.log.String(), "\n"); n > 5 || c.o.Orders.Invalid() != 1 || f.rig.View().NewestAlert() != 0 || !strings.Contains(f.log.String(), "decisions=501") {
		t.Errorf("%d lines, %d invalid, %d alerts\n%s", n, c.o.Orders.Invalid(), f.rig.View().NewestAlert(), &f.log)
	}
}

// Many orders ask the store once, and each knows what those before it did.
func TestManyOrders(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(nil)
	var orders []any
	for i := range 300 {
		uuid := fmt.Sprintf("22222222-2222-4222-8222-%012d", i)
		add := ordered("alert", "add", fmt.Sprintf(`{"uuid":"11111111-1111-4111-8111-%012d","decisions":[{"duration":"1h","scope":"Ip","type":"ban","value":"10.0.%d.%d","uuid":%q}]}`, i, i/256, i%256, uuid))
		orders = append(orders, add, add)
		if i%2 == 0 {
			orders = append(orders, ordered("decision", "delete", `{"decisions":["`+uuid+`"]}`), add)
		}
	}
	f.orders(c, answerWith(1000, orders...), answerWith(1001, orders...))
	if n := len(f.running("console", "")); n != 150 || f.rig.View().NewestAlert() != 300 || c.o.Orders.Carried() != int64(2*len(orders)) {
		t.Errorf("%d run, %d alerts, %d carried out", n, f.rig.View().NewestAlert(), c.o.Orders.Carried())
	}
}

// Orders are carried out in the order in which they were given; where the next question
// starts is kept, and what came in the last second before it comes again.
func TestOrdersInOrder(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(nil)
	if c.loadSince() != earliest {
		t.Error(c.loadSince())
	}
	undo := ordered("decision", "delete", `{"decisions":["22222222-2222-4222-8222-222222222222"]}`)
	// Several documents make one answer.
	first, second := answerWith(5_000, ordered("alert", "add", alertOrder)), answerWith(7_500, undo)
	f.orders(c, second+"\n"+first)
	if got := f.running("console", ""); !slices.Equal(got, []string{"203.0.113.0/24"}) {
		t.Errorf("%q run\n%s", got, &f.log)
	}
	text := string(f.rig.View().Secret(LastOrder))
	if at, err := time.Parse(time.RFC3339Nano, text); err != nil || !at.Equal(f.rig.Now()) {
		t.Errorf("the last order is noted as %q", text)
	}
	f.rig.Restart()
	c = f.client(nil)
	f.orders(c, `{"error":"no events before timeout","timestamp":9000}`, `{"events":[],"timestamp":9000}`, answerWith(0))
	want := []string{"since_time=-62135596800000&timeout=45", "since_time=7000&timeout=45", "since_time=7000&timeout=45", "since_time=7000&timeout=45"}
	for i, r := range f.asked(pollPath) {
		if r.path != pollPath+"?"+want[i] {
			t.Errorf("asked %s, not %s", r.path, want[i])
		}
	}
	other := f.client(func(o *Options) { o.Credentials.Login = "another" })
	if other.loadSince() != earliest {
		t.Error("another login goes on where this one was")
	}
}

// An answer that is no answer moves nothing and is asked for again.
func TestAnswersWithoutOrders(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(nil)
	p := &poller{c: c, since: 1000}
	one := answerWith(2000, ordered("alert", "add", alertOrder))
	endless := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"events":["`)
		for piece := strings.Repeat("x", 1<<20); ; {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
	}
	for i, fault := range []http.HandlerFunc{says(""), says("  "), says("<html>"), says("7"), says(`{"events":7}`), says(one[:len(one)-10]), cut(one), says(one + "{"), says(one + "}"), says(`{"error":"another"}`),
		endless, status(500), status(404), status(402), func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }} {
		f.fails(pollPath, fault)
		if moved, err := p.turn(t.Context()); err == nil || moved || p.since != 1000 {
			t.Errorf("answer %d: moved %v, %v", i, moved, err)
		}
	}
	if f.rig.View().NewestAlert() != 0 {
		t.Error("an order was carried out")
	}
	f.fails(pollPath, status(401), status(503), says(one))
	if moved, err := p.turn(t.Context()); err != nil || !moved {
		t.Errorf("%v, %v", moved, err)
	}
}

// Orders are asked for from the token on that says so, and not any longer.
func TestPollingFollowsThePlan(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx, cancel := cancelled(t)
	f.lifetime = 2 * time.Minute
	steps := []func(){
		func() {}, // not enrolled
		func() {
			f.extra = map[string]any{"organization_id": "x", "subscription_type": "COMMUNITY"}
			f.token = ""
		},
		func() { f.extra = enrolled },
		func() { f.faults[pollPath] = []http.HandlerFunc{status(402)} },
		func() { f.extra = map[string]any{"organization_id": "x", "subscription_type": "SECOPS"} },
		func() { f.extra = nil },
		cancel,
	}
	polls := make([]int, 0, len(steps))
	c := f.client(func(o *Options) {
		o.After = func(time.Duration) <-chan time.Time {
			f.mu.Lock()
			defer f.mu.Unlock()
			n := 0
			for _, s := range f.seen {
				if strings.HasPrefix(s.path, pollPath) {
					n++
				}
			}
			f.seen = nil
			polls = append(polls, n)
			steps[0]()
			if steps = steps[1:]; len(steps) == 0 {
				return nil
			}
			f.rig.Advance(2 * time.Minute) // the token is over
			over := make(chan time.Time)
			close(over)
			return over
		}
	})
	c.papiJob(ctx)
	if want := []int{0, 0, 0, 1, 1, 1, 0}; !slices.Equal(polls, want) {
		t.Errorf("%v polls, not %v\n%s", polls, want, &f.log)
	}
	for _, says := range []string{"not enrolled in the console", "has no orders", "are asked for", "wants to be paid"} {
		if !strings.Contains(f.log.String(), says) {
			t.Errorf("it does not say %q\n%s", says, &f.log)
		}
	}
}

// Pauses between questions that fail double up to half a minute.
func TestPollingThatFails(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	ctx, cancel := cancelled(t)
	var waits []time.Duration
	c := f.client(func(o *Options) {
		o.Jitter = func(time.Duration) time.Duration { return 0 }
		o.After = func(d time.Duration) <-chan time.Time {
			if waits = append(waits, d); len(waits) == 8 {
				cancel()
				return nil
			}
			f.fails(pollPath, status(500))
			over := make(chan time.Time)
			close(over)
			return over
		}
	})
	f.fails(pollPath, status(500))
	c.papiJob(ctx)
	want := []time.Duration{1, 2, 4, 8, 16, 30, 30, 30}
	for i := range want {
		want[i] *= time.Second
	}
	if !slices.Equal(waits, want) || c.o.Orders.Failed() != 8 {
		t.Errorf("%v, %d failed", waits, c.o.Orders.Failed())
	}
	if text, _ := c.o.Figures.Warning(f.rig.Now().Add(24 * time.Hour)); !strings.Contains(text, "orders fails since") {
		t.Errorf("what is wrong is %q", text)
	}
	if n := strings.Count(f.log.String(), "cannot be fetched"); n != 1 {
		t.Errorf("it is told %d times\n%s", n, &f.log)
	}
}

// A login that fails is tried again after minutes, or used at once when another job had
// better luck.
func TestPollingWithoutLogin(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	ctx, cancel := cancelled(t)
	var waits []time.Duration
	c := f.client(func(o *Options) {
		o.Jitter = func(time.Duration) time.Duration { return 0 }
		o.After = func(d time.Duration) <-chan time.Time {
			waits = append(waits, d)
			over := make(chan time.Time)
			close(over)
			return over
		}
	})
	f.fails("/v3/watchers/login", status(403), status(403))
	f.fails(pollPath, func(http.ResponseWriter, *http.Request) { cancel() })
	c.papiJob(ctx)
	want := []time.Duration{20, 20, 20, 20, 20, 20, 20, 20, 20}
	for i := range want {
		want[i] *= time.Second
	}
	if len(waits) < len(want) || !slices.Equal(waits[:len(want)], want) || f.logins != 1 {
		t.Errorf("%v, %d logins\n%s", waits, f.logins, &f.log)
	}
}

// An order that the store does not take comes again: nothing is noted behind it.
func TestOrderThatIsNotStored(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(nil)
	p := &poller{c: c, since: earliest}
	f.fails(pollPath, says(answerWith(2000, ordered("alert", "add", alertOrder))))
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.session.bearer(ctx); err != nil {
		t.Fatal(err)
	}
	f.rig.Stop()
	if moved, err := p.turn(ctx); err == nil || moved || p.since != earliest {
		t.Errorf("%v, %v", moved, err)
	}
	cancel()
}
