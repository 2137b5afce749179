package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/transport/budget"
	"lapid/transport/feed"
)

// Payer implements feed.Asker.
func (x *exchange) Payer() feed.Payer {
	return feed.Payer{Holder: budget.Holder{Name: x.shown(x.server)}, Client: x.client}
}

// list answers with what run writes, at once when that is short, else in pieces, with
// its length before it if it is counted. run may run twice, and again after the
// handler has returned.
func (s *Server) list(x *exchange, counted bool, run func(*feed.Writer) error) (err error) {
	x.out, err = feed.WriteBrief(x.out, run)
	if err == nil {
		x.json(fasthttp.StatusOK, x.out)
		return nil
	}
	if !errors.Is(err, feed.ErrLong) {
		return err
	}
	b, err := s.feed.List(&x.held, x, counted, run)
	if err != nil {
		return err
	}
	s.send(x, jsonType, &longAnswer{StreamedBody: b})
	return nil
}

// longAnswer is an answer that is written while it is made, on its way over a
// connection. The HTTP library calls WriteTo once, on the goroutine of the
// connection, and Close afterwards in any case.
type longAnswer struct {
	*feed.StreamedBody
	conn    *conn
	reading *feed.Part // what one alert of it takes
	asked   hold       // what the request's body takes, which it needs
	moves   *delivery  // the cursor that moves with its end; may be nil
	ending  *ending    // keeps the end together; nil: not in chunks
}

// send answers piece by piece, after the handler has returned. If that fails the
// connection is cut, so that the client cannot take the part for the whole. What was
// reserved for the answer is given back with its end.
func (s *Server) send(x *exchange, kind []byte, a *longAnswer) {
	a.conn = x.conn
	a.reading, x.reading = x.reading, nil
	if x.keepBody {
		a.asked, x.inflow.hold, x.inflow.body = x.inflow.hold, hold{}, nil
	}
	if a.conn != nil {
		a.conn.boundUnsent()
		a.ending = &a.conn.ending
	}
	if x.secure != nil {
		a.ending = &x.secure.ending
	}
	r := &x.ctx.Response
	r.SetStatusCode(fasthttp.StatusOK)
	r.Header.SetContentTypeBytes(kind)
	if a.Size() >= 0 {
		a.ending = nil
		r.SetBodyStream(a, a.Size())
		return
	}
	if x.ctx.Request.Header.IsHTTP11() {
		r.SetBodyStream(a, -1)
		return
	}
	// HTTP/1.0 knows no chunks: the end of the connection is the end of the answer.
	x.ctx.HijackSetNoResponse(true)
	x.ctx.Hijack(func(c net.Conn) { s.sendOldWay(c, kind, a) })
}

// sendOldWay writes an answer in pieces of which nobody knows the length to a
// client that knows no chunks. The connection is closed after it, and not in good
// order if the answer is not whole.
func (s *Server) sendOldWay(c net.Conn, kind []byte, a *longAnswer) {
	defer a.Close()
	a.ending = nil
	if a.conn != nil {
		a.conn.endless = true
	}
	head := "HTTP/1.1 200 OK\r\nDate: " + time.Unix(0, s.engine.Now()).UTC().Format(http.TimeFormat) + "\r\nContent-Type: " + string(kind) + "\r\nConnection: close\r\n\r\n"
	_, err := c.Write([]byte(head))
	if err == nil {
		_, err = a.WriteTo(c)
	}
	if err != nil && a.conn != nil {
		a.conn.reset()
	}
}

// SupportsBodyWriteTo says that WriteTo is as good as reading.
func (a *longAnswer) SupportsBodyWriteTo() bool { return true }

// Read is never called.
func (a *longAnswer) Read([]byte) (int, error) {
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
func (a *longAnswer) WriteTo(w io.Writer) (n int64, err error) {
	switch {
	case a.moves == nil:
		return a.Send(w, false, nil)
	case a.conn != nil:
		return a.Send(w, a.ending != nil, a.end)
	}
	if n, err = a.Send(w, false, nil); err == nil {
		a.moves.arrive()
	}
	return n, err
}

// end is called before the last bytes are written.
func (a *longAnswer) end() {
	if a.ending != nil {
		a.ending.keep = true
	}
	a.conn.moveWithEnd(a.moves)
}

// Close gives back what the answer held.
func (a *longAnswer) Close() error {
	err := a.StreamedBody.Close()
	a.asked.release()
	a.reading.Release()
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
