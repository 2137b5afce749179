package conn

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// session is a connection over TLS, from its handshake to its end, whoever has it: crypto/tls
// over a wire that a goroutine waits for, or that a loop fills and empties. It goes with the
// connection when that changes hands, and one goroutine at a time calls it. What is assumed
// of crypto/tls stands in assumptions.go.
type session struct {
	*tls.Conn
	wire wire
	core *core

	full  bool // the last Open, or read of a goroutine, filled what it was given
	over  bool // Open has said so
	ahead bool // crypto/tls may have more than it was asked for, with a goroutine
	mute  int  // bytes that came on a loop since the last that were for anybody but crypto/tls
	known bool // what of the client's certificate was made
	made  any  // by the owner
}

func newSession(c *core, config *tls.Config) *session {
	s := &session{core: c}
	s.Conn = tls.Server(&s.wire, config)
	return s
}

// certificate gives what was made of the client's certificate. Only who has the connection
// calls it, after the handshake.
func (s *session) certificate() any {
	if !s.known {
		state := s.ConnectionState()
		s.made, s.known = s.core.owner.Certificate(&state), true
	}
	return s.made
}

// Open implements reactor.Cover. crypto/tls is asked for no more than what is there: whole
// records, and what it has read of one.
func (s *session) Open(in, out []byte) (n int, err error) {
	if len(in) > 0 {
		s.wire.lend(in)
		s.mute += len(in)
	}
	for n < len(out) && (s.full || s.ahead || s.wire.ready()) {
		m, err := s.Read(out[n:])
		n += m
		s.full = n == len(out)
		if m > 0 {
			s.mute = s.wire.open()
		} else if s.mute-s.wire.open() > muteAtMost {
			err = errMute
		}
		if isDry(err) {
			s.ahead = false
			break
		}
		if err != nil {
			s.over = true
			return n, err
		}
	}
	s.wire.keepLess()
	return n, nil
}

// muteAtMost is how many bytes a client may send that are for crypto/tls alone, one after the
// other, once the handshake is done. A change of keys has some thirty. Of a message that never
// ends crypto/tls would keep 64 KiB, which nobody would know of: the connection ends.
const muteAtMost = 4 << 10

var errMute = errors.New("more was sent for the encryption itself than it ever needs")

// isDry reports whether the wire has not what is asked for.
func isDry(err error) bool { return err == errDry }

// Keep implements reactor.Cover.
func (s *session) Keep() { s.wire.keep() }

// Held implements reactor.Cover.
func (s *session) Held() int {
	n := s.wire.open()
	if s.full || s.ahead || s.over {
		n++
	}
	return n
}

// toLoop and toGoroutine change who has it.
func (s *session) toLoop() {
	s.ahead = s.wire.further || s.full
	s.mute = s.wire.open()
	s.wire.under.Store(nil)
}

func (s *session) toGoroutine(c *conn) { s.wire.under.Store(c) }

// Seal implements reactor.Cover.
func (s *session) Seal(p []byte) error {
	_, err := s.Write(p)
	return err
}

// Farewell implements reactor.Cover.
func (s *session) Farewell() { _ = s.CloseWrite() } // it fails where there was no handshake

// Sealed implements reactor.Cover.
func (s *session) Sealed() []byte { return s.wire.sealed() }

// Sent implements reactor.Cover.
func (s *session) Sent(n int) { s.wire.sent(n) }

// wire is what crypto/tls takes for the connection. With a goroutine it is that, on a loop a
// buffer in each direction, of which neither waits: where too little came Read gives errDry,
// which crypto/tls takes for a deadline, and everything that is written is taken.
//
// It follows where records end, so that a loop asks crypto/tls for whole ones and knows,
// without asking, that there is no more.
type wire struct {
	under atomic.Pointer[conn] // with a goroutine; nil: on a loop

	in   []byte // came and was not given to crypto/tls
	kept []byte // where in is, unless it is borrowed

	out  *[]byte // is to be sent, from gone on; nil: nothing
	gone int

	head    [recordHead]byte // of the record that crypto/tls is given, as far as it came
	have    int              // of head
	left    int              // of the record, behind its head
	further bool             // with the last bytes that a goroutine read came some of another record
}

// recordHead is how a record begins: a type, a version, and how long the rest is in its last
// two bytes.
const recordHead = 5

// longestRecord is how long a record is at most, in TLS 1.2.
const longestRecord = recordHead + 16<<10 + 2<<10

// outs are buffers for what a loop sends.
var outs = sync.Pool{New: func() any { return new([]byte) }}

// Read gives a loop no more than one record.
func (w *wire) Read(p []byte) (n int, err error) {
	if len(w.in) > 0 {
		n = w.take(p)
		w.further = false
		return n, nil
	}
	u := w.under.Load()
	if u == nil {
		return 0, errDry
	}
	n, err = u.Read(p)
	w.further = w.follow(p[:n])
	return n, err
}

// take gives on what came of the record that is begun, or of the next.
func (w *wire) take(p []byte) int {
	n := copy(p, w.in[:min(len(w.in), w.rest())])
	w.in = w.in[n:]
	if len(w.in) == 0 {
		w.in, w.kept = nil, nil
	}
	w.follow(p[:n])
	return n
}

// rest is how much is missing of the record that is begun, or of the next, as far as its
// head has come.
func (w *wire) rest() int {
	if w.have == recordHead {
		return w.left
	}
	var head [recordHead]byte
	if have := copy(head[copy(head[:], w.head[:w.have]):], w.in) + w.have; have < recordHead {
		return recordHead - w.have
	}
	return recordHead - w.have + int(head[3])<<8 + int(head[4])
}

// ready reports whether all of a record has come, or one has begun that is longer than any:
// crypto/tls refuses it by its head.
func (w *wire) ready() bool {
	if w.have+len(w.in) < recordHead || len(w.in) == 0 {
		return false
	}
	rest := w.rest()
	return len(w.in) >= rest || rest > longestRecord
}

// follow goes over what is given to crypto/tls, and reports whether that ends behind the end
// of a record.
func (w *wire) follow(b []byte) (further bool) {
	for ended := false; len(b) > 0; {
		if further = ended; w.have < recordHead {
			n := copy(w.head[w.have:], b)
			w.have, b = w.have+n, b[n:]
			if w.have < recordHead {
				break
			}
			w.left = int(w.head[3])<<8 + int(w.head[4])
		}
		n := min(w.left, len(b))
		w.left, b = w.left-n, b[n:]
		if w.left == 0 {
			w.have, ended = 0, true
		}
	}
	return further
}

// given is how much of a record crypto/tls has that is not whole.
func (w *wire) given() int {
	if w.have < recordHead {
		return w.have
	}
	return recordHead + int(w.head[3])<<8 + int(w.head[4]) - w.left
}

// open is how much came of what crypto/tls could not open yet.
func (w *wire) open() int { return len(w.in) + w.given() }

// lend lets crypto/tls have what came, until keep or keepLess.
func (w *wire) lend(in []byte) {
	if len(w.in) == 0 {
		w.in = in
		return
	}
	w.keep()
	w.in = append(w.in, in...)
	w.kept = w.in
}

// keep copies what is borrowed.
func (w *wire) keep() {
	if len(w.in) > 0 && w.kept == nil {
		w.kept = append([]byte(nil), w.in...)
		w.in = w.kept
	}
}

// keepLess is keep where nothing but part of a record is left.
func (w *wire) keepLess() {
	if !w.ready() {
		w.keep()
	}
}

// Write takes everything on a loop.
func (w *wire) Write(p []byte) (int, error) {
	if u := w.under.Load(); u != nil {
		return u.Write(p)
	}
	if w.out == nil {
		w.out = outs.Get().(*[]byte)
		*w.out, w.gone = (*w.out)[:0], 0
	}
	*w.out = append(*w.out, p...)
	return len(p), nil
}

func (w *wire) sealed() []byte {
	if w.out == nil {
		return nil
	}
	return (*w.out)[w.gone:]
}

func (w *wire) sent(n int) {
	if w.out == nil {
		return
	}
	if w.gone += n; w.gone < len(*w.out) {
		return
	}
	if cap(*w.out) > keepAtMost {
		*w.out = nil
	}
	outs.Put(w.out)
	w.out = nil
}

// Close, and deadlines, are those of the goroutine's connection; a loop has its own.
func (w *wire) Close() error {
	if u := w.under.Load(); u != nil {
		return u.Close()
	}
	return nil
}

// SetDeadline is as Close.
func (w *wire) SetDeadline(t time.Time) error {
	if u := w.under.Load(); u != nil {
		return u.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline is as Close.
func (w *wire) SetReadDeadline(t time.Time) error {
	if u := w.under.Load(); u != nil {
		return u.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline is as Close.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if u := w.under.Load(); u != nil {
		return u.SetWriteDeadline(t)
	}
	return nil
}

// LocalAddr is nil on a loop.
func (w *wire) LocalAddr() net.Addr {
	if u := w.under.Load(); u != nil {
		return u.LocalAddr()
	}
	return nil
}

// RemoteAddr is nil on a loop.
func (w *wire) RemoteAddr() net.Addr {
	if u := w.under.Load(); u != nil {
		return u.RemoteAddr()
	}
	return nil
}

// dry says that a wire has not what is asked for. crypto/tls gives it on and remembers
// nothing, as for every error that is temporary.
type dry struct{}

var errDry net.Error = dry{}

func (dry) Error() string   { return "nothing has come" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }
