package transport

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/budget"
	"lapid/transport/conn"
	"lapid/transport/feed"
)

// exchange is one request and its answer, with the memory that answering
// takes. It is made for a loop, or for a goroutine's request, and used again; what
// outlives the handler, such as a body that is sent in pieces, must not point
// into it.
type exchange struct {
	core *core
	replying
	request *conn.Request
	route   *route
	now     int64      // the one reading of the clock: Unix nanoseconds
	woken   bool       // it was put off before, and is served again
	place   feed.Place // of a poll, as the bouncer named it
	pending bool       // is not answered yet: it needs a goroutine, or its body

	// Who asks.
	client  netip.Addr
	bouncer *engine.BouncerRow // nil unless the caller is a bouncer with a row
	machine string

	failure string      // for the logs
	told    bool        // the log has a line about what went wrong
	held    budget.Hold // what is reserved for the answer

	asked context.Context // of a request with an id; nil: it has none
	whole []byte          // its body, once it was read: it may be needed again

	reading  *feed.Part // what an alert takes that is read for it; nil: none
	keepBody bool       // a long answer needs the body, or what was read out of it

	// Scratch.
	query      engine.Query
	alertQuery engine.AlertQuery
	found      []engine.Decision
	tag        feed.TagSpace // of the answer, until it has left
	applied    []byte        // likewise
	logged     accessLine    // for the access log

	counters *counters // this exchange's share
}

// errLater is how a handler says that it would have to wait, where it may not.
var errLater = errors.New("not on a loop")

// identify finds out from where a request comes.
func (x *exchange) identify() {
	s, r := x.core, x.request
	x.now = s.engine.Now()
	if r.Passed != nil {
		x.client, x.asked = r.Passed.Client, r.Passed.Life
		return
	}
	if x.route.who == proxy { // its row is that of its own address, not one for each of its clients
		x.client = s.gate.ClientAddress(r.Peer, r.Socket, nil, nil)
		return
	}
	var xff, real []byte
	if s.gate.MayForward(r.Peer, r.Socket) {
		xff, real = r.Forwarded, r.Real
	}
	x.client = s.gate.ClientAddress(r.Peer, r.Socket, xff, real)
}

// release empties an exchange. Decisions are cleared because a handle keeps
// the memory of its view alive.
func (x *exchange) release() {
	x.alertQuery = engine.AlertQuery{} // x.query is emptied when it is used again
	clear(x.found)
	x.found, x.out = keep(x.found), keep(x.out)
	x.request, x.answer, x.route = nil, nil, nil
	x.bouncer, x.machine, x.failure, x.told, x.pending, x.woken = nil, "", "", false, false, false
	x.asked, x.whole = nil, nil
	x.held.Release()
	x.reading.Release()
	x.reading, x.keepBody = nil, false
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

var _ slog.LogValuer = (*exchange)(nil)

// LogValue names the request in a log line.
func (x *exchange) LogValue() slog.Value {
	return slog.GroupValue(slog.String("method", x.route.method), slog.String("path", x.route.path), slog.String("address", x.client.String()))
}

// certificate is the client's, nil without one.
func (x *exchange) certificate() *auth.Peer {
	p, _ := x.request.Certificate().(*auth.Peer)
	return p
}

// life is what a write waits by: the server's life, for a request that has an id.
func (x *exchange) life() context.Context {
	if x.asked != nil {
		return x.asked
	}
	return x.core.life
}

// asMachine is life as far as a write goes: the machine's that asked for it.
func (x *exchange) asMachine() context.Context {
	return engine.As(x.life(), engine.Actor{Kind: engine.ActorMachine, Name: x.machine})
}

// tellDeletion says in the log that the caller has deleted so many of something.
func (x *exchange) tellDeletion(what string, n int) {
	target, _ := toldTarget(x.request)
	x.core.deletions.tell(what, x.machine, n, x.client, target, x.now)
}
