package transport

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/transport/reactor"
)

// express answers the questions that are asked thousands of times a second, live
// queries and polls, on the loops of a reactor. It reads and writes them with
// the HTTP library's own requests and responses and runs the same handlers, so
// an answer is the same bytes wherever it is made; what it saves is a goroutine
// for each connection.
//
// It takes nothing but whole, plain requests (see plainHead). Everything else,
// and every question that would have to wait or to search for long (errLater),
// is handed to the HTTP library with the connection, before anything was done
// about it.
type express struct {
	server *Server
	socket bool
	find   *route
	poll   *route

	x      *exchange
	ctx    fasthttp.RequestCtx
	conn   conn // what the handlers see of a connection
	source bytes.Reader
	in     *bufio.Reader
	out    []byte
	pen    *bufio.Writer // writes to out
}

// errLater is how a handler says that it would have to wait.
var errLater = errors.New("not on a loop")

// nearby is how many changes a poll on a loop may have to look at; who is
// further behind is answered by a goroutine.
const nearby = 2 * longDelta

// enoughToSend is after how many bytes of answers to one batch of requests they are
// sent.
const enoughToSend = 64 << 10

func newExpress(s *Server, socket bool) *express {
	e := &express{server: s, socket: socket, find: s.line("GET", "/v1/decisions"), poll: s.line("GET", "/v1/decisions/stream")}
	e.x = s.exchanges.New().(*exchange)
	e.x.inline = true
	e.conn = conn{server: s, socket: socket}
	e.in = bufio.NewReaderSize(nil, s.options.HeaderBytes)
	e.pen = bufio.NewWriterSize((*appender)(&e.out), 4<<10)
	e.ctx.Init2(nil, httpLog{s.log}, false)
	return e
}

// appender puts what is written behind what is there.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// Serve answers the requests that came on a connection, as far as they are for
// a loop.
func (e *express) Serve(c *reactor.Conn, in []byte) (reactor.Next, reactor.Rest) {
	e.out = e.out[:0]
	for len(in) > 0 {
		line, size := e.route(in)
		if line == nil || !e.answer(c, line, in[:size]) {
			return e.leave(c, in)
		}
		in = in[size:]
		if e.ctx.Response.ConnectionClose() {
			next, rest := e.send(c, nil)
			if next == reactor.Keep {
				next = reactor.Close
			}
			return next, rest
		}
		if e.conn.moves != nil || len(e.out) > enoughToSend {
			if next, rest := e.send(c, in); next != reactor.Keep {
				return next, rest
			}
		}
	}
	return e.send(c, nil)
}

// leave sends what is answered and hands the connection over with the rest.
func (e *express) leave(c *reactor.Conn, in []byte) (reactor.Next, reactor.Rest) {
	next, rest := e.send(c, in)
	if next == reactor.Keep {
		next, rest.Unread = reactor.Hand, in
	}
	return next, rest
}

// send sends the answers. What the kernel does not take is handed over, with
// the requests that came behind.
func (e *express) send(c *reactor.Conn, in []byte) (reactor.Next, reactor.Rest) {
	moves := e.conn.moves
	e.conn.moves = nil
	if len(e.out) == 0 {
		return reactor.Keep, reactor.Rest{}
	}
	if moves != nil {
		moves.forward()
	}
	n, err := c.Write(e.out)
	switch {
	case n == len(e.out):
		e.out = keep(e.out)
		return reactor.Keep, reactor.Rest{}
	case err == nil || errors.Is(err, syscall.EAGAIN):
		return reactor.Hand, reactor.Rest{Unread: in, Unsent: slices.Clone(e.out[n:]), Mark: moves}
	}
	if moves != nil {
		moves.back()
	}
	return reactor.Close, reactor.Rest{}
}

// asked is what a request is about, as far as a loop cares.
type asked uint8

const (
	cold asked = iota // not for a loop
	aboutAddress
	aboutChanges
)

// route finds the line of the request that a batch begins with, and its size;
// nil if it is not for a loop.
func (e *express) route(in []byte) (*route, int) {
	line := e.find
	about, size := hot(in)
	switch {
	case about == cold || size > e.server.options.HeaderBytes:
		return nil, 0
	case about == aboutChanges:
		line = e.poll
	}
	return line, size
}

// hot tells what the request is about that a batch begins with, and its size.
func hot(in []byte) (about asked, size int) {
	const start = "GET /v1/decisions"
	if len(in) <= len(start) || string(in[:len(start)]) != start {
		return cold, 0
	}
	rest := in[len(start):]
	switch {
	case rest[0] == '?':
		about = aboutAddress
	case bytes.HasPrefix(rest, streamWord) && len(rest) > len(streamWord) && (rest[len(streamWord)] == '?' || rest[len(streamWord)] == ' '):
		about = aboutChanges
	default:
		return cold, 0
	}
	end := bytes.Index(in, headEnd)
	if end < 0 || !plainHead(in[:end+2]) {
		return cold, 0
	}
	return about, end + len(headEnd)
}

var (
	streamWord = []byte("/stream")
	headEnd    = []byte("\r\n\r\n")
	lineEnd    = []byte(" HTTP/1.1\r")
	keepAlive  = []byte("keep-alive")
)

// plainHead reports whether a request of which the method is known is one that
// can be read in one way only and has nothing but itself to say: every line
// ends in CRLF, there is no body, no protocol but HTTP/1.1, no wish about the
// connection, and no byte that is not printable.
func plainHead(head []byte) bool {
	end := bytes.IndexByte(head, '\n')
	first := head[:end]
	if !bytes.HasSuffix(first, lineEnd) {
		return false
	}
	target := first[len("GET ") : len(first)-len(lineEnd)]
	for _, b := range target {
		if b <= ' ' || b >= 0x7f || b == '#' {
			return false
		}
	}
	if bytes.Contains(target, schemeMark) {
		return false
	}
	for head = head[end+1:]; len(head) > 0; head = head[end+1:] {
		if end = bytes.IndexByte(head, '\n'); end < 2 || head[end-1] != '\r' || !plainHeader(head[:end-1]) {
			return false
		}
	}
	return true
}

// plainHeader reports whether a line is a name and a printable value, and says
// nothing about bodies or the connection.
func plainHeader(line []byte) bool {
	name, value, ok := bytes.Cut(line, colon)
	if !ok || len(name) == 0 {
		return false
	}
	for _, b := range name {
		if (b|0x20 < 'a' || b|0x20 > 'z') && b != '-' && (b < '0' || b > '9') {
			return false
		}
	}
	for _, b := range value {
		if b < ' ' || b >= 0x7f {
			return false
		}
	}
	switch name[0] | 0x20 {
	case 'c':
		return !bytes.EqualFold(name, connection) && !hasPrefixFold(name, contentWord) ||
			bytes.EqualFold(name, connection) && bytes.EqualFold(bytes.TrimSpace(value), keepAlive)
	case 'e':
		return !bytes.EqualFold(name, expect)
	case 't':
		return !hasPrefixFold(name, trailerWord) && !bytes.EqualFold(name, transferEncoding)
	case 'u':
		return !bytes.EqualFold(name, upgrade)
	}
	return true
}

var (
	colon       = []byte(":")
	contentWord = []byte("content-")
	trailerWord = []byte("trailer")
	expect      = []byte("expect")
	upgrade     = []byte("upgrade")
)

func hasPrefixFold(s, prefix []byte) bool {
	return len(s) >= len(prefix) && bytes.EqualFold(s[:len(prefix)], prefix)
}

// answer answers one request into out; false, and nothing is done, if that is
// for somebody with more time.
func (e *express) answer(c *reactor.Conn, line *route, head []byte) bool {
	began := time.Now()
	ctx := &e.ctx
	ctx.Request.Reset()
	ctx.Response.Reset()
	e.source.Reset(head)
	e.in.Reset(&e.source)
	if ctx.Request.Header.Read(e.in) != nil {
		return false
	}
	headerReceived(&ctx.Request.Header)
	if ctx.Request.Header.ConnectionClose() {
		return false
	}
	ctx.Response.Header.SetNoDefaultContentType(true)
	e.conn.peer = c.Peer
	e.x.ctx, e.x.route, e.x.began, e.x.conn = ctx, line, began, &e.conn
	if !e.server.answer(e.x) {
		return false
	}
	e.pen.Reset((*appender)(&e.out))
	_ = ctx.Response.Write(e.pen) // appending does not fail
	_ = e.pen.Flush()
	return true
}

// resume writes what a loop could not, and tells the HTTP library what came. It
// is what the connection reads first.
func (c *conn) resume(b []byte) (n int, err error) {
	if len(c.unsent) > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.server.options.WriteStall)); err != nil {
			return 0, err
		}
		c.writeSet = time.Time{}
		if _, err := c.Conn.Write(c.unsent); err != nil {
			if c.moves != nil {
				c.moves.back()
			}
			return 0, err
		}
		c.unsent, c.moves = nil, nil
		if len(c.unread) == 0 {
			return c.goHome(nil)
		}
	}
	n = copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// goHome ends the connection's stay with the HTTP library: it sees an end, and
// closing gives the connection back to the reactor, with what was read.
func (c *conn) goHome(unread []byte) (int, error) {
	c.unread, c.parting = slices.Clone(unread), true
	return 0, io.EOF
}
