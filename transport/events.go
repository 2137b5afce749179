package transport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/conn"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// An event stream is one poll after the other, on one connection, each from where the one
// before has led to (http-api.md section 13). It is asked again by the feed when something
// has changed for its question, as polls are that are held; between that its connection is
// parked, or a goroutine waits with it. So who asks the same is one group, which is looked
// at once a commit, and what it is told is encoded once.

const (
	// beatEvery is how often a stream says something, so that nobody on the way takes it
	// for dead, and its client knows where it is.
	beatEvery = 15 * time.Second
	// gatherFor is how long after an event changes are gathered for the next.
	gatherFor = 20 * time.Millisecond
	// Clients that are cut off together are asked to come back between these.
	retryAtLeast, retryAtMost = time.Second, 5 * time.Second
	// eventQuestion is how long a question may be, as that of polls that are held.
	eventQuestion = 4 << 10
)

var eventType = []byte("text/event-stream")

var (
	errTwoEvents    = &answer{http.StatusBadRequest, "Last-Event-ID and after say different places: send one of them"}
	errLongQuestion = &answer{http.StatusBadRequest, "the question of an event stream has 4096 bytes at most"}
)

// eventStream is an answer of events, from its request to the end of its connection. One
// goroutine at a time has it.
type eventStream struct {
	core  *core
	row   *engine.Bouncer // as it was let in last
	who   *engine.BouncerRow
	sight *engine.Sight // what it could see when it was told last
	begun bool          // it has a beginning, and is counted
	over  atomic.Bool

	// What was told.
	place feed.Place
	print uint64          // of the question it was told for
	named engine.Revision // where it is, as the client was told last
	beat  time.Time       // when to say something
	last  time.Time       // when something was told

	// What the bouncer has of it.
	listening *engine.Listening
	acked     bool           // all that was told has arrived
	settles   time.Time      // when to look whether it has
	note      engine.PollRef // what was told last

	shown       *shownStream // for the access log; nil: there is none
	bytes, sent uint64

	turn     uint64 // of the gate, as it was let in last
	standing auth.Standing
}

// eventCounting is what is counted of all event streams.
type eventCounting struct {
	open             atomic.Int64
	sent, bytes, cut atomic.Uint64
}

// shownStream is what the access log says of one, at its end.
type shownStream struct {
	log     *accessLog
	request conn.Request
	client  netip.Addr
	now     int64
}

func newShownStream(x *exchange) *shownStream {
	r := x.request
	return &shownStream{x.core.access, conn.Request{
		Method: bytes.Clone(r.Method), Target: bytes.Clone(r.Target), Protocol: bytes.Clone(r.Protocol), Agent: bytes.Clone(r.Agent), Began: r.Began,
	}, x.client, x.now}
}

// showAtEnd has the line of a stream that begins written at its end; here it is counted.
func (s polls) showAtEnd(x *exchange, e *eventStream) {
	if s.access == nil || e.shown != nil {
		return
	}
	e.shown = newShownStream(x)
	x.pending = true
	s.counting.count(x.counters, x.route, x.answer.Status(), x.bouncer, x.machine, time.Since(x.request.Began))
}

func (s *shownStream) tell(e *eventStream) {
	s.log.line(new(accessLine), &s.request, s.client, s.now, http.StatusOK, fmt.Sprintf("%d events, %d bytes", e.sent, e.bytes), time.Since(s.request.Began))
}

// Over implements conn.Ongoing.
func (e *eventStream) Over(why error) {
	if e.over.Swap(true) {
		return
	}
	c := &e.core.events
	if e.begun {
		c.open.Add(-1)
		e.listening.Close()
	}
	if isTimeout(why) {
		c.cut.Add(1)
	}
	if e.shown != nil {
		e.shown.tell(e)
	}
}

// events answers with events: with the first, or, of an answer that is under way, with the
// next. An answer that is under way and may not go on ends; its client then comes again,
// and is told why not.
func (s polls) eventStream(x *exchange) error {
	x.query.Now = x.now
	if err := wire.ParseStreamQuery(&x.query, x.request.Query); err != nil {
		return &answer{http.StatusBadRequest, err.Error()}
	}
	var form wire.StreamForm
	form.Read(x.request.Query)
	view := s.look(x)
	e, err := s.eventsFor(x, &form, view)
	if err != nil {
		return err
	}
	x.query.Startup = false // its first event is everything
	from := e.place
	from.Known = from.Known && e.print == x.question(&form)
	if !x.request.MayWait() && !x.request.MayPark() && !e.begun {
		return errLater
	}
	if x.request.MayWait() && x.request.Crowded() && !e.begun {
		x.answer.Close()
		return errCrowded
	}
	e.standing = s.gate.Standing(x.request.Key, x.client)
	if x.woken = e.begun; e.begun { // what it has is known otherwise
		e.settle(x.bouncer, x.request.Settled)
	}
	a, err := s.pollFrom(x, &form, view, from)
	if err != nil {
		return err
	}
	x.pending = e.begun // it is counted once
	e.sight = x.query.Sight
	n := &eventNews{answer: a, tag: feed.Tag{History: s.options.History, Revision: view.Revision(), Question: x.question(&form)}}
	if !a.Same || !e.begun {
		e.noted(x.bouncer, n, from, form.Question, &x.query)
	}
	if x.request.MayWait() {
		s.run(x, e, &form, n)
		return nil
	}
	x.out = x.out[:0]
	if !e.begun {
		e.begin(x.bouncer)
		s.showAtEnd(x, e)
		x.answer.Begin(e, eventType)
		x.out = appendRetry(x.out)
	} else {
		x.answer.Resume(e)
	}
	x.out = e.tell(x.out, n)
	if x.answer.Say(x.out); s.feed.Closing() || !x.request.MayPark() {
		x.answer.End()
		return nil
	}
	x.answer.Park(&eventGuest{feed: s.feed, question: form.Question, stream: e})
	return nil
}

// eventsFor is the stream that a request is about: the one under way, or a new one.
func (s polls) eventsFor(x *exchange, form *wire.StreamForm, view *engine.View) (*eventStream, error) {
	if e, under := x.request.Ongoing.(*eventStream); under {
		return e, nil
	}
	if len(form.Question) > eventQuestion {
		return nil, errLongQuestion
	}
	if form.HasWait {
		if _, err := waitOf(form.Wait); err != nil {
			return nil, err
		}
	}
	e := &eventStream{core: s.core, print: x.question(form), place: feed.Place{Given: true}}
	t, ok := feed.ParseTag(x.request.LastEvent)
	if form.HasAfter {
		after, good := feed.ParseTag(form.After)
		if !good {
			return nil, errNoPlace
		}
		if len(x.request.LastEvent) > 0 && string(x.request.LastEvent) != string(form.After) {
			return nil, errTwoEvents
		}
		t, ok = after, true
	}
	if ok && !x.query.Startup {
		e.place = s.place(x, &t, form, view)
	}
	return e, nil
}

// begin is the beginning of the answer.
func (e *eventStream) begin(row *engine.BouncerRow) {
	e.begun, e.acked = true, true
	e.row, e.who = row.Load(), row
	e.listening = row.Listen(e.place.After, e.place.Known)
	e.turn = e.core.gate.Turn()
	e.beat = time.Now().Add(e.core.options.beat)
	e.named = e.place.After
	e.core.events.open.Add(1)
}

const (
	// settleSoon is how long after an event it is looked whether it has arrived, and
	// settleLater how long after one has not.
	settleSoon  = 100 * time.Millisecond
	settleLater = time.Second
)

// settle notes what has arrived, when a stream that is under way has its turn: arrived says
// that nothing is on its way. The row is the one by which the bouncer is let in now.
func (e *eventStream) settle(row *engine.BouncerRow, arrived func() bool) {
	if now := time.Now(); !e.acked && !now.Before(e.settles) {
		if e.acked = arrived(); e.acked {
			e.listening.Acknowledged(e.place.After)
			e.note.Settle(engine.PollHeard)
		} else {
			e.settles = now.Add(settleLater)
		}
	}
	if row != e.who {
		e.listening.Close()
		e.listening = row.Listen(e.place.After, e.acked)
		e.who = row
	}
	e.row = row.Load()
	e.turn = e.core.gate.Turn()
}

// eventNews is what a poll has brought.
type eventNews struct {
	answer feed.Answer
	tag    feed.Tag
}

func (n *eventNews) kind() string {
	if n.answer.Full {
		return "full"
	}
	return "delta"
}

// noted remembers what is about to be told as a poll from where the stream was: the operator
// is shown it, and what the bouncer should hold follows from what it asks.
func (e *eventStream) noted(row *engine.BouncerRow, n *eventNews, from feed.Place, question []byte, query *engine.Query) {
	a := &n.answer
	p := engine.PollNote{At: e.core.engine.Now(), From: n.tag.Revision, To: n.tag.Revision, Bytes: int64(len(a.Whole)), Placed: !a.Full,
		Kind: engine.PollDelta, PutOff: e.begun}
	switch {
	case a.Full:
		p.Kind = engine.PollFull
	case a.Same:
		p.Kind, p.Bytes = engine.PollNothing, 0
	}
	if from.Known {
		p.From = from.After
	}
	if a.Body != nil {
		p.Bytes = int64(a.Body.Size())
	}
	e.note = e.core.engine.NotePoll(row, &p, question, query)
}

// tell appends what there is to be said now, of an answer that is there whole, and has it
// told.
func (e *eventStream) tell(dst []byte, n *eventNews) []byte {
	from := len(dst)
	if !n.answer.Same {
		dst = appendEvent(dst, n, n.answer.Whole)
		e.told(n)
	}
	dst = e.appendBeat(dst, n)
	e.at(n)
	e.count(len(dst) - from)
	return dst
}

// told notes an event.
func (e *eventStream) told(n *eventNews) {
	e.last = time.Now()
	e.acked, e.settles = false, e.last.Add(settleSoon)
	e.named = n.tag.Revision
	e.sent++
	e.core.events.sent.Add(1)
}

func (e *eventStream) count(bytes int) {
	e.bytes += uint64(bytes)
	e.core.events.bytes.Add(uint64(bytes))
}

// at notes that everything up to there is told.
func (e *eventStream) at(n *eventNews) {
	e.place, e.print = feed.Place{Given: true, Known: true, After: n.tag.Revision}, n.tag.Question
	if e.listening.Told(n.tag.Revision, e.core.engine.Now()); e.acked {
		e.listening.Acknowledged(n.tag.Revision) // who had what was before has what is now
	}
}

// appendBeat appends a comment when it is time for one, and with it where the stream is, if
// it has gone on since the last event: a client that comes back from there is told nothing
// twice, and not everything.
func (e *eventStream) appendBeat(dst []byte, n *eventNews) []byte {
	now := time.Now()
	if now.Before(e.beat) {
		return dst
	}
	if e.beat = e.beat.Add(e.core.options.beat); e.beat.Before(now) {
		e.beat = now.Add(e.core.options.beat)
	}
	dst = append(dst, ":\n"...)
	if e.named != n.tag.Revision {
		dst, e.named = appendID(dst, &n.tag), n.tag.Revision
	}
	return append(dst, '\n')
}

func appendID(dst []byte, t *feed.Tag) []byte {
	return append(t.Append(append(dst, "id: "...)), '\n')
}

// appendRetry appends after how long the client is to come back.
func appendRetry(dst []byte) []byte {
	after := retryAtLeast + rand.N(retryAtMost-retryAtLeast)
	return append(strconv.AppendInt(append(dst, "retry: "...), after.Milliseconds(), 10), "\n\n"...)
}

// appendEvent appends an event that is whole.
func appendEvent(dst []byte, n *eventNews, data []byte) []byte {
	dst = appendID(dst, &n.tag)
	dst = append(append(append(dst, "event: "...), n.kind()...), "\ndata: "...)
	if n.answer.Full {
		dst = append(append(dst, data[:len(data)-1]...), `,"first":true,"last":true}`...)
	} else {
		dst = append(dst, data...)
	}
	return append(dst, "\n\n"...)
}

// eventGuest is what a parked stream is to the feed.
type eventGuest struct {
	feed     *feed.Feed
	question []byte // good until Parked
	stream   *eventStream
	held     *feed.Held
}

var _ conn.Guest = (*eventGuest)(nil)

// Parked has the feed wake it.
func (g *eventGuest) Parked(wake func(last bool) bool) {
	g.held = g.stream.hold(g.question, func(bool) bool { return wake(false) })
	g.question = nil
}

// Left ends the wait.
func (g *eventGuest) Left(bool) {
	if g.held != nil {
		g.held.Leave()
	}
}

// Holder is who has the key.
func (g *eventGuest) Holder() string { return holderOf(g.stream.who) }

// hold waits for news, and no longer than until something is to be said anyway.
func (e *eventStream) hold(question []byte, wake func(bool) bool) *feed.Held {
	manners := feed.Manners{Stale: e.stale, Stream: true}
	if !e.last.IsZero() {
		manners.Earliest = e.last.Add(gatherFor)
	}
	until := e.beat
	if !e.acked && e.settles.Before(until) {
		until = e.settles
	}
	return e.core.feed.Hold(question, e.who, e.sight, e.place.After, max(time.Until(until), 0), manners, wake)
}

// stale reports whether the bouncer is another than it was let in as, its key may be over, or other
// rules are in force.
func (e *eventStream) stale() bool {
	return e.who.Gone() || e.who.Load() != e.row || e.turn != e.core.gate.Turn() || !e.core.gate.Stands(e.standing)
}

// wantsEvents reports whether a client would rather have events than what all others get: it
// names them, and nothing better (Accept, RFC 9110).
func (s polls) wantsEvents(x *exchange) bool {
	return x.request.Ongoing != nil || len(x.request.Accept) > 0 && prefersEvents(x.request.Accept)
}
