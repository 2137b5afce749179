package conn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// house is a Front with a server behind it that knows one caller, by goodToken.
type house struct {
	*Front
	t *testing.T

	// What the owner was told.
	refused []Reason
	unread  []string
}

const goodToken = "Bearer good"

// newHouse makes one, with loops where change says so; nothing is started.
func newHouse(t *testing.T, change func(*Options)) *house {
	h := &house{t: t}
	o := Options{
		Listen: "127.0.0.1:0",
		Limits: Limits{
			MaxConnections: 100, MaxServed: 100, HeaderBytes: 64 << 10,
			ReadTimeout: time.Minute, ReadStall: 30 * time.Second, UploadLimit: 15 * time.Minute, IdleTimeout: 3 * time.Minute, WriteStall: time.Minute,
			BodyMemory: 64 << 20, StrangerMemory: 16 << 20,
		},
		Owner: h, NewHandler: func() Handler { return &handler{} },
		Now: func() int64 { return time.Now().UnixNano() }, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	h.Front = New(&o)
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
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

func (h *house) Knows(client netip.Addr) bool { return client == netip.MustParseAddr("127.0.0.1") }

func (h *house) MayForward(netip.Addr, bool) bool { return false }

func (h *house) PlaceOf(client netip.Addr) netip.Prefix {
	p, _ := client.Prefix(client.BitLen())
	return p
}

func (h *house) Certificate(*tls.ConnectionState) any          { return nil }
func (h *house) Message(text string) (body, kind []byte)       { return []byte(text), []byte("text/plain") }
func (h *house) Refused(why Reason, _ netip.Addr)              { h.refused = append(h.refused, why) }
func (h *house) TurnedAway()                                   {}
func (h *house) Unread(_ netip.Addr, status int, text string)  { h.unread = append(h.unread, text) }
func (h *house) BadHandshake(client netip.Addr, problem error) {}

// handler answers every request with its method, path and body.
type handler struct {
	request *Request
	known   bool
}

var plan = BodyPlan{Most: 1 << 20, Element: 100}

func (h *handler) Serve(r *Request, a *Answer) bool {
	h.request, h.known = r, string(r.Authorization) == goodToken
	defer r.Drain()
	err := r.Unpack(&plan, h)
	var body []byte
	switch {
	case err != nil:
	case !h.known && r.HasBody():
		a.Empty(401)
		return true
	case string(r.Path) == "/unread":
		h.trust(r)
		a.Empty(200)
		return true
	default:
		h.trust(r)
		body, err = r.ReadBody()
	}
	var refused *Refusal
	switch {
	case errors.As(err, &refused):
		a.Copy(refused.Status, nil, []byte(refused.Text))
	case err != nil:
		a.Copy(400, nil, []byte(err.Error()))
	default:
		a.Copy(200, nil, fmt.Appendf(nil, "%s %s %s", r.Method, r.Path, body))
	}
	return true
}

func (h *handler) trust(r *Request) {
	if h.known {
		r.Prove()
		r.Trust(h)
	}
}

func (h *handler) Shown() string {
	if h.known {
		return "mgood"
	}
	return ""
}

func (h *handler) Stranger() (client netip.Addr, known bool) { return h.request.Peer, false }

// request is a request of HTTP/1.1 as a client would write it.
func request(method, path string, lines ...string) string {
	var b strings.Builder
	b.WriteString(method + " " + path + " HTTP/1.1\r\nHost: x\r\n")
	for _, l := range lines {
		b.WriteString(l + "\r\n")
	}
	return b.String() + "\r\n"
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

// watchedConn is a connection on which things come one by one, and which is looked at
// before each.
type watchedConn struct {
	memoryConn
	parts []string
	look  func()
}

func (c *watchedConn) Read(b []byte) (int, error) {
	c.look()
	if len(c.in) == 0 && len(c.parts) > 0 {
		c.in, c.parts = []byte(c.parts[0]), c.parts[1:]
	}
	return c.memoryConn.Read(b)
}

// peer is who is at the other end where there is nobody.
func (h *house) peer() netip.Addr { return netip.MustParseAddr("127.0.0.1") }
