package notify

import (
	"context"
	"errors"
	"time"
)

// outage is a receiver that takes nothing, as far as the first of the messages can tell.
// Attempts come in rounds: max_retry + 1 of them, or as many as go into firstRound.
type outage struct {
	since    time.Time // the first attempt that failed; zero: there is none
	attempts int
	round    time.Time     // the round began
	tries    int           // of the round
	wait     time.Duration // the next pause in it
	again    time.Time     // the next attempt
	probe    int           // the message behind the first that was tried last
	told     bool          // a round has failed, and the log says so
	sooner   time.Time     // the first was refused, and it may be its own fault: what comes behind tells, from now on; zero: it was not
	given    int           // alerts that were given up since
}

// errWords is wrapped by the error about a message that cannot be put into words.
var errWords = errors.New("it cannot be put into words, mend the format")

// put sends n of what is pending as one message, once. Errors hold no secrets.
func (c *courier) put(ctx context.Context, from, n int) error {
	text, err := c.words(from, n)
	if err != nil {
		return c.mask.error(errors.Join(errWords, err))
	}
	err = c.mask.error(c.attempt(ctx, text))
	if part := (*partlyError)(nil); errors.As(err, &part) {
		c.log.Warn("a message was taken for some of its receivers only", "error", err)
		return nil
	}
	return err
}

// send sends the first message of what has departed, once. What is not taken stays, and the
// outage says when it is tried again; what cannot be written is given up.
func (c *courier) send(ctx context.Context) {
	n := c.size(0)
	if c.outage.attempts > 0 {
		c.tally.retried()
	}
	err := c.put(ctx, 0, n)
	switch {
	case err == nil:
		c.taken(0, n)
		c.recovered()
	case errors.Is(err, errWords):
		c.giveUp(n, DroppedFormat, "it cannot be written", err)
	case ctx.Err() != nil: // it is still to be sent
	default:
		c.failed(ctx, n, err)
	}
}

// taken counts a message that has arrived.
func (c *courier) taken(from, n int) {
	c.tally.delivered()
	c.done(from, n)
}

// failed notes that the first message was not taken, and says when it is tried again. With
// a refusal that may be the message's own fault one behind it is tried at once.
func (c *courier) failed(ctx context.Context, n int, err error) {
	c.tally.failed()
	o, now := &c.outage, c.clock.Now()
	if o.since.IsZero() {
		*o = outage{since: now, round: now, wait: firstPause}
		c.log.Warn("a message was not taken, it is sent again", "error", err)
	}
	o.attempts, o.tries = o.attempts+1, o.tries+1
	if now.Sub(o.since) >= downAfter {
		c.tally.down(o.since, err)
	}
	refused := errors.Is(err, ErrRefused)
	over := c.MaxRetry > 0 && o.tries > c.MaxRetry || c.MaxRetry == 0 && now.Sub(o.round) >= firstRound
	if (over || refused) && c.tookAnother(ctx, n) || ctx.Err() != nil {
		return
	}
	o.sooner = time.Time{}
	if refused {
		o.sooner = now.Add(longestPause)
	}
	if over {
		c.roundFailed(n, err)
		return
	}
	o.again = now.Add(max(c.clock.Jitter(o.wait), laterBy(err)))
	o.wait = min(2*o.wait, longestPause)
}

// laterBy is how long a receiver wants to be left alone, as its answer says, at most
// roundPause; 0: it did not say.
func laterBy(err error) time.Duration {
	if later := (*laterError)(nil); errors.As(err, &later) {
		return min(later.after, roundPause)
	}
	return 0
}

// tookAnother looks whose fault it is that the first message is not taken, and reports
// whether it was the message's: with a receiver that takes one behind it the first has one
// more attempt, and is given up if that fails.
func (c *courier) tookAnother(ctx context.Context, n int) bool {
	if !c.probed(ctx) {
		return false
	}
	c.tally.retried()
	last := c.put(ctx, 0, n)
	switch {
	case last == nil:
		c.taken(0, n)
	case errors.Is(last, errWords):
		c.giveUp(n, DroppedFormat, "it cannot be written", last)
	case ctx.Err() != nil:
		return true // it is still to be sent
	default:
		c.tally.failed()
		reason := DroppedPoison
		if errors.Is(last, ErrRefused) {
			reason = DroppedRefused
		}
		c.giveUp(n, reason, "its receiver takes others and not this one", last)
	}
	c.recovered()
	return true
}

// roundFailed has all wait for a receiver that takes none; what has become too old is given
// up.
func (c *courier) roundFailed(n int, err error) {
	o := &c.outage
	if !o.told {
		o.told = true
		c.log.Error("delivery failed after retries: messages wait until the receiver takes them", "attempts", o.attempts, "pause", roundPause.String(),
			"given_up_after", keptFor.String(), "error", err)
	}
	c.tally.down(o.since, err)
	if n > 1 && n >= c.leaving && errors.Is(err, ErrRefused) {
		c.alone = n // nothing is behind it that could tell whose fault it is: its own alerts can
	}
	c.tooOld(err)
	now := c.clock.Now()
	o.again, o.round, o.tries, o.wait = now.Add(roundPause), now.Add(roundPause), 0, firstPause
	if c.leaving == 0 {
		o.again = now // what comes next is tried at once
	}
}

// probed tries one of the messages behind the first, another at each call, and reports
// whether it was taken: then the receiver is there. A refusal says nothing of that: it may
// be of the receiver's key, its address, or of what stands before it.
func (c *courier) probed(ctx context.Context) bool {
	from, at := c.size(0), 0
	if from >= c.leaving || ctx.Err() != nil {
		return false
	}
	starts := []int{}
	for ; from < c.leaving; from += c.size(from) {
		starts = append(starts, from)
	}
	at = starts[c.outage.probe%len(starts)]
	c.outage.probe++
	n := c.size(at)
	err := c.put(ctx, at, n)
	if err == nil {
		c.taken(at, n)
		return true
	}
	if ctx.Err() == nil {
		c.tally.failed()
	}
	return false
}

// tooOld gives up what has departed and is older than keptFor.
func (c *courier) tooOld(err error) {
	n, limit := 0, c.clock.Now().Add(-keptFor)
	for n < c.leaving && !c.pending[n].at.After(limit) {
		n++
	}
	if n == 0 {
		return
	}
	if c.outage.given == 0 {
		c.log.Error("alerts are given up, their receiver takes nothing: they are too old by now; how many it were is said when it takes messages again",
			"alerts", n, "older_than", keptFor.String(), "error", err)
	}
	c.outage.given += n
	c.tally.dropped(DroppedOld, n)
	c.done(0, n)
}

// giveUp lets go of the first message. One of several alerts is taken apart first: it may
// be one of them alone that is not taken.
func (c *courier) giveUp(n int, reason DropReason, why string, err error) {
	if n > 1 {
		c.log.Warn("a message of several alerts is not taken, they are sent one by one", "alerts", n, "error", err)
		c.alone = n
		return
	}
	d := &c.pending[0]
	c.log.Error("a message is given up, "+why, "alerts", n, "scenario", d.alert.GetScenario(), "value", d.alert.GetValue(),
		"stored", d.at.UTC().Format(time.RFC3339), "error", err)
	c.tally.dropped(reason, n)
	c.done(0, n)
}

// recovered ends an outage.
func (c *courier) recovered() {
	if o := &c.outage; !o.since.IsZero() {
		c.log.Info("the receiver takes messages again", "attempts", o.attempts+1, "after", c.clock.Now().Sub(o.since).Round(time.Second).String(), "given_up", o.given)
		c.outage = outage{}
	}
	c.tally.up()
}
