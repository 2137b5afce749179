package conn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// intake stands between a connection with a goroutine and the HTTP library, which
// reads through it. It gives on one request at a time, so it is the one place that
// decides where a request ends, and each head in the one form of which there are
// no two opinions (heads.go). A head that is longer than the library's buffer goes
// to another with a larger one (longheads.go). What cannot be read comes out as a
// Refusal, and nothing after it.
//
// While a head is not whole, the library is told with an empty line, which means
// nothing before a request, that there is something: from then on it counts the
// request's time, and not that between two.
//
// It belongs to the goroutine that serves the connection.
type intake struct {
	conn *conn
	from carrier // conn, or what lies over it

	held []byte            // came and was not given on
	room *[readBuffer]byte // where held is, unless that is long; nil: nothing is held
	give []byte            // of this request, ready to be given on

	part    part
	woken   bool // the library knows that a head has begun
	lined   bool // and its first line is one
	seen    int  // how much of held has no end of a head
	skipped int  // bytes of empty lines before it
	left    int64
	chunks  chunking

	long   *longHead
	nested bool  // the request is another library's: it gets no other
	ended  bool  // and has asked for one
	late   bool  // time was over
	over   error // why nothing will come any more
}

// carrier is where the bytes come from, which is what the library takes for the
// connection.
type carrier interface {
	net.Conn
	receive(b []byte) (int, error)
}

// part is what comes next.
type part uint8

const (
	theHead part = iota
	theBody      // with a length
	theChunks
)

// readBuffer is how much is read from a connection at once, in bytes, and the
// longest head that takes no more memory than any other. A loop has such a buffer,
// and so has a connection with a goroutine; and one more while a request has come
// in part.
const readBuffer = 8 << 10

var rooms = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// Read gives on what is next, and with it those that are whole of the requests
// behind: the library writes answers at once as long as it has requests.
func (in *intake) Read(b []byte) (int, error) {
	n, err := in.read(b)
	if n > 0 && err == nil {
		n += in.fill(b[n:])
	}
	return n, err
}

func (in *intake) read(b []byte) (int, error) {
	switch {
	case len(in.give) > 0:
		return in.hand(b), nil
	case in.over != nil:
		return 0, in.over
	case in.part != theHead:
		return in.body(b)
	case in.nested:
		in.ended = true
		return 0, io.EOF
	}
	return in.head(b)
}

// hand gives on what is ready.
func (in *intake) hand(b []byte) int {
	n := copy(b, in.give)
	in.give = in.give[n:]
	in.empty()
	return n
}

// fill gives on what is whole of the requests that are held, as far as there is room.
func (in *intake) fill(b []byte) (n int) {
	for len(b) > 0 && in.part == theHead && !in.woken && !in.nested && in.over == nil {
		if len(in.give) == 0 && !in.ready(len(b)) {
			break
		}
		k := in.hand(b)
		if len(in.give) == 0 && in.part != theHead && k < len(b) {
			m, behind := in.advance(b[k : k+copy(b[k:], in.held)])
			in.drop(behind)
			k += m
		}
		n, b = n+k, b[k:]
	}
	return n
}

// ready makes the next head ready, if it is whole and not longer than that.
func (in *intake) ready(room int) bool {
	blank := blankLines(in.held)
	end := blank + headEnd(in.held[blank:], 0)
	if end == blank || end-blank > in.limit() {
		return false
	}
	head, s, refused := in.canonical(in.held[blank:end])
	if refused != nil || len(head) > room {
		return false
	}
	in.held = in.held[end:]
	in.begin(&s)
	in.give = head
	return true
}

// head gives on a head that is whole, and what came of its body in the same read.
func (in *intake) head(b []byte) (int, error) {
	in.conn.moves.Store(nil) // every answer before has left
	if !in.woken && len(in.held) == 0 {
		n, err := in.from.receive(b)
		if n == 0 && in.conn.resting.Load() {
			return 0, io.EOF // it was silent
		}
		if n == 0 {
			return 0, err
		}
		if n, ok := in.asIs(b[:n]); ok {
			return n, nil
		}
		in.hold(b[:n])
	}
	if !in.woken {
		return in.wake(b), nil
	}
	for {
		if n, done, err := in.next(b); done {
			return n, err
		}
		if err := in.more(); err != nil {
			return in.cut(b, err)
		}
	}
}

// asIs takes what came if a whole head is the first of it that can be given on as
// it is, where it is; all but what does not belong to the request is.
func (in *intake) asIs(came []byte) (int, bool) {
	end := headEnd(came, 0)
	if end == 0 || end > in.limit() {
		return 0, false
	}
	l, _, s := split(came[:end])
	if s.bad || s.bare || s.noHost || l.target[0] != '/' {
		return 0, false
	}
	in.conn.begun()
	in.begin(&s)
	n, behind := in.advance(came[end:])
	in.hold(came[end+behind:])
	return end + n, true
}

// begin is the end of a head.
func (in *intake) begin(s *survey) {
	in.woken, in.lined, in.seen, in.skipped, in.left, in.late = false, false, 0, 0, s.length, false
	switch {
	case s.length == inChunks:
		in.part, in.chunks = theChunks, chunking{}
	case s.length > 0:
		in.part = theBody
	}
}

// next gives on the head of what is held, or says that it is not whole.
func (in *intake) next(b []byte) (n int, done bool, err error) {
	if in.seen == 0 {
		n := blankLines(in.held)
		in.skipped += n
		in.drop(n)
	}
	if in.skipped > in.limit() {
		n, err = in.refuse(b, errNoHTTP)
		return n, true, err
	}
	end := headEnd(in.held, in.seen)
	switch {
	case end > in.limit(), end == 0 && len(in.held) >= in.limit():
		n, err = in.tooLong(b, end > 0)
	case end > 0:
		n, err = in.take(b, end)
	default:
		if refused := in.hopeless(); refused != nil {
			n, err = in.refuse(b, refused)
			break
		}
		in.seen = len(in.held)
		return 0, false, nil
	}
	return n, true, err
}

// hopeless says why the first line, as soon as it is there, is refused: nobody waits
// for the rest of what is no request.
func (in *intake) hopeless() *Refusal {
	if in.lined {
		return nil // it was looked at
	}
	next := bytes.IndexByte(in.held[in.seen:], '\n')
	if in.lined = next >= 0; !in.lined {
		return nil
	}
	_, refused := cutLine(withoutCR(in.held[:in.seen+next]))
	return refused
}

// canonical is a whole head in the form that the library reads, or why there is none.
func (in *intake) canonical(head []byte) (out []byte, s survey, refused *Refusal) {
	l, lines, s := split(head)
	switch {
	case s.unread != nil:
		return nil, s, s.unread
	case s.bare && s.sized:
		return nil, s, &Refusal{fasthttp.StatusBadRequest, TextBareLF}
	case s.bad:
		return nil, s, &Refusal{fasthttp.StatusBadRequest, TextTwoWays}
	}
	target := l.target
	if origin, ok := originOf(target); ok {
		target = origin
	}
	if s.bare || s.noHost || len(target) != len(l.target) {
		head = rewritten(l, target, lines, &s)
	}
	return head, s, nil
}

// take gives on a whole head.
func (in *intake) take(b []byte, end int) (int, error) {
	head, s, refused := in.canonical(in.held[:end])
	if refused != nil {
		return in.refuse(b, refused)
	}
	in.held = in.held[end:]
	in.begin(&s)
	in.give = head
	if len(head) >= readBuffer { // with the empty line that woke it the library's buffer is full
		return in.serveLong(b, len(head))
	}
	return in.hand(b), nil
}

// wake tells the library that a head has begun.
func (in *intake) wake(b []byte) int {
	in.woken = true
	in.conn.begun()
	b[0] = '\n'
	return 1
}

// more reads on, behind what is held, no more at once than a room holds: so that is
// the most that comes behind a head.
func (in *intake) more() error {
	if in.room == nil && in.long == nil {
		in.hold(nil)
	}
	if cap(in.held) == len(in.held) {
		if err := in.grow(); err != nil {
			return err
		}
	}
	n, err := in.from.receive(in.held[len(in.held):min(cap(in.held), len(in.held)+readBuffer)])
	in.held = in.held[:len(in.held)+n]
	if n > 0 {
		return nil
	}
	return err
}

// cut is the end of what comes within a head.
func (in *intake) cut(b []byte, err error) (int, error) {
	var refused *Refusal
	switch {
	case errors.As(err, &refused):
		return in.refuse(b, refused)
	case len(bytes.Trim(in.held, "\r")) == 0: // and only empty lines came
	case errors.Is(err, os.ErrDeadlineExceeded):
		return in.refuse(b, &Refusal{fasthttp.StatusRequestTimeout, TextTimeout})
	case errors.Is(err, io.EOF):
		return in.refuse(b, &Refusal{fasthttp.StatusBadRequest, TextCut})
	}
	in.over = err
	in.release()
	return 0, err
}

// refuse ends it. The library hears of an error only where something of a request
// has come. A client of another version does not wait for an answer before it sends
// more.
func (in *intake) refuse(b []byte, why *Refusal) (int, error) {
	in.over = why
	if why.Status == fasthttp.StatusHTTPVersionNotSupported {
		in.conn.lingers.Store(true)
	}
	in.release()
	b[0] = 'x'
	return 1, in.over
}

// tooLong refuses a head. What is left of it is read, within a bound, or the answer
// would be lost with a connection that is reset.
func (in *intake) tooLong(b []byte, whole bool) (int, error) {
	rest := in.held[max(0, len(in.held)-3):]
	tail := append(make([]byte, 0, 3), rest...)
	in.release()
	if !whole {
		in.conn.hasten(overTime)
	}
	for read := 0; !whole && read < mostHeaderBytes && len(b) > len(tail); {
		n, err := in.from.receive(b[copy(b, tail):])
		if n == 0 || err != nil {
			break
		}
		read += n
		last := b[:len(tail)+n]
		whole = headEnd(last, 0) > 0
		tail = append(tail[:0], last[max(0, len(last)-3):]...)
	}
	return in.refuse(b, &Refusal{fasthttp.StatusRequestHeaderFieldsTooLarge,
		fmt.Sprintf("the request line and the headers are longer than %d bytes together (max_header_bytes)", in.limit())})
}

// overTime is for how long the rest of a head that is too long is read.
const overTime = 5 * time.Second

// body gives on what belongs to the request.
func (in *intake) body(b []byte) (int, error) {
	if in.part == theBody && int64(len(b)) > in.left {
		b = b[:in.left]
	}
	n, err, fresh := copy(b, in.held), error(nil), false
	if n == 0 {
		n, err = in.from.receive(b)
		fresh = true
	}
	in.late = in.late || errors.Is(err, os.ErrDeadlineExceeded)
	if n == 0 {
		return 0, err
	}
	k, behind := in.advance(b[:n])
	if fresh {
		in.hold(b[behind:n])
	} else {
		in.drop(behind)
	}
	if k == 0 {
		k = in.hand(b)
	}
	return k, nil
}

// advance goes over what came of a body, and says how much of it is to be given on
// and where what comes behind it begins: one further when the LF at the end of the
// last line is, with the CR that it lacks, ready to be given on instead.
func (in *intake) advance(came []byte) (n, behind int) {
	switch in.part {
	case theBody:
		n = int(min(in.left, int64(len(came))))
		if in.left -= int64(n); in.left == 0 {
			in.part = theHead
		}
	case theChunks:
		n = in.chunks.walk(came)
		switch in.chunks.at {
		case chunksEnd:
			in.part = theHead
		case chunksEndCR:
			in.part, in.give = theHead, []byte("\r\n")
			return n, n + 1
		case chunksBroken:
			in.over = &Refusal{fasthttp.StatusBadRequest, TextTwoWays}
		}
	}
	return n, n
}

// hold keeps what came and is not for now.
func (in *intake) hold(rest []byte) {
	if len(rest) == 0 && rest != nil {
		return
	}
	if in.room == nil {
		in.room = rooms.Get().(*[readBuffer]byte)
	}
	in.held = in.room[:copy(in.room[:], rest)]
}

// drop forgets the first n bytes of what is held.
func (in *intake) drop(n int) {
	in.held = in.held[n:]
	in.empty()
}

// empty gives memory back that nothing is in any more.
func (in *intake) empty() {
	if len(in.held) == 0 && len(in.give) == 0 {
		in.release()
	}
}

// release forgets what is held.
func (in *intake) release() {
	in.held, in.give = nil, nil
	if in.room != nil {
		rooms.Put(in.room)
		in.room = nil
	}
	in.releaseLong()
}

func (in *intake) limit() int { return in.conn.core.HeaderBytes }
