package program

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"lapid/engine"
	"lapid/persist/stream"
	"lapid/transport/peer"
)

// What visitors left at a node, such as how far bouncers got, goes to the node that writes as notes (engine.VisitNote), so
// that a bouncer goes on at another node from where it was.

const (
	visitsLook   = time.Second     // between two looks whether there is something to be noted
	visitsWithin = 5 * time.Second // for a note to be taken; then it is sent again, the same
	visitsAtEnd  = 2 * time.Second // for all of them, when a node ends
)

// noteVisits has notes committed until ctx ends.
func (p *program) noteVisits(ctx context.Context) {
	for told := ""; ctx.Err() == nil; {
		pause(ctx, visitsLook)
		why := p.cluster.unreadBy(ctx, visitsLevel)
		if why == "" {
			if err := p.passVisits(ctx, false); err != nil && ctx.Err() == nil {
				p.log.Debug("what visitors left here is not noted yet", "error", err)
			}
		}
		if why != "" && why != told && ctx.Err() == nil {
			p.log.Warn("places of bouncers are not written down: a bouncer that goes to another node is told everything once more", "because", why)
		}
		told = why
	}
}

// visitsLevel is the first formatLevel that reads the notes.
const visitsLevel = 2

// unreadBy says which node does not read what is written since a level; "": all do.
func (c *cluster) unreadBy(ctx context.Context, level uint32) string {
	nodes, err := c.history.Known(ctx)
	switch {
	case errors.Is(err, stream.ErrSeal), errors.Is(err, stream.ErrOtherHistory):
		return err.Error() // it does answer
	case err != nil:
		return "etcd does not answer"
	}
	for _, k := range nodes {
		if k.Level < level {
			return fmt.Sprintf("node %s has an older program, %s: upgrade it, or lapid cluster forget %s if it is gone for good", k.Node, k.Version, k.Node)
		}
	}
	return ""
}

// passVisits has a note committed, if there is something to be noted; with all everything, in as many as it takes.
func (p *program) passVisits(ctx context.Context, all bool) error {
	for {
		note, err := p.engine.VisitNote(ctx, p.cluster.settings.Name, all)
		if err != nil || note == nil {
			return err
		}
		if err := p.passNote(ctx, note); err != nil || !all {
			return err
		}
	}
}

// passVisitsOnce has one note committed of all that is here, by a node that does not follow: it will not see it in the history.
func (p *program) passVisitsOnce(ctx context.Context) error {
	if why := p.cluster.unreadBy(ctx, visitsLevel); why != "" {
		return errors.New(why)
	}
	note, err := p.engine.VisitNote(ctx, p.cluster.settings.Name, true)
	if err != nil || note == nil {
		return err
	}
	return p.passNote(ctx, note)
}

// passNote has it committed, here or at the node that writes.
func (p *program) passNote(ctx context.Context, note *engine.VisitNote) error {
	here := func() error { return p.engine.NoteVisits(engine.ForRequest(ctx, note.ID), note.Body) }
	if p.engine.Writes() {
		if err := here(); !errors.Is(err, engine.ErrNotWriter) {
			return err
		}
	}
	got := peer.NewAnswer()
	err := p.cluster.peers.PassSoon(ctx, &peer.Request{Kind: peer.Visits, ID: note.ID, Body: note.Body}, got, visitsWithin)
	switch {
	case errors.Is(err, peer.ErrHere):
		return here()
	case err == nil && got.Status != http.StatusNoContent:
		return fmt.Errorf("the node that writes does not take it: %.200s", got.Body)
	}
	return err
}

// takeVisits commits a note of another node.
func (p *program) takeVisits(ctx context.Context, r *peer.Request, w http.ResponseWriter) error {
	err := p.engine.NoteVisits(ctx, r.Body)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
		return nil
	case errors.Is(err, engine.ErrInvalid):
		w.WriteHeader(http.StatusBadRequest)
	case errors.Is(err, engine.ErrBusy):
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		return err
	}
	_, err = w.Write([]byte(err.Error()))
	return err
}

// lastVisits notes everything before this node leaves, if somebody can take it.
func (p *program) lastVisits() {
	if p.anew.Load() {
		return // noted before: what is noted now would never be seen in this store
	}
	ctx, cancel := context.WithTimeout(context.Background(), visitsAtEnd)
	defer cancel()
	if ago, ok := p.cluster.history.Confirmed(); !ok || ago > confirmedWithin || p.cluster.unreadBy(ctx, visitsLevel) != "" {
		return
	}
	if err := p.passVisits(ctx, true); err != nil {
		p.log.Warn("places of bouncers could not be handed over: those that go to another node may hear again what they heard here in the last minute", "error", err)
	}
}
