package transport

import (
	"bufio"
	"context"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/auth"
)

// house is a server with everything below it: an engine on a disk in memory
// with a clock set by hand, a gate, and listeners on the loopback and on a
// Unix socket.
type house struct {
	*enginetest.Rig
	t      testing.TB
	gate   *auth.Gate
	server *Server
	url    string
	socket string
}

const (
	testKey      = "a-bouncer-key-for-tests"
	testMachine  = "a-machine"
	testPassword = "a-password"
)

var testSecret = []byte(strings.Repeat("a-secret-for-tests", 4))

// build adjusts the parts of a house before they are put together.
type build struct {
	server Options
	gate   auth.Options
	engine func(*engine.Options)
	last   func(*Server) // before it starts
}

// wireTest is a test of the wire, with plain connections on loops or each with a
// goroutine. A house that is made with it is served so.
type wireTest struct {
	*testing.T
	loops int // Options.Loops
}

// bothWays runs a test of the wire with loops and without: whatever comes over a
// connection is answered alike.
func bothWays(t *testing.T, test func(*wireTest)) {
	t.Helper()
	t.Run("loops", func(t *testing.T) { test(&wireTest{t, 0}) })
	t.Run("off", func(t *testing.T) { test(&wireTest{t, NoLoops}) })
}

// Run is as that of testing.T.
func (w *wireTest) Run(name string, test func(*wireTest)) bool {
	return w.T.Run(name, func(t *testing.T) { test(&wireTest{t, w.loops}) })
}

// newHouse starts a house with one bouncer, one validated machine, and one that
// is not. Everything ends with the test.
func newHouse(t testing.TB, change func(*build)) *house {
	b := build{gate: auth.Options{Secret: testSecret}}
	b.server.Listen = "127.0.0.1:0"
	if w, ok := t.(*wireTest); ok {
		b.server.Loops = w.loops
	}
	if change != nil {
		change(&b)
	}
	h := &house{t: t, Rig: enginetest.NewRig(t, b.engine)}
	var err error
	if h.gate, err = auth.NewGate(h.Engine, &b.gate); err != nil {
		t.Fatalf("making a gate: %v", err)
	}
	b.server.Engine, b.server.Gate = h.Engine, h.gate
	if h.server, err = New(&b.server); err != nil {
		t.Fatalf("making a server: %v", err)
	}
	if b.last != nil {
		b.last(h.server)
	}
	h.seed()
	h.start()
	return h
}

func (h *house) seed() {
	h.addMachine(testMachine, true)
	h.addMachine("stranger", false)
	h.addBouncer("fw", testKey, false)
}

// addMachine adds a machine with the password of all machines here.
func (h *house) addMachine(id string, validated bool) {
	h.t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(testPassword), bcrypt.MinCost)
	h.must(err)
	h.must(h.AddMachine(h.t.Context(), &engine.Machine{ID: id, PasswordHash: hash, AuthType: engine.AuthPassword, Validated: validated, CreatedAt: h.Engine.Now()}, false))
}

func (h *house) addBouncer(name, key string, shared bool) {
	_, err := h.AddBouncer(h.t.Context(), &engine.Bouncer{Name: name, KeyHash: sha512.Sum512([]byte(key)), AuthType: engine.AuthAPIKey, Shared: shared})
	h.must(err)
}

func (h *house) start() {
	h.must(h.server.Listen())
	if a := h.server.Addr(); a != nil {
		h.url = "http://" + a.String()
	}
	h.socket = h.server.options.Socket
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := h.server.Run(ctx); err != nil {
			h.t.Errorf("running the server: %v", err)
		}
	})
	h.t.Cleanup(func() {
		cancel()
		done.Wait()
	})
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// reply is what came back.
type reply struct {
	status int
	body   string
	header http.Header
}

// ask sends one request; header lines are "Name: value".
func (h *house) ask(method, path, body string, header ...string) reply {
	h.t.Helper()
	return h.askBy(http.DefaultClient, h.url, method, path, body, header...)
}

func (h *house) askBy(client *http.Client, base, method, path, body string, header ...string) reply {
	h.t.Helper()
	got, err := h.tryBy(client, base, method, path, body, header...)
	h.must(err)
	return got
}

// tryBy is askBy for those who may not get through.
func (h *house) tryBy(client *http.Client, base, method, path, body string, header ...string) (reply, error) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, base+path, strings.NewReader(body))
	h.must(err)
	r.Header.Set("User-Agent", "tester/1.0")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got, err := c.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	return reply{got.StatusCode, string(text), got.Header}, err
}

// asBouncer and asMachine ask with the credentials of the house.
func (h *house) asBouncer(method, path string, header ...string) reply {
	h.t.Helper()
	return h.ask(method, path, "", append(header, "X-Api-Key: "+testKey)...)
}

func (h *house) asMachine(method, path, body string, header ...string) reply {
	h.t.Helper()
	return h.ask(method, path, body, append(header, "Authorization: Bearer "+h.token())...)
}

// token logs in.
func (h *house) token() string {
	h.t.Helper()
	g, err := h.gate.Login(h.t.Context(), auth.Credentials{MachineID: testMachine, Password: testPassword}, netip.MustParseAddr("127.0.0.1"), []byte("tester/1.0"))
	h.must(err)
	return g.Token
}

// wants checks a reply.
func (h *house) wants(got reply, status int, body string) {
	h.t.Helper()
	if got.status != status || got.body != body {
		h.t.Fatalf("got %d %s\nwant %d %s", got.status, got.body, status, body)
	}
}

// ban stores an alert with decisions on the given values.
func (h *house) ban(values ...string) {
	h.t.Helper()
	h.must(h.tryBan("4h", values...))
}

func (h *house) tryBan(duration string, values ...string) error {
	stamp := engine.StampOf(h.Now())
	a := &engine.Alert{Scenario: "test/scenario", Source: engine.Source{Scope: engine.ScopeIP, Value: values[0]}, StartAt: stamp, StopAt: stamp}
	for _, v := range values {
		scope := engine.ScopeIP
		if strings.Contains(v, "/") {
			scope = engine.ScopeRange
		}
		a.Decisions = append(a.Decisions, engine.NewDecision{Duration: duration, Origin: engine.OriginManual, Scenario: "test/scenario", Scope: scope, Type: "ban", Value: v})
	}
	_, err := h.AddAlerts(context.Background(), testMachine, []*engine.Alert{a}, h.Engine.Now())
	return err
}

// banMany stores n decisions on addresses of 10.0.0.0/8 in alerts of a
// thousand.
func (h *house) banMany(n int) {
	h.t.Helper()
	for i := 0; i < n; {
		var values []string
		for ; len(values) < 1000 && i < n; i++ {
			values = append(values, fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255))
		}
		h.ban(values...)
	}
}

// alertText is the body of an alert with one decision.
func (h *house) alertText(value string) string {
	at := h.Now().Format(time.RFC3339)
	return fmt.Sprintf(`[{"capacity":0,"events":[],"events_count":1,"leakspeed":"","message":"m","scenario":"s","scenario_hash":"","scenario_version":"",`+
		`"simulated":false,"source":{"scope":"Ip","value":%q},"start_at":%q,"stop_at":%q,`+
		`"decisions":[{"duration":"4h","origin":"cscli","scenario":"s","scope":"Ip","type":"ban","value":%q}]}]`, value, at, at, value)
}

// poll asks the stream and gives the values of both lists.
func (h *house) poll(query string, header ...string) (fresh, deleted []string) {
	h.t.Helper()
	got := h.asBouncer("GET", "/v1/decisions/stream"+query, header...)
	if got.status != 200 {
		h.t.Fatalf("polling: %d %s", got.status, got.body)
	}
	return lists(h.t, got.body)
}

func lists(t testing.TB, body string) (fresh, deleted []string) {
	t.Helper()
	var d struct{ New, Deleted []struct{ Value string } }
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatalf("not a delta: %v in %d bytes", err, len(body))
	}
	for _, x := range d.New {
		fresh = append(fresh, x.Value)
	}
	for _, x := range d.Deleted {
		deleted = append(deleted, x.Value)
	}
	return fresh, deleted
}

// dial opens a raw connection to the house.
func (h *house) dial() (net.Conn, *bufio.Reader) {
	h.t.Helper()
	c, err := net.Dial("tcp", h.server.Addr().String())
	h.must(err)
	h.t.Cleanup(func() { c.Close() })
	h.must(c.SetDeadline(time.Now().Add(30 * time.Second)))
	return c, bufio.NewReader(c)
}

// eventually waits for a condition.
func (h *house) eventually(what string, is func() bool) {
	h.t.Helper()
	late := time.After(30 * time.Second)
	for !is() {
		select {
		case <-late:
			h.t.Fatalf("waited in vain until %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// overSocket is a client of the house's Unix socket.
func (h *house) overSocket() *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.socket)
	}}
	h.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// memoryConn is a connection whose other end has said everything it had to say.
type memoryConn struct {
	net.Conn
	in, out []byte
}

func (c *memoryConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *memoryConn) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}

func (c *memoryConn) Close() error                     { return nil }
func (c *memoryConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *memoryConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }
