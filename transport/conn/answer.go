package conn

import (
	"bytes"
	"net"

	"github.com/valyala/fasthttp"

	"lapid/transport/reactor"
)

// RetryAfter is the pause, in seconds, that is asked of those who came at a bad moment.
const RetryAfter = "1"

// headerLine is a line of an answer's head.
type headerLine struct {
	name  []byte
	value []byte
}

// Answer is what a handler says to one request. It leaves when Serve has returned. The
// zero answer is 200 without a body.
type Answer struct {
	response  *fasthttp.Response
	conn      *conn // nil in tests without a network
	continues bool
	onLoop    bool
	told      [linesAtMost]headerLine // by Tell; on a loop they are not in response yet
	lines     int
	guest     Guest // with Park
	going     ongoing

	// Not on a loop.
	ending *ending      // keeps the end of an answer in chunks together
	body   *requestBody // of the request
	of     *Request
	old    bool // the client speaks HTTP/1.0
	ctx    *fasthttp.RequestCtx
	now    func() int64
}

// Status is the status so far.
func (a *Answer) Status() int { return a.response.StatusCode() }

// SetStatus sets it.
func (a *Answer) SetStatus(status int) { a.response.SetStatusCode(status) }

// Empty answers with a status and no body.
func (a *Answer) Empty(status int) {
	a.response.ResetBody()
	a.response.SetStatusCode(status)
}

// Copy answers with a body, which is copied.
func (a *Answer) Copy(status int, kind, body []byte) {
	a.response.SetStatusCode(status)
	a.response.Header.SetContentTypeBytes(kind)
	a.response.SetBody(body)
}

// Share answers with bytes that are never changed any more; they are not copied.
func (a *Answer) Share(kind, body []byte) {
	a.response.SetStatusCode(fasthttp.StatusOK)
	a.response.Header.SetContentTypeBytes(kind)
	a.response.SetBodyRaw(body)
}

// SetType says of what type the body is, or would be.
func (a *Answer) SetType(kind []byte) { a.response.Header.SetContentTypeBytes(kind) }

// SetHeader adds a line, or replaces it.
func (a *Answer) SetHeader(name, value string) { a.response.Header.Set(name, value) }

// linesAtMost is how many lines Tell takes.
const linesAtMost = 3

// Tell adds a line whose name stands as it is and is not there yet. It allocates
// nothing; the value is borrowed until the answer has left the handler's exchange.
func (a *Answer) Tell(name, value []byte) {
	a.told[a.lines] = headerLine{name, value}
	a.lines++
	if !a.onLoop {
		a.response.Header.SetCanonical(name, value)
	}
}

// appendTold appends the lines of Tell, each with its end.
func (a *Answer) appendTold(dst []byte) []byte {
	for _, line := range a.told[:a.lines] {
		dst = append(append(append(append(dst, line.name...), ": "...), line.value...), lineEnd...)
	}
	return dst
}

// Close has the connection end with this answer.
func (a *Answer) Close() { a.response.SetConnectionClose() }

// Reset forgets what was answered so far.
func (a *Answer) Reset() {
	a.response.Reset()
	a.lines = 0
}

// Continue answers a pending request by asking for its body.
func (a *Answer) Continue() {
	a.continues = true
	a.response.SetStatusCode(fasthttp.StatusContinue)
}

// Continues reports whether that was answered.
func (a *Answer) Continues() bool { return a.continues }

// Guest is who waits for an answer that was put off.
type Guest interface {
	// Parked says that wake may be called from now on: it has the request served again on
	// the goroutine of its caller; last: and not put off any more. It returns false while
	// somebody else is at the request, and once Left was called. It may be called from
	// any goroutine, but not by Parked itself.
	Parked(wake func(last bool) bool)
	// Left says that the request is served again, or (gone) that the client has gone.
	Left(gone bool)
	// Holder names who is waited for: where there are too many, those who have most of them
	// give way first. Any goroutine may ask.
	Holder() string
}

// Park puts the answer off: nothing is said now, and the request is served again when its
// guest wakes it, or more comes. Request.MayPark must have allowed it. The handler returns
// as if it had answered.
func (a *Answer) Park(g Guest) { a.guest = g }

// parkedGuest is a guest to a loop.
type parkedGuest struct{ Guest }

func (p parkedGuest) Parked(c *reactor.Conn) { p.Guest.Parked(c.Wake) }
func (p parkedGuest) Left(c *reactor.Conn, gone bool) {
	if _, brief := p.Guest.(interface{ Brief() }); !brief {
		c.Held = true
	}
	p.Guest.Left(gone)
}

// Move has a cursor moved when the end of the answer leaves, and what becomes of it
// followed: Heard or Lost comes behind a good Offer.
func (a *Answer) Move(c Cursor) {
	d := &delivery{cursor: c}
	if a.conn == nil {
		d.arrive()
		return
	}
	a.conn.moveWithEnd(d)
}

// Stream answers with what s writes after the handler has returned, what Tell added
// before in its head, and has a cursor,
// unless that is nil, moved with its end. If it fails the connection is cut, so that
// the client cannot take the part for the whole. keepBody: s needs the request's body,
// or what was read out of it; its memory is taken until s is closed.
func (a *Answer) Stream(kind []byte, s Stream, c Cursor, keepBody bool) {
	l := &longAnswer{Stream: s, conn: a.conn, ending: a.ending}
	if c != nil {
		l.moves = &delivery{cursor: c}
	}
	if keepBody {
		l.asked = a.body.keep()
	}
	if l.conn != nil {
		l.conn.boundUnsent()
	}
	a.SetStatus(fasthttp.StatusOK)
	a.SetType(kind)
	switch {
	case s.Size() >= 0:
		l.ending = nil
		a.response.SetBodyStream(l, s.Size())
	case !a.old:
		a.response.SetBodyStream(l, -1)
	default:
		// HTTP/1.0 knows no chunks: the end of the connection is the end of the answer.
		kind, told, now := bytes.Clone(kind), a.appendTold(nil), a.now()
		a.ctx.HijackSetNoResponse(true)
		a.ctx.Hijack(func(c net.Conn) { l.sendOldWay(c, kind, told, now) })
	}
}
