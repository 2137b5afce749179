package enginetest

import (
	"errors"
	"fmt"

	"lapid/engine"
)

// Client is a stream bouncer as the real ones are: it holds what it was told,
// adds what is new, drops what is deleted, and knows nothing else.
type Client struct {
	Query   *engine.Query // its filters; Now is set at each poll
	Holds   map[Target]bool
	pulled  bool
	cursor  engine.Revision
	new     []engine.Decision // of the last answer
	deleted []engine.Decision
}

// Poll asks once and believes the answer. Every target must be in one list at
// most.
func (c *Client) Poll(e *engine.Engine, now int64) error {
	v := e.View()
	c.Query.Now = now
	var d engine.Delta
	if c.pulled && v.Changes(&d, c.cursor, c.Query) {
		return c.believe(v, d.New, d.Deleted)
	}
	c.Holds = map[Target]bool{}
	running, over := FullState(v, c.Query)
	return c.believe(v, running, over)
}

// FullState is what a full state lists: as new, and as deleted. A bouncer
// that starts over holds the first and drops the second.
func FullState(v *engine.View, q *engine.Query) (running, over []engine.Decision) {
	var buf [32]engine.Decision
	s := v.Scan(q)
	for batch := s.Running(buf[:]); len(batch) > 0; batch = s.Running(buf[:]) {
		running = append(running, batch...)
	}
	for batch := s.Over(buf[:]); len(batch) > 0; batch = s.Over(buf[:]) {
		over = append(over, batch...)
	}
	return running, over
}

// PollAs asks as a bouncer whose place the server keeps: from the row's cursor,
// whatever the client remembers, and offers the answer to the row. The caller
// says whether it was heard. A client that is told everything because it is too
// far behind starts over.
func (c *Client) PollAs(e *engine.Engine, row *engine.BouncerRow, now int64) (*engine.Delivery, error) {
	c.cursor, c.pulled = row.Cursor()
	return c.pollAs(e, row, now)
}

// StartAs is PollAs for one that has just started, and asks for everything.
func (c *Client) StartAs(e *engine.Engine, row *engine.BouncerRow, now int64) (*engine.Delivery, error) {
	row.AcknowledgeAnew()
	c.pulled = false
	return c.pollAs(e, row, now)
}

func (c *Client) pollAs(e *engine.Engine, row *engine.BouncerRow, now int64) (*engine.Delivery, error) {
	d := &engine.Delivery{Row: row, After: c.cursor, All: !c.pulled}
	err := c.Poll(e, now)
	d.To = c.cursor
	if !d.Offer(nil, now) {
		return nil, errors.New("the answer was not accepted")
	}
	return d, err
}

// Forget makes the client a new one: its next poll asks for everything.
func (c *Client) Forget(row *engine.BouncerRow) {
	row.Forget()
}

func (c *Client) believe(v *engine.View, running, deleted []engine.Decision) error {
	for _, d := range deleted {
		delete(c.Holds, TargetOf(d))
	}
	for _, d := range running {
		c.Holds[TargetOf(d)] = true
	}
	for _, d := range deleted {
		if c.Query.Dedup && c.Holds[TargetOf(d)] {
			return fmt.Errorf("%v is in both lists", TargetOf(d))
		}
	}
	c.pulled, c.cursor = true, v.Revision()
	c.new, c.deleted = running, deleted
	return nil
}

// TargetOf is what a client keys the decision by.
func TargetOf(d engine.Decision) Target {
	return Target{d.Scope().S, d.Value(), d.Type().S}
}
