package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/admin"
	"lapid/transport/auth"
	"lapid/transport/peer"
	"lapid/transport/peer/peertest"
)

// nodes are servers that share a history, each with a house of its own and listeners on the loopback.
type nodes struct {
	t         *testing.T
	agreed    *enginetest.Agreed
	ends      []*enginetest.AgreedNode
	houses    []*house
	peers     []*peer.Node
	verbs     []*admin.Handler
	writer    atomic.Int32 // -1: nobody
	confirmed atomic.Int32 // how often
	tokens    []string     // of testMachine, from each
}

func newNodes(t *testing.T, n int, seed uint64, hold time.Duration) *nodes {
	return newNodesWith(t, n, seed, hold, func(*nodes, int, *Options) {})
}

// newNodesWith is newNodes with other options of each server.
func newNodesWith(t *testing.T, n int, seed uint64, hold time.Duration, change func(c *nodes, i int, o *Options)) *nodes {
	c := &nodes{t: t, agreed: enginetest.NewAgreed(seed)}
	c.writer.Store(-1)
	authority := peertest.NewAuthority(t)
	for i := range n {
		c.ends = append(c.ends, c.agreed.Node())
		name := string(rune('a' + i))
		h := &house{t: t, Rig: enginetest.NewRig(t, func(o *engine.Options) { o.Journal = c.ends[i] })}
		p, err := peer.New(&peer.Options{Name: name, Listen: "127.0.0.1:0", Credentials: authority.Credentials(name), Engine: h.Engine, Writer: c.known, Hold: hold})
		h.must(err)
		h.gate, err = auth.NewGate(h.Engine, &auth.Options{Secret: testSecret, Peers: p, Confirm: func(context.Context) error { return c.confirm(i) }, Rules: auth.Rules{Registration: &auth.Registration{Token: "let me in"}}})
		h.must(err)
		o := &Options{Listen: "127.0.0.1:0", Engine: h.Engine, Gate: h.gate, Peers: p}
		change(c, i, o)
		h.server, err = New(o)
		h.must(err)
		p.Handle(peer.API, h.server)
		p.Handle(peer.Note, h.gate)
		verbs := admin.NewHandler(h.Engine, "test", slog.New(slog.DiscardHandler))
		verbs.Peers = p
		p.Handle(peer.Verb, verbs)
		c.verbs = append(c.verbs, verbs)
		h.must(p.Listen())
		c.run(p)
		c.houses, c.peers = append(c.houses, h), append(c.peers, p)
	}
	c.lead(0)
	c.houses[0].seed()
	for _, h := range c.houses {
		h.start()
		c.level(h)
		c.tokens = append(c.tokens, h.token())
	}
	return c
}

func (c *nodes) run(p *peer.Node) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := p.Run(ctx); err != nil {
			c.t.Errorf("running node %s: %v", p.Name(), err)
		}
	})
	c.t.Cleanup(func() { cancel(); done.Wait() })
}

// known is who writes, as all of them believe.
func (c *nodes) known() (string, string, bool) {
	i := c.writer.Load()
	if i < 0 {
		return "", "", false
	}
	return c.peers[i].Name(), c.peers[i].Addr().String(), true
}

// confirm has a node look, unless nobody writes: then nothing can be confirmed here.
func (c *nodes) confirm(i int) error {
	if c.writer.Load() < 0 {
		return errors.New("nobody answers")
	}
	c.confirmed.Add(1)
	c.level(c.houses[i])
	return nil
}

// lead makes a node the writer. Others that wrote are told.
func (c *nodes) lead(i int) {
	c.t.Helper()
	for c.ends[i].Claim(); ; {
		err := c.houses[i].Lead(context.Background())
		if err == nil {
			break
		}
		if !errors.Is(err, engine.ErrUnsure) {
			c.t.Fatalf("leading: %v", err)
		}
	}
	c.writer.Store(int32(i))
	for j, h := range c.houses {
		if j != i {
			h.must(h.Yield(context.Background()))
		}
	}
}

// level waits until a node has all that there is.
func (c *nodes) level(h *house) {
	c.t.Helper()
	newest, err := c.ends[0].Newest(c.t.Context())
	h.must(err)
	h.must(h.Reach(c.t.Context(), newest))
}

// write asks a node as the machine does.
func (c *nodes) write(i int, method, path, body string) reply {
	c.t.Helper()
	return c.houses[i].ask(method, path, body, "Authorization: Bearer "+c.tokens[i])
}

func banBody(value string) string {
	return fmt.Sprintf(`[{"scenario":"s","scenario_hash":"","scenario_version":"","message":"m","events":[],"events_count":1,"capacity":0,"leakspeed":"","simulated":false,`+
		`"start_at":"2026-07-01T10:00:00Z","stop_at":"2026-07-01T10:00:00Z","source":{"scope":"Ip","value":%q},"decisions":[`+
		`{"duration":"4h","origin":"crowdsec","scenario":"s","scope":"Ip","type":"ban","value":%q}]}]`, value, value)
}

// Whatever node takes a write, it is answered as if the writer had taken it, and can be read where it
// was written, and soon everywhere.
func TestEachNodeTakesWrites(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 3, 0, time.Second)
	for i, h := range c.houses {
		if got := c.write(i, "POST", "/v1/alerts", banBody(fmt.Sprintf("192.0.2.%d", i))); got.status != http.StatusCreated || got.body != fmt.Sprintf(`["%d"]`, i+1) {
			t.Fatalf("an alert to node %d: %d %s", i, got.status, got.body)
		}
		if got := h.asBouncer("GET", fmt.Sprintf("/v1/decisions?ip=192.0.2.%d", i)); !strings.Contains(got.body, `"origin":"crowdsec"`) {
			t.Errorf("node %d does not know what it was told: %s", i, got.body)
		}
	}
	for i, h := range c.houses {
		c.level(h)
		if got := h.asBouncer("GET", "/v1/decisions/stream?startup=true"); strings.Count(got.body, `"value":"192.0.2.`) != 3 {
			t.Errorf("a poll at node %d: %s", i, got.body)
		}
	}
	for _, q := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"DELETE", "/v1/decisions/1", "", 200, `{"nbDeleted":"1"}`},
		{"DELETE", "/v1/decisions/99", "", 500, `{"message":"decision with id '99' doesn't exist: unable to delete"}`},
		{"DELETE", "/v1/decisions?ip=192.0.2.1", "", 200, `{"nbDeleted":"1"}`},
		{"DELETE", "/v1/alerts/1", "", 200, `{"nbDeleted":"1"}`},
		{"DELETE", "/v1/alerts/1", "", 500, `{"message":"ent: alert not found"}`},
		{"DELETE", "/v1/alerts?scenario=s", "", 200, `{"nbDeleted":"2"}`},
		{"POST", "/v1/alerts", "[", 400, ``},
		{"POST", "/v1/alerts", `[{"scenario":"s"}]`, 500, ``},
		{"POST", "/v1/usage-metrics", `{"log_processors":[],"remediation_components":[]}`, 400, ``},
		{"POST", "/v1/watchers", `{"machine_id":"new","password":"a-password"}`, 201, ``},
		{"POST", "/v1/watchers", `{"machine_id":"new","password":"a-password"}`, 403, `{"message":"user 'new': user already exist"}`},
		{"POST", "/v1/watchers", `{"machine_id":"other","password":"a-password","registration_token":"wrong, and long enough for a token"}`, 401, ``},
		{"DELETE", "/v1/watchers/self", "", 204, ``},
		{"DELETE", "/v1/alerts", "", 401, ``},
	} {
		got := c.write(2, q.method, q.path, q.body)
		if got.status != q.status || q.answer != "" && got.body != q.answer {
			t.Errorf("%s %s at a follower: %d %s", q.method, q.path, got.status, got.body)
		}
		if got.status >= 500 && got.header.Get("Retry-After") != "" {
			t.Errorf("%s %s: %d to be tried again", q.method, q.path, got.status)
		}
	}
	if c.houses[2].View().Machine("new") == nil || c.houses[2].View().Machine(testMachine) != nil {
		t.Error("machines are not what they should be")
	}
}

// Logins and bouncers are answered where they come; what is seen of them is noted by the writer.
func TestNotesOfNodes(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 2, 0, time.Second)
	b := c.houses[1]
	if got := b.ask("POST", "/v1/watchers/login", `{"machine_id":"`+testMachine+`","password":"`+testPassword+`","scenarios":["noted"]}`); got.status != 200 {
		t.Fatalf("a login: %d %s", got.status, got.body)
	}
	if m := b.View().Machine(testMachine); m.Scenarios != "noted" {
		t.Errorf("of a login is noted: %+v", m)
	}
	if got := b.ask("POST", "/v1/watchers/login", `{"machine_id":"`+testMachine+`","password":"wrong","scenarios":[]}`); got.status != 401 {
		t.Errorf("a wrong password: %d %s", got.status, got.body)
	}
	b.asBouncer("GET", "/v1/decisions/stream?startup=true")
	if row := b.View().Bouncer("fw"); row == nil || !row.Load().IP.IsLoopback() || row.Load().Type == "" {
		t.Errorf("of a bouncer is noted: %+v", row.Load())
	}
	if got := b.ask("POST", "/v1/usage-metrics", `{"remediation_components":[{"name":"fw","type":"t","version":"v9","feature_flags":[],"metrics":[{"meta":{"window_size_seconds":600,"utc_now_timestamp":1},"items":[]}],"os":{"name":"debian","version":"12"},"utc_startup_timestamp":1}]}`, "X-Api-Key: "+testKey); got.status != 201 {
		t.Errorf("usage metrics: %d %s", got.status, got.body)
	}
	if got := b.View().Bouncer("fw").Load(); got.Version != "v9" {
		t.Errorf("of usage metrics is noted: %+v", got)
	}
	c.writer.Store(-1)
	if got := b.ask("POST", "/v1/watchers/login", `{"machine_id":"`+testMachine+`","password":"`+testPassword+`","scenarios":["lost"]}`); got.status != 200 {
		t.Errorf("a login without a writer: %d %s", got.status, got.body)
	}
}

func TestNobodyWrites(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 2, 0, 20*time.Millisecond)
	c.writer.Store(-1)
	if got := c.write(1, "POST", "/v1/alerts", banBody("192.0.2.1")); got.status != 503 || got.header.Get("Retry-After") != "5" {
		t.Errorf("an alert without a writer: %d %s, %v", got.status, got.body, got.header)
	}
	if got := c.houses[1].ask("POST", "/v1/alerts", banBody("192.0.2.1"), "Authorization: Bearer wrong"); got.status != 401 {
		t.Errorf("of nobody: %d %s", got.status, got.body)
	}
	if got := c.houses[1].asBouncer("GET", "/v1/decisions/stream?startup=true"); got.status != 200 {
		t.Errorf("a poll: %d %s", got.status, got.body)
	}
	c.lead(1)
	if got := c.write(0, "POST", "/v1/alerts", banBody("192.0.2.1")); got.status != 201 {
		t.Errorf("with another writer: %d %s", got.status, got.body)
	}
}

// While answers are lost and the writer changes in the middle of requests, each alert that was answered is
// stored once, at every node.
func TestWritersChange(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 3, 7, 20*time.Second)
	const each = 8
	var wg sync.WaitGroup
	settled := make(chan struct{}, 1)
	for i := range c.houses {
		wg.Go(func() {
			for n := range each {
				if got := c.write(i, "POST", "/v1/alerts", banBody(fmt.Sprintf("192.0.2.%d", i*each+n))); got.status != 201 {
					t.Errorf("an alert to node %d: %d %s", i, got.status, got.body)
				}
				select {
				case settled <- struct{}{}:
				default:
				}
			}
		})
	}
	stop := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := 1; ; i = (i + 1) % len(c.houses) {
			select {
			case <-stop:
				return
			case <-settled: // between two changes a write comes to its end
			}
			c.lead(i)
		}
	})
	wg.Wait()
	close(stop)
	changing.Wait()
	for i, h := range c.houses {
		c.level(h)
		n := 0
		h.must(h.Alerts(t.Context(), h.View(), &engine.AlertQuery{}, func(*engine.Alert, []engine.Decision) bool { n++; return true }))
		if n != each*len(c.houses) {
			t.Errorf("node %d has %d alerts of %d", i, n, each*len(c.houses))
		}
	}
}

// Verbs at any node are the writer's, and known where they were asked for when they return.
func TestVerbsOfNodes(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 2, 0, time.Second)
	b := c.houses[1]
	local := admin.Local(c.verbs[1])
	defer local.Close()
	b.must(local.AddBouncer(t.Context(), &admin.NewBouncer{Name: "edge", KeyHash: hashOfTest(1)}))
	if b.View().Bouncer("edge") == nil {
		t.Error("a bouncer is not known where it was added")
	}
	if err := local.AddBouncer(t.Context(), &admin.NewBouncer{Name: "edge", KeyHash: hashOfTest(2)}); !errors.Is(err, engine.ErrExists) {
		t.Errorf("a bouncer again: %v", err)
	}
	remote := c.verbs[1].ClientOf(&admin.Remote{Name: "alice", Address: netip.MustParseAddr("192.0.2.9")})
	if names, err := remote.DeleteBouncer(t.Context(), "edge"); err != nil || len(names) != 1 || b.View().Bouncer("edge") != nil {
		t.Errorf("a bouncer less: %v, %v", names, err)
	}
	if _, err := local.Bouncers(t.Context()); err != nil {
		t.Errorf("a list: %v", err)
	}
	c.lead(1)
	b.must(local.AddBouncer(t.Context(), &admin.NewBouncer{Name: "here", KeyHash: hashOfTest(3)}))
}

func hashOfTest(n byte) []byte {
	h := engine.KeyHash{n}
	return h[:]
}

// Who is not known is refused once that is confirmed, and not where it cannot be.
func TestStrangersOfNodes(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 2, 0, 20*time.Millisecond)
	b, before := c.houses[1], c.confirmed.Load()
	ask := func(want int) {
		t.Helper()
		if got := b.ask("GET", "/v1/decisions?ip=192.0.2.1", "", "X-Api-Key: nobody's"); got.status != want {
			t.Errorf("a key of nobody: %d %s", got.status, got.body)
		}
		if got := b.ask("POST", "/v1/watchers/login", `{"machine_id":"nobody","password":"a-password","scenarios":[]}`); got.status != map[int]int{403: 401, 503: 503}[want] {
			t.Errorf("a machine of nobody: %d %s", got.status, got.body)
		}
	}
	ask(403)
	if n := c.confirmed.Load() - before; n != 2 {
		t.Errorf("it was confirmed %d times", n)
	}
	c.writer.Store(-1)
	ask(503)
}
