package transport

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/engine"
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

func (w *pieceWriter) flush() error {
	if len(w.buf) == 0 || w.send == nil {
		return nil
	}
	err := w.send(w.buf)
	w.buf = w.buf[:0]
	return err
}

// inPieces answers with what run writes, piece by piece, after the handler has
// returned. run must not use the exchange. If it fails the connection is cut,
// so that the client cannot take the part for the whole.
func (s *Server) inPieces(x *exchange, kind []byte, run func(*pieceWriter) error) {
	s.answerInPieces(x, kind, &pieces{run: run})
}

func (s *Server) answerInPieces(x *exchange, kind []byte, p *pieces) {
	p.server, p.conn, p.began = s, x.conn, x.began
	if p.conn != nil {
		p.conn.boundUnsent()
	}
	r := &x.ctx.Response
	r.SetStatusCode(fasthttp.StatusOK)
	r.Header.SetContentTypeBytes(kind)
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
	late := &holdsBack{to: c}
	head := "HTTP/1.1 200 OK\r\nDate: " + time.Unix(0, s.engine.Now()).UTC().Format(http.TimeFormat) + "\r\nContent-Type: " + string(kind) + "\r\nConnection: close\r\n\r\n"
	_, err := c.Write([]byte(head))
	if err == nil {
		_, err = p.WriteTo(late)
	}
	if err == nil {
		err = late.flush() // with the cursor
	}
	if err != nil && p.conn != nil {
		p.conn.reset()
	}
}

// holdsBack holds the last piece back, for with the end of an answer its cursor
// moves.
type holdsBack struct {
	to   io.Writer
	last []byte
}

func (h *holdsBack) Write(p []byte) (int, error) {
	if err := h.flush(); err != nil {
		return 0, err
	}
	h.last = append(h.last[:0], p...)
	return len(p), nil
}

func (h *holdsBack) flush() error {
	if len(h.last) == 0 {
		return nil
	}
	_, err := h.to.Write(h.last)
	return err
}

// pieces is the body of an answer that is written while it is made. fasthttp
// calls WriteTo once, on the goroutine of the connection, and Close afterwards
// in any case.
type pieces struct {
	server *Server
	conn   *conn
	began  time.Time
	run    func(*pieceWriter) error // writes all of it into one reader's own pieces, or:
	body   *body                    // is followed
	moves  *move                    // the cursor that moves when all of it has left; may be nil
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
	send := func(piece []byte) error {
		if time.Since(p.began) > p.server.options.StreamLimit {
			return errTooSlow
		}
		m, err := w.Write(piece)
		n += int64(m)
		return err
	}
	if p.body != nil {
		err = p.server.follow(p.body, send)
	} else {
		err = p.server.alone(send, p.run)
	}
	if err != nil {
		p.server.log.Debug("an answer was not sent whole", "error", err)
		return n, err
	}
	if p.moves != nil {
		p.advance()
	}
	return n, nil
}

// advance moves the cursor once the rest of the answer has left.
func (p *pieces) advance() {
	if p.conn != nil {
		p.conn.moveWithEnd(p.moves)
		return
	}
	p.moves.row.Advance(p.moves.to, p.moves.at)
}

// Close gives back what the answer held.
func (p *pieces) Close() error {
	if p.body != nil {
		p.server.bodies.leave(p.body)
		p.body = nil
	}
	return nil
}

var ownPieces = sync.Pool{New: func() any { return &pieceWriter{buf: make([]byte, 0, ownPieceSize+pieceSlack)} }}

// alone has an answer written for one reader.
func (s *Server) alone(send func([]byte) error, run func(*pieceWriter) error) error {
	if s.own.Add(1) > ownAtMost {
		s.own.Add(-1)
		return engine.ErrBusy
	}
	defer s.own.Add(-1)
	w := ownPieces.Get().(*pieceWriter)
	w.buf, w.size, w.own, w.send = w.buf[:0], ownPieceSize, true, send
	defer func() {
		if w.send = nil; cap(w.buf) <= 2*ownPieceSize {
			ownPieces.Put(w)
		}
	}()
	if err := run(w); err != nil {
		return err
	}
	return w.flush()
}

// ownAtMost is how many readers may be written to alone at once; later ones are
// cut off and come back.
const ownAtMost = 2048
