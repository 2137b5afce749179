package conn

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/transport/budget"
	"lapid/transport/reactor"
)

// Request is a request as a value, wherever it came in: a loop fills it from what the
// plain reader found, a goroutine from what the HTTP library has read. Its slices point
// into what was read; they are the handler's until Serve returns, and are not kept.
type Request struct {
	Kind      Kind
	Line      int // of Options.Routes, or NoLine; on a loop, Kind says which
	Method    []byte
	Target    []byte // as it came
	Path      []byte // of the target, escaped as it came; OPTIONS may ask for *
	Query     []byte // behind the question mark, as it came
	Protocol  []byte // HTTP/1.1 or HTTP/1.0
	Key       []byte // X-Api-Key
	Agent     []byte // User-Agent
	Forwarded []byte // all lines of X-Forwarded-For, joined by commas
	Real      []byte // X-Real-Ip
	Match     []byte // all lines of If-None-Match, joined by commas
	Prefer    []byte // of Prefer, too
	Accept    []byte // of Accept, too
	LastEvent []byte // Last-Event-ID
	Packing   []byte // all lines of Accept-Encoding, joined by commas; on a loop of exports alone
	Since     []byte // If-Modified-Since; likewise

	// Ongoing is the answer that is under way, which this request is served once more for;
	// nil: it is a new one.
	Ongoing Ongoing

	Authorization []byte
	Cookie        []byte // the one named jwt
	Encoding      []byte // Content-Encoding
	Length        int    // of the body, as the head says; negative: in chunks

	Peer   netip.Addr // the other end; invalid on the Unix socket
	Socket bool       // it came over the Unix socket
	Began  time.Time  // when it was read

	// Passed is what another server has passed on; nil: the request came here.
	Passed *Passed

	// Pending: the client waits to be told whether it may send the body. The handler
	// either answers, and the connection ends, or calls Answer.Continue; then the
	// request comes once more, with its body.
	Pending bool
	// Unreadable: the head cannot be read, and what it seems to say means nothing. The
	// answer ends the connection.
	Unreadable bool

	// Parked is when the request was put off first; zero: it was not. Held: by a guest that waits for news, and not by
	// one with a method Brief.
	Parked   time.Time
	Held     bool
	parkable bool // on a loop

	core    *core
	handler Handler
	answer  Answer
	conn    *conn                // nil in tests without a network
	session *session             // nil: plain
	ctx     *fasthttp.RequestCtx // nil: on a loop
	body    requestBody
}

// Handler answers requests, one at a time.
type Handler interface {
	// Serve answers r with a. Both are borrowed until it returns. False: it would have
	// to wait, which r.MayWait forbids; then nothing was done, and the request is
	// served again by a goroutine. It recovers from its own panics, and calls r.Drain
	// when it has done with the body.
	Serve(r *Request, a *Answer) (done bool)
}

func newRequest(c *core, h Handler) *Request { return &Request{core: c, handler: h} }

// MayWait reports whether the handler may wait, for a lock, the disk or memory, and
// compute for long. On a loop it may not: all other connections would wait with it.
func (r *Request) MayWait() bool { return r.ctx != nil }

// MayPark reports whether Answer.Park may be called: the request is on a loop, and was
// not woken for the last time.
func (r *Request) MayPark() bool { return r.parkable }

// Crowded reports whether so many connections have a goroutine that nobody should wait with
// one for news: three quarters of those that may have. The others are for who asks now.
func (r *Request) Crowded() bool {
	o := &r.core.Limits
	return r.core.open.count() > min(o.MaxConnections, o.MaxServed)/4*3
}

// Gone reports whether the client has ended its side, as far as can be seen. It is for
// those who wait; it costs some system calls.
func (r *Request) Gone() bool {
	if r.conn == nil {
		return false
	}
	s := r.conn.look()
	return s.Ended || s.Broken
}

// Settled reports whether nothing that was said on the connection is on its way, as far as
// can be seen. It costs some system calls.
func (r *Request) Settled() bool {
	switch {
	case r.conn == nil:
		return true
	case r.conn.loop != nil:
		return r.conn.loop.Look().Unacked == 0
	}
	return r.conn.look().Unacked == 0
}

// IsHead reports a HEAD, whose answer leaves without its body.
func (r *Request) IsHead() bool { return string(r.Method) == fasthttp.MethodHead }

// HasBody reports whether there is a body to be read.
func (r *Request) HasBody() bool { return r.body.from != nil }

// Certificate is what Options.Owner has made of the client's certificate; nil over
// plain connections.
func (r *Request) Certificate() any {
	if r.session == nil {
		return nil
	}
	return r.session.certificate()
}

// Witness is who can say whether what was sent over the request's connection has not
// arrived; false when there is none, or the other end is gone already.
func (r *Request) Witness() (Witness, bool) {
	if r.conn == nil {
		return nil, false
	}
	var own sightedWitness = &r.conn.proof // as what is owed knows it
	if r.conn.loop != nil {
		own = onLoop{r.conn.loop}
	}
	s := own.look()
	return own, !s.Ended && !s.Broken
}

// Prove notes that the other end has shown who he is: the connection is not closed
// to make room for others.
func (r *Request) Prove() {
	if r.conn != nil && r.MayWait() && !r.conn.proven.Load() {
		r.conn.proven.Store(true)
	}
}

// AtDesk notes that the connection waits for the server, not for its client, until
// what it returns is called.
func (r *Request) AtDesk() (over func()) {
	c := r.conn
	if c == nil {
		return func() {}
	}
	c.atDesk.Store(true)
	return func() { c.atDesk.Store(false) }
}

// Trust gives the request of a caller who has shown who he is, by a name with a letter
// for the kind, what it has before others: time for its body, and the memory of the
// known for a long head. false: there is no room for that, which the owner was told.
func (r *Request) Trust(p Payer) bool {
	if r.conn == nil || !r.MayWait() {
		return true
	}
	r.body.trusted = true
	r.body.unhurried()
	long, known := r.conn.in.long, r.core.memory.known
	if long == nil || long.hold.From == known || long.hold.Taken() == 0 {
		return true
	}
	hold := budget.Hold{Of: budget.Holder{Name: p.Shown()}, From: known}
	if !hold.Take(long.hold.Taken()) {
		client, _ := p.Stranger()
		r.core.owner.Refused(NoBodyMemory, client)
		return false
	}
	long.hold.Release()
	long.hold = hold
	return true
}

// Unpack prepares the body before anybody is asked for credentials: what is
// packed in an unknown way, or is not what it claims to be, is refused first
// (http-api.md section 1). The plan and the payer are kept until Serve returns. A
// body is read as it came where Unpack is not called.
func (r *Request) Unpack(plan *BodyPlan, p Payer) error { return r.body.prepare(plan, p) }

// ReadBody reads the whole body. The bytes are the request's: good until Serve
// returns. With ErrTooLarge they are the beginning of the body, as much as is read;
// with any other error they mean nothing. What is made of them is to be paid for with
// Afford.
func (r *Request) ReadBody() ([]byte, error) { return r.body.read() }

// Afford takes what a body will take once it is read: a few bytes can be an element of
// a list, which takes many.
func (r *Request) Afford(body []byte) error { return r.body.afford(body) }

// Drain reads what is left of a body that was not read to its end, for the next
// request begins behind it. What takes too long to read closes the connection.
func (r *Request) Drain() {
	if r.MayWait() {
		r.body.drain()
	}
}

// fill is the adapter from the HTTP library, the only place where what it has read is
// looked at.
func (r *Request) fill(ctx *fasthttp.RequestCtx) {
	h, uri := &ctx.Request.Header, ctx.URI()
	r.ctx, r.Began = ctx, time.Now()
	secure := (*secureConn)(nil)
	if r.conn, secure = underneath(ctx.Conn()); secure != nil {
		r.session = secure.session
	}
	r.Pending = ctx.RequestBodyStream() == nil && ctx.Request.MayContinue()
	r.Method, r.Target, r.Path, r.Query, r.Protocol = h.Method(), h.RequestURI(), uri.PathOriginal(), uri.QueryString(), h.Protocol()
	r.Unreadable = string(r.Path) == refusedURI
	r.Key, r.Agent, r.Real = h.Peek("X-Api-Key"), h.UserAgent(), h.Peek("X-Real-Ip")
	r.Authorization, r.Cookie, r.Encoding, r.Length = h.Peek(fasthttp.HeaderAuthorization), h.Cookie("jwt"), h.ContentEncoding(), h.ContentLength()
	r.Forwarded, r.Match = joined(h, fasthttp.HeaderXForwardedFor), joined(h, fasthttp.HeaderIfNoneMatch)
	r.Prefer, r.Accept, r.LastEvent = joined(h, "Prefer"), joined(h, fasthttp.HeaderAccept), h.Peek("Last-Event-ID")
	r.Packing, r.Since = joined(h, fasthttp.HeaderAcceptEncoding), h.Peek(fasthttp.HeaderIfModifiedSince)
	if r.conn != nil {
		if o := r.conn.ongoing.Swap(nil); o != nil {
			r.Ongoing = *o
		}
		r.Peer, r.Socket = r.conn.peer, r.conn.socket
	} else {
		r.Peer, r.Socket = reactor.PeerOf(ctx.RemoteAddr()), false
		if p, passed := ctx.Conn().(*passedConn); passed {
			r.Passed, r.Socket = p.of, p.of.Socket
		}
	}
	r.answer = Answer{response: &ctx.Response, conn: r.conn, ctx: ctx, now: r.core.now, body: &r.body, of: r, old: !h.IsHTTP11()}
	if r.conn != nil {
		r.answer.ending = &r.conn.ending
	}
	if secure != nil {
		r.answer.ending = &secure.ending
	}
	b := &r.body
	b.core, b.conn, b.response, b.encoding, b.length, b.began, b.pending = r.core, r.conn, &ctx.Response, r.Encoding, r.Length, r.Began, r.Pending
	if b.stream = ctx.RequestBodyStream(); b.stream != nil {
		b.wire.stream = b.stream
		b.from = &b.wire
	}
}

// joined are the values of all lines of a name.
func joined(h *fasthttp.RequestHeader, name string) []byte {
	one := h.Peek(name)
	if len(one) > 0 {
		if all := h.PeekAll(name); len(all) > 1 {
			return bytes.Join(all, []byte{','})
		}
	}
	return one
}

// fillPlain is the adapter from the plain reader of the loops.
func (r *Request) fillPlain(p *plain) {
	r.Kind, r.Target, r.Query = p.kind, p.target, p.query
	r.Path = p.target[:len(p.target)-len(p.query)]
	if n := len(r.Path); r.Path[n-1] == '?' {
		r.Path = r.Path[:n-1]
	}
	r.Key, r.Agent, r.Forwarded, r.Real = p.key, p.agent, p.forwarded, p.real
	r.Match, r.Prefer, r.Accept, r.LastEvent = p.match, p.prefer, p.accept, p.lastEvent
	r.Authorization, r.Packing, r.Since = p.authorization, p.packing, p.since
}

// release empties the request, after its answer was made.
func (r *Request) release() {
	r.body.release()
	*r = Request{core: r.core, handler: r.handler, body: r.body}
}
