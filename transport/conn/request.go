package conn

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/transport/reactor"
)

// Request is a request as a value, wherever it came in: a loop fills it from what the
// plain reader found, a goroutine from what the HTTP library has read. Its slices point
// into what was read; they are the handler's until Serve returns, and are not kept.
type Request struct {
	Kind      Kind
	Method    []byte
	Target    []byte // as it came
	Path      []byte // of the target, escaped as it came; OPTIONS may ask for *
	Query     []byte // behind the question mark, as it came
	Protocol  []byte // HTTP/1.1 or HTTP/1.0
	Key       []byte // X-Api-Key
	Agent     []byte // User-Agent
	Forwarded []byte // all lines of X-Forwarded-For, joined by commas
	Real      []byte // X-Real-Ip

	Authorization []byte
	Cookie        []byte // the one named jwt
	Encoding      []byte // Content-Encoding
	Length        int    // of the body, as the head says; negative: in chunks

	Peer   netip.Addr // the other end; invalid on the Unix socket
	Socket bool       // it came over the Unix socket
	Began  time.Time  // when it was read

	// Pending: the client waits to be told whether it may send the body. The handler
	// either answers, and the connection ends, or calls Answer.Continue; then the
	// request comes once more, with its body.
	Pending bool
	// Unreadable: the head cannot be read, and what it seems to say means nothing. The
	// answer ends the connection.
	Unreadable bool

	front   *Front
	handler Handler
	answer  Answer
	conn    *conn                // nil in tests without a network
	secure  *secureConn          // nil: plain
	ctx     *fasthttp.RequestCtx // nil: on a loop
	trusted bool                 // its caller has shown who he is
	body    requestBody
}

// Kind is what a request is about, as far as the plain reader knows.
type Kind uint8

const (
	Other   Kind = iota // everything that is not for a loop
	Address             // GET of live decisions
	Changes             // GET of a stream
)

func newRequest(f *Front) *Request {
	r := &Request{front: f, handler: f.options.NewHandler()}
	r.answer.request = r
	return r
}

// MayWait reports whether the handler may wait, for a lock, the disk or memory, and
// compute for long. On a loop it may not: all other connections would wait with it.
func (r *Request) MayWait() bool { return r.ctx != nil }

// IsHead reports a HEAD, whose answer leaves without its body.
func (r *Request) IsHead() bool { return string(r.Method) == fasthttp.MethodHead }

// HasBody reports whether there is a body to be read.
func (r *Request) HasBody() bool { return r.body.from != nil }

// Certificate is what Options.Owner has made of the client's certificate; nil over
// plain connections.
func (r *Request) Certificate() any {
	if r.secure == nil {
		return nil
	}
	return r.secure.certificate()
}

// Witness is who can say whether what was sent over the request's connection has not
// arrived; false when there is none, or the other end is gone already.
func (r *Request) Witness() (Witness, bool) {
	if r.conn == nil {
		return nil, false
	}
	var own sightedWitness = r.conn
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

// fill is the adapter from the HTTP library, the only place where what it has read is
// looked at.
func (r *Request) fill(ctx *fasthttp.RequestCtx) {
	h, uri := &ctx.Request.Header, ctx.URI()
	r.ctx, r.Began = ctx, time.Now()
	r.answer.response = &ctx.Response
	r.conn, r.secure = underneath(ctx.Conn())
	r.Pending = ctx.RequestBodyStream() == nil && ctx.Request.MayContinue()
	r.Method, r.Target, r.Path, r.Query, r.Protocol = h.Method(), h.RequestURI(), uri.PathOriginal(), uri.QueryString(), h.Protocol()
	r.Unreadable = string(r.Path) == refusedURI
	r.Key, r.Agent, r.Real = h.Peek("X-Api-Key"), h.UserAgent(), h.Peek("X-Real-Ip")
	r.Authorization, r.Cookie, r.Encoding, r.Length = h.Peek(fasthttp.HeaderAuthorization), h.Cookie("jwt"), h.ContentEncoding(), h.ContentLength()
	if r.Forwarded = h.Peek(fasthttp.HeaderXForwardedFor); len(r.Forwarded) > 0 {
		if all := h.PeekAll(fasthttp.HeaderXForwardedFor); len(all) > 1 {
			r.Forwarded = bytes.Join(all, []byte{','})
		}
	}
	if r.conn != nil {
		r.Peer, r.Socket = r.conn.peer, r.conn.socket
	} else {
		r.Peer, r.Socket = reactor.PeerOf(ctx.RemoteAddr()), false
	}
	if stream := ctx.RequestBodyStream(); stream != nil {
		r.body.wire.stream = stream
		r.body.from = &r.body.wire
	}
}

// release empties the request, after its answer was made.
func (r *Request) release() {
	r.body.release()
	*r = Request{front: r.front, handler: r.handler, answer: Answer{request: r}, body: requestBody{layers: r.body.layers, body: r.body.body}}
}
