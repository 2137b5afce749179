package transport

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"lapid/engine"
	"lapid/transport/conn"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// Beside other servers that share the history (Options.Confirm) a poll that goes by its row's
// cursor waits until this server is known to be as new as any was when the poll came. A
// bouncer that is told the end of a ban by an older view than it has heard would let go of one
// that was renewed in between, and nothing would tell it again. All that wait share a question;
// those on a loop are parked meanwhile. When there is no answer in time this server is cut
// off, and says so by what it does not tell (cutOff).
//
// A poll that names a place the view has is exact, and waits for nothing.
const (
	confirmPatience = time.Second           // for how long a poll waits
	confirmAgain    = 50 * time.Millisecond // between two questions of which the first has failed
	confirmTick     = 20 * time.Millisecond // how exactly the patience is kept, and the pause for those who were busy
	cutOffAtFirst   = time.Minute           // for so long nobody begins at a server that is cut off
)

// confirms are the polls that wait.
type confirms struct {
	ask      func(context.Context) error
	patience time.Duration
	base     time.Time
	sureOf   atomic.Int64 // when the last question began that was answered, in nanoseconds since base; 0: none was

	mu      sync.Mutex
	waiting map[*confirming]struct{} // each has a connection, of which there is a bound
	kick    chan struct{}            // has room for one: somebody waits
	ended   chan struct{}            // closed when nobody asks any more
}

// confirming is a poll that waits.
type confirming struct {
	in   *confirms
	row  *engine.BouncerRow
	came time.Duration // since base
	wake func(last bool) bool
}

func newConfirms(o *Options) *confirms {
	if o.Confirm == nil || o.Confirmed == nil {
		return nil
	}
	patience := o.confirmPatience
	if patience == 0 {
		patience = confirmPatience
	}
	return &confirms{ask: o.Confirm, patience: patience, base: time.Now(), waiting: map[*confirming]struct{}{}, kick: make(chan struct{}, 1), ended: make(chan struct{})}
}

// sure reports whether a question that began after a poll came was answered.
func (c *confirms) sure(came time.Duration) bool { return c.sureOf.Load() > int64(came) }

// late reports whether a poll has waited for long enough.
func (c *confirms) late(came time.Duration) bool { return time.Since(c.base)-came >= c.patience }

// enter has a poll wait.
func (c *confirms) enter(w *confirming) {
	c.mu.Lock()
	c.waiting[w] = struct{}{}
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// leave ends that. It may be called again.
func (c *confirms) leave(w *confirming) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, w)
}

func (c *confirms) none() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) == 0
}

// run asks while anybody waits, one question after the other, until ctx ends. rest is called while many are woken. It is called
// once; who is parked at its end is woken by that of the loops.
func (c *confirms) run(ctx context.Context, rest func(worked time.Duration)) {
	defer close(c.ended)
	tick := time.NewTicker(confirmTick)
	defer tick.Stop()
	answered, asking, next := make(chan error, 1), false, time.Now()
	for {
		var ticks <-chan time.Time
		if !c.none() {
			ticks = tick.C
			if !asking && !time.Now().Before(next) {
				asking = true
				go func() { answered <- c.question(ctx) }()
			}
		}
		select {
		case <-c.kick:
		case <-ticks:
		case err := <-answered:
			if asking = false; err != nil {
				next = time.Now().Add(confirmAgain)
			}
		case <-ctx.Done():
			if asking {
				<-answered
			}
			return
		}
		c.wakeDue(rest)
	}
}

// question asks once.
func (c *confirms) question(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	began := time.Since(c.base)
	err := c.ask(ctx)
	if err == nil {
		c.sureOf.Store(int64(began))
	}
	return err
}

// wakeDue wakes those who need not wait any more. Who is busy stays for the next time.
func (c *confirms) wakeDue(rest func(worked time.Duration)) {
	c.mu.Lock()
	var due []*confirming
	for w := range c.waiting {
		if c.sure(w.came) || c.late(w.came) {
			due = append(due, w)
		}
	}
	c.mu.Unlock()
	began := time.Now()
	for i, w := range due {
		if w.wake(false) {
			c.leave(w)
		}
		if i%wakesAtOnce == wakesAtOnce-1 {
			rest(time.Since(began))
			runtime.Gosched()
			began = time.Now()
		}
	}
}

// wakesAtOnce is how many are woken before others are answered.
const wakesAtOnce = 8

// await waits on the caller's goroutine until a poll need not wait any more, nobody asks any more, or done is closed.
func (c *confirms) await(row *engine.BouncerRow, came time.Duration, done <-chan struct{}) {
	woken := make(chan struct{}, 1)
	w := &confirming{in: c, row: row, came: came, wake: func(bool) bool {
		select {
		case woken <- struct{}{}:
		default:
		}
		return true
	}}
	c.enter(w)
	defer c.leave(w)
	select {
	case <-woken:
	case <-c.ended:
	case <-done:
	}
}

var _ conn.Guest = (*confirming)(nil)

// Parked has it woken.
func (w *confirming) Parked(wake func(last bool) bool) {
	w.wake = wake
	w.in.enter(w)
}

// Left ends the wait.
func (w *confirming) Left(bool) { w.in.leave(w) }

// Holder is who has the key.
func (w *confirming) Holder() string { return holderOf(w.row) }

// Brief says that it is no poll that waits for news.
func (w *confirming) Brief() {}

// confirm returns when a poll may be answered from the newest view: at once, unless it needs to be sure. done: it was
// put off, or answered, for this server is cut off.
func (s polls) confirm(x *exchange, form *wire.StreamForm) (done bool, err error) {
	c := s.confirms
	if c == nil || x.woken || x.request.Held {
		return false, nil // one that has waited for news is told them from where it waited
	}
	needed, err := s.unsure(x, form)
	if err != nil || !needed {
		return false, err
	}
	came := x.request.Began
	if !x.request.Parked.IsZero() {
		came = x.request.Parked
	}
	at := came.Sub(c.base)
	if !c.sure(at) && !c.late(at) {
		if _, pulled := x.bouncer.Cursor(); pulled && !x.query.Startup && x.request.MayPark() { // others are not for a loop
			x.answer.Park(&confirming{in: c, row: x.bouncer, came: at})
			x.pending = true
			return true, nil
		}
		if !x.request.MayWait() {
			return false, errLater
		}
		c.await(x.bouncer, at, s.life.Done())
		x.now = s.engine.Now()
		x.query.Now = x.now
	}
	if c.sure(at) {
		return false, nil
	}
	return s.cutOff(x, form)
}

// unsure reports whether a poll goes by its row's cursor, or names a place that is ahead of the view.
func (s polls) unsure(x *exchange, form *wire.StreamForm) (bool, error) {
	if x.query.Startup {
		return true, nil
	}
	from, err := s.from(x, form, s.look(x))
	return !from.Given || from.Ahead, err
}

// cutOff answers a poll at a server that does not know how new it is. Whoever knows something is told nothing, and
// its place stays. Whoever begins is sent elsewhere; after a minute it is told what there is, false, and the other servers
// that it has begun anew, for they may have told it more before.
func (s polls) cutOff(x *exchange, form *wire.StreamForm) (answered bool, err error) {
	view := s.look(x)
	from, err := s.from(x, form, view)
	if err != nil {
		return false, err
	}
	at, pulled := x.bouncer.Cursor()
	switch {
	case from.Ahead && !x.query.Startup:
		at = from.After
	case from.Given && !x.query.Startup: // the view has come there meanwhile
		return false, nil
	case x.query.Startup || !pulled:
		if s.options.Confirmed() < cutOffAtFirst {
			x.failure = "cut off from the other servers"
			x.message(http.StatusServiceUnavailable, "this server is cut off from those that share its history: ask another one, or try again later")
			x.answer.SetHeader("Retry-After", cutOffAfter)
			return true, nil
		}
		x.bouncer.AcknowledgeAnew()
		return false, nil
	}
	a := feed.Answer{Whole: feed.EmptyAnswer, Same: true}
	x.place = from
	x.bouncer.Visit(x.now)
	s.note(x, form, &a, view)
	s.tell(x, &a, feed.Tag{History: s.options.History, Revision: at, Question: x.question(form)})
	if x.request.Match != nil {
		x.empty(http.StatusNotModified)
	} else {
		x.shared(streamType, a.Whole)
	}
	return true, nil
}

// cutOffAfter is the pause, in seconds, that is asked of those who would begin.
const cutOffAfter = "5"
