package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/transport/budget"
)

const (
	// pieceSize is how much of a shared answer is encoded, kept and written at
	// once: large enough that neither the system calls count nor that encoder and
	// sender wake each other. The first pieces are smaller, so that a short answer
	// takes little and the first byte of a long one leaves soon: the first is of
	// firstPieceSize, each of the next twice the one before.
	pieceSize      = 512 << 10
	firstPieceSize = 32 << 10
	// ownPieceSize is the same for an answer that only one reader gets; it is
	// what a slow reader costs.
	ownPieceSize = 32 << 10
	// pieceSlack is room for the decision that fills a piece.
	pieceSlack = 4 << 10
)

// pieceWriter collects an answer and sends it whenever a piece is full. With
// send nil it collects all of it.
type pieceWriter struct {
	buf  []byte
	size int
	own  bool     // only one reader gets it: encode with as little memory as will do
	at   position // after what was appended last; only streams keep it
	send func(piece []byte) error
}

// maybeSend sends what was collected if it is enough. It is called between two
// elements of a list.
func (w *pieceWriter) maybeSend() error {
	if w.send == nil || len(w.buf) < w.size {
		return nil
	}
	return w.flush()
}

// flushed is maybeSend for those who append to what they are given.
func (w *pieceWriter) flushed(buf []byte) ([]byte, error) {
	w.buf = buf
	err := w.maybeSend()
	return w.buf, err
}

func (w *pieceWriter) flush() error {
	if len(w.buf) == 0 || w.send == nil {
		return nil
	}
	err := w.send(w.buf)
	w.buf = w.buf[:0]
	return err
}

// answerInPieces answers piece by piece, after the handler has returned: p.run must
// not use the exchange. If it fails the connection is cut, so that the client cannot
// take the part for the whole. What was reserved for the answer is given back with
// its end.
func (s *Server) answerInPieces(x *exchange, kind []byte, p *pieces) {
	p.server, p.conn, p.began = s, x.conn, x.began
	p.reader = x.reader(s)
	p.reading, x.reading = x.reading, nil
	p.held, x.held = x.held, budget.Hold{}
	if x.keepBody {
		p.asked, x.inflow.hold, x.inflow.body = x.inflow.hold, hold{}, nil
	}
	if p.conn != nil {
		p.conn.boundUnsent()
		p.ending = &p.conn.ending
	}
	if x.secure != nil {
		p.ending = &x.secure.ending
	}
	r := &x.ctx.Response
	r.SetStatusCode(fasthttp.StatusOK)
	r.Header.SetContentTypeBytes(kind)
	if p.size >= 0 {
		p.ending = nil
		r.SetBodyStream(p, p.size)
		return
	}
	if x.ctx.Request.Header.IsHTTP11() {
		r.SetBodyStream(p, -1)
		return
	}
	// HTTP/1.0 knows no chunks: the end of the connection is the end of the answer.
	x.ctx.HijackSetNoResponse(true)
	x.ctx.Hijack(func(c net.Conn) { s.answerOldWay(c, kind, p) })
}

// answerOldWay writes an answer in pieces of which nobody knows the length to a
// client that knows no chunks. The connection is closed after it, and not in good
// order if the answer is not whole.
func (s *Server) answerOldWay(c net.Conn, kind []byte, p *pieces) {
	defer p.Close()
	p.ending = nil
	if p.conn != nil {
		p.conn.endless = true
	}
	head := "HTTP/1.1 200 OK\r\nDate: " + time.Unix(0, s.engine.Now()).UTC().Format(http.TimeFormat) + "\r\nContent-Type: " + string(kind) + "\r\nConnection: close\r\n\r\n"
	_, err := c.Write([]byte(head))
	if err == nil {
		_, err = p.WriteTo(c)
	}
	if err != nil && p.conn != nil {
		p.conn.reset()
	}
}

// pieces is the body of an answer that is written while it is made. fasthttp
// calls WriteTo once, on the goroutine of the connection, and Close afterwards
// in any case.
type pieces struct {
	server  *Server
	conn    *conn
	began   time.Time
	run     func(*pieceWriter) error // writes all of it into one reader's own pieces, or:
	body    *body                    // is followed, or:
	whole   []byte                   // is all of it
	reader  reader
	held    budget.Hold // what it takes
	reading *reading    // what one alert of it takes
	asked   hold        // what the request's body takes, which it needs
	moves   *delivery   // the cursor that moves with its end; may be nil
	size    int         // in bytes; -1: not known, the answer leaves in chunks
	ending  *ending     // keeps the end together; nil: not in chunks
}

// SupportsBodyWriteTo says that WriteTo is as good as reading.
func (p *pieces) SupportsBodyWriteTo() bool { return true }

// Read is never called.
func (p *pieces) Read([]byte) (int, error) {
	return 0, errors.New("BUG: a body in pieces is written, not read")
}

var errTooSlow = errors.New("the reader is too slow")

// WriteTo writes the answer.
func (p *pieces) WriteTo(w io.Writer) (n int64, err error) {
	write := func(part []byte) error {
		m, err := w.Write(part)
		n += int64(m)
		return err
	}
	send := func(piece []byte, last bool) error {
		if time.Since(p.began) > p.server.options.StreamLimit {
			return errTooSlow
		}
		if last && p.moves != nil && p.conn != nil {
			return p.end(write, piece)
		}
		return write(piece)
	}
	switch {
	case p.body != nil:
		err = p.server.follow(p.body, p.reader, send)
	case p.whole != nil:
		err = send(p.whole, true)
	default:
		err = p.server.alone(send, p.run)
	}
	if err != nil {
		p.server.log.Debug("an answer was not sent whole", "error", err)
		return n, err
	}
	if p.moves != nil && p.conn == nil {
		p.moves.arrive()
	}
	return n, nil
}

// end writes the last piece, with whose last bytes the cursor moves.
func (p *pieces) end(write func([]byte) error, piece []byte) error {
	if p.ending != nil {
		if most := len(piece) - endingSize; most > 0 {
			if err := write(piece[:most]); err != nil {
				return err
			}
			piece = piece[most:]
		}
		p.ending.keep = true
	}
	p.conn.moveWithEnd(p.moves)
	return write(piece)
}

// endingSize is how much of an answer in chunks leaves as its last chunk, in one
// write with the end of the chunks. Clients that stop at the last brace, as Go's
// decoders do, close the connection there; what the kernel then still holds for
// them has it send a reset, as for an answer that nobody read. So much as this they
// have read with the brace: it is less than their buffers, than a packet, and than
// a record of TLS. It may still be that what they read at once ends between the brace
// and the end of the chunks. So answers that are not very long are not sent in chunks
// (body.size): behind their last brace there is nothing.
const endingSize = 1 << 10

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

// Close gives back what the answer held.
func (p *pieces) Close() error {
	if p.body != nil {
		p.server.bodies.leave(p.body)
		p.body = nil
	}
	p.run, p.whole = nil, nil
	p.held.Release()
	p.asked.release()
	p.reading.release()
	return nil
}

var ownPieces = sync.Pool{New: func() any { return &pieceWriter{buf: make([]byte, 0, ownPieceSize+pieceSlack)} }}

// alone has an answer written for one reader, for whom ownPiece was reserved.
func (s *Server) alone(send func(piece []byte, last bool) error, run func(*pieceWriter) error) error {
	w := ownPieces.Get().(*pieceWriter)
	last := false
	w.buf, w.size, w.own = w.buf[:0], ownPieceSize, true
	w.send = func(piece []byte) error { return send(piece, last) }
	defer func() {
		if w.send = nil; cap(w.buf) <= 2*ownPieceSize {
			ownPieces.Put(w)
		}
	}()
	if err := run(w); err != nil {
		return err
	}
	last = true
	return w.flush()
}
