package conn

import (
	"bytes"
	"context"
	"net"
	"net/netip"

	"github.com/valyala/fasthttp"
)

// Passed is a request that came to another server and is answered here, as a value. It is
// borrowed until ServePassed returns.
type Passed struct {
	Life   context.Context // what its handler waits by
	Method string
	Target string
	Agent  string     // User-Agent
	Client netip.Addr // who asks
	Socket bool       // over a Unix socket
	Who    string     // whom the other server has found the caller to be: the handler's to read
	Body   []byte     // plain

	// Again is set by the handler where the other server is to ask once more, instead of taking
	// the answer.
	Again error
}

// PassedAnswer is what the handler said.
type PassedAnswer struct{ response *fasthttp.Response }

// Status is the answer's.
func (a PassedAnswer) Status() int { return a.response.StatusCode() }

// Body is the whole of it.
func (a PassedAnswer) Body() []byte { return a.response.Body() }

// Lines yields the lines of the head.
func (a PassedAnswer) Lines(yield func(name, value string) bool) {
	for name, value := range a.response.Header.All() {
		if !yield(string(name), string(value)) {
			return
		}
	}
}

// ServePassed has a request answered as if it had come in by the front: by the same handler, on
// the goroutine of the caller.
func (f *Front) ServePassed(p *Passed) PassedAnswer {
	ctx := &fasthttp.RequestCtx{}
	ctx.Init2(&passedConn{of: p}, httpLog{f.log}, false)
	h := &ctx.Request.Header
	h.SetMethod(p.Method)
	h.SetRequestURI(p.Target)
	h.SetUserAgent(p.Agent)
	if len(p.Body) > 0 {
		ctx.Request.SetBodyStream(bytes.NewReader(p.Body), len(p.Body))
	}
	f.router.Handler(ctx)
	return PassedAnswer{&ctx.Response}
}

// passedConn stands in for the connection, of which nothing but the client is known.
type passedConn struct {
	net.Conn
	of *Passed
}

// RemoteAddr is the client's.
func (c *passedConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.of.Client, 0))
}

// LocalAddr is nobody's.
func (c *passedConn) LocalAddr() net.Addr { return &net.TCPAddr{} }
