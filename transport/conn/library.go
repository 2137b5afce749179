package conn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"

	"github.com/valyala/fasthttp"

	"lapid/transport/reactor"
)

// readAhead is how much of a body with a length the library reads before the handler
// has it, in bytes: as little as it can be told. Until then nobody knows whose it is,
// and how long to wait for it. What a body may have at most is the handler's business.
const readAhead = 1

// library is the HTTP library, as often as there are sizes of heads, with what it
// hands its requests to.
type library struct {
	core       *core
	newHandler func() Handler
	requests   sync.Pool // of *Request

	http *fasthttp.Server // for heads that fit into readBuffer
	long longLibraries
}

func (l *library) start(c *core, newHandler func() Handler, routes []Route) {
	l.core, l.newHandler = c, newHandler
	c.router = newRouter(routes, l.serve)
	l.requests.New = func() any { return newRequest(c, newHandler()) }
	l.http = l.newHTTP(readBuffer)
	c.library = l.of
}

// newHTTP makes an HTTP library that reads heads of so many bytes.
func (l *library) newHTTP(buffer int) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:               l.do,
		HeaderReceived:        l.received,
		ExpectHandler:         l.expected,
		ErrorHandler:          l.badRequest,
		Concurrency:           math.MaxInt32, // connections are counted at the door; the library's count lags behind ends
		ReadBufferSize:        buffer,
		ReadTimeout:           l.core.ReadTimeout,
		IdleTimeout:           l.core.IdleTimeout,
		MaxRequestBodySize:    readAhead,
		StreamRequestBody:     true,
		CloseOnShutdown:       true,
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		SecureErrorLogMessage: true,

		DisablePreParseMultipartForm: true,
		Logger:                       httpLog{l.core.log},
	}
}

// httpLog puts what the HTTP library has to say into our log. It speaks of
// single connections, so nobody needs to see it by default.
type httpLog struct{ log *slog.Logger }

func (l httpLog) Printf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }

// serveConn is for connections that no listener accepted.
func (l *library) serveConn(c net.Conn) error {
	_, socket := c.LocalAddr().(*net.UnixAddr)
	nc := newConn(c, l.core, reactor.PeerOf(c.RemoteAddr()), socket)
	l.core.open.add(nc)
	return l.http.ServeConn(nc)
}

// do answers a request that the HTTP library has read.
func (l *library) do(ctx *fasthttp.RequestCtx) { l.core.router.Handler(ctx) }

// serve answers one that is on a line of the table, or on none.
func (l *library) serve(ctx *fasthttp.RequestCtx, line int) {
	r := l.requests.Get().(*Request)
	r.fill(ctx)
	r.Line = line
	r.handler.Serve(r, &r.answer)
	if r.Ongoing != nil {
		r.answer.left(r.Ongoing)
	}
	c, over := r.conn, !r.answer.continues
	r.release()
	l.requests.Put(r)
	if c != nil && over {
		c.done()
	}
}

// badRequest answers what could not be read as a request. The connection is
// closed after it.
func (l *library) badRequest(ctx *fasthttp.RequestCtx, err error) {
	under, _ := underneath(ctx.Conn())
	status, text := problem(err, under != nil && under.in.part != theHead)
	ctx.Response.Reset()
	ctx.SetStatusCode(status)
	body, kind := l.core.owner.Message(text)
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
		l.core.owner.Unread(client, status, text)
	}
}

// everything is what OPTIONS asks about when it asks about the server.
const everything = "*"

// received looks at the headers of a request. A body is waited for as long as one may
// stall, and what comes of it then shows how to go on: whoever is known has that time
// again and again (await), strangers have it once (hurry). To a login and a
// registration the time of strangers is all there is, for nobody is known before.
func (l *library) received(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	c := headerReceived(h)
	expectation(h)
	switch uri := h.RequestURI(); {
	case isAsk(uri) && h.ContentLength() != 0:
		h.SetContentLength(0) // its client's, which may never come: the connection ends with the answer
		h.SetConnectionClose()
	case bytes.HasPrefix(uri, loginPaths):
		c.ReadTimeout = min(l.core.Patience.Stranger, l.core.ReadTimeout)
	case h.ContentLength() > 0:
		c.ReadTimeout = min(l.core.ReadStall, l.core.ReadTimeout)
	}
	return c
}

// isAsk reports whether a target is that of Verdict, whatever the method.
func isAsk(uri []byte) bool {
	path, _, _ := bytes.Cut(uri, []byte{'?'})
	return bytes.Equal(path, askStart[len(plainMethod)+1:])
}

var loginPaths = []byte("/v1/watchers")

// headerReceived looks at the headers as they came, before the body is read.
// What came over a connection has been looked at before (intake.go).
func headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	uri := h.RequestURI()
	s := look(h.RawHeaders())
	if string(uri) == everything && string(h.Method()) == fasthttp.MethodOptions && !s.bad && !s.bare {
		if s.last {
			h.SetConnectionClose()
		}
		return fasthttp.RequestConfig{}
	}
	if len(uri) == 0 || uri[0] != '/' || !spoken(h.Protocol()) || s.bad || s.bare {
		h.SetRequestURI(refusedURI)
		s.last = true
	} else if bytes.IndexByte(uri, '#') >= 0 || bytes.Contains(uri, schemeMark) {
		// A URL inside a query is text, and there are no fragments here; the
		// parser would look for a host, and cut.
		uri = bytes.ReplaceAll(uri, schemeMark, []byte("%3A//"))
		h.SetRequestURIBytes(bytes.ReplaceAll(uri, []byte("#"), []byte("%23")))
	}
	if s.last {
		h.SetConnectionClose()
	}
	return fasthttp.RequestConfig{}
}

// problem is what to say about an error of reading, of the head or of what it says that
// comes behind it.
func problem(err error, atBody bool) (status int, text string) {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	var refused *Refusal
	switch {
	case errors.As(err, &refused):
		return refused.Status, refused.Text
	case errors.As(err, &small):
		return fasthttp.StatusRequestHeaderFieldsTooLarge, "the request line and the headers are too long"
	case errors.As(err, &network) && network.Timeout():
		if atBody {
			return fasthttp.StatusRequestTimeout, TextNoBody
		}
		return fasthttp.StatusRequestTimeout, TextTimeout
	case errors.Is(err, io.ErrUnexpectedEOF) && atBody:
		return fasthttp.StatusBadRequest, TextCutBody
	}
	return fasthttp.StatusBadRequest, TextBadHead
}

// longLibraries are the libraries for long heads, made when the first of a size
// comes.
type longLibraries [longClasses]struct {
	once sync.Once
	http *fasthttp.Server
}

func (l *library) of(class int) *fasthttp.Server {
	if class == 0 {
		return l.http
	}
	one := &l.long[class]
	one.once.Do(func() { one.http = l.newHTTP(readBuffer << class) })
	return one.http
}

// expected answers a head whose sender waits, or gives 100, and nothing is done then.
func (l *library) expected(ctx *fasthttp.RequestCtx) int {
	ctx.SetConnectionClose()
	l.do(ctx)
	status := ctx.Response.StatusCode()
	if status == fasthttp.StatusContinue {
		ctx.SetStatusCode(fasthttp.StatusOK)
		ctx.Response.Header.ResetConnectionClose()
		return status
	}
	if c, _ := underneath(ctx.Conn()); c != nil {
		c.lingers.Store(true)
	}
	return status
}
