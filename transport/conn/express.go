package conn

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/transport/reactor"
)

// express answers the questions that are asked thousands of times a second, live
// queries and polls, on the loops of a reactor. It runs the same handlers as
// everybody else, and its answers are the same bytes; what it saves is a
// goroutine for each connection, and the general way of reading a request.
//
// It takes nothing but whole, plain requests (plain.go). Everything else, and
// every question that would have to wait or to search for long (Handler), is
// handed to the HTTP library with the connection, before anything was done about
// it.
type express struct {
	plain    plain // the request that was read
	request  *Request
	response fasthttp.Response
	conn     conn // what the handlers see of a connection
	out      []byte
	pen      *bufio.Writer // writes to out
	heads    [3]head
	same     head // of 304 about a list
}

// head is how good answers of one type begin, in one second.
type head struct {
	kind           []byte
	second         int64
	before, behind []byte // the length of the body, with the end of its line
}

const lineEnd = "\r\n"

// enoughToSend is after how many bytes of answers to one batch of requests
// they are sent.
const enoughToSend = 64 << 10

// keepAtMost is how large a buffer for answers a loop keeps, in bytes. Larger ones are
// left to the collector.
const keepAtMost = 64 << 10

func newExpress(r *Request, socket bool) *express {
	e := &express{request: r}
	e.conn.socket, e.conn.core = socket, r.core
	e.pen = bufio.NewWriterSize((*appender)(&e.out), 4<<10)
	r.Method, r.Protocol, r.Socket, r.conn = plainMethod, plainProtocol, socket, &e.conn
	r.answer.response = &e.response
	r.answer.conn, r.answer.onLoop = &e.conn, true
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
	if d, ok := c.Mark.(*delivery); ok && d.came(len(in)) {
		d.heard()
		c.Mark = nil
	}
	for len(in) > 0 {
		if !e.plain.read(in) || e.plain.size > e.request.core.HeaderBytes || !e.answer(c, len(in)) {
			return e.leave(c, in)
		}
		if g := e.request.answer.guest; g != nil {
			if c.Ongoing != nil {
				in = in[:e.plain.size] // nothing is answered behind it
			}
			next, rest := e.send(c, in)
			if next == reactor.Keep {
				next, rest = reactor.Park, reactor.Rest{Unread: in, Guest: parkedGuest{g}}
			}
			return next, rest
		}
		if in = in[e.plain.size:]; !c.Since.IsZero() {
			c.Since, c.Held = time.Time{}, false // it was the one that waited, and not what came behind it
		}
		if e.response.ConnectionClose() {
			next, rest := e.send(c, nil)
			if next == reactor.Keep {
				next = reactor.Close
			}
			return next, rest
		}
		if e.conn.moves.Load() != nil || len(e.out) > enoughToSend {
			if next, rest := e.send(c, in); next != reactor.Keep {
				return next, rest
			}
			e.out = e.out[:0]
		}
	}
	return e.send(c, nil)
}

// answer answers the request that was read into out; false, and nothing is
// done, if that is for somebody with more time. came is how much has come of it and
// behind it. One that was put off has a guest, and nothing in out.
func (e *express) answer(c *reactor.Conn, came int) bool {
	e.response.Reset()
	e.conn.peer, e.conn.loop = c.Peer, c
	req := e.request
	req.session, _ = c.Cover.(*session)
	req.fillPlain(&e.plain)
	req.Peer, req.Began = c.Peer, time.Now()
	req.answer.lines, req.answer.guest = 0, nil
	req.answer.going = ongoing{said: req.answer.going.said[:0]}
	req.Parked, req.Held, req.Ongoing = c.Since, c.Held, c.Ongoing
	req.parkable = !c.Last && c.Mark == nil && e.conn.moves.Load() == nil && came <= reactor.ParkedAtMost && e.plain.kind == Changes
	if !req.handler.Serve(req, &req.answer) {
		return false
	}
	if going := &req.answer.going; going.of != nil || c.Ongoing != nil {
		e.goOn(c, going)
		return true
	}
	if req.answer.guest != nil {
		return true
	}
	if c.Leaving {
		e.response.SetConnectionClose()
	}
	r := &e.response
	if r.StatusCode() == fasthttp.StatusOK && !r.ConnectionClose() {
		body := r.Body()
		h := e.head(r.Header.ContentType(), req.Began.Unix())
		e.out = append(e.out, h.before...)
		e.out = strconv.AppendInt(e.out, int64(len(body)), 10)
		e.out = append(e.out, lineEnd...)
		e.out = req.answer.appendTold(e.out)
		e.out = append(e.out, h.behind...)
		e.out = append(e.out, body...)
		return true
	}
	if e.plain.kind == List && r.StatusCode() == fasthttp.StatusNotModified && !r.ConnectionClose() {
		e.out = append(e.out, e.unchanged(req.Began.Unix())...)
		e.out = append(req.answer.appendTold(e.out), lineEnd...)
		return true
	}
	for _, line := range req.answer.told[:req.answer.lines] {
		r.Header.SetCanonical(line.name, line.value)
	}
	e.pen.Reset((*appender)(&e.out))
	_ = r.Write(e.pen) // appending does not fail
	_ = e.pen.Flush()
	return true
}

// goOn says what an answer without an end says now. One that its handler does not go on
// with ends.
func (e *express) goOn(c *reactor.Conn, going *ongoing) {
	if c.Ongoing == nil {
		c.BoundUnsent(unsentAtMost, e.request.core.WriteStall)
	}
	if going.of != nil {
		c.Ongoing = going.of
		e.out = append(e.out, going.said...)
	}
	if going.of == nil {
		e.out = append(e.out, lastChunk...)
	}
	if going.of == nil || going.ended {
		e.response.SetConnectionClose()
	}
	if cap(going.said) > keepAtMost {
		going.said = nil
	}
}

// head is how a good answer begins, as the HTTP library would write it.
func (e *express) head(kind []byte, second int64) *head {
	h := &e.heads[0]
	switch e.plain.kind {
	case Changes:
		h = &e.heads[1]
	case Verdict:
		h = &e.heads[2]
	}
	if h.second == second && bytes.Equal(h.kind, kind) {
		return h
	}
	var r fasthttp.ResponseHeader
	r.SetNoDefaultContentType(true)
	r.SetContentTypeBytes(kind)
	r.SetContentLength(0)
	all := r.AppendBytes(nil)
	length := bytes.LastIndex(all, []byte(": 0\r\n")) + len(": ")
	*h = head{bytes.Clone(kind), second, all[:length], all[length+len("0"+lineEnd):]}
	return h
}

// unchanged is how an answer of 304 about a list begins, as the HTTP library would write it: its
// handler says the rest by Answer.Tell alone.
func (e *express) unchanged(second int64) []byte {
	if h := &e.same; h.second != second {
		all := e.response.Header.AppendBytes(nil)
		*h = head{second: second, before: all[:len(all)-len(lineEnd)]}
	}
	return e.same.before
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
	if len(e.out) == 0 {
		return reactor.Keep, reactor.Rest{}
	}
	if d := e.conn.moves.Load(); d != nil {
		e.conn.moves.Store(nil)
		e.depart(c, d)
	}
	n, err := c.Write(e.out)
	switch {
	case err == nil && n == len(e.out):
		if e.out = e.out[:0]; cap(e.out) > keepAtMost {
			e.out = nil
		}
		return reactor.Keep, reactor.Rest{}
	case err == nil, errors.Is(err, syscall.EAGAIN), errors.Is(err, reactor.ErrUnsent):
		return reactor.Hand, reactor.Rest{Unread: in, Unsent: slices.Clone(e.out[n:])}
	}
	if d, ok := c.Mark.(*delivery); ok {
		d.lost()
		c.Mark = nil
	}
	return reactor.Close, reactor.Rest{}
}

// depart is called before an answer is written that moves a cursor.
func (e *express) depart(c *reactor.Conn, d *delivery) {
	earlier, _ := c.Mark.(*delivery)
	if d = d.leave(onLoop{c}, earlier); d != nil {
		c.Mark = d
	}
}
