package conn

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"lapid/transport/reactor"
)

// Ongoing is an answer without an end, as its handler remembers it: it goes on part by
// part until its connection ends, which nothing follows on. It is told once that it is
// over, by whoever has the connection then.
//
// On a loop a part is one Serve: the handler begins (Begin) or finds the answer under way
// (Request.Ongoing), says something or nothing (Say), and parks the request, to be served
// again when there is more to say; or ends the answer (End). With a goroutine the answer is
// taken over by a function that has the connection for itself (Run), until it returns.
// Either way may follow the other: a part that takes time is errLater on a loop, and a
// function that has nothing more to do than wait gives the connection back.
type Ongoing = reactor.Ongoing

// ongoing is what an Answer says of an Ongoing, on a loop.
type ongoing struct {
	of    Ongoing // nil: this is an answer as others are
	said  []byte  // goes out as it is
	ended bool
}

// Begin begins an answer without an end, on a loop. It is told that it is over in any case.
func (a *Answer) Begin(o Ongoing, kind []byte) {
	a.going.of = o
	a.going.said = appendOngoingHead(a.going.said, kind, time.Now(), true)
}

// Resume goes on with an answer that is under way, on a loop.
func (a *Answer) Resume(o Ongoing) { a.going.of = o }

// Say says a part, on a loop, which leaves when the handler returns; nothing is not said.
func (a *Answer) Say(part []byte) {
	if len(part) > 0 {
		a.going.said = append(appendChunk(a.going.said, part), lineEnd...)
	}
}

// End ends an answer without an end, and the connection, on a loop.
func (a *Answer) End() {
	a.going.said = append(a.going.said, lastChunk...)
	a.going.ended = true
}

var lastChunk = []byte("0\r\n\r\n")

// appendChunk appends a chunk without the end of its line.
func appendChunk(dst, data []byte) []byte {
	dst = append(strconv.AppendInt(dst, int64(len(data)), 16), lineEnd...)
	return append(dst, data...)
}

// appendOngoingHead appends how an answer without an end begins. No proxy is to keep it,
// or to wait with it until it is whole.
func appendOngoingHead(dst, kind []byte, now time.Time, chunks bool) []byte {
	dst = append(dst, "HTTP/1.1 200 OK\r\nDate: "...)
	dst = now.UTC().AppendFormat(dst, http.TimeFormat)
	dst = append(append(append(dst, "\r\nContent-Type: "...), kind...), "\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n"...)
	if chunks {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(dst, "Connection: close\r\n\r\n"...)
}

// Run has an answer without an end go on by a function with a goroutine of its own, once
// the handler has returned. What it does with a panic is its own affair. The answer is told
// that it is over when run has returned, unless that gave the connection back.
func (a *Answer) Run(o Ongoing, run func(*Line)) {
	r := a.of
	l := &Line{conn: a.conn, of: o, chunks: !a.old}
	if l.conn != nil {
		l.request = l.conn.loopable(r)
		l.conn.ongoing.Store(&o)
		l.conn.going.Store(true)
		l.conn.core.going.Add(1)
	}
	a.going.of = o
	a.ctx.HijackSetNoResponse(true)
	a.ctx.Hijack(func(c net.Conn) {
		l.to = c
		if l.conn != nil {
			l.conn.ongoing.Store(nil) // it is l's now
		}
		defer l.close()
		run(l)
	})
}

// loopable is the request as a loop reads it, with no more in it than is looked at once the
// answer has begun; nil: it is not for one.
func (c *conn) loopable(r *Request) []byte {
	if c.door == nil || r.answer.old {
		return nil
	}
	in := append(append(append(append(append([]byte(nil), plainMethod...), ' '), r.Target...), plainEnd...), '\n')
	for _, line := range [...]headerLine{
		{[]byte("Host"), []byte{'-'}}, {[]byte("X-Api-Key"), r.Key}, {[]byte("User-Agent"), r.Agent},
		{[]byte("X-Forwarded-For"), r.Forwarded}, {[]byte("X-Real-Ip"), r.Real},
	} {
		if len(line.value) > 0 {
			in = append(append(append(append(in, line.name...), ": "...), line.value...), lineEnd...)
		}
	}
	if in = append(in, lineEnd...); len(in) > reactor.ParkedAtMost || !c.door.forLoop(in) {
		return nil
	}
	return in
}

// Line is the connection of an answer without an end. It belongs to the function that Run
// was given until that returns.
type Line struct {
	conn    *conn
	to      net.Conn
	of      Ongoing
	chunks  bool
	request []byte // for a loop; nil: it is not for one
	buf     []byte
	home    bool
	err     error
}

// Begin begins the answer.
func (l *Line) Begin(kind []byte) error {
	if l.conn != nil {
		l.conn.bounded = true
		l.conn.bound(l.conn.core.WriteStall)
		if !l.chunks {
			l.conn.endless = true
		}
	}
	return l.write(appendOngoingHead(l.buf[:0], kind, time.Now(), l.chunks))
}

// shortPart is up to how many bytes a part is put into one write with what is around it.
const shortPart = 16 << 10

// Say says a part, and waits until the peer has room for it, as long as it takes some.
// After an error, which is given for every later part too, the connection has ended.
func (l *Line) Say(part []byte) error {
	switch {
	case len(part) == 0 || l.err != nil:
		return l.err
	case !l.chunks:
		return l.write(part)
	case len(part) <= shortPart:
		l.buf = append(appendChunk(l.buf[:0], part), lineEnd...)
		return l.write(l.buf)
	}
	if err := l.write(append(strconv.AppendInt(l.buf[:0], int64(len(part)), 16), lineEnd...)); err != nil {
		return err
	}
	if err := l.write(part); err != nil {
		return err
	}
	return l.write([]byte(lineEnd))
}

func (l *Line) write(b []byte) error {
	if l.err == nil {
		_, l.err = l.to.Write(b)
	}
	return l.err
}

// End ends the answer in good order.
func (l *Line) End() {
	if l.chunks {
		_ = l.write(lastChunk) // it is over either way
	}
}

// Cut has the connection end so that nobody takes the answer for one that has ended.
func (l *Line) Cut() {
	if l.conn != nil {
		l.conn.reset()
	}
}

// Gone reports whether the client has ended its side, as far as can be seen.
func (l *Line) Gone() bool {
	if l.conn == nil {
		return false
	}
	s := l.conn.look()
	return s.Ended || s.Broken
}

// Settled reports whether nothing that was said is on its way, as far as can be seen.
func (l *Line) Settled() bool { return l.conn == nil || l.conn.look().Unacked == 0 }

// Home has the connection go back to the loops when the function returns, where the answer
// goes on. False: it has to stay.
func (l *Line) Home() bool {
	l.home = l.request != nil && l.err == nil && !l.conn.core.stopping.Load()
	return l.home
}

// close is the end of a function; the HTTP library closes the connection then.
func (l *Line) close() {
	if l.home {
		l.conn.ongoing.Store(&l.of)
		_, _ = l.conn.goHome(l.request)
	} else {
		l.of.Over(l.err)
	}
	if l.conn != nil {
		l.conn.stopGoing()
	}
}

// stopGoing says that the answer needs its goroutine no more.
func (c *conn) stopGoing() {
	if c.going.Swap(false) {
		c.core.going.Add(-1)
	}
}

// lost ends an answer without an end that nobody goes on with.
func (c *conn) lost(why error) {
	if o := c.ongoing.Swap(nil); o != nil {
		(*o).Over(why)
	}
}

// left is for a handler that did not go on with an answer that is under way: nothing else
// may be said on the connection.
func (a *Answer) left(o Ongoing) {
	if a.going.of == nil {
		a.Run(o, (*Line).End)
	}
}
