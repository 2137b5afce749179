package feed

import (
	"fmt"
	"net/netip"

	"lapid/engine"
	"lapid/transport/budget"
)

// What an answer takes until its reader has taken it.
//
// An answer up to Brief costs nothing but the response's own memory. A longer one is
// either written while it is made, through a piece of its own (Writer), or whole
// already, as deltas are that several bouncers get. Both are paid for out of one
// purse, and so is what has to be collected first because it has to be put in order:
// lists of decisions, deltas, large alerts. One bouncer or machine may have half of
// the purse while there are others (package budget). An answer that finds no room
// waits for some, Options.Patience at most; then it is refused as busy.

// Brief is up to how many bytes an answer takes no memory but the response's own.
const Brief = 16 << 10

// Asker says who pays for an answer. It is asked about long answers alone, on the
// goroutine that asked, before the answer is returned.
type Asker interface{ Payer() Payer }

// Payer is who reads a long answer.
type Payer struct {
	Holder budget.Holder
	Client netip.Addr // for Options.Refused
}

// errNoMemory refuses an answer for now.
var errNoMemory = &engine.Error{Kind: engine.ErrBusy, Text: "too many long answers at once"}

// TooLong refuses an answer for ever.
type TooLong struct{ Bytes int64 }

func (e *TooLong) Error() string {
	return fmt.Sprintf("the answer takes %d bytes of memory, more than there is for answers: ask for less", e.Bytes)
}

// Memory is what long answers take, and by which rules they are sent. It is part of a
// Feed, which has its methods. They may be called from any goroutine.
type Memory struct {
	options Options
	purse   *budget.Purse
}

// Reserve takes n bytes more of the memory for answers into h, for which it may
// wait. They are the caller's to release until an answer takes them over. The error
// is a *TooLong, or an *engine.Error of ErrBusy.
func (m *Memory) Reserve(h *budget.Hold, a Asker, n int64) error {
	p := a.Payer()
	if h.From == nil {
		h.Of, h.From = p.Holder, m.purse
	}
	if need := h.Taken() + n; need > m.purse.Most() {
		return &TooLong{need}
	}
	if !h.Await(n, m.options.Patience, m.options.Life) {
		m.options.Refused(p.Client)
		return errNoMemory
	}
	return nil
}

// aside takes memory for a part of an answer that is under way, and waits for it.
func (m *Memory) aside(p Payer, n int64) (budget.Hold, error) {
	h := budget.Hold{Of: p.Holder, From: m.purse}
	if !h.Await(min(n, m.purse.Most()), m.options.Patience, m.options.Life) {
		m.options.Refused(p.Client)
		return budget.Hold{}, errNoMemory
	}
	return h, nil
}

// Part is what one part of an answer takes at a time while it is read and written,
// such as an alert. It may outlive the request that it was made for and belongs to
// one goroutine at a time.
type Part struct {
	memory *Memory
	payer  Payer
	held   budget.Hold
}

// Part makes one that has nothing yet.
func (m *Memory) Part(a Asker) *Part { return &Part{memory: m, payer: a.Payer()} }

// Room makes what was taken for the part before what this one takes, n bytes, and
// waits for it; false: there is none. A part larger than all there is has all.
func (r *Part) Room(n int64) bool {
	if n = min(n, r.memory.purse.Most()); n <= r.held.Taken() {
		r.held.Shrink(n)
		return true
	}
	r.held.Release()
	var err error
	r.held, err = r.memory.aside(r.payer, n)
	return err == nil
}

// Release gives back everything; on nil it does nothing.
func (r *Part) Release() {
	if r != nil {
		r.held.Release()
	}
}
