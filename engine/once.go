package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"sync"
)

// RequestID names a request that one node passes on to another, for it may come there more than
// once: when the writer dies before it answers, or an answer is lost. What is written under an id
// is written once, and whoever asks again is told what the first was told. The state keeps so many
// ids (requestsAtMost), and of those it has forgotten the highest After: an id that is not
// above it may be one of them, and is refused. So no clock decides. The zero RequestID names none.
type RequestID struct {
	After Revision // what the node had applied where the request came first
	Name  [8]byte  // by chance
}

// RequestIDSize is how many bytes an id is written in.
const RequestIDSize = 16

// NewRequest names a request that has come to this node.
func (e *Engine) NewRequest() (RequestID, error) {
	id := RequestID{After: e.View().revision}
	if _, err := rand.Read(id.Name[:]); err != nil {
		return RequestID{}, fmt.Errorf("naming a request: %w", err)
	}
	return id, nil
}

// IsZero reports whether the id names none.
func (id RequestID) IsZero() bool { return id == RequestID{} }

// Append writes the id.
func (id RequestID) Append(dst []byte) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(id.After)), id.Name[:]...)
}

// ReadRequestID is the mirror. b has RequestIDSize bytes at least.
func ReadRequestID(b []byte) (id RequestID) {
	id.After = Revision(binary.BigEndian.Uint64(b))
	copy(id.Name[:], b[8:RequestIDSize])
	return id
}

// write is the id of one of the writes of a request: the nth, from 0, of those that are about the
// same.
func (id RequestID) write(about string, n uint32) RequestID {
	h := fnv.New64a()
	_, _ = h.Write([]byte(about))
	binary.BigEndian.PutUint64(id.Name[:], binary.BigEndian.Uint64(id.Name[:])+h.Sum64()+uint64(n))
	return id
}

// onRequest is what the writes of a request have in common: its id, and how many were stored, by what
// they are about.
type onRequest struct {
	id     RequestID
	mu     sync.Mutex // held while one is made: they come one after the other
	stored map[string]uint32
}

type requestKey struct{}

// ForRequest returns a context whose writes are those of a request. With the zero RequestID it
// returns ctx. However often a request is done, in whole or in part, each of its writes is
// made once: the first about a thing is the same as the first about it another time. One that was
// another kind of write then is refused.
func ForRequest(ctx context.Context, id RequestID) context.Context {
	if id.IsZero() {
		return ctx
	}
	return context.WithValue(ctx, requestKey{}, &onRequest{id: id})
}

func requestOf(ctx context.Context) *onRequest {
	r, _ := ctx.Value(requestKey{}).(*onRequest)
	return r
}

// about is what a proposal is about.
func (p *proposal) about() string { return aboutWhat(p.key, p.op) }

func aboutWhat(key string, o op) string {
	if key == "" && o != nil {
		return fmt.Sprint("operation ", o.number())
	}
	return key
}

// begin gives a proposal its id; what it returns is called when its outcome is known.
func (r *onRequest) begin(p *proposal) (end func()) {
	r.mu.Lock()
	about := p.about()
	p.once, p.ahead = r.id.write(about, r.stored[about]), false // what is in front of it may be the same
	return func() {
		if p.err == nil && (p.op != nil || p.known) {
			if r.stored == nil {
				r.stored = map[string]uint32{}
			}
			r.stored[about]++
		}
		r.mu.Unlock()
	}
}

// answered reports whether the context's request has made its next write about a thing already: what
// stands against it may be its own doing. Any goroutine.
func (e *Engine) answered(ctx context.Context, about string) bool {
	r := requestOf(ctx)
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return e.state.requests.known(r.id.write(about, r.stored[about]))
}

// HasAdded reports whether the context's request has added, or changed, a machine already, when it
// came before. Any goroutine.
func (e *Engine) HasAdded(ctx context.Context, machine string) bool {
	return e.answered(ctx, "machine:"+machine)
}

const (
	// requestsAtMost is how many ids are kept: at ten thousand writes a second those of six seconds.
	requestsAtMost = 1 << 16
	requestChunk   = 512
)

// answered is a write that was made under an id.
type answered struct {
	id     RequestID
	number byte   // of the operation
	first  uint64 // what it answered: a number, or the first of them
	n      uint64 // how many
}

// requestLog is the ids that a view knows, in the order in which they came. It is never changed:
// what comes later lies behind its end.
type requestLog struct {
	chunks     []*[requestChunk]answered // the place first is in the first of them
	first, end uint64
	forgotten  Revision // the highest After of those that were
}

func (l *requestLog) at(place uint64) *answered {
	return &l.chunks[place/requestChunk-l.first/requestChunk][place%requestChunk]
}

// each walks all of them, oldest first.
func (l *requestLog) each(yield func(*answered) bool) {
	for place := l.first; place < l.end; place++ {
		if !yield(l.at(place)) {
			return
		}
	}
}

// with is the log with one id more; dropped is the one that was forgotten for it.
func (l *requestLog) with(a answered) (next *requestLog, dropped *answered) {
	c := *l
	if c.end%requestChunk == 0 {
		c.chunks = append(c.chunks, new([requestChunk]answered))
	}
	c.end++
	*c.at(c.end - 1) = a
	if c.end-c.first > requestsAtMost {
		dropped = c.at(c.first)
		c.forgotten = max(c.forgotten, dropped.id.After)
		if c.first++; c.first%requestChunk == 0 {
			c.chunks = c.chunks[1:]
		}
	}
	return &c, dropped
}

// places is where in the log an id is. The committer changes it, anybody may ask.
type places struct {
	mu sync.RWMutex
	of map[RequestID]uint64
}

func (p *places) known(id RequestID) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, ok := p.of[id]
	return ok
}

// answerTo finds what was answered to an id; nil: it is not kept.
func (s *state) answerTo(id RequestID) *answered {
	if place, ok := s.requests.of[id]; ok { // nobody else changes it
		return s.next.requests.at(place)
	}
	return nil
}

// noteAnswer keeps what was answered to an id.
func (s *state) noteAnswer(a answered) {
	log := s.next.requests
	if log == nil {
		log = &requestLog{}
	}
	log, dropped := log.with(a)
	s.next.requests = log
	s.requests.mu.Lock()
	defer s.requests.mu.Unlock()
	if s.requests.of == nil {
		s.requests.of = map[RequestID]uint64{}
	}
	s.requests.of[a.id] = log.end - 1
	if dropped != nil {
		delete(s.requests.of, dropped.id)
	}
}

// forgotten reports whether an id may be one of those that are not kept any more.
func (s *state) forgotten(id RequestID) bool {
	return s.next.requests != nil && s.next.requests.end-s.next.requests.first >= requestsAtMost && id.After <= s.next.requests.forgotten
}

// recalled answers a proposal whose write was made already. The error refuses it.
func (s *state) recalled(p *proposal) (bool, error) {
	a := s.answerTo(p.once)
	switch {
	case a == nil && s.forgotten(p.once):
		return false, &Error{Kind: ErrBusy, Text: "the request is too old: it is not known any more whether it was stored, look before trying again"}
	case a == nil:
		return false, nil
	}
	into := p.answer
	if into == nil {
		into = p.op
	}
	if into != nil && into.number() != a.number {
		return false, &Error{Kind: ErrBusy, Text: "the request was done in part and is another one now, look before trying again"}
	}
	if into != nil {
		recall(into, a)
	}
	return true, nil
}

// requested is a write with the id of its request. Whatever stands in it is left out, and answered
// as the first time, where the id is known.
type requested struct {
	id RequestID
	op op
}

func (*requested) number() byte { return numberRequested }
func (o *requested) append(dst []byte) []byte {
	return o.op.append(append(o.id.Append(dst), o.op.number()))
}
func (o *requested) decode(d *decoder) {
	var id [RequestIDSize]byte
	d.fixed(id[:])
	o.id = ReadRequestID(id[:])
	switch number := d.byte(); number {
	case numberRequested, numberSetBack: // it stands in nothing
	default:
		o.op = newOp(number)
	}
	if o.op == nil {
		d.fail()
		o.op = &expire{}
		return
	}
	o.op.decode(d)
}
func (o *requested) apply(s *state, rev Revision) { s.applyOnce(o.id, o.op, rev) }

// applyOnce applies an operation of a request, if its id is new.
func (s *state) applyOnce(id RequestID, o op, rev Revision) {
	if id.IsZero() {
		o.apply(s, rev)
		return
	}
	if a := s.answerTo(id); a != nil {
		if a.number == o.number() {
			recall(o, a)
		}
		return
	}
	if s.forgotten(id) {
		return
	}
	o.apply(s, rev)
	a := answered{id: id, number: o.number()}
	a.first, a.n = keptAnswer(o)
	s.noteAnswer(a)
}

// leavesOut reports whether apply would leave an operation out.
func (s *state) leavesOut(o op) bool {
	r, ok := o.(*requested)
	return ok && (s.answerTo(r.id) != nil || s.forgotten(r.id))
}

// within is an operation without the id of its request.
func within(o op) op {
	if r, ok := o.(*requested); ok {
		return r.op
	}
	return o
}

// keptAnswer is what an operation has answered, as far as it is kept: numbers, and how many.
func keptAnswer(o op) (first, n uint64) {
	switch o := o.(type) {
	case *addAlerts:
		if len(o.ids) > 0 {
			first = uint64(o.ids[0])
		}
		return first, uint64(len(o.ids))
	case *endDecisions:
		return uint64(o.rev), uint64(o.ended)
	case *dropAlerts:
		return 0, uint64(o.dropped)
	case *extendAllowlist:
		return uint64(o.ends.ended), uint64(len(o.items))
	case *reduceAllowlist:
		return 0, uint64(len(o.values))
	case *grantToken:
		return uint64(o.id), 1
	case *extendDecisions:
		return 0, uint64(len(o.ends.ids))
	}
	return 0, 0
}

// recall gives an operation the answer of the first time.
func recall(o op, a *answered) {
	switch o := o.(type) {
	case *addAlerts:
		o.ids = make([]AlertID, min(a.n, uint64(len(o.alerts))))
		for i := range o.ids {
			o.ids[i] = AlertID(a.first + uint64(i))
		}
	case *endDecisions:
		o.ended, o.rev = int(a.n), Revision(a.first)
	case *dropAlerts:
		o.dropped = int(a.n)
	case *extendAllowlist:
		o.ends.ended, o.items = int(a.first), make([]AllowlistItem, min(a.n, mostItems))
	case *reduceAllowlist:
		o.values = make([]string, min(a.n, mostItems))
	case *grantToken:
		o.id = uint32(a.first)
	}
}

// writeRequests adds the ids, if there are any. What was forgotten stands with the first of them.
func (v *View) writeRequests(w *sections) {
	if v.requests == nil {
		return
	}
	forgotten := v.requests.forgotten
	for a := range v.requests.each {
		if w.err != nil {
			return
		}
		from := len(w.body)
		w.body = binary.AppendUvarint(a.append(w.body), uint64(forgotten))
		forgotten = 0
		if w.row(from) {
			w.end(sectionRequests)
		}
	}
	w.end(sectionRequests)
}

func (a *answered) append(dst []byte) []byte {
	dst = append(a.id.Append(dst), a.number)
	return binary.AppendUvarint(binary.AppendUvarint(dst, a.first), a.n)
}

// digest adds all of it to what a digest is made of.
func (l *requestLog) digest(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(l.forgotten))
	for a := range l.each {
		dst = a.append(dst)
	}
	return dst
}

// readRequests is the mirror of writeRequests. Each id is there once.
func (l *loader) readRequests(d *decoder) {
	s := l.state
	for n := d.count(RequestIDSize + 4); n > 0 && d.err == nil; n-- {
		behind := d.open()
		var id [RequestIDSize]byte
		d.fixed(id[:])
		a := answered{id: ReadRequestID(id[:]), number: d.byte(), first: d.uvarint(), n: d.uvarint()}
		forgotten := Revision(d.uvarint())
		d.close(behind)
		if log := s.next.requests; s.answerTo(a.id) != nil || uint64(forgotten) > l.rev || log != nil && log.end >= requestsAtMost {
			d.fail()
		}
		if d.err == nil {
			s.noteAnswer(a)
			s.next.requests.forgotten = max(s.next.requests.forgotten, forgotten)
		}
	}
}

// requests compares the log with where it says its ids are.
func (c *checker) requests() {
	log, of := c.view.requests, c.state.requests.of
	if log == nil {
		if len(of) != 0 {
			c.report("%d ids of requests are found, and none is kept", len(of))
		}
		return
	}
	if n := log.end - log.first; n != uint64(len(of)) || n > requestsAtMost {
		c.report("%d ids of requests are kept, %d found", n, len(of))
	}
	for place := log.first; place < log.end; place++ {
		if at, ok := of[log.at(place).id]; !ok || at != place {
			c.report("the id of a request at place %d is found at %d", place, at)
		}
	}
}
