package conn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fasthttp"

	"lapid/transport/budget"
)

const (
	// AsIs is how much a request takes without asking for it. What a request
	// leaves behind for the next one is not more.
	AsIs = 16 << 10
	// step is by how much grows what a request takes.
	step = 16 << 10
	// largestOfStrangers is how much the body of somebody who has not logged in may
	// take like everybody's: far more than any login. Of wider ones there is one at a
	// time, and one more from addresses where the store knows somebody.
	largestOfStrangers = 64 << 10
	// leastLayer is how much may come out of a layer of compression, also where
	// nothing of the body is read.
	leastLayer = 2 << 20
	// wideBody is how much such a wide body takes.
	wideBody = leastLayer + leastLayer/2
	// unpacking is what a layer of compression takes.
	unpacking = 48 << 10
	// firstRead is how much room is made for a body on the word of the client.
	firstRead = 64 << 10
	// drainAtMost is how much of a body that nobody wants is read anyway, so
	// that the client sees the answer instead of a reset connection. It is more
	// than the limit before login, so that one who just exceeds that is told.
	drainAtMost = 4 << 20
	// deepestGzip is how often a body may have been compressed.
	deepestGzip = 4
)

var (
	errBroken      = &Refusal{Status: fasthttp.StatusBadRequest}
	errUnsupported = &Refusal{Status: fasthttp.StatusUnsupportedMediaType}
)

// requestBody is the body of a request on its way in. It is unpacked as it is read,
// every layer under the same limit, so that no bomb goes off.
type requestBody struct {
	wire   wireBody
	from   io.Reader // the wire or the uppermost layer; nil: there is no body
	layers []*gzip.Reader
	body   []byte // the scratch it was read into
	hold   hold   // what it takes
	plan   *BodyPlan
	payer  Payer
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
	t := time.Now().Add(c.front.options.ReadStall)
	if until.Before(t) {
		t = until
	}
	_ = c.SetReadDeadline(t) // refused: the connection is over, which Read says
}

// unhurried gives a body the time of the known.
func (r *Request) unhurried() {
	r.body.wire.known = r.conn
	r.body.wire.until = r.Began.Add(r.front.options.UploadLimit)
}

// BodyPlan is what a handler makes of a body.
type BodyPlan struct {
	Most        int   // bytes that are read of it, unpacked; 0: none
	BeforeLogin bool  // what is sent by callers who have yet to show who they are
	Element     int64 // what an element of a list takes once it is read, in bytes, besides its text
}

// Payer says who pays for a body that takes memory: it is asked once about each, on
// the goroutine that serves the request.
type Payer interface {
	// Shown is who the caller has shown to be, with a letter for the kind; "": nobody.
	Shown() string
	// Stranger is where a caller is who has not, and whether the store knows somebody
	// there.
	Stranger() (client netip.Addr, known bool)
}

// Errors of reading a body, besides *Refusal and *BrokenBody.
var (
	// ErrTooLarge: more comes than is read, or than there is memory for.
	ErrTooLarge = errors.New("the body is too large")
	// ErrNoMemory: there is none for the body now. The owner was told.
	ErrNoMemory = errors.New("no memory for a body")
)

// BrokenBody is a body that could not be read to its end.
type BrokenBody struct{ Text string }

func (e *BrokenBody) Error() string { return e.Text }

// Unpack prepares the body before anybody is asked for credentials: what is
// packed in an unknown way, or is not what it claims to be, is refused first
// (http-api.md section 1). The plan and the payer are kept until Serve returns. A
// body is read as it came where Unpack is not called.
func (r *Request) Unpack(plan *BodyPlan, p Payer) error {
	r.body.plan, r.body.payer = plan, p
	encoding := r.Encoding
	if len(encoding) == 0 || !bytes.Contains(encoding, []byte("gzip")) {
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
			if err := r.peel(); err != nil {
				return err
			}
		default:
			return errUnsupported
		}
	}
	return nil
}

// peel puts one more layer over the body, unless that has yet to come.
func (r *Request) peel() error {
	if r.Pending {
		return nil
	}
	if r.body.from != nil {
		if err := r.claimUnpacking(len(r.body.layers) + 1); err != nil {
			return err
		}
		if r.body.hold.From == r.front.memory.known {
			r.unhurried()
		}
	}
	if err := r.body.unpack(r.bound()); err != nil {
		return r.intime(err)
	}
	return nil
}

// bound is how much a body may be, under every layer, in bytes.
func (r *Request) bound() int { return max(r.body.plan.Most, leastLayer) }

var unpackers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// unpack puts one more layer between the connection and the reader. No body is
// no gzip.
func (in *requestBody) unpack(limit int) error {
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

// capped ends with ErrTooLarge when more than left bytes come.
type capped struct {
	from io.Reader
	left int
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	if c.left -= n; c.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}

// ReadBody reads the whole body. The bytes are the request's: good until Serve
// returns. With ErrTooLarge they are the beginning of the body, as much as is read;
// with any other error they mean nothing. What is made of them is to be paid for with
// Afford.
func (r *Request) ReadBody() ([]byte, error) {
	in, limit := &r.body, r.body.plan.Most
	if in.from == nil {
		return nil, nil
	}
	if err := r.claimWhole(); err != nil {
		return nil, err
	}
	buf := in.body[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, r.room(cap(buf))), buf...)
		}
		if err := r.claim(int64(cap(buf) + len(in.layers)*unpacking)); err != nil {
			return nil, err
		}
		n, err := in.from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		in.body = buf
		switch {
		case len(buf) > limit || errors.Is(err, ErrTooLarge):
			return buf[:min(len(buf), limit)], ErrTooLarge
		case errors.Is(err, io.EOF):
			return buf, r.complete(len(buf))
		case err != nil:
			return nil, r.intime(readProblem(err))
		}
	}
}

// room is how large the buffer of a body that fills this one should be: twice as
// large, or as large as the body is said to be, but never more than firstRead on
// somebody's word alone.
func (r *Request) room(full int) int {
	next := max(2*full, 4<<10)
	if length := r.Length; length >= full && len(r.body.layers) == 0 {
		if r.body.hold.Taken() > int64(length) {
			return length + 1 // it is paid for
		}
		next = min(length+1, max(next, firstRead)) // one more than the body, to see its end
	}
	return min(next, max(r.body.plan.Most, full)+1)
}

// complete tells a body that ended from one whose connection did.
func (r *Request) complete(n int) error {
	length := r.Length
	if len(r.body.layers) == 0 && length > n {
		return &BrokenBody{io.ErrUnexpectedEOF.Error()}
	}
	return nil
}

// intime gives the error for a body that could not be read: another when that took
// too long.
func (r *Request) intime(err error) error {
	if r.conn == nil || !r.conn.in.late {
		return err
	}
	text := TextTimeout
	if w := &r.body.wire; w.known != nil && time.Now().Before(w.until) {
		text = fmt.Sprintf("nothing more of the request came for %s: send it again", r.front.options.ReadStall)
	} else if w.known != nil {
		text = fmt.Sprintf("the request took longer than %s: send less at once", r.front.options.UploadLimit)
	}
	r.answer.Close()
	return &Refusal{fasthttp.StatusRequestTimeout, text}
}

func readProblem(err error) error {
	text := err.Error()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		text = io.ErrUnexpectedEOF.Error()
	}
	return &BrokenBody{text}
}

// purse finds out of which purse a body is paid: that of the known for a machine
// or a bouncer who has shown who he is, else a stranger's. It is asked once for
// each body that is not small, for a packed one before anybody is admitted.
func (r *Request) purse() *budget.Purse {
	h := &r.body.hold
	if h.From != nil {
		return h.From
	}
	if h.Of.Name = r.body.payer.Shown(); h.Of.Name != "" {
		h.From = r.front.memory.known
	} else {
		client, known := r.body.payer.Stranger()
		h.Of = r.front.strangersAt(client)
		h.From = r.front.memory.strangers[standing(known)]
	}
	return h.From
}

// strangersAt is whose bodies count together before anybody has shown who he is.
func (f *Front) strangersAt(client netip.Addr) budget.Holder {
	return budget.Holder{Place: f.options.Owner.PlaceOf(client)}
}

// standing is 1 where the store knows somebody at the caller's address, else 0.
func standing(known bool) int {
	if known {
		return 1
	}
	return 0
}

// noRoom refuses a body.
func (r *Request) noRoom(why Reason) error {
	client, _ := r.body.payer.Stranger()
	r.front.options.Owner.Refused(why, client)
	return ErrNoMemory
}

// claimWhole takes at once what a body of the known is said to take, and waits
// for it: half a body in memory that then finds no room helps nobody.
func (r *Request) claimWhole() error {
	length, h := int64(r.Length), &r.body.hold
	if length < AsIs || len(r.body.layers) > 0 || length > int64(r.body.plan.Most) {
		return nil
	}
	p := r.purse()
	if p != r.front.memory.known {
		return nil
	}
	n := stepped(length + 1)
	if n > p.Most() {
		return ErrTooLarge
	}
	if !h.Await(n, r.front.options.Patience.Body, r.front.life.Done()) {
		return r.noRoom(NoBodyMemory)
	}
	return nil
}

// claim takes memory as a body grows.
func (r *Request) claim(size int64) error {
	h := &r.body.hold
	if size <= AsIs || size <= h.Taken() || h.wide != nil && size <= wideBody {
		return nil
	}
	p := r.purse()
	if p != r.front.memory.known && size > int64(largestOfStrangers+len(r.body.layers)*unpacking) {
		_, known := r.body.payer.Stranger()
		wide := &r.front.memory.wide[standing(known)]
		if h.wide == nil && !wide.take() {
			return r.noRoom(NoStrangerMemory)
		}
		h.wide = wide
		return nil
	}
	switch {
	case h.Take(stepped(size - h.Taken())):
		return nil
	case p == r.front.memory.known:
		return r.noRoom(NoBodyMemory)
	}
	return r.noRoom(NoStrangerMemory)
}

func stepped(n int64) int64 { return (n + step - 1) / step * step }

// claimUnpacking takes what so many layers of compression take. The first is
// waited for: a body of the known that is packed has taken nothing before.
func (r *Request) claimUnpacking(layers int) error {
	p, n := r.purse(), int64(layers*unpacking)
	if p == r.front.memory.known && layers == 1 {
		if n <= p.Most() && !r.body.hold.Await(stepped(n), r.front.options.Patience.Body, r.front.life.Done()) {
			return r.noRoom(NoBodyMemory)
		}
		return nil
	}
	return r.claim(n)
}

// Afford takes what the body will take once it is read: a few bytes can
// be an element of a list, which takes many. What would not fit even if it were
// the only one is too large; it would be sent again for ever if it were told to
// come back.
func (r *Request) Afford(body []byte) error {
	if r.body.from == nil {
		return nil
	}
	each, most := r.body.plan.Element, r.front.memory.known.Most()
	if r.body.plan.BeforeLogin {
		most = wideBody
	}
	size := int64(len(body)) + int64(len(r.body.layers)*unpacking) + each*int64(bytes.Count(body, []byte{','}))
	if size > most {
		return ErrTooLarge
	}
	return r.claim(size)
}

// Drain reads what is left of a body that was not read to its end, for the next
// request begins behind it. What takes too long to read closes the connection.
// So does what is broken: nobody knows where the next request would begin.
func (r *Request) Drain() {
	if r.ctx == nil {
		return
	}
	rest := &r.body.wire
	if !r.trusted {
		rest.known = nil
		r.hurry()
	}
	if rest.stream = r.ctx.RequestBodyStream(); rest.stream == nil || r.answer.response.ConnectionClose() {
		return
	}
	scratch := r.front.drains.Get().(*[drainStep]byte)
	defer r.front.drains.Put(scratch)
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
	r.answer.Close()
}

const drainStep = 4 << 10

// received looks at the headers of a request. A body is waited for as long as one may
// stall, and what comes of it then shows how to go on: whoever is known has that time
// again and again (await), strangers have it once (hurry). To a login and a
// registration the time of strangers is all there is, for nobody is known before.
func (f *Front) received(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	c := headerReceived(h)
	expectation(h)
	switch {
	case bytes.HasPrefix(h.RequestURI(), loginPaths):
		c.ReadTimeout = min(f.options.Patience.Stranger, f.options.ReadTimeout)
	case h.ContentLength() > 0:
		c.ReadTimeout = min(f.options.ReadStall, f.options.ReadTimeout)
	}
	return c
}

var loginPaths = []byte("/v1/watchers")

// hurry gives the rest of a stranger's body that much time.
func (r *Request) hurry() {
	if r.conn != nil && r.ctx.RequestBodyStream() != nil {
		r.conn.hasten(r.front.options.Patience.Stranger)
	}
}

// release gives everything back.
func (in *requestBody) release() {
	for _, r := range in.layers {
		unpackers.Put(r)
	}
	clear(in.layers)
	in.layers = in.layers[:0]
	if cap(in.body) > AsIs {
		in.body = nil
	}
	in.hold.release()
	in.wire, in.from, in.plan, in.payer = wireBody{}, nil, nil, nil
}
