package conn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"
)

// pipe is a client over TLS and a session that was agreed on with it. What the client
// writes lies in came, and what of that is opened is what a loop would see.
type pipe struct {
	t       *testing.T
	client  *tls.Conn
	session *session
	came    bytes.Buffer // from the client
	goes    bytes.Buffer // to it
	out     []byte
}

// end is an end of a pipe as its client sees it, once the handshake is over.
type end struct {
	net.Conn
	p    *pipe
	over bool
}

func (e *end) Read(b []byte) (int, error) {
	if !e.over {
		return e.Conn.Read(b)
	}
	return e.p.goes.Read(b)
}

func (e *end) Write(b []byte) (int, error) {
	if !e.over {
		return e.Conn.Write(b)
	}
	return e.p.came.Write(b)
}

func (e *end) SetWriteDeadline(time.Time) error { return nil }

// newPipe does a handshake as a listener does, and gives the connection to a loop.
func newPipe(t *testing.T, version uint16) *pipe {
	t.Helper()
	return newPipeWith(t, version, nil)
}

// newPipeWith has the client tell its keys.
func newPipeWith(t *testing.T, version uint16, keys io.Writer) *pipe {
	t.Helper()
	p := &pipe{t: t, out: make([]byte, readBuffer)}
	near, far := net.Pipe()
	e := &end{Conn: far, p: p}
	p.client = tls.Client(e, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, DynamicRecordSizingDisabled: true, KeyLogWriter: keys})
	h := newHouse(t, nil)
	c := newConn(near, &h.core, h.peer(), false)
	secure := newSecureConn(newSession(&h.core, selfSigned(t)), c)
	c.door, c.fresh = &listener{}, true
	done := make(chan error, 1)
	go func() { done <- p.client.Handshake() }()
	h.must(secure.Handshake())
	if version == tls.VersionTLS13 { // a ticket follows, which the client reads later
		go func() {
			_, err := secure.session.Write([]byte("x"))
			done <- err
		}()
		h.must(<-done)
		if _, err := io.ReadFull(p.client, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	h.must(<-done)
	e.over = true
	p.session = secure.session
	p.session.toLoop()
	return p
}

func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	is := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"x"}}
	der, err := x509.CreateCertificate(rand.Reader, is, is, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// say has the client say something, and gives what came of that.
func (p *pipe) say(text string) []byte {
	p.t.Helper()
	if _, err := p.client.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
	return p.flown()
}

// flown is what came since.
func (p *pipe) flown() []byte {
	b := bytes.Clone(p.came.Bytes())
	p.came.Reset()
	return b
}

// open opens what came as a loop does: what it is given is not there any more afterwards.
func (p *pipe) open(in []byte) (text string, err error) {
	p.t.Helper()
	borrowed := bytes.Clone(in)
	for in := borrowed; ; in = nil {
		n, err := p.session.Open(in, p.out)
		text += string(p.out[:n])
		if err != nil || n < len(p.out) {
			clear(borrowed)
			return text, err
		}
	}
}

// answer has the session say something, and the client hear it.
func (p *pipe) answer(text string) {
	p.t.Helper()
	if err := p.session.Seal([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
	p.deliver()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(p.client, got); err != nil || string(got) != text {
		p.t.Fatalf("the client heard %q, %v", got, err)
	}
}

// deliver sends what is sealed, a few bytes at a time.
func (p *pipe) deliver() {
	for len(p.session.Sealed()) > 0 {
		n := min(len(p.session.Sealed()), 700)
		p.goes.Write(p.session.Sealed()[:n])
		p.session.Sent(n)
	}
}

func versions(t *testing.T, test func(t *testing.T, p *pipe)) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(v), func(t *testing.T) { test(t, newPipe(t, v)) })
	}
}

// TestSessionSplit cuts records at each byte, and rows of them at each pair of places that
// are near each other.
func TestSessionSplit(t *testing.T) {
	versions(t, func(t *testing.T, p *pipe) {
		first := p.say("GET /")
		for cut := range len(first) + 1 {
			row := append(append(p.say("one"), p.say("two, which is longer")...), p.say("3")...)
			if cut == 0 {
				row = append(first, row...)
			}
			var got string
			for rest := row; len(rest) > 0; {
				n := min(len(rest), cut+1)
				text, err := p.open(rest[:n])
				if err != nil {
					t.Fatal(err)
				}
				got += text
				if rest = rest[n:]; len(rest) == 0 && p.session.Held() != 0 {
					t.Errorf("%d bytes are held of nothing", p.session.Held())
				}
			}
			want := "onetwo, which is longer3"
			if cut == 0 {
				want = "GET /" + want
			}
			if got != want {
				t.Fatalf("in parts of %d: %q", cut+1, got)
			}
			p.answer("yes")
		}
	})
}

// TestSessionManyRecords: what one read brings is opened in one go, over and over while there
// is no room; records may be larger than what is read at once.
func TestSessionManyRecords(t *testing.T) {
	versions(t, func(t *testing.T, p *pipe) {
		var want string
		var row []byte
		for _, size := range []int{1, 100, len(p.out) - 1, len(p.out), len(p.out) + 1, 16 << 10, 2, 40_000} {
			text := string(bytes.Repeat([]byte{byte('a' + size%26)}, size))
			row, want = append(row, p.say(text)...), want+text
		}
		if got, err := p.open(row); err != nil || got != want {
			t.Fatalf("%d bytes, not %d, %v", len(got), len(want), err)
		}
		var got string
		for part := range slices.Chunk(append(p.say(want), p.say("end")...), readBuffer) {
			text, err := p.open(part)
			if err != nil {
				t.Fatal(err)
			}
			if got += text; p.session.Held() > longestRecord {
				t.Fatalf("%d bytes are held", p.session.Held())
			}
		}
		if got != want+"end" {
			t.Fatalf("%d bytes in parts, not %d", len(got), len(want))
		}
		p.answer(want)
		if p.session.wire.out != nil || p.session.wire.kept != nil || p.session.wire.in != nil {
			t.Error("memory is kept for nothing")
		}
	})
}

// TestSessionKept: what a loop leaves behind in the middle of something is read by the
// goroutine that takes the connection, and what that leaves by a loop.
func TestSessionKept(t *testing.T) {
	versions(t, func(t *testing.T, p *pipe) {
		row := append(append(p.say("first"), p.say("second")...), p.say("third")...)
		for cut := range len(row) {
			near, far := net.Pipe()
			h := newHouse(t, nil)
			c := newConn(near, &h.core, h.peer(), false)
			text, err := p.open(row[:cut])
			if err != nil {
				t.Fatal(err)
			}
			p.session.Keep()
			secure := newSecureConn(p.session, c)
			go func(rest []byte) { _, _ = far.Write(rest) }(row[cut:])
			buf := make([]byte, 4) // less than a record says
			for len(text) < len("firstsecond") {
				n, err := secure.receive(buf)
				if text += string(buf[:n]); err != nil {
					t.Fatal(err)
				}
			}
			p.session.toLoop()
			p.session.ahead = true
			rest, err := p.open(nil)
			if err != nil || p.session.ahead {
				t.Fatal(err)
			}
			if text += rest; text != "firstsecondthird" && (len(text) > len("firstsecondthi") || text != "firstsecondthird"[:len(text)]) {
				t.Fatalf("cut at %d: %q", cut, text)
			}
			near.Close()
			p = newPipe(t, p.client.ConnectionState().Version)
			row = append(append(p.say("first"), p.say("second")...), p.say("third")...)
		}
	})
}

// TestSessionEnds: a farewell is an end behind what was said before it, and what is no
// record, or is of another sort, ends a connection with an alert.
func TestSessionEnds(t *testing.T) {
	versions(t, func(t *testing.T, p *pipe) {
		row := p.say("last")
		if err := p.client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		text, err := p.open(append(row, p.flown()...))
		if text != "last" || err != io.EOF || p.session.Held() == 0 {
			t.Fatalf("%q, %v", text, err)
		}
		p.answer("yes")
		p.session.Farewell()
		p.deliver()
		if n, err := p.client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Fatalf("the client sees %v", err)
		}
		v := p.client.ConnectionState().Version
		for name, spoil := range map[string]func([]byte) []byte{
			"a bit":     func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
			"a length":  func(b []byte) []byte { b[3], b[4] = 255, 255; return b[:7] },
			"a type":    func(b []byte) []byte { b[0] = 99; return b },
			"a version": func(b []byte) []byte { b[1] = 9; return b },
			"a head in plain text": func(b []byte) []byte {
				return []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n" + string(make([]byte, 30_000)))
			},
		} {
			p := newPipe(t, v)
			text, err := p.open(spoil(p.say("text")))
			if text != "" || err == nil || err == io.EOF {
				t.Errorf("%s is spoilt: %q, %v", name, text, err)
			}
			p.deliver()
			var alert tls.AlertError
			if _, err := p.client.Read(make([]byte, 1)); errors.As(err, &alert) || err == nil || err == io.EOF {
				t.Errorf("%s is spoilt: the client sees %v", name, err)
			}
		}
	})
}

// TestSessionAllocatesOne: what a request takes is one allocation of crypto/tls, of 24
// bytes, for its record.
func TestSessionAllocatesOne(t *testing.T) {
	versions(t, func(t *testing.T, p *pipe) {
		request, answer := []byte(request("GET", "/v1/decisions?ip=192.0.2.1")), make([]byte, 300)
		in := make([]byte, 0, 1<<10)
		n := testing.AllocsPerRun(200, func() {
			p.came.Reset()
			if _, err := p.client.Write(request); err != nil {
				t.Fatal(err)
			}
			in = append(in[:0], p.came.Bytes()...)
			if n, err := p.session.Open(in, p.out); n != len(request) || err != nil {
				t.Fatal(n, err)
			}
			if p.session.Seal(answer) != nil {
				t.Fatal("it is not sealed")
			}
			p.session.Sent(len(p.session.Sealed()))
		})
		if n > 1 && !raced {
			t.Errorf("%v allocations", n)
		}
	})
}

// FuzzSessionSplit opens rows of records in whatever parts.
func FuzzSessionSplit(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte{1, 5, 100})
	f.Add(bytes.Repeat([]byte("x"), 3000), []byte{255, 3, 0, 250})
	f.Fuzz(func(t *testing.T, said, sizes []byte) {
		if len(said) == 0 || len(sizes) == 0 || len(said) > 64<<10 {
			return
		}
		p := newPipe(t, tls.VersionTLS13)
		var row []byte
		for i, rest := 0, said; len(rest) > 0; i++ {
			n := min(len(rest), int(sizes[i%len(sizes)])*7+1)
			row, rest = append(row, p.say(string(rest[:n]))...), rest[n:]
		}
		var got string
		for i := 0; len(row) > 0; i++ {
			n := min(len(row), int(sizes[(i+1)%len(sizes)])*11+1)
			text, err := p.open(row[:n])
			if err != nil {
				t.Fatal(err)
			}
			got, row = got+text, row[n:]
		}
		if got != string(said) || p.session.Held() != 0 {
			t.Fatalf("%d bytes, not %d, and %d are held", len(got), len(said), p.session.Held())
		}
	})
}
