package conn

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

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

// sendOldWay writes an answer in pieces of which nobody knows the length to a
// client that knows no chunks. The connection is closed after it, and not in good
// order if the answer is not whole.
func (l *longAnswer) sendOldWay(c net.Conn, kind, told []byte, now int64) {
	defer l.Close()
	l.ending = nil
	if l.conn != nil {
		l.conn.endless = true
	}
	head := "HTTP/1.1 200 OK\r\nDate: " + time.Unix(0, now).UTC().Format(http.TimeFormat) + "\r\nContent-Type: " + string(kind) + lineEnd + string(told) + "Connection: close\r\n\r\n"
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
