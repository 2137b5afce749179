package capi

import (
	"context"
	"net/http"
	"time"

	"lapid/engine"
)

const (
	deletedMark  = "capi.deleted" // the bookmark's name
	deletedEvery = 10 * time.Second
)

// reporter tells the console which decisions were deleted, by their UUIDs.
type reporter struct{ outbox[string] }

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
	r := &reporter{outbox[string]{c: c, mark: c.o.Engine.Bookmark(deletedMark), find: deletionsIn, post: c.postDeletions}}
	r.left = func(uuid string, err error) {
		c.log.Warn("the report of a deleted decision is refused by the Central API, which takes others, and left out", "decision", uuid, "error", err)
	}
	r.lost = func(from, newest engine.Revision) {
		c.log.Warn("reports of deleted decisions are lost: the history is not kept any more back to the last one",
			"reported_up_to", uint64(from), "goes_on_at", uint64(newest))
	}
	return r
}

// begin finds the place to go on from. What was deleted before the first start that reports
// is not told.
func (r *reporter) begin(ctx context.Context) bool {
	if err := r.outbox.begin(ctx); err != nil {
		r.c.warn(ctx, "deletions cannot be reported yet: the place in the history cannot be noted", "error", err)
		return false
	}
	return true
}

// postDeletions reports a batch. A server that is not enrolled tells nobody.
func (c *Client) postDeletions(ctx context.Context, uuids []string) error {
	who, err := c.session.account(ctx)
	if err != nil || !who.enrolled() {
		return err
	}
	return c.session.ask(ctx, &request{method: http.MethodPost, path: "v3/decisions/delete", body: uuids, once: true, wait: batchPatience})
}

// deletionsIn are the decisions that somebody deleted in a commit: an operator, a machine, or
// the console. Those that lists brought have no UUID that anybody knows elsewhere, and are
// left out.
func deletionsIn(commit *engine.Commit) (list []*parcel[string]) {
	for change := range commit.Changes() {
		if change.Kind != engine.DecisionEnded {
			continue
		}
		switch change.By.Kind {
		case engine.ActorOperator, engine.ActorNamedOperator, engine.ActorMachine, engine.ActorConsole:
		default:
			continue
		}
		if o := change.Decision.Origin().S; o == engine.OriginCAPI || o == engine.OriginLists {
			continue
		}
		list = append(list, &parcel[string]{what: change.Decision.UUID().String(), size: 40})
	}
	return list
}
