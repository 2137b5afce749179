package conn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// longAnswer is an answer that is written while it is made, on its way over a
// connection. The HTTP library calls WriteTo once, on the goroutine of the
// connection, and Close afterwards in any case.
type longAnswer struct {
	Stream
	conn   *conn
	asked  hold      // what the request's body takes, which it needs
	moves  *delivery // the cursor that moves with its end; may be nil
	ending *ending   // keeps the end together; nil: not in chunks
}

// send has the HTTP library write it, with its length before it or in chunks.
func (l *longAnswer) send(r *Request, kind []byte) {
	if l.Size() >= 0 {
		l.ending = nil
		r.answer.response.SetBodyStream(l, l.Size())
		return
	}
	if string(r.Protocol) == "HTTP/1.1" {
		r.answer.response.SetBodyStream(l, -1)
		return
	}
	// HTTP/1.0 knows no chunks: the end of the connection is the end of the answer.
	f, kind := r.front, bytes.Clone(kind)
	r.ctx.HijackSetNoResponse(true)
	r.ctx.Hijack(func(c net.Conn) { l.sendOldWay(c, kind, f.options.Now()) })
}

// sendOldWay writes an answer in pieces of which nobody knows the length to a
// client that knows no chunks. The connection is closed after it, and not in good
// order if the answer is not whole.
func (l *longAnswer) sendOldWay(c net.Conn, kind []byte, now int64) {
	defer l.Close()
	l.ending = nil
	if l.conn != nil {
		l.conn.endless = true
	}
	head := "HTTP/1.1 200 OK\r\nDate: " + time.Unix(0, now).UTC().Format(http.TimeFormat) + "\r\nContent-Type: " + string(kind) + "\r\nConnection: close\r\n\r\n"
	_, err := c.Write([]byte(head))
	if err == nil {
		_, err = l.WriteTo(c)
	}
	if err != nil && l.conn != nil {
		l.conn.reset()
	}
}

// SupportsBodyWriteTo says that WriteTo is as good as reading.
func (l *longAnswer) SupportsBodyWriteTo() bool { return true }

// Read is never called.
func (l *longAnswer) Read([]byte) (int, error) {
	return 0, errors.New("BUG: a body in pieces is written, not read")
}

// WriteTo writes the answer. With its last bytes the cursor moves; those of an answer
// in chunks leave as its last chunk, in one write with the end of the chunks. Clients
// that stop at the last brace, as Go's decoders do, close the connection there; what
// the kernel then still holds for them has it send a reset, as for an answer that
// nobody read. So much as feed.EndingSize they have read with the brace: it is less
// than their buffers, than a packet, and than a record of TLS. It may still be that
// what they read at once ends between the brace and the end of the chunks. So answers
// that are not very long are not sent in chunks: behind their last brace there is
// nothing.
func (l *longAnswer) WriteTo(w io.Writer) (n int64, err error) {
	switch {
	case l.moves == nil:
		return l.Send(w, false, nil)
	case l.conn != nil:
		return l.Send(w, l.ending != nil, l.end)
	}
	if n, err = l.Send(w, false, nil); err == nil {
		l.moves.arrive()
	}
	return n, err
}

// end is called before the last bytes are written.
func (l *longAnswer) end() {
	if l.ending != nil {
		l.ending.keep = true
	}
	l.conn.moveWithEnd(l.moves)
}

// Close gives back what the answer held.
func (l *longAnswer) Close() error {
	err := l.Stream.Close()
	l.asked.release()
	return err
}

// ending keeps the end of an answer in chunks, from the last chunk on, until all
// of it is there. The HTTP library writes it in three parts.
type ending struct {
	keep bool
	kept []byte
}

var (
	noMoreChunks = []byte("\r\n0\r\n")     // behind it comes an empty line,
	endOfChunks  = []byte("\r\n0\r\n\r\n") // or came with it
)

// write writes, or keeps.
func (e *ending) write(b []byte, write func([]byte) (int, error)) (int, error) {
	if !e.keep {
		return write(b)
	}
	whole := bytes.HasSuffix(e.kept, noMoreChunks)
	if e.kept = append(e.kept, b...); !whole && !bytes.HasSuffix(e.kept, endOfChunks) {
		return len(b), nil
	}
	all := e.kept
	e.keep, e.kept = false, nil
	if _, err := write(all); err != nil {
		return 0, err
	}
	return len(b), nil
}
