package transport

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"runtime/debug"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"lapid/engine"
	"lapid/transport/budget"
	"lapid/transport/feed"
	"lapid/transport/reactor"
)

// exchange is one request and its answer, with the memory that answering
// takes. It comes from a pool and belongs to one goroutine until finish; what
// outlives the handler, such as a body that is sent in pieces, must not point
// into it.
type exchange struct {
	server *Server
	ctx    *fasthttp.RequestCtx
	route  *route
	now    int64     // the one reading of the clock: Unix nanoseconds
	began  time.Time // for how long it took

	asked *plain // on a loop of the reactor, where nobody must wait: the request; else nil
	later bool   // is not answered yet: not for a loop, and will be served by a goroutine; or the body has yet to come
	asks  bool   // the client waits to be told whether it may send the body (expect.go)

	// Who asks.
	conn    *conn // nil in tests without a network
	secure  *secureConn
	client  netip.Addr
	socket  bool
	bouncer *engine.BouncerRow // nil unless the caller is a bouncer with a row
	machine string

	failure string      // for the logs
	told    bool        // the log has a line about what went wrong
	inflow  inflow      // the request's body
	held    budget.Hold // what is reserved for the answer

	reading  *feed.Part // what an alert takes that is read for it; nil: none
	keepBody bool       // a long answer needs the body, or what was read out of it

	// Scratch.
	query      engine.Query
	alertQuery engine.AlertQuery
	found      []engine.Decision
	out        []byte

	counters *counters // this exchange's share
}

// keepAtMost is how much scratch an exchange may take back to the pool, in
// bytes and in decisions. Larger scratch is left to the collector.
const keepAtMost = 64 << 10

// begin takes an exchange for a request.
func (s *Server) begin(ctx *fasthttp.RequestCtx, line *route) *exchange {
	x := s.exchanges.Get().(*exchange)
	x.ctx, x.route, x.began = ctx, line, time.Now()
	x.asks = ctx.RequestBodyStream() == nil && ctx.Request.MayContinue()
	x.conn, x.secure = underneath(ctx.Conn())
	s.identify(x)
	return x
}

// identify finds out from where a request comes.
func (s *Server) identify(x *exchange) {
	x.now = s.engine.Now()
	var peer netip.Addr
	if x.conn != nil {
		peer, x.socket = x.conn.peer, x.conn.socket
	} else {
		peer, x.socket = reactor.PeerOf(x.ctx.RemoteAddr()), false
	}
	var xff, real []byte
	if s.gate.MayForward(peer, x.socket) {
		xff, real = x.forwarded()
	}
	x.client = s.gate.ClientAddress(peer, x.socket, xff, real)
}

// serve runs one line of the table.
func (s *Server) serve(ctx *fasthttp.RequestCtx, line *route) {
	x := s.begin(ctx, line)
	defer s.finish(x)
	run := s.run
	if x.asks && line.body != noBody {
		run = s.foresee
	}
	if err := run(x); err != nil {
		s.refuse(x, err)
	}
}

// answer is serve for an exchange of a loop. It reports whether the exchange
// was for a loop; if not, nothing was done.
func (s *Server) answer(x *exchange) (done bool) {
	done = true // also when a handler panics
	x.began = time.Now()
	s.identify(x)
	defer func() { s.conclude(x, recover()) }()
	err := s.run(x)
	if errors.Is(err, errLater) {
		x.later = true
		return false
	} else if err != nil {
		s.refuse(x, err)
	}
	return true
}

// run opens, admits, and handles.
func (s *Server) run(x *exchange) error {
	err := x.open(s)
	if err == nil {
		err = s.admit(x)
	}
	if err == nil && x.route.who != anyone {
		x.prove()
		err = x.trust(s)
	}
	if err == nil {
		err = x.route.handle(s, x)
	}
	return err
}

// finish ends an exchange and puts it away. It is to be deferred.
func (s *Server) finish(x *exchange) {
	c, later := x.conn, x.later
	s.conclude(x, recover())
	s.exchanges.Put(x)
	if c != nil && !later {
		c.done()
	}
}

// conclude ends an exchange, whatever became of it: a panic in a handler is one
// client's 500, never the server's end.
func (s *Server) conclude(x *exchange, panicked any) {
	if panicked != nil {
		s.log.Error("a handler failed", "panic", panicked, "method", x.route.method, "path", x.route.path, "stack", string(debug.Stack()))
		x.ctx.Response.Reset()
		x.ctx.SetStatusCode(fasthttp.StatusInternalServerError)
		x.ctx.SetConnectionClose()
		x.failure, x.told = "panic", true
	}
	x.drain(s)
	if !x.later {
		took := time.Since(x.began)
		s.count(x, took)
		s.tellFault(x)
		if s.access != nil {
			s.access.line(x, took)
		}
	}
	x.release()
}

// release empties an exchange. Decisions are cleared because a handle keeps
// the memory of its view alive.
func (x *exchange) release() {
	x.alertQuery = engine.AlertQuery{} // x.query is emptied when it is used again
	clear(x.found)
	x.found, x.out = keep(x.found), keep(x.out)
	if x.asked == nil { // a loop keeps its own
		x.ctx, x.conn = nil, nil
	}
	x.route, x.secure = nil, nil
	x.bouncer, x.machine, x.failure, x.told, x.later, x.asks = nil, "", "", false, false, false
	x.inflow.release()
	x.held.Release()
	x.reading.Release()
	x.reading, x.keepBody = nil, false
}

func keep[T any](scratch []T) []T {
	var one T
	if cap(scratch)*int(unsafe.Sizeof(one)) > keepAtMost {
		return nil
	}
	return scratch[:0]
}

// admit asks the gate for whom the line is.
func (s *Server) admit(x *exchange) error {
	switch x.route.who {
	case bouncer:
		return s.admitBouncer(x)
	case machine:
		return s.admitMachine(x)
	case session:
		var err error
		x.machine, err = s.gate.Session(x.authorization(), x.cookie())
		return err
	case either:
		return s.admitEither(x)
	}
	return nil
}

// admitBouncer takes a client certificate before the key, and only that if
// there is one.
func (s *Server) admitBouncer(x *exchange) (err error) {
	if x.asked != nil {
		if x.bouncer = s.gate.KnownBouncer(x.asked.key, x.client, x.asked.agent); x.bouncer == nil {
			return errLater
		}
		return nil
	}
	h := &x.ctx.Request.Header
	readOnly := x.ctx.IsHead()
	if x.secure != nil {
		if p := x.secure.certificate(); p != nil {
			x.bouncer, err = s.gate.CertifiedBouncer(s.life, p, x.client, h.UserAgent(), readOnly)
			return err
		}
	}
	x.bouncer, err = s.gate.Bouncer(s.life, h.Peek("X-Api-Key"), x.client, h.UserAgent(), readOnly)
	return err
}

func (s *Server) admitMachine(x *exchange) (err error) {
	x.machine, err = s.gate.Machine(x.authorization(), x.cookie())
	return err
}

func (x *exchange) authorization() []byte { return x.ctx.Request.Header.Peek("Authorization") }
func (x *exchange) cookie() []byte        { return x.ctx.Request.Header.Cookie("jwt") }

// rawQuery is the query string as it came.
func (x *exchange) rawQuery() []byte {
	if x.asked != nil {
		return x.asked.query
	}
	return x.ctx.URI().QueryString()
}

// param is the decoded last segment of the path. A broken escape or a NUL byte
// is refused.
func (x *exchange) param() (string, error) {
	text, err := url.PathUnescape(string(x.ctx.URI().PathOriginal()[x.route.prefix:]))
	if err != nil {
		return "", errBroken
	}
	for i := range len(text) {
		if text[i] == 0 {
			return "", errBroken
		}
	}
	return text, nil
}

// patience is a context for what a request may wait for besides the disk.
func (s *Server) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.life, loginPatience)
}

// loginPatience is how long a login with a certificate may take to find out
// whether that was revoked; log processors give a request ten seconds and more.
const loginPatience = 8 * time.Second

// forwarded is what a proxy says about where the request comes from: the lines
// of X-Forwarded-For, of which there usually is one or none, joined, and
// X-Real-Ip.
func (x *exchange) forwarded() (xff, real []byte) {
	if x.asked != nil {
		return x.asked.forwarded, x.asked.real
	}
	h := &x.ctx.Request.Header
	real = h.Peek("X-Real-Ip")
	if xff = h.Peek("X-Forwarded-For"); len(xff) == 0 {
		return nil, real
	}
	if all := h.PeekAll("X-Forwarded-For"); len(all) > 1 {
		return bytes.Join(all, []byte{','}), real
	}
	return xff, real
}

var _ slog.LogValuer = (*exchange)(nil)

// LogValue names the request in a log line.
func (x *exchange) LogValue() slog.Value {
	return slog.GroupValue(slog.String("method", x.route.method), slog.String("path", x.route.path), slog.String("address", x.client.String()))
}
