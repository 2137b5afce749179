package capi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"lapid/engine"
)

const (
	deletedMark  = "capi.deleted" // the bookmark's name
	deletedEvery = 10 * time.Second
)

// deletion is a decision that was deleted here, and how far the history is told with it.
type deletion struct {
	uuid  string
	place place
}

// reporter tells the console which decisions were deleted, from a bookmark on.
type reporter struct {
	c     *Client
	mark  *engine.Bookmark
	at    place
	moved engine.Revision // where the bookmark is
}

// reports tells whether deletions are reported by what is shared with the console.
func (c *Console) reports() bool { return c.Management || c.Manual }

// reportJob reports deletions, at least once and in order. A batch that fails is sent again,
// with growing pauses, from the bookmark, which a restart finds where it was.
func (c *Client) reportJob(ctx context.Context) {
	if !c.o.Console.reports() {
		if err := c.o.Engine.Bookmark(deletedMark).Drop(ctx); err != nil {
			c.warn(ctx, "the history is kept for deletions that are not reported", "error", err)
		}
		return
	}
	r := c.newReporter()
	again := pauses{first: 2 * deletedEvery, longest: 5 * time.Minute}
	for !r.begin(ctx) {
		if c.session.pause(ctx, deletedEvery) != nil {
			return
		}
	}
	wait := deletedEvery
	for c.session.pause(ctx, wait) == nil {
		err := r.turn(ctx)
		if c.went(ctx, JobDeletions, err); err != nil {
			wait = again.failed(c.o.Jitter)
			c.warn(ctx, "reports of deleted decisions wait: the Central API does not take them", "error", err, "again_in", wait.Round(time.Second).String())
			continue
		}
		wait = deletedEvery
		again.well()
	}
}

// reportOnce reports what there is, once.
func (c *Client) reportOnce(ctx context.Context) error {
	r := c.newReporter()
	if !c.o.Console.reports() || !r.begin(ctx) {
		return ctx.Err()
	}
	return r.turn(ctx)
}

func (c *Client) newReporter() *reporter {
	return &reporter{c: c, mark: c.o.Engine.Bookmark(deletedMark)}
}

// begin finds the place to go on from. What was deleted before the first start that reports
// is not told.
func (r *reporter) begin(ctx context.Context) bool {
	at, stored := r.mark.At()
	if newest := r.c.o.Engine.View().Revision(); !stored {
		if err := r.mark.Move(ctx, newest); err != nil {
			r.c.warn(ctx, "deletions cannot be reported yet: the place in the history cannot be noted", "error", err)
			return false
		}
		at = newest
	}
	r.at, r.moved = place{rev: at}, at
	return true
}

// turn reports all that there is. An error is of a batch that was not taken, or of the
// bookmark.
func (r *reporter) turn(ctx context.Context) error {
	commits, ok := r.c.o.Engine.Commits(r.at.rev)
	if !ok {
		newest := r.c.o.Engine.View().Revision()
		r.c.log.Warn("reports of deleted decisions are lost: the history is not kept any more back to the last one",
			"reported_up_to", uint64(r.at.rev), "goes_on_at", uint64(newest))
		r.at = place{rev: newest}
		return r.move(ctx, true)
	}
	var batch []deletion
	last := r.at.rev
	for rev, commit := range commits {
		list := deletionsIn(commit)
		if rev == r.at.rev+1 {
			list = list[min(r.at.done, len(list)):]
		}
		for batch = append(batch, list...); len(batch) >= batchLen; batch = batch[batchLen:] {
			if err := r.send(ctx, batch[:batchLen]); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		last = rev
	}
	if len(batch) > 0 {
		if err := r.send(ctx, batch); err != nil {
			return err
		}
	}
	r.at = place{rev: last}
	return r.move(ctx, false)
}

// move notes the place durably: after a batch, and now and then without one.
func (r *reporter) move(ctx context.Context, now bool) error {
	if r.at.rev <= r.moved || !now && r.at.rev-r.moved < moveAfter {
		return nil
	}
	if err := r.mark.Move(ctx, r.at.rev); err != nil {
		return err
	}
	r.moved = r.at.rev
	return nil
}

// send sends a batch and notes that. One that is refused for what is in it is left out and
// told: it would be refused again, and hold up all that come after it. A server that is not
// enrolled tells nobody.
func (r *reporter) send(ctx context.Context, batch []deletion) error {
	who, err := r.c.session.account(ctx)
	if err != nil {
		return err
	}
	if who.enrolled() {
		uuids := make([]string, len(batch))
		for i := range batch {
			uuids[i] = batch[i].uuid
		}
		err = r.c.session.ask(ctx, &request{method: http.MethodPost, path: "v3/decisions/delete", body: uuids, once: true, wait: batchPatience})
		var refused *Refusal
		if errors.As(err, &refused) && refused.ofContent() {
			r.c.log.Warn("a report of deleted decisions is refused by the Central API and left out", "decisions", len(batch), "first", uuids[0], "error", err)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	r.at = batch[len(batch)-1].place
	return r.move(ctx, true)
}

// deletionsIn are the decisions that somebody deleted in a commit: an operator, a machine, or
// the console. Those that lists brought have no UUID that anybody knows elsewhere, and are
// left out.
func deletionsIn(commit *engine.Commit) (list []deletion) {
	for change := range commit.Changes() {
		if change.Kind != engine.DecisionEnded {
			continue
		}
		switch change.By.Kind {
		case engine.ActorOperator, engine.ActorMachine, engine.ActorConsole:
		default:
			continue
		}
		if o := change.Decision.Origin().S; o == engine.OriginCAPI || o == engine.OriginLists {
			continue
		}
		list = append(list, deletion{uuid: change.Decision.UUID().String(), place: place{commit.Revision - 1, len(list) + 1}})
	}
	if n := len(list); n > 0 {
		list[n-1].place = place{rev: commit.Revision}
	}
	return list
}
