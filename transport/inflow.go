package transport

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fasthttp"

	"lapid/engine"
	"lapid/transport/wire"
)

const (
	// largestAsIs is how much a request takes without asking the budget.
	largestAsIs = 16 << 10
	// step is by how much a request's share of the budget grows.
	step = 16 << 10
	// firstRead is how much room is made for a body on the word of the client.
	firstRead = 64 << 10
	// perElement is what an element of a list or an object takes once it is read,
	// in bytes, besides its text: the most that was measured (TestBombs), for
	// lists of empty objects. Elements of real reports take less.
	perElement = 128
	// drainAtMost is how much of a body that nobody wants is read anyway, so
	// that the client sees the answer instead of a reset connection. It is more
	// than the limit before login, so that one who just exceeds that is told.
	drainAtMost = 4 << 20
	// deepestGzip is how often a body may have been compressed.
	deepestGzip = 4
)

var (
	errBroken      = &answer{status: fasthttp.StatusBadRequest}
	errUnsupported = &answer{status: fasthttp.StatusUnsupportedMediaType}
	errBodies      = &engine.Error{Kind: engine.ErrBusy, Text: "too many large requests at once"}
)

// inflow is the body of a request on its way in. It is unpacked as it is read,
// every layer under the same limit, so that no bomb goes off.
type inflow struct {
	wire    wireBody
	from    io.Reader // the wire or the uppermost layer; nil: there is no body
	layers  []*gzip.Reader
	body    []byte // the scratch it was read into
	claimed int64  // taken from the server's budget
	given   *bodyBudget
}

// wireBody is the body as it comes off the wire. Once it cannot be told where it
// ends it stays broken: whatever is read next could be anything.
type wireBody struct {
	stream io.Reader
	broken error
}

func (w *wireBody) Read(p []byte) (int, error) {
	if w.broken != nil {
		return 0, w.broken
	}
	n, err := w.stream.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.broken = err
	}
	return n, err
}

// open prepares the body before anybody is asked for credentials: what is
// packed in an unknown way, or is not what it claims to be, is refused first
// (http-api.md section 1).
func (x *exchange) open(s *Server) error {
	x.inflow.given = &s.budget
	if stream := x.ctx.RequestBodyStream(); stream != nil {
		x.inflow.wire.stream = stream
		x.inflow.from = &x.inflow.wire
	}
	encoding := x.ctx.Request.Header.ContentEncoding()
	if len(encoding) == 0 || !bytes.Contains(encoding, []byte("gzip")) || x.route.path == healthPath {
		return nil
	}
	words := strings.Split(strings.ToLower(string(encoding)), ",")
	if len(words) > deepestGzip {
		return errUnsupported
	}
	for _, word := range words {
		switch strings.TrimSpace(word) {
		case "":
		case "gzip":
			if err := x.inflow.unpack(max(x.route.body, smallBody)); err != nil {
				return err
			}
		default:
			return errUnsupported
		}
	}
	return nil
}

var unpackers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// unpack puts one more layer between the connection and the reader. No body is
// no gzip.
func (in *inflow) unpack(limit int) error {
	if in.from == nil {
		return errBroken
	}
	r := unpackers.Get().(*gzip.Reader)
	if err := r.Reset(&capped{in.from, limit}); err != nil {
		unpackers.Put(r)
		return errBroken
	}
	in.layers = append(in.layers, r)
	in.from = r
	return nil
}

// capped ends with wire.ErrTooLarge when more than left bytes come.
type capped struct {
	from io.Reader
	left int
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	if c.left -= n; c.left < 0 {
		return 0, wire.ErrTooLarge
	}
	return n, err
}

// body reads the whole body. The bytes are the exchange's: good until it is
// finished. The error is the contract's for a body that is broken, cut off, or so
// large that its first JSON value, which is all that counts, does not end in time.
func (x *exchange) body() ([]byte, error) {
	in, limit := &x.inflow, x.route.body
	if in.from == nil {
		return nil, nil
	}
	buf := in.body[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, x.room(cap(buf))), buf...)
		}
		if err := in.claim(int64(cap(buf))); err != nil {
			return nil, err
		}
		n, err := in.from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		in.body = buf
		switch {
		case len(buf) > limit || errors.Is(err, wire.ErrTooLarge):
			buf, err = enough(buf[:min(len(buf), limit)])
		case errors.Is(err, io.EOF):
			err = x.complete(len(buf))
		case err != nil:
			err = readProblem(err)
		default:
			continue
		}
		if err == nil {
			err = in.claimElements(buf)
		}
		return buf, err
	}
}

// room is how large the buffer of a body that fills this one should be: twice as
// large, or as large as the body is said to be, but never more than firstRead on
// somebody's word alone.
func (x *exchange) room(full int) int {
	next := max(2*full, 4<<10)
	if length := x.ctx.Request.Header.ContentLength(); length >= full && len(x.inflow.layers) == 0 {
		next = min(length+1, max(next, firstRead)) // one more than the body, to see its end
	}
	return min(next, max(x.route.body, full)+1)
}

// enough gives the beginning of a body that is too large, if that settles what
// it says.
func enough(beginning []byte) ([]byte, error) {
	if !wire.Settled(beginning) {
		return nil, wire.ErrTooLarge
	}
	return beginning, nil
}

// complete tells a body that ended from one whose connection did.
func (x *exchange) complete(n int) error {
	length := x.ctx.Request.Header.ContentLength()
	if len(x.inflow.layers) == 0 && length > n {
		return &wire.Error{Kind: wire.KindSyntax, Text: io.ErrUnexpectedEOF.Error()}
	}
	return nil
}

func readProblem(err error) error {
	text := err.Error()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		text = io.ErrUnexpectedEOF.Error()
	}
	return &wire.Error{Kind: wire.KindSyntax, Text: text}
}

// claim takes memory from the server's budget as a body grows.
func (in *inflow) claim(size int64) error {
	if size <= largestAsIs || size <= in.claimed {
		return nil
	}
	more := (size - in.claimed + step - 1) / step * step
	if !in.given.take(more) {
		return errBodies
	}
	in.claimed += more
	return nil
}

// claimElements takes what the body will take once it is read: a few bytes can
// be an element of a list, which takes many. What would not fit even if it were
// the only one is too large; it would be sent again for ever if it were told to
// come back.
func (in *inflow) claimElements(body []byte) error {
	size := int64(cap(body)) + perElement*int64(bytes.Count(body, []byte{','}))
	if size > in.given.most {
		return wire.ErrTooLarge
	}
	return in.claim(size)
}

// drain reads what is left of a body that was not read to its end, for the next
// request begins behind it. What takes too long to read closes the connection.
// So does what is broken: nobody knows where the next request would begin.
func (x *exchange) drain(s *Server) {
	rest := &x.inflow.wire
	if rest.stream = x.ctx.RequestBodyStream(); rest.stream == nil || x.ctx.Response.ConnectionClose() {
		return
	}
	scratch := s.drains.Get().(*[drainStep]byte)
	defer s.drains.Put(scratch)
	for read := 0; read < drainAtMost; {
		n, err := rest.Read(scratch[:])
		read += n
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			break
		}
	}
	x.ctx.SetConnectionClose()
}

const drainStep = 4 << 10

// release gives everything back.
func (in *inflow) release() {
	for _, r := range in.layers {
		unpackers.Put(r)
	}
	clear(in.layers)
	in.layers = in.layers[:0]
	in.body = keep(in.body)
	if in.claimed > 0 {
		in.given.give(in.claimed)
	}
	in.wire, in.from, in.claimed, in.given = wireBody{}, nil, 0, nil
}
