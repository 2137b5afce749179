package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lapid/engine"
)

// AwaitRequest asks whether bouncers have a revision or a decision, and waits for that.
type AwaitRequest struct {
	Revision engine.Revision
	Decision uint64        // 0: Revision counts
	Names    []string      // empty: all that have asked
	Patience time.Duration // at most AwaitSlice; whoever wants more asks again
}

const (
	// AwaitSlice is how long one request waits at most: a server that ends is not held up,
	// and a client that has gone takes no place for long.
	AwaitSlice = 2 * time.Second
	// maxAwaits bounds those that wait at once. Further ones are refused, and ask again after
	// awaitBusy.
	maxAwaits = 16
	awaitBusy = 100 * time.Millisecond
)

// awaitBouncers answers as soon as all have it, or with how it stands when patience is over.
func (h *Handler) awaitBouncers(ctx context.Context, q *AwaitRequest) (*engine.Awaited, error) {
	if h.awaits.Add(1) > maxAwaits {
		h.awaits.Add(-1)
		return nil, &engine.Error{Kind: engine.ErrBusy, Text: fmt.Sprintf("%d others wait for bouncers already: try again when some have ended", maxAwaits)}
	}
	defer h.awaits.Add(-1)
	what := &engine.Await{Revision: q.Revision, Decision: engine.DecisionID(q.Decision), Names: q.Names}
	return h.engine.Await(ctx, what, min(max(q.Patience, 0), AwaitSlice))
}

// AwaitBouncers waits until bouncers have a revision or a decision, for as long as ctx
// lasts, and gives how it stands then; Done tells. Errors: engine.ErrNotFound,
// engine.ErrInvalid, engine.ErrBusy, and that of a connection that broke.
func (c *Client) AwaitBouncers(ctx context.Context, q AwaitRequest, timeout time.Duration) (*engine.Awaited, error) {
	end := time.Now().Add(timeout)
	for {
		q.Patience = min(max(time.Until(end), 0), AwaitSlice)
		got, err := ask[engine.Awaited](ctx, c, "/bouncers/await", &q)
		if errors.Is(err, engine.ErrBusy) && time.Now().Before(end) && pauseOf(ctx, min(awaitBusy, time.Until(end))) {
			continue // who waits already may find his place taken by another
		}
		if err != nil || got.Done || !time.Now().Before(end) {
			return got, err
		}
	}
}

// pauseOf waits, and reports whether ctx still lasts.
func pauseOf(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Poll is one of a bouncer's last polls.
type Poll struct {
	At       int64 // when it came, Unix nanoseconds
	Took     int64 // nanoseconds, the time that it was put off too
	Placed   bool  // From counts: else it knew nothing, or was at no place of this history
	From, To engine.Revision
	Bytes    int64  // of the body; -1: it was sent while it was made
	End      string // how it ended, in a few words
}

// pollsOf are the last polls of a row, the newest first.
func (h *Handler) pollsOf(r *engine.BouncerRow) []Poll {
	var list []Poll
	for _, n := range h.engine.Polls(r) {
		list = append(list, Poll{At: n.At, Took: int64(n.Took), Placed: n.Placed, From: n.From, To: n.To, Bytes: n.Bytes, End: endOf(&n)})
	}
	return list
}

// periodOf is the time between polls, the newest first: the median, so that one that came late, or a start, does not count. In
// nanoseconds; 0: there are too few to tell.
func periodOf(list []engine.PollNote) int64 {
	var between []int64
	for i := 1; i < len(list); i++ {
		between = append(between, list[i-1].At-list[i].At)
	}
	if len(between) < 2 {
		return 0
	}
	slices.Sort(between)
	return max(between[len(between)/2], 0)
}

// endOf says how a poll ended: with what, whether it was put off, and what became of the
// answer.
func endOf(n *engine.PollNote) string {
	text := map[engine.PollKind]string{
		engine.PollFull: "full", engine.PollDelta: "delta", engine.PollNothing: "nothing new", engine.PollUnchanged: "304",
	}[n.Kind]
	switch {
	case n.Kind == 0:
		return "held, client went away"
	case n.TimeUp:
		text += ", held until the time was up"
	case n.PutOff:
		text += ", held and woken"
	}
	switch n.Fate {
	case engine.PollHeard:
		text += ", heard"
	case engine.PollMissed:
		text += ", client went away"
	}
	return text
}

// holding fills in what a bouncer has.
func (b *Bouncer) holding(o *engine.Holding) {
	b.Streams, b.HasAcknowledged, b.Acknowledged = o.Streams, o.HasAcknowledged, o.Acknowledged
	b.Lag, b.LagRevisions, b.Expected = int64(o.Lag), o.Behind, o.Expected
	b.HasReported, b.Reported, b.ReportedAt = o.HasReported, o.Reported, o.ReportedAt
}
