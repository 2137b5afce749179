package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"time"
	"unsafe"

	"lapid/engine"
	"lapid/transport/budget"
	"lapid/transport/conn"
	"lapid/transport/feed"
)

// exchange is one request and its answer, with the memory that answering
// takes. It is made for a loop, or for a goroutine's request, and used again; what
// outlives the handler, such as a body that is sent in pieces, must not point
// into it.
type exchange struct {
	server  *Server
	request *conn.Request
	answer  *conn.Answer
	route   *route
	now     int64 // the one reading of the clock: Unix nanoseconds
	pending bool  // is not answered yet: it needs a goroutine, or its body

	// Who asks.
	client  netip.Addr
	bouncer *engine.BouncerRow // nil unless the caller is a bouncer with a row
	machine string

	failure string      // for the logs
	told    bool        // the log has a line about what went wrong
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

// keepAtMost is how much scratch an exchange may keep for the next request, in
// bytes and in decisions. Larger scratch is left to the collector.
const keepAtMost = 64 << 10

// errLater is how a handler says that it would have to wait, where it may not.
var errLater = errors.New("not on a loop")

func (s *Server) newExchange() conn.Handler {
	return &exchange{server: s, counters: s.counting.share()}
}

// Serve implements conn.Handler: it runs one line of the table.
func (x *exchange) Serve(r *conn.Request, a *conn.Answer) (done bool) {
	s := x.server
	x.request, x.answer, x.route = r, a, s.routes.find(r)
	x.identify()
	done = true // also when a handler panics
	defer func() { x.conclude(recover()) }()
	err := x.run()
	if errors.Is(err, errLater) {
		x.pending = true
		return false
	} else if err != nil {
		s.refuse(x, err)
	}
	return true
}

// identify finds out from where a request comes.
func (x *exchange) identify() {
	s, r := x.server, x.request
	x.now = s.engine.Now()
	var xff, real []byte
	if s.gate.MayForward(r.Peer, r.Socket) {
		xff, real = r.Forwarded, r.Real
	}
	x.client = s.gate.ClientAddress(r.Peer, r.Socket, xff, real)
}

// run opens the body, admits the caller, and handles. Before a body has come that its
// sender waits to be asked for, it only looks whether the request would be refused.
func (x *exchange) run() error {
	if x.route.path == "" {
		return x.unmatched()
	}
	if err := x.open(); err != nil {
		return err
	}
	if err := x.server.admit(x); err != nil {
		return err
	}
	if x.request.Pending && x.route.body.Most != noBody {
		return x.foresee()
	}
	if x.route.who != anyone {
		x.request.Prove()
		if !x.request.Trust(x) {
			return x.noMemory()
		}
	}
	return x.route.handle(x.server, x)
}

// foresee refuses a body whose length is beyond what is read of it, and has any other
// sent; then all is done once more.
func (x *exchange) foresee() error {
	most := int64(x.route.body.Most)
	if x.route.who != anyone {
		most = min(most, x.server.front.KnownMemory().Most()-1)
	}
	if int64(x.request.Length) > most {
		return &answer{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes: send less at once", most)}
	}
	x.pending = true
	x.answer.Continue()
	return nil
}

// conclude ends an exchange, whatever became of it: a panic in a handler is one
// client's 500, never the server's end.
func (x *exchange) conclude(panicked any) {
	s := x.server
	if panicked != nil {
		s.log.Error("a handler failed", "panic", panicked, "method", x.route.method, "path", x.route.path, "stack", string(debug.Stack()))
		x.answer.Reset()
		x.answer.SetStatus(http.StatusInternalServerError)
		x.answer.Close()
		x.failure, x.told = "panic", true
	}
	x.request.Drain()
	if !x.pending {
		took := time.Since(x.request.Began)
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
	x.request, x.answer, x.route = nil, nil, nil
	x.bouncer, x.machine, x.failure, x.told, x.pending = nil, "", "", false, false
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
		x.machine, err = s.gate.Session(x.request.Authorization, x.request.Cookie)
		return err
	case either:
		return s.admitEither(x)
	}
	return nil
}

// admitBouncer takes a client certificate before the key, and only that if
// there is one.
func (s *Server) admitBouncer(x *exchange) (err error) {
	r := x.request
	if !r.MayWait() {
		if x.bouncer = s.gate.KnownBouncer(r.Key, x.client, r.Agent); x.bouncer == nil {
			return errLater
		}
		return nil
	}
	readOnly := r.IsHead()
	if p := x.certificate(); p != nil {
		x.bouncer, err = s.gate.CertifiedBouncer(s.life, p, x.client, r.Agent, readOnly)
		return err
	}
	x.bouncer, err = s.gate.Bouncer(s.life, r.Key, x.client, r.Agent, readOnly)
	return err
}

func (s *Server) admitMachine(x *exchange) (err error) {
	x.machine, err = s.gate.Machine(x.request.Authorization, x.request.Cookie)
	return err
}

// param is the decoded last segment of the path. A broken escape or a NUL byte
// is refused.
func (x *exchange) param() (string, error) {
	text, err := url.PathUnescape(string(x.request.Path[x.route.prefix:]))
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

var _ slog.LogValuer = (*exchange)(nil)

// LogValue names the request in a log line.
func (x *exchange) LogValue() slog.Value {
	return slog.GroupValue(slog.String("method", x.route.method), slog.String("path", x.route.path), slog.String("address", x.client.String()))
}
