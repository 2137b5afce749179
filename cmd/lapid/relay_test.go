package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/peer"
	"lapid/transport/peer/peertest"
)

// ownJournal is the journal of a node that has a cluster of its own.
type ownJournal struct{ newest atomic.Uint64 }

func (j *ownJournal) Append(_ context.Context, after engine.Revision, _ []byte) error {
	j.newest.Store(uint64(after) + 1)
	return nil
}
func (j *ownJournal) Newest(context.Context) (engine.Revision, error) {
	return engine.Revision(j.newest.Load()), nil
}
func (j *ownJournal) Trim(engine.Revision) error { return nil }
func (j *ownJournal) Follow(ctx context.Context, _ engine.Revision, _ func(engine.Revision, []byte) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// center is nodes that a relay follows: two listeners of one engine in this process.
type center struct {
	t             *testing.T
	rig           *enginetest.Rig
	nodes, relays *peertest.Authority
}

func newCenter(t *testing.T) *center {
	c := &center{t: t, nodes: peertest.NewAuthority(t), relays: peertest.NewAuthority(t)}
	c.rig = enginetest.NewRig(t, func(o *engine.Options) { o.Journal, o.Now = &ownJournal{}, time.Now })
	ctx := context.Background()
	err := c.rig.Lead(ctx)
	if err == nil {
		_, err = c.rig.NameHistory(ctx)
	}
	if err == nil {
		err = c.rig.AddMachine(ctx, &engine.Machine{ID: "m", PasswordHash: []byte("hash-of-a-password"), AuthType: engine.AuthPassword, Validated: true}, false)
	}
	if err == nil {
		_, err = c.rig.AddBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash(hashOf("key")), Software: &engine.Software{}})
	}
	if err == nil {
		_, err = c.rig.Secret(ctx, engine.TokenSecret, func() ([]byte, error) { return []byte("secret-of-tokens"), nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve has relays follow at an address until it is stopped.
func (c *center) serve(address string) (at string, stop func()) {
	c.t.Helper()
	cert, key, ca := c.nodes.Files("a", true)
	by, err := peer.LoadCredentials(cert, key, ca, time.Now())
	if err == nil {
		err = by.AdmitRelays(c.relays.File())
	}
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := peer.New(&peer.Options{Name: "a", Listen: address, Credentials: by, Engine: c.rig.Engine, Version: "v9", Writer: func() (string, string, bool) { return "a", "", true }})
	if err == nil {
		err = n.Listen()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := n.Run(ctx); err != nil {
			c.t.Errorf("running a node: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	c.t.Cleanup(stop)
	return n.Addr().String(), stop
}

// ban bans one address at the nodes.
func (c *center) ban(value string) {
	c.t.Helper()
	now := c.rig.Options.Now()
	a := &engine.Alert{Scenario: "ssh", Message: "message-of-an-alert", MachineID: "m", StopAt: engine.StampOf(now), Decisions: []engine.NewDecision{
		{Scope: "Ip", Value: value, Type: "ban", Origin: "crowdsec", Scenario: "ssh", Duration: "4h"}}}
	if _, err := c.rig.AddAlerts(context.Background(), "m", []*engine.Alert{a}, now.UnixNano()); err != nil {
		c.t.Fatal(err)
	}
}

// relayHouse is a house with a relay in it.
type relayHouse struct {
	*house
	process *process
}

func (c *center) relay(from ...string) *relayHouse {
	h := emptyHouse(c.t)
	cert, key, _ := c.relays.Files("edge", false)
	write(c.t, h.dir, "lapid.yaml", fmt.Sprintf("relay: {from: ['%s'], cert_file: %s, key_file: %s, ca_file: %s}\n", strings.Join(from, "', '"), cert, key, c.nodes.File()))
	r := &relayHouse{house: h}
	r.start()
	return r
}

func (r *relayHouse) start() {
	r.t.Helper()
	r.process = start(r.t, nil, "serve", "-c", r.file)
	r.awaitHealth(r.process)
}

func (r *relayHouse) kill() {
	_ = r.process.cmd.Process.Kill()
	<-r.process.ended
}

// poll is what a bouncer is told: values of new decisions, and whether any was deleted.
func (r *relayHouse) poll(startup bool) (list []string, deleted int) {
	r.t.Helper()
	code, text, err := r.ask("GET", fmt.Sprintf("/v1/decisions/stream?startup=%t", startup), "")
	var said struct {
		New     []struct{ Value string }
		Deleted []struct{ Value string }
	}
	if err != nil || code != 200 || json.Unmarshal([]byte(text), &said) != nil {
		r.t.Fatalf("a poll: %d %s %v", code, text, err)
	}
	for _, d := range said.New {
		list = append(list, d.Value)
	}
	return list, len(said.Deleted)
}

// knows waits until an address is banned at the relay.
func (r *relayHouse) knows(value string) {
	r.t.Helper()
	await(r.t, value+" is banned at the relay", func() bool {
		code, text, err := r.ask("GET", "/v1/decisions?ip="+value, "")
		return err == nil && code == 200 && strings.Contains(text, value)
	})
}

// tells waits until a poll tells of addresses, and of no other.
func (r *relayHouse) tells(want ...string) {
	r.t.Helper()
	list, deleted := r.poll(false)
	if strings.Join(list, " ") != strings.Join(want, " ") || deleted != 0 {
		r.t.Errorf("a poll tells of %v and %d that are over, and not of %v", list, deleted, want)
	}
}

// TestRelay: a relay gets everything, is killed and comes back with its bouncer where it was; its node dies and it follows another;
// it is cut off and goes on, and after that its bouncer gets one delta; what writes is refused; its folder holds no secret; away
// for too long it begins anew.
func TestRelay(t *testing.T) {
	t.Parallel()
	c := newCenter(t)
	c.ban("192.0.2.1")
	a, stopA := c.serve("127.0.0.1:0")
	b, stopB := c.serve("127.0.0.1:0")
	r := c.relay(a, b)
	if list, _ := r.poll(true); len(list) != 1 {
		t.Errorf("a startup tells of %v", list)
	}
	r.tells()
	await(t, "the relay has a row of its own", func() bool {
		return strings.Contains(r.do("", "bouncers", "list", "-o", "raw").out, "fw@127.0.0.1")
	})
	c.ban("192.0.2.2")
	r.knows("192.0.2.2")
	stopA()
	c.ban("192.0.2.3")
	r.knows("192.0.2.3")
	r.tells("192.0.2.2", "192.0.2.3")
	r.refuses()

	stopB()
	r.tells()
	c.ban("192.0.2.4")
	await(t, "the relay says that it follows nobody", func() bool { return r.do("", "cluster", "status").exit == 1 })
	if code, text, err := r.ask("GET", "/v1/decisions?ip=192.0.2.3", ""); err != nil || code != 200 || !strings.Contains(text, "192.0.2.3") {
		t.Errorf("a relay that is cut off answers %d %s %v", code, text, err)
	}
	_, stopB = c.serve(b)
	r.knows("192.0.2.4")
	r.tells("192.0.2.4")
	if s := r.do("", "cluster", "status"); s.exit != 0 || !strings.Contains(s.out, "this relay follows "+b) {
		t.Errorf("the status of a relay that follows: %d %s%s", s.exit, s.out, s.err)
	}

	r.kill()
	c.ban("192.0.2.5")
	r.start()
	r.knows("192.0.2.5")
	if list, _ := r.poll(false); !slices.Contains(list, "192.0.2.5") {
		t.Errorf("after a kill a poll tells of %v", list)
	}

	// Away for longer than the journal goes back, while it runs.
	stopB()
	for i := range 3 {
		c.ban(fmt.Sprintf("192.0.2.1%d", i))
		if err := c.rig.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.serve(b)
	await(t, "the relay has begun anew", func() bool {
		code, text, err := r.ask("GET", "/v1/decisions?ip=192.0.2.12", "")
		return err == nil && code == 200 && strings.Contains(text, "192.0.2.12")
	})
	c.ban("192.0.2.20")
	r.knows("192.0.2.20")
	r.end()
	r.holdsNo("hash-of-a-password", "secret-of-tokens", "message-of-an-alert")
	r.isNoStore()
}

// refuses: what writes, and machines.
func (r *relayHouse) refuses() {
	r.t.Helper()
	for _, line := range [][2]string{{"POST", "/v1/alerts"}, {"POST", "/v1/watchers/login"}, {"POST", "/v1/watchers"}, {"POST", "/v1/usage-metrics"}, {"GET", "/v1/heartbeat"}, {"DELETE", "/v1/decisions"}, {"GET", "/v1/alerts"}} {
		request, err := http.NewRequestWithContext(r.t.Context(), line[0], "http://unix"+line[1], strings.NewReader("[]"))
		if err != nil {
			r.t.Fatal(err)
		}
		answer, err := r.web.Do(request)
		if err != nil {
			r.t.Fatal(err)
		}
		if answer.Body.Close(); answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
			r.t.Errorf("%v at a relay: %s, %v", line, answer.Status, answer.Header)
		}
	}
	for _, verb := range [][]string{{"decisions", "add", "--ip", "192.0.2.99"}, {"bouncers", "add", "x"}, {"cluster", "hand"}} {
		if got := r.do("", verb...); got.exit == 0 || !strings.Contains(got.err, "relay") {
			r.t.Errorf("%v at a relay: %d %s", verb, got.exit, got.err)
		}
	}
}

// end has the relay end in good order.
func (r *relayHouse) end() {
	r.t.Helper()
	if err := r.process.cmd.Process.Signal(os.Interrupt); err != nil {
		r.t.Fatal(err)
	}
	if code := r.process.wait(r.t); code != 0 {
		r.t.Errorf("exit code %d", code)
	}
}

// holdsNo looks through all files of the relay.
func (r *relayHouse) holdsNo(secrets ...string) {
	r.t.Helper()
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				r.t.Errorf("%s holds %q", path, secret)
			}
		}
		return err
	})
	if err != nil {
		r.t.Error(err)
	}
}

// isNoStore: without the section relay the copy is not taken for a store of its own.
func (r *relayHouse) isNoStore() {
	r.t.Helper()
	write(r.t, r.dir, "lapid.yaml", "")
	p := start(r.t, nil, "serve", "-c", r.file)
	if code := p.wait(r.t); code == 0 || !strings.Contains(p.out.String(), "the copy of a relay") {
		r.t.Errorf("without the section relay: exit code %d\n%s", code, p.out)
	}
}

// TestRelayRefusesToStart: what cannot be a relay says why.
func TestRelayRefusesToStart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := newCenter(t)
	cert, key, _ := c.relays.Files("edge", false)
	files := fmt.Sprintf("cert_file: %s, key_file: %s, ca_file: %s", cert, key, c.nodes.File())
	for text, want := range map[string]string{
		"relay: {from: ['127.0.0.1:1'], " + files + "}":                         "has a history of its own",
		"relay: {from: [], " + files + "}":                                      "relay.from",
		"relay: {from: ['127.0.0.1'], " + files + "}":                           "host:port",
		"relay: {from: ['127.0.0.1:1'], cert_file: x, key_file: y, ca_file: z}": "cert_file",
		"relay: {from: ['127.0.0.1:1']}":                                        "relay.cert_file is missing",
		"sync: false\nrelay: {from: ['127.0.0.1:1'], " + files + "}":            "sync: false cannot be beside relay",
		"backup: {dir: /b}\nrelay: {from: ['127.0.0.1:1'], " + files + "}":      "backup cannot be beside relay",
		"cluster: {name: a}\nrelay: {from: ['127.0.0.1:1'], " + files + "}":     "cluster",
	} {
		write(t, h.dir, "lapid.yaml", text+"\n")
		p := start(t, nil, "serve", "-c", h.file)
		if code := p.wait(t); code == 0 || !strings.Contains(p.out.String(), want) {
			t.Errorf("%s\nexit code %d, and no %q:\n%s", text, code, want, p.out)
		}
	}
}
