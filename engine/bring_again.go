package engine

import (
	"context"
	"fmt"
	"slices"
)

// What is brought from another server once more ends here what has ended there, in as few
// commits as it fits.

// EndBrought ends decisions by their ids, as one commit, and says how many ran. Ids of
// what is over or not there are passed over.
func (e *Engine) EndBrought(ctx context.Context, ids []DecisionID, now int64) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	o := &endDecisions{at: now, ids: make([]uint64, len(ids))}
	for i, id := range ids {
		o.ids[i] = uint64(id)
	}
	slices.Sort(o.ids)
	o.ids = slices.Compact(o.ids)
	err := e.propose(orElse(ctx, Actor{Kind: ActorImport}), &proposal{op: o})
	return o.ended, err
}

// RemoveBrought deletes alerts with their decisions by their ids, as one commit, and says
// how many were there.
func (e *Engine) RemoveBrought(ctx context.Context, ids []AlertID, now int64) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	list := make([]uint64, len(ids))
	for i, id := range ids {
		list[i] = uint64(id)
	}
	return e.dropAlerts(orElse(ctx, Actor{Kind: ActorImport}), slices.Compact(slices.Sorted(slices.Values(list))), now)
}

// BringUsage stores a report of another server, which may be of any day: what one sender
// may send on one day does not count. One of the same sender and moment is replaced.
// Unknown senders are ErrNotFound, texts and metrics that are too long ErrInvalid.
func (e *Engine) BringUsage(ctx context.Context, u *Usage) error {
	if err := u.Fits(); err != nil {
		return err
	}
	ctx = orElse(ctx, Actor{Kind: ActorImport})
	p := &proposal{key: u.about()}
	p.resolve = func(v *View) (made op, err error) {
		if p.before, err = u.updates(v); err != nil {
			return nil, err
		}
		return &addUsage{usage: *u}, nil
	}
	return e.propose(ctx, p)
}

// Fits tells whether BringMachine would take a machine, without one; ErrInvalid.
func (m *Machine) Fits() error { return m.fits(nil) }

// Fits tells whether BringBouncer would take a bouncer; ErrInvalid.
func (b *Bouncer) Fits() error { return b.fits(nil) }

// Fits tells whether BringUsage would take a report of a known sender; ErrInvalid.
func (u *Usage) Fits() error {
	if len(u.Payload) > mostUsageReport {
		return &Error{Kind: ErrInvalid, Text: fmt.Sprintf("the metrics are %d bytes, and at most %d are kept", len(u.Payload), mostUsageReport)}
	}
	return u.fits()
}

// Fits tells whether a list of that name, with these items, could be made; ErrInvalid.
func (l *Allowlist) Fits() error {
	if err := l.fits(); err != nil {
		return err
	}
	return itemsFit(l.Items)
}
