package shadow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The queue is one for all clients: requests reach the second server in the order in which the first has answered
// them, which is more than the order within each connection. So what a client reads after another has
// written is compared with what the second server says after the same write.

// enqueue leaves a request for the second server. It does not wait: what does not fit is dropped, and
// from there on the two servers need not be alike any more.
func (s *Shadow) enqueue(x *exchange) {
	s.route(x.route).requests.Add(1)
	if err := whole(x); err != nil {
		s.drop(x, err)
		return
	}
	s.written.began(x)
	if s.note.dirty() {
		s.options.Logger.Error("the shadow cannot note in its folder that requests are under way: a later run will not know that it was cut off", "folder", s.options.Dir)
	}
	s.gate.queue(1)
	select {
	case s.queue <- x:
		s.queued.Add(1)
		if x.route.write {
			s.written.queued(x, s.options.Now())
		}
	default:
		s.gate.queue(-1)
		s.drop(x, fmt.Errorf("its queue is full (%d requests)", cap(s.queue)))
	}
}

// whole tells why a request cannot be repeated or compared.
func whole(x *exchange) error {
	if x.body != nil && x.body.err != nil {
		return fmt.Errorf("its body was not kept: %w", x.body.err)
	}
	if err := x.answers[x.first].body.err; err != nil {
		return fmt.Errorf("its answer was not kept: %w", err)
	}
	return nil
}

// drop counts a request that the second server does not get.
func (s *Shadow) drop(x *exchange, why error) {
	s.route(x.route).dropped.Add(1)
	s.lose(x, why.Error())
	s.void(fmt.Sprintf("a request (%s) was not passed on to the second server: %v", x.route.name, why))
	x.release()
}

// work gives the second server what the queue holds, one after the other, until Run closes the shadow and the
// queue is empty, or ctx ends.
func (s *Shadow) work(ctx context.Context) {
	for {
		select {
		case x := <-s.queue:
			s.repeat(ctx, x)
		case <-s.closing:
			s.workOff(ctx)
			return
		}
	}
}

// workOff empties the queue; when ctx has ended what is left is counted as lost.
func (s *Shadow) workOff(ctx context.Context) {
	for {
		select {
		case x := <-s.queue:
			s.repeat(ctx, x)
		default:
			return
		}
	}
}

// repeat asks the second server the same, and compares.
func (s *Shadow) repeat(ctx context.Context, x *exchange) {
	defer s.gate.queue(-1)
	defer s.passed.Add(1)
	defer x.release()
	defer func() { // what one odd answer does to the comparer costs that comparison alone
		if p := recover(); p != nil {
			s.failComparison(x, p)
		}
	}()
	side := x.first.other()
	target, why := s.ids.targetFor(x, side)
	if why == "" && locked(x) {
		why = skipLocked
	}
	defer s.written.level(x)
	if why == skipLocked {
		s.written.halfDone(x)
	}
	if x.route.write {
		s.states.noteWrite(s.written.flightOf(x), s.options.Now())
	}
	if why != "" {
		s.skip(x, why)
		return
	}
	if s.holdsBack(x) {
		s.heldBack(x)
		return
	}
	s.vouch(x)
	if err := s.askAgain(ctx, x, side, target); err != nil {
		if ctx.Err() != nil {
			err = errors.New("the shadow has ended")
		}
		s.complainOfAway(side, err)
		s.drop(x, err)
		return
	}
	s.learn(x)
	s.compare(x)
}

// holdsBack tells whether the second server is not to be asked, though nothing speaks against it but this: a poll moves its
// place for the bouncer, and what was stored or ended while the first answered may be behind that place and not be in the
// first one's answer. Then nobody would ever tell the bouncer of it, once the second answers. A place that stays behind costs
// that some things are told twice.
func (s *Shadow) holdsBack(x *exchange) bool {
	return x.route.kind == streamKind && x.method == http.MethodGet && x.answers[x.first].status == http.StatusOK && s.written.racedUntil(x, s.options.Now())
}

const skipRaced = "something was stored or ended while the first server answered: the place of the bouncer at the second stays before that"

// heldBack keeps what the bouncer was told, and counts the poll as not compared.
func (s *Shadow) heldBack(x *exchange) {
	s.skip(x, skipRaced)
	_, query, _ := strings.Cut(x.target, "?")
	q, _ := url.ParseQuery(query)
	if q.Get("startup") == "true" {
		s.states.unsure(stateKey(x))
		return
	}
	told, nothing := x.answers[x.first].body.reader, func() io.Reader { return strings.NewReader("{}") }
	var fresh, ended [2]source
	fresh[x.first], ended[x.first] = streamOf(told, "new"), streamOf(told, "deleted")
	other := x.first.other()
	fresh[other], ended[other] = streamOf(nothing, "new"), streamOf(nothing, "deleted")
	theirs := &x.answers[Theirs]
	if _, err := s.states.apply(stateKey(x), ended, fresh, x.answers[x.first].ended, span{theirs.began, theirs.ended}); err != nil {
		s.states.unsure(stateKey(x))
	}
}

// skipLocked: older servers on SQLite refuse a write when another is under way; clients send it again.
const skipLocked = "the old server refused it, for its database was locked, and may have done a part of it; clients send such a request again"

// locked tells whether the old server has not carried a write out for that reason.
func locked(x *exchange) bool {
	return x.route.write && x.first == Theirs && saysLocked(&x.answers[Theirs])
}

func saysLocked(a *answer) bool {
	return a.status == http.StatusInternalServerError && bytes.Contains(a.body.start(longestError), []byte("database is locked"))
}

// askAgain asks the second server. A write is tried again, for it must not be lost; the queue waits
// meanwhile, within its bounds. A read that fails is not.
func (s *Shadow) askAgain(ctx context.Context, x *exchange, side Side, target string) error {
	end := time.Now().Add(s.options.RetryFor)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := s.askOnce(ctx, x, side, target)
		if err == nil || !x.route.write || errors.Is(err, errUnclear) || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errUnclear: the second server may have carried a write out, so it is not asked for it again.
var errUnclear = errors.New("it is not known whether it was carried out there")

// askOnce asks and keeps the answer. Answers that say "later" are errors.
func (s *Shadow) askOnce(ctx context.Context, x *exchange, side Side, target string) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Patience)
	defer cancel()
	a := &x.answers[side]
	*a = answer{began: s.options.Now()}
	again := func() io.ReadCloser { return io.NopCloser(x.content()) }
	if x.body == nil {
		again = nil
	}
	response, err := s.ask(ctx, side, x, asking{target, x.content(), again})
	if err != nil {
		if x.route.write && !neverSent(err) {
			return fmt.Errorf("%w: %w", errUnclear, err)
		}
		return err
	}
	defer response.Body.Close()
	if later(response.StatusCode) && !later(x.answers[x.first].status) {
		return fmt.Errorf("it answers with %d", response.StatusCode)
	}
	a.status, a.header, a.body = response.StatusCode, response.Header, s.capture(s.options.QueueBytes)
	_, err = io.Copy(a.body, response.Body)
	a.ended = s.options.Now()
	if err == nil {
		err = a.body.err
	}
	if err == nil && x.route.write && side == Theirs && saysLocked(a) {
		a.body.release()
		s.written.halfDone(x)
		return errors.New("its database is locked")
	}
	if err != nil {
		a.body.release()
		return fmt.Errorf("its answer broke off: %w", err)
	}
	return nil
}

// later are the statuses of a server that will do it another time, and has done nothing.
func later(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout || status == http.StatusTooManyRequests
}

// capture is a new one.
func (s *Shadow) capture(most int64) *capture {
	return &capture{room: &s.room, memory: s.options.Memory, most: most, dir: s.options.Dir}
}
