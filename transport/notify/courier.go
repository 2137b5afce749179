package notify

import (
	"context"
	"log/slog"
	"text/template"
	"time"

	"lapid/engine"
)

// Pace of a courier.
const (
	// lookEvery is how long a courier rests between two looks at the history, so that a
	// flood of commits is read in large bites.
	lookEvery = time.Second
	// noteEvery is how often a bookmark moves while messages go out; what went out since
	// goes out again after a crash.
	noteEvery = time.Second
	// noteAfter is after how many revisions without a message it moves.
	noteAfter = 4096

	// Pauses between attempts of one round: doubling from the first to the longest.
	firstPause   = time.Second
	longestPause = 30 * time.Second
	// firstRound is how long a round lasts where max_retry does not say how many attempts
	// it has. Then rounds follow one another roundPause apart.
	firstRound = 5 * time.Minute
	roundPause = 5 * time.Minute
	// downAfter is how long attempts have failed when the operator is told of the receiver,
	// also within a long round. With the pauses above, and UsualTimeout, that is some ten
	// seconds after the first attempt.
	downAfter = 5 * time.Second
	// keptFor is how old an alert may become while its receiver takes nothing: one that is
	// older is given up once a round has failed, for those behind it are of more use by now.
	keptFor = 24 * time.Hour

	// flushWithin is what the message under way at the end, and the last one, may take.
	flushWithin = 2 * time.Second

	// What a courier holds in memory: so many alerts, so many bytes of them. Beyond that it
	// reads no further, and what it has goes as if the group were full.
	mostPending      = MostGrouped
	mostPendingBytes = 8 << 20
)

// courier brings one notification to its receiver. All is owned by its goroutine, but the
// tally.
type courier struct {
	*Configuration
	format *template.Template
	sender Sender
	mask   *mask // of what the receiver says
	engine *engine.Engine
	mark   *engine.Bookmark
	log    *slog.Logger
	clock  Clock
	tally  *tally

	unnamed bool // there is no such notification any more: what waits is kept in case there will be

	read    engine.Revision // the history has been looked at up to here
	pending []due           // what is to be sent, in order
	bytes   int             // of them
	leaving int             // how many of them, the first, have departed: they go out as soon as the receiver takes them
	alone   int             // how many of them go out one by one, for together they were not taken
	begun   time.Time
	leaves  time.Time // with group_wait alone: when what is pending departs
	looked  time.Time // the last look at the history
	sent    time.Time // the last departure, or begun
	noted   time.Time // the bookmark moved
	news    bool      // something went out since
	outage  outage
}

// due is one alert that waits to be sent.
type due struct {
	revision engine.Revision
	at       time.Time // it was stored
	alert    *Alert
	bytes    int
}

// start finds the place in the history: the bookmark's or, without one, the present, which
// becomes it.
func (c *courier) start(ctx context.Context) error {
	c.begun = c.clock.Now()
	c.sent, c.noted = c.begun, c.begun
	at, stored := c.mark.At()
	if !stored {
		at = c.engine.View().Revision()
		if err := c.mark.Move(ctx, at); err != nil {
			return err
		}
	}
	c.read = at
	return nil
}

// run brings messages until ctx ends; then what waits for its group goes too, if there is
// time. What did not go is found again by the bookmark.
func (c *courier) run(ctx context.Context) {
	for ctx.Err() == nil {
		news := c.engine.Changed()
		full := c.gather()
		c.count()
		if len(c.pending) == 0 {
			c.note(ctx)
		}
		wait, ever := c.next(full)
		if ever && wait <= 0 {
			c.depart(ctx)
			continue
		}
		c.rest(ctx, news, wait, ever)
	}
	c.flush(context.WithoutCancel(ctx))
	closeSender(c.sender)
}

// next says in how long there is something to send; ever is false when that depends on
// what else comes.
func (c *courier) next(full bool) (wait time.Duration, ever bool) {
	now := c.clock.Now()
	wait, ever = c.departure(full)
	if ever && wait <= 0 {
		c.leaving, c.sent = len(c.pending), now
		if s := c.outage.sooner; !s.IsZero() && s.Before(c.outage.again) {
			c.outage.again = s // what came now may be taken where the first was refused
		}
	}
	if c.leaving > 0 {
		return c.outage.again.Sub(now), true
	}
	return wait, ever
}

// closeSender ends what a sender has running.
func closeSender(s Sender) {
	if p, ok := s.(*plugged); ok {
		p.Close()
	}
}

// rest waits for news, or for the departure.
func (c *courier) rest(ctx context.Context, news <-chan struct{}, wait time.Duration, ever bool) {
	var leave <-chan time.Time
	if ever {
		t, stop := c.clock.After(wait)
		defer stop()
		leave = t
	}
	select {
	case <-ctx.Done():
	case <-leave:
	case <-news:
		again := c.looked.Add(lookEvery).Sub(c.clock.Now())
		if ever {
			again = min(again, wait)
		}
		pause(ctx, c.clock, again)
	}
}

// pause lets time pass.
func pause(ctx context.Context, clock Clock, d time.Duration) {
	if d <= 0 {
		return
	}
	t, stop := clock.After(d)
	defer stop()
	select {
	case <-t:
	case <-ctx.Done():
	}
}

// gather reads what the history has that is new, and reports whether it had to stop for
// want of room.
func (c *courier) gather() (full bool) {
	c.looked = c.clock.Now()
	if c.crammed() {
		return true
	}
	commits, ok := c.engine.Commits(c.read)
	if !ok {
		newest := c.engine.View().Revision()
		c.log.Error("notifications are lost: this one was further behind than the history is kept, and goes on with what comes now; "+
			"bookmark_journal says how much is kept, of the last two million changes of decisions at most", "after", uint64(c.read), "newest", uint64(newest), "commits", uint64(max(newest, c.read)-min(newest, c.read)))
		c.tally.skipped(uint64(max(newest, c.read) - min(newest, c.read)))
		c.read = newest
		return false
	}
	for rev, commit := range commits {
		if c.crammed() {
			return true
		}
		for change := range commit.Changes() {
			if change.Kind == engine.DecisionBegun || change.Kind == engine.DecisionEnded {
				break // they come last
			}
			c.consider(rev, commit.At, &change)
		}
		c.read = rev
	}
	return c.crammed()
}

// crammed tells whether nothing more is held in memory.
func (c *courier) crammed() bool { return len(c.pending) >= mostPending || c.bytes >= mostPendingBytes }

// consider takes what is due to this notification, once for each profile that named it.
func (c *courier) consider(rev engine.Revision, at int64, change *engine.Change) {
	for _, n := range change.Notify {
		if n.Name != c.Name {
			continue
		}
		a, err := change.Report()
		if err != nil {
			c.log.Error("an alert cannot be read, and nobody is told of it", "alert", uint64(change.Alert), "error", err)
			return
		}
		planned := change.Planned()
		if n.Undecided {
			planned = nil
		}
		d := due{revision: rev, at: time.Unix(0, at), alert: alertOf(a, planned), bytes: change.Bytes()}
		if len(c.pending) == c.leaving && c.GroupWait > 0 { // at multiples of the wait since the start
			c.leaves = c.looked.Add(c.GroupWait - c.looked.Sub(c.begun)%c.GroupWait)
		}
		c.pending, c.bytes = append(c.pending, d), c.bytes+d.bytes
	}
}

// departure says in how long what has not departed does; ever is false when that depends
// on what else comes.
func (c *courier) departure(full bool) (wait time.Duration, ever bool) {
	n, now := len(c.pending)-c.leaving, c.clock.Now()
	switch {
	case n == 0:
		return 0, false
	case full, c.GroupThreshold > 0 && n >= c.GroupThreshold:
		return 0, true
	case c.GroupWait > 0 && c.GroupThreshold > 0:
		return c.sent.Add(c.GroupWait).Sub(now), true
	case c.GroupWait > 0:
		return c.leaves.Sub(now), true
	case c.GroupThreshold > 0:
		return 0, false
	}
	return 0, true
}

// depart sends what has departed, in messages of the group's size, as long as the receiver
// takes them.
func (c *courier) depart(ctx context.Context) {
	for c.leaving > 0 && ctx.Err() == nil && c.outage.again.Sub(c.clock.Now()) <= 0 {
		c.send(ctx)
		if c.leaving == 0 || c.clock.Now().Sub(c.noted) >= noteEvery {
			c.note(ctx)
		}
		c.count()
	}
}

// size is how many alerts the message that begins with one of pending has.
func (c *courier) size(from int) int {
	if from < c.alone {
		return 1
	}
	return min(max(c.GroupThreshold, 1), c.leaving-from)
}

// done forgets n of what has departed.
func (c *courier) done(from, n int) {
	for _, d := range c.pending[from : from+n] {
		c.bytes -= d.bytes
	}
	c.pending = append(c.pending[:from:from], c.pending[from+n:]...)
	c.leaving -= n
	if from < c.alone {
		c.alone -= n
	}
	c.news = true
}

// count has the tally say what waits.
func (c *courier) count() {
	var oldest time.Time
	if len(c.pending) > 0 {
		oldest = c.pending[0].at
	}
	c.tally.waits(len(c.pending), oldest)
}

// note moves the bookmark to where everything is done with.
func (c *courier) note(ctx context.Context) {
	to := c.read
	if len(c.pending) > 0 {
		to = c.pending[0].revision - 1
	}
	at, _ := c.mark.At()
	if to <= at || !c.news && to < at+noteAfter {
		return
	}
	if err := c.mark.Move(ctx, to); err != nil {
		if ctx.Err() == nil {
			c.log.Warn("how far notifications have been sent cannot be noted: after a restart some are sent again", "error", err)
		}
		return
	}
	c.news, c.noted = false, c.clock.Now()
}

// words puts n of what is pending into words.
func (c *courier) words(from, n int) (string, error) {
	alerts := make([]*Alert, n)
	for i := range alerts {
		alerts[i] = c.pending[from+i].alert
	}
	return render(c.format, alerts)
}

// attempt sends a text once. When ctx ends it still has flushWithin: a message that is cut
// off may have arrived, and would come twice.
func (c *courier) attempt(ctx context.Context, text string) error {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = UsualTimeout
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(flushWithin, cancel) })()
	return c.sender.Send(sending, text)
}

// flush sends at the end what waits for its group, as one message, unless the receiver did
// not take the last one.
func (c *courier) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	failing := !c.outage.since.IsZero()
	if !failing {
		c.gather()
	}
	if n := len(c.pending); n > 0 && !failing && c.alone == 0 {
		c.leaving = n
		if c.put(ctx, 0, n) == nil {
			c.tally.delivered()
			c.done(0, n)
		}
	}
	if len(c.pending) > 0 {
		c.log.Info("alerts wait: they go out when this notification goes on, after a reload or a start", "alerts", len(c.pending))
	}
	c.note(ctx)
}
