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

	// Of the request.
	core     *core
	conn     *conn     // nil in tests without a network
	stream   io.Reader // what is left of the body; nil: there is none
	response *fasthttp.Response
	encoding []byte
	length   int
	began    time.Time
	pending  bool // its client waits before it sends
	trusted  bool // its caller has shown who he is
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

// unhurried gives a body the time of the known.
func (b *requestBody) unhurried() {
	b.wire.known = b.conn
	b.wire.until = b.began.Add(b.core.UploadLimit)
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

// prepare prepares the body before anybody is asked for credentials: what is
// packed in an unknown way, or is not what it claims to be, is refused first
// (http-api.md section 1). The plan and the payer are kept until Serve returns. A
// body is read as it came where prepare is not called.
func (b *requestBody) prepare(plan *BodyPlan, p Payer) error {
	b.plan, b.payer = plan, p
	encoding := b.encoding
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
			if err := b.peel(); err != nil {
				return err
			}
		default:
			return errUnsupported
		}
	}
	return nil
}

// peel puts one more layer over the body, unless that has yet to come.
func (b *requestBody) peel() error {
	if b.pending {
		return nil
	}
	if b.from != nil {
		if err := b.claimUnpacking(len(b.layers) + 1); err != nil {
			return err
		}
		if b.hold.From == b.core.memory.known {
			b.unhurried()
		}
	}
	if err := b.unpack(b.bound()); err != nil {
		return b.intime(err)
	}
	return nil
}

// bound is how much a body may be, under every layer, in bytes.
func (b *requestBody) bound() int { return max(b.plan.Most, leastLayer) }

var unpackers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// unpack puts one more layer between the connection and the reader. No body is
// no gzip.
func (b *requestBody) unpack(limit int) error {
	if b.from == nil {
		return errBroken
	}
	r := unpackers.Get().(*gzip.Reader)
	if err := r.Reset(&capped{b.from, limit}); err != nil {
		unpackers.Put(r)
		return errBroken
	}
	b.layers = append(b.layers, r)
	b.from = r
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

// read reads the whole body. The bytes are the request's: good until Serve
// returns. With ErrTooLarge they are the beginning of the body, as much as is read;
// with any other error they mean nothing. What is made of them is to be paid for with
// afford.
func (b *requestBody) read() ([]byte, error) {
	limit := b.plan.Most
	if b.from == nil {
		return nil, nil
	}
	if err := b.claimWhole(); err != nil {
		return nil, err
	}
	buf := b.body[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, b.room(cap(buf))), buf...)
		}
		if err := b.claim(int64(cap(buf) + len(b.layers)*unpacking)); err != nil {
			return nil, err
		}
		n, err := b.from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		b.body = buf
		switch {
		case len(buf) > limit || errors.Is(err, ErrTooLarge):
			return buf[:min(len(buf), limit)], ErrTooLarge
		case errors.Is(err, io.EOF):
			return buf, b.complete(len(buf))
		case err != nil:
			return nil, b.intime(readProblem(err))
		}
	}
}

// room is how large the buffer of a body that fills this one should be: twice as
// large, or as large as the body is said to be, but never more than firstRead on
// somebody's word alone.
func (b *requestBody) room(full int) int {
	next := max(2*full, 4<<10)
	if length := b.length; length >= full && len(b.layers) == 0 {
		if b.hold.Taken() > int64(length) {
			return length + 1 // it is paid for
		}
		next = min(length+1, max(next, firstRead)) // one more than the body, to see its end
	}
	return min(next, max(b.plan.Most, full)+1)
}

// complete tells a body that ended from one whose connection did.
func (b *requestBody) complete(n int) error {
	length := b.length
	if len(b.layers) == 0 && length > n {
		return &BrokenBody{io.ErrUnexpectedEOF.Error()}
	}
	return nil
}

// intime gives the error for a body that could not be read: another when that took
// too long.
func (b *requestBody) intime(err error) error {
	if b.conn == nil || !b.conn.in.late {
		return err
	}
	text := TextTimeout
	if w := &b.wire; w.known != nil && time.Now().Before(w.until) {
		text = fmt.Sprintf("nothing more of the request came for %s: send it again", b.core.ReadStall)
	} else if w.known != nil {
		text = fmt.Sprintf("the request took longer than %s: send less at once", b.core.UploadLimit)
	}
	b.response.SetConnectionClose()
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
func (b *requestBody) purse() *budget.Purse {
	h := &b.hold
	if h.From != nil {
		return h.From
	}
	if h.Of.Name = b.payer.Shown(); h.Of.Name != "" {
		h.From = b.core.memory.known
	} else {
		client, known := b.payer.Stranger()
		h.Of = b.core.strangersAt(client)
		h.From = b.core.memory.strangers[standing(known)]
	}
	return h.From
}

// standing is 1 where the store knows somebody at the caller's address, else 0.
func standing(known bool) int {
	if known {
		return 1
	}
	return 0
}

// noRoom refuses a body.
func (b *requestBody) noRoom(why Reason) error {
	client, _ := b.payer.Stranger()
	b.core.owner.Refused(why, client)
	return ErrNoMemory
}

// claimWhole takes at once what a body of the known is said to take, and waits
// for it: half a body in memory that then finds no room helps nobody.
func (b *requestBody) claimWhole() error {
	length, h := int64(b.length), &b.hold
	if length < AsIs || len(b.layers) > 0 || length > int64(b.plan.Most) {
		return nil
	}
	p := b.purse()
	if p != b.core.memory.known {
		return nil
	}
	n := stepped(length + 1)
	if n > p.Most() {
		return ErrTooLarge
	}
	if !h.Await(n, b.core.Patience.Body, b.core.life.Done()) {
		return b.noRoom(NoBodyMemory)
	}
	return nil
}

// claim takes memory as a body grows.
func (b *requestBody) claim(size int64) error {
	h := &b.hold
	if size <= AsIs || size <= h.Taken() || h.wide != nil && size <= wideBody {
		return nil
	}
	p := b.purse()
	if p != b.core.memory.known && size > int64(largestOfStrangers+len(b.layers)*unpacking) {
		_, known := b.payer.Stranger()
		wide := &b.core.memory.wide[standing(known)]
		if h.wide == nil && !wide.take() {
			return b.noRoom(NoStrangerMemory)
		}
		h.wide = wide
		return nil
	}
	switch {
	case h.Take(stepped(size - h.Taken())):
		return nil
	case p == b.core.memory.known:
		return b.noRoom(NoBodyMemory)
	}
	return b.noRoom(NoStrangerMemory)
}

func stepped(n int64) int64 { return (n + step - 1) / step * step }

// claimUnpacking takes what so many layers of compression take. The first is
// waited for: a body of the known that is packed has taken nothing before.
func (b *requestBody) claimUnpacking(layers int) error {
	p, n := b.purse(), int64(layers*unpacking)
	if p == b.core.memory.known && layers == 1 {
		if n <= p.Most() && !b.hold.Await(stepped(n), b.core.Patience.Body, b.core.life.Done()) {
			return b.noRoom(NoBodyMemory)
		}
		return nil
	}
	return b.claim(n)
}

// afford takes what the body will take once it is read: a few bytes can
// be an element of a list, which takes many. What would not fit even if it were
// the only one is too large; it would be sent again for ever if it were told to
// come back.
func (b *requestBody) afford(body []byte) error {
	if b.from == nil {
		return nil
	}
	each, most := b.plan.Element, b.core.memory.known.Most()
	if b.plan.BeforeLogin {
		most = wideBody
	}
	size := int64(len(body)) + int64(len(b.layers)*unpacking) + each*int64(bytes.Count(body, []byte{','}))
	if size > most {
		return ErrTooLarge
	}
	return b.claim(size)
}

// drain reads what is left of a body that was not read to its end, for the next
// request begins behind it. What takes too long to read closes the connection.
// So does what is broken: nobody knows where the next request would begin.
func (b *requestBody) drain() {
	rest := &b.wire
	if !b.trusted {
		rest.known = nil
		b.hurry()
	}
	if rest.stream = b.stream; rest.stream == nil || b.response.ConnectionClose() {
		return
	}
	scratch := b.core.drains.Get().(*[drainStep]byte)
	defer b.core.drains.Put(scratch)
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
	b.response.SetConnectionClose()
}

// hurry gives the rest of a stranger's body that much time.
func (b *requestBody) hurry() {
	if b.conn != nil && b.stream != nil {
		b.conn.hasten(b.core.Patience.Stranger)
	}
}

// release gives everything back.
func (b *requestBody) release() {
	for _, r := range b.layers {
		unpackers.Put(r)
	}
	clear(b.layers)
	b.layers = b.layers[:0]
	if cap(b.body) > AsIs {
		b.body = nil
	}
	b.hold.release()
	*b = requestBody{core: b.core, layers: b.layers, body: b.body}
}

// keep gives away what the body takes, with the body.
func (b *requestBody) keep() hold {
	h := b.hold
	b.hold, b.body = hold{}, nil
	return h
}
