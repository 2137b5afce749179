package conn

import (
	"io"

	"github.com/valyala/fasthttp"
)

// RetryAfter is the pause, in seconds, that is asked of those who came at a bad moment.
const RetryAfter = "1"

// Answer is what a handler says to one request. It leaves when Serve has returned. The
// zero answer is 200 without a body.
type Answer struct {
	request   *Request
	response  *fasthttp.Response
	continues bool
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

// Close has the connection end with this answer.
func (a *Answer) Close() { a.response.SetConnectionClose() }

// Reset forgets what was answered so far.
func (a *Answer) Reset() { a.response.Reset() }

// Continue answers a pending request by asking for its body.
func (a *Answer) Continue() {
	a.continues = true
	a.response.SetStatusCode(fasthttp.StatusContinue)
}

// Continues reports whether that was answered.
func (a *Answer) Continues() bool { return a.continues }

// Move has a cursor moved when the end of the answer leaves, and what becomes of it
// followed: Heard or Lost comes behind a good Offer.
func (a *Answer) Move(c Cursor) {
	d := &delivery{cursor: c}
	if a.request.conn == nil {
		d.arrive()
		return
	}
	a.request.conn.moveWithEnd(d)
}

// Stream is an answer that is written while it is made.
type Stream interface {
	// Size is its length in bytes; -1: that is not known.
	Size() int
	// Send writes it. ending, unless nil, is called just before the last bytes are
	// written: with split, before no more of them than a client reads at once. After
	// an error what was written is no answer.
	Send(w io.Writer, split bool, ending func()) (int64, error)
	// Close is called once Send has returned, or will not be called.
	Close() error
}

// Stream answers with what s writes after the handler has returned, and has a cursor,
// unless that is nil, moved with its end. If it fails the connection is cut, so that
// the client cannot take the part for the whole. keepBody: s needs the request's body,
// or what was read out of it; its memory is taken until s is closed.
func (a *Answer) Stream(kind []byte, s Stream, c Cursor, keepBody bool) {
	r := a.request
	l := &longAnswer{Stream: s, conn: r.conn}
	if c != nil {
		l.moves = &delivery{cursor: c}
	}
	if keepBody {
		l.asked, r.body.hold, r.body.body = r.body.hold, hold{}, nil
	}
	if l.conn != nil {
		l.conn.boundUnsent()
		l.ending = &l.conn.ending
	}
	if r.secure != nil {
		l.ending = &r.secure.ending
	}
	a.SetStatus(fasthttp.StatusOK)
	a.SetType(kind)
	l.send(r, kind)
}
