package engine_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

var (
	seed  = flag.Uint64("seed", 0, "replay random histories from this seed; 0: a new one each time")
	steps = flag.Int("steps", 400, "length of a random history")
)

// TestHistories plays random histories on the engine and on its slow twin and
// compares every answer: live queries, streams of several clients, counts,
// deletions, over expiry, snapshots and restarts.
func TestHistories(t *testing.T) {
	settings := map[string]func(*engine.Options){
		"plain":         nil,
		"short history": func(o *engine.Options) { o.History = 50 },
		"many snapshots": func(o *engine.Options) {
			o.SnapshotBytes = 1 << 10
		},
	}
	for name, change := range settings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := *seed
			if s == 0 {
				s = rand.Uint64()
			}
			t.Logf("seed %d", s)
			newHistory(t, s, change).play(*steps)
		})
	}
}

// history is one random play.
type history struct {
	*enginetest.Rig
	t       *testing.T
	chance  *rand.Rand
	model   enginetest.Model
	clients []*enginetest.Client
	ctx     context.Context
}

func newHistory(t *testing.T, seed uint64, change func(*engine.Options)) *history {
	h := &history{
		Rig: enginetest.NewRig(t, change), t: t, ctx: context.Background(),
		chance: rand.New(rand.NewPCG(seed, 1)),
	}
	questions := []func(*engine.Query){
		func(*engine.Query) {},
		func(q *engine.Query) { q.Origins = engine.Words{Given: true, List: []string{"crowdsec"}} },
		func(q *engine.Query) { q.Simulated = true },
		func(q *engine.Query) { q.Scopes.List = []string{"Country", "username"} },
		func(q *engine.Query) { q.Type = engine.Word{Given: true, Text: "captcha"} },
		func(q *engine.Query) { q.NotContaining = engine.Words{Given: true, List: []string{"SSH"}} },
	}
	for _, change := range questions {
		q := h.Ask()
		change(q)
		h.clients = append(h.clients, &enginetest.Client{Query: q})
	}
	return h
}

func (h *history) play(steps int) {
	actions := []func(){
		h.add, h.add, h.add, h.add, h.addMany, h.end, h.endOne, h.deleteAlert,
		h.pass, h.pass, h.poll, h.poll, h.restart, h.snapshot,
	}
	for i := range steps {
		actions[h.chance.IntN(len(actions))]()
		h.compare()
		if h.t.Failed() {
			h.t.Fatalf("first difference after step %d", i)
		}
	}
	for _, c := range h.clients {
		h.check(c)
	}
}

func (h *history) now() int64 { return h.Rig.Now().UnixNano() }

func (h *history) pick(words ...string) string { return words[h.chance.IntN(len(words))] }

// value makes targets few enough to meet again and again.
func (h *history) value() (scope, value string) {
	n := h.chance.IntN(6)
	switch h.chance.IntN(8) {
	case 0:
		return "Range", fmt.Sprintf("192.0.2.%d/%d", n*16, 28-2*h.chance.IntN(3))
	case 1:
		return "Range", fmt.Sprintf("2001:db8:%d::/48", n)
	case 2:
		return "Ip", fmt.Sprintf("2001:db8:%d::%d", n, h.chance.IntN(3))
	case 3:
		return "Country", h.pick("FR", "DE", "192.0.2.1")
	case 4:
		return "username", h.pick("root", "FR")
	case 5:
		return "ip", fmt.Sprintf("192.0.2.%d/32", n)
	case 6:
		return "Ip", fmt.Sprintf("::ffff:192.0.2.%d", n)
	}
	return "Ip", fmt.Sprintf("192.0.2.%d", n)
}

func (h *history) alert(decisions int) *engine.Alert {
	a := &engine.Alert{
		Scenario: h.pick("crowdsecurity/ssh-bf", "crowdsecurity/http-probing"), Simulated: h.chance.IntN(6) == 0,
		StopAt: engine.StampOf(h.Rig.Now().Truncate(time.Second)),
	}
	for range decisions {
		scope, value := h.value()
		a.Decisions = append(a.Decisions, engine.NewDecision{
			Duration: h.pick("2s", "1m", "5m", "1h", "4h", "4h", "-1h"), Scope: scope, Value: value,
			Type: h.pick("ban", "ban", "captcha"), Origin: h.pick("crowdsec", "CAPI"), Scenario: a.Scenario,
		})
	}
	return a
}

func (h *history) add() { h.store(h.alert(1 + h.chance.IntN(4))) }

func (h *history) addMany() {
	a := h.alert(100)
	if h.chance.IntN(2) == 0 { // one target, many decisions: the long chain
		for i := range a.Decisions {
			a.Decisions[i].Scope, a.Decisions[i].Value = "Ip", "192.0.2.9"
		}
	}
	h.store(a)
}

func (h *history) store(a *engine.Alert) {
	want := h.model.AddAlert(a)
	ids, err := h.AddAlerts(h.ctx, "edge-1", []*engine.Alert{a}, h.now())
	if err != nil || len(ids) != 1 || uint64(ids[0]) != want {
		h.t.Errorf("adding: ids %v, %v; want %d", ids, err, want)
	}
}

func (h *history) end() {
	_, value := h.value()
	p, err := engine.ParseTarget(value)
	if err != nil {
		p = netip.MustParsePrefix("192.0.2.0/24")
	}
	inside := h.chance.IntN(2) == 0
	want := h.model.End(h.now(), func(d *enginetest.Held) bool {
		return (inside && enginetest.Inside(d, p)) || (!inside && enginetest.Covers(d, p))
	})
	q := h.Ask()
	q.Scopes, q.Simulated, q.Address, q.Inside = engine.Words{}, true, p, inside
	if n, err := h.EndDecisions(h.ctx, q); err != nil || n != want {
		h.t.Errorf("ending %v (inside %v): %d, %v; want %d", p, inside, n, err, want)
	}
}

func (h *history) endOne() {
	if len(h.model.Decisions) == 0 {
		return
	}
	d := h.model.Decisions[h.chance.IntN(len(h.model.Decisions))]
	h.model.End(h.now(), func(x *enginetest.Held) bool { return x == d })
	if err := h.EndDecision(h.ctx, engine.DecisionID(d.ID), h.now()); (err != nil) != d.Gone {
		h.t.Errorf("ending decision %d: %v", d.ID, err)
	}
}

func (h *history) deleteAlert() {
	if len(h.model.Decisions) == 0 {
		return
	}
	id := h.model.Decisions[h.chance.IntN(len(h.model.Decisions))].Alert
	known := h.model.DeleteAlert(id)
	if err := h.DeleteAlert(h.ctx, engine.AlertID(id), h.now()); (err == nil) != known {
		h.t.Errorf("deleting alert %d: %v", id, err)
	}
}

func (h *history) pass() {
	h.Advance([]time.Duration{time.Second, time.Minute, 10 * time.Minute, 5 * time.Hour}[h.chance.IntN(4)])
}

func (h *history) poll() {
	h.Settle()
	c := h.clients[h.chance.IntN(len(h.clients))]
	if err := c.Poll(h.Engine, h.now()); err != nil {
		h.t.Error(err)
	}
}

func (h *history) restart() { h.Rig.Restart() }

func (h *history) snapshot() {
	if err := h.Snapshot(h.ctx); err != nil {
		h.t.Errorf("snapshot: %v", err)
	}
}

// compare asks both the same things.
func (h *history) compare() {
	_, value := h.value()
	p, err := engine.ParseTarget(value)
	if err != nil {
		p = netip.MustParsePrefix("192.0.2.0/24")
	}
	v := h.View()
	for _, inside := range []bool{false, true} {
		q := h.Ask()
		q.Scopes, q.Address, q.Inside = engine.Words{}, p, inside
		h.same(fmt.Sprintf("live %v (inside %v)", p, inside), h.find(v, q), func(d *enginetest.Held) bool {
			return !d.Simulated && ((inside && enginetest.Inside(d, p)) || (!inside && enginetest.Covers(d, p)))
		})
	}
	q := h.Ask()
	q.Scopes, q.Value = engine.Words{}, engine.Word{Given: true, Text: value}
	h.same("value "+value, h.find(v, q), func(d *enginetest.Held) bool { return !d.Simulated && d.Value == value })
	q = h.Ask()
	q.Scopes = engine.Words{}
	h.same("everything", h.find(v, q), func(d *enginetest.Held) bool { return !d.Simulated })
	stored := 0
	v.Stored(p, func(engine.Decision) bool { stored++; return true })
	if want := h.model.Stored(p); stored != want {
		h.t.Errorf("%d stored decisions cover %v, want %d", stored, p, want)
	}
}

// find finds in both ways, which must agree.
func (h *history) find(v *engine.View, q *engine.Query) []engine.Decision {
	found := v.Find(nil, q)
	s, ok := v.Select(q, func(int64) bool { return true })
	if !ok || s.Len() != len(found) {
		h.t.Errorf("%d are selected, %d found", s.Len(), len(found))
		return found
	}
	for i := range found {
		if s.At(i) != found[i] {
			h.t.Errorf("%d is selected in place of %d", s.At(i).ID(), found[i].ID())
		}
	}
	return found
}

func (h *history) same(what string, got []engine.Decision, match func(*enginetest.Held) bool) {
	ids := make([]uint64, len(got))
	for i, d := range got {
		ids[i] = uint64(d.ID())
	}
	slices.Sort(ids)
	if want := h.model.Find(h.now(), match); !slices.Equal(ids, want) {
		h.t.Errorf("%s: got %v, want %v", what, ids, want)
	}
}

// check polls once more and compares what the client holds with what runs.
func (h *history) check(c *enginetest.Client) {
	h.Settle()
	if err := c.Poll(h.Engine, h.now()); err != nil {
		h.t.Error(err)
	}
	want := h.model.Targets(h.now(), enginetest.Admits(c.Query))
	for target := range want {
		if !c.Holds[target] {
			h.t.Errorf("client %v lacks %v", c.Query.Origins.List, target)
		}
	}
	for target := range c.Holds {
		if !want[target] {
			h.t.Errorf("client %v still holds %v", c.Query.Origins.List, target)
		}
	}
}
