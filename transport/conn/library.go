package conn

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"

	"github.com/valyala/fasthttp"
)

// readAhead is how much of a body with a length the library reads before the handler
// has it, in bytes: as little as it can be told. Until then nobody knows whose it is,
// and how long to wait for it. What a body may have at most is the handler's business.
const readAhead = 1

// newHTTP makes an HTTP library that reads heads of so many bytes.
func (f *Front) newHTTP(buffer int) *fasthttp.Server {
	o := &f.options
	return &fasthttp.Server{
		Handler:               f.Do,
		HeaderReceived:        f.received,
		ExpectHandler:         f.expected,
		ErrorHandler:          f.badRequest,
		Concurrency:           math.MaxInt32, // connections are counted at the door; the library's count lags behind ends
		ReadBufferSize:        buffer,
		ReadTimeout:           o.ReadTimeout,
		IdleTimeout:           o.IdleTimeout,
		MaxRequestBodySize:    readAhead,
		StreamRequestBody:     true,
		CloseOnShutdown:       true,
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		SecureErrorLogMessage: true,

		DisablePreParseMultipartForm: true,
		Logger:                       httpLog{o.Log},
	}
}

// httpLog puts what the HTTP library has to say into our log. It speaks of
// single connections, so nobody needs to see it by default.
type httpLog struct{ log *slog.Logger }

func (l httpLog) Printf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }

// ServeConn serves one connection that no listener accepted, until it ends, which it
// waits for.
func (f *Front) ServeConn(c net.Conn) error {
	nc := newConn(c, f)
	f.open.add(nc)
	return f.http.ServeConn(nc)
}

// Do answers a request that the HTTP library has read.
func (f *Front) Do(ctx *fasthttp.RequestCtx) {
	r := f.requests.Get().(*Request)
	r.fill(ctx)
	r.handler.Serve(r, &r.answer)
	c, over := r.conn, !r.answer.continues
	r.release()
	f.requests.Put(r)
	if c != nil && over {
		c.done()
	}
}

// badRequest answers what could not be read as a request. The connection is
// closed after it.
func (f *Front) badRequest(ctx *fasthttp.RequestCtx, err error) {
	under, _ := underneath(ctx.Conn())
	status, text := problem(err, under != nil && under.in.part != theHead)
	ctx.Response.Reset()
	ctx.SetStatusCode(status)
	body, kind := f.options.Owner.Message(text)
	ctx.Response.Header.SetContentTypeBytes(kind)
	ctx.Response.SetBodyRaw(body)
	if status == fasthttp.StatusServiceUnavailable {
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, RetryAfter)
	}
	ctx.SetConnectionClose()
	if c, secure := ctx.Conn().(*secureConn); !secure || !c.failed {
		var client netip.Addr
		if under != nil {
			client = under.peer
		}
		f.options.Owner.Unread(client, status, text)
	}
}
