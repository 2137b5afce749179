package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fasthttp"

	"lapid/transport/budget"
	"lapid/transport/wire"
)

const (
	// largestAsIs is how much a request takes without asking for it. What a request
	// leaves behind for the next one is not more.
	largestAsIs = 16 << 10
	// step is by how much grows what a request takes.
	step = 16 << 10
	// largestOfStrangers is how much the body of somebody who has not logged in may
	// take like everybody's: far more than any login. Of wider ones there is one at a
	// time, and one more from addresses where the store knows somebody.
	largestOfStrangers = 64 << 10
	// wideBody is how much such a wide body takes.
	wideBody = smallBody + smallBody/2
	// unpacking is what a layer of compression takes.
	unpacking = 48 << 10
	// firstRead is how much room is made for a body on the word of the client.
	firstRead = 64 << 10
	// perElement is what an element of a list or an object takes once it is read,
	// in bytes, besides its text: the most that was measured (TestBombs), for
	// lists of empty objects. Elements of real reports take less.
	perElement = 128
	// perName is the same in a login, which has a list of names and nothing else.
	perName = 32
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
)

// inflow is the body of a request on its way in. It is unpacked as it is read,
// every layer under the same limit, so that no bomb goes off.
type inflow struct {
	wire   wireBody
	from   io.Reader // the wire or the uppermost layer; nil: there is no body
	layers []*gzip.Reader
	body   []byte // the scratch it was read into
	hold   hold   // what it takes
}

// wireBody is the body as it comes off the wire. Once it cannot be told where it
// ends it stays broken: whatever is read next could be anything.
type wireBody struct {
	stream io.Reader
	broken error
	known  *conn     // of somebody who has shown who he is; nil: nobody has
	until  time.Time // and the whole body is there then, or it is too late
}

func (w *wireBody) Read(p []byte) (int, error) {
	if w.broken != nil {
		return 0, w.broken
	}
	if w.known != nil {
		w.known.await(w.until)
	}
	n, err := w.stream.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.broken = err
	}
	return n, err
}

// await gives the next bytes of a body the time that its sender may say nothing.
// What counts is that it goes on, not how fast: a log processor behind a thin line
// would send again, and more, what was refused for its slowness.
func (c *conn) await(until time.Time) {
	t := time.Now().Add(c.server.options.ReadStall)
	if until.Before(t) {
		t = until
	}
	_ = c.SetReadDeadline(t) // refused: the connection is over, which Read says
}

// unhurried gives a body the time of the known.
func (x *exchange) unhurried(s *Server) {
	x.inflow.wire.known = x.conn
	x.inflow.wire.until = x.began.Add(s.options.UploadLimit)
}

// open prepares the body before anybody is asked for credentials: what is
// packed in an unknown way, or is not what it claims to be, is refused first
// (http-api.md section 1).
func (x *exchange) open(s *Server) error {
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
			if err := x.peel(s); err != nil {
				return err
			}
		default:
			return errUnsupported
		}
	}
	return nil
}

// peel puts one more layer over the body, unless that has yet to come.
func (x *exchange) peel(s *Server) error {
	if x.asks {
		return nil
	}
	if x.inflow.from != nil {
		if err := x.claimUnpacking(s, len(x.inflow.layers)+1); err != nil {
			return err
		}
		if x.inflow.hold.From == s.purses.known {
			x.unhurried(s)
		}
	}
	if err := x.inflow.unpack(x.bound()); err != nil {
		return x.intime(s, err)
	}
	return nil
}

// bound is how much a body may be, under every layer, in bytes.
func (x *exchange) bound() int { return max(x.route.body, smallBody) }

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
func (x *exchange) body(s *Server) ([]byte, error) {
	in, limit := &x.inflow, x.route.body
	if in.from == nil {
		return nil, nil
	}
	if err := x.claimWhole(s); err != nil {
		return nil, err
	}
	buf := in.body[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, x.room(cap(buf))), buf...)
		}
		if err := x.claim(s, int64(cap(buf)+len(in.layers)*unpacking)); err != nil {
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
			err = x.intime(s, readProblem(err))
		default:
			continue
		}
		if err == nil {
			err = x.claimElements(s, buf)
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
		if x.inflow.hold.Taken() > int64(length) {
			return length + 1 // it is paid for
		}
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

// intime gives the error for a body that could not be read: another when that took
// too long.
func (x *exchange) intime(s *Server, err error) error {
	if x.conn == nil || !x.conn.in.late {
		return err
	}
	text := textTimeout
	if w := &x.inflow.wire; w.known != nil && time.Now().Before(w.until) {
		text = fmt.Sprintf("nothing more of the request came for %s: send it again", s.options.ReadStall)
	} else if w.known != nil {
		text = fmt.Sprintf("the request took longer than %s: send less at once", s.options.UploadLimit)
	}
	x.ctx.SetConnectionClose()
	return &answer{fasthttp.StatusRequestTimeout, text}
}

func readProblem(err error) error {
	text := err.Error()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		text = io.ErrUnexpectedEOF.Error()
	}
	return &wire.Error{Kind: wire.KindSyntax, Text: text}
}

// purse finds out of which purse a body is paid: that of the known for a machine
// or a bouncer who has shown who he is, else a stranger's. It is asked once for
// each body that is not small, for a packed one before anybody is admitted.
func (x *exchange) purse(s *Server) *budget.Purse {
	h := &x.inflow.hold
	if h.From != nil {
		return h.From
	}
	if h.Of.Name = x.shown(s); h.Of.Name != "" {
		h.From = s.purses.known
	} else {
		h.Of = strangersAt(x.client)
		h.From = s.purses.strangers[s.standing(x)]
	}
	return h.From
}

// shown is who the caller has shown to be, with a letter for the kind; "" for
// strangers. Nobody is written down by that.
func (x *exchange) shown(s *Server) string {
	switch {
	case x.route.who == anyone:
		return ""
	case x.machine != "":
		return "m" + x.machine
	case x.bouncer != nil:
		return "b" + x.bouncer.Load().Name
	}
	if id, err := s.gate.Machine(x.authorization(), x.cookie()); err == nil {
		return "m" + id
	}
	h := &x.ctx.Request.Header
	if row := s.gate.KnownBouncer(h.Peek("X-Api-Key"), x.client, h.UserAgent()); row != nil {
		return "b" + row.Load().Name
	}
	return ""
}

// standing is 1 where the store knows somebody at the caller's address, else 0.
func (s *Server) standing(x *exchange) int {
	if x.socket || s.gate.Knows(x.client) {
		return 1
	}
	return 0
}

// claimWhole takes at once what a body of the known is said to take, and waits
// for it: half a body in memory that then finds no room helps nobody.
func (x *exchange) claimWhole(s *Server) error {
	length, h := int64(x.ctx.Request.Header.ContentLength()), &x.inflow.hold
	if length < largestAsIs || len(x.inflow.layers) > 0 || length > int64(x.route.body) {
		return nil
	}
	p := x.purse(s)
	if p != s.purses.known {
		return nil
	}
	n := stepped(length + 1)
	if n > p.Most() {
		return wire.ErrTooLarge
	}
	if !h.Await(n, s.bodyPatience, s.life.Done()) {
		return s.noRoom(x, noBodyMemory)
	}
	return nil
}

// claim takes memory as a body grows.
func (x *exchange) claim(s *Server, size int64) error {
	h := &x.inflow.hold
	if size <= largestAsIs || size <= h.Taken() || h.wide != nil && size <= wideBody {
		return nil
	}
	p := x.purse(s)
	if p != s.purses.known && size > int64(largestOfStrangers+len(x.inflow.layers)*unpacking) {
		wide := &s.purses.wide[s.standing(x)]
		if h.wide == nil && !wide.take() {
			return s.noRoom(x, noStrangerMemory)
		}
		h.wide = wide
		return nil
	}
	switch {
	case h.Take(stepped(size - h.Taken())):
		return nil
	case p == s.purses.known:
		return s.noRoom(x, noBodyMemory)
	}
	return s.noRoom(x, noStrangerMemory)
}

func stepped(n int64) int64 { return (n + step - 1) / step * step }

// claimUnpacking takes what so many layers of compression take. The first is
// waited for: a body of the known that is packed has taken nothing before.
func (x *exchange) claimUnpacking(s *Server, layers int) error {
	p, n := x.purse(s), int64(layers*unpacking)
	if p == s.purses.known && layers == 1 {
		if n <= p.Most() && !x.inflow.hold.Await(stepped(n), s.bodyPatience, s.life.Done()) {
			return s.noRoom(x, noBodyMemory)
		}
		return nil
	}
	return x.claim(s, n)
}

// claimElements takes what the body will take once it is read: a few bytes can
// be an element of a list, which takes many. What would not fit even if it were
// the only one is too large; it would be sent again for ever if it were told to
// come back.
func (x *exchange) claimElements(s *Server, body []byte) error {
	each, most := int64(perElement), s.purses.known.Most()
	if x.route.body == smallBody {
		each, most = perName, wideBody
	}
	size := int64(len(body)) + int64(len(x.inflow.layers)*unpacking) + each*int64(bytes.Count(body, []byte{','}))
	if size > most {
		return wire.ErrTooLarge
	}
	return x.claim(s, size)
}

// drain reads what is left of a body that was not read to its end, for the next
// request begins behind it. What takes too long to read closes the connection.
// So does what is broken: nobody knows where the next request would begin.
func (x *exchange) drain(s *Server) {
	rest := &x.inflow.wire
	if x.machine == "" && x.bouncer == nil {
		rest.known = nil
		x.hurry(s)
	}
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

// strangerPatience is how long somebody who has not shown who he is may take for
// a request: nobody logs in at leisure.
const strangerPatience = 15 * time.Second

// received looks at the headers of a request. A body is waited for as long as one may
// stall, and what comes of it then shows how to go on: whoever is known has that time
// again and again (await), strangers have it once (hurry). To a login and a
// registration the time of strangers is all there is, for nobody is known before.
func (s *Server) received(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	c := headerReceived(h)
	expectation(h)
	switch {
	case bytes.HasPrefix(h.RequestURI(), loginPaths):
		c.ReadTimeout = min(s.strangerPatience, s.options.ReadTimeout)
	case h.ContentLength() > 0:
		c.ReadTimeout = min(s.options.ReadStall, s.options.ReadTimeout)
	}
	return c
}

var loginPaths = []byte("/v1/watchers")

// hurry gives the rest of a stranger's body that much time.
func (x *exchange) hurry(s *Server) {
	if x.conn != nil && x.ctx.RequestBodyStream() != nil {
		x.conn.hasten(s.strangerPatience)
	}
}

// release gives everything back.
func (in *inflow) release() {
	for _, r := range in.layers {
		unpackers.Put(r)
	}
	clear(in.layers)
	in.layers = in.layers[:0]
	if cap(in.body) > largestAsIs {
		in.body = nil
	}
	in.hold.release()
	in.wire, in.from = wireBody{}, nil
}
