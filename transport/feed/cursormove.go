package feed

import "lapid/engine"

// Witness is engine.Witness: a connection that can say whether what it was sent has
// not arrived.
type Witness = interface{ Missed(late bool) bool }

// CursorMove is what an answer does to its bouncer's cursor, from the moment it is
// made until it is known whether it was heard. It is a value until Offer; then it
// stays where it is, and Heard or Lost must follow.
type CursorMove struct {
	engine.Delivery
	at int64 // when it was asked for
}

// Aside is the answer to a bouncer that has said where it is: it moves no cursor, and what
// becomes of it is only noted.
type Aside struct{ Note engine.PollRef }

// Offer, Watch, Heard and Lost are those of a cursor.
func (a *Aside) Offer(Witness) bool { return true }

// Watch does nothing.
func (a *Aside) Watch(Witness) {}

// Heard notes that it has arrived.
func (a *Aside) Heard() { a.Note.Settle(engine.PollHeard) }

// Lost notes that it has not.
func (a *Aside) Lost() { a.Note.Settle(engine.PollMissed) }

// Offer moves the cursor, just before the last bytes of the answer are written. False:
// nothing moves, for the bouncer lacks something older, or too much is under way.
func (m *CursorMove) Offer(w Witness) bool { return m.Delivery.Offer(w, m.at) }

// Watch changes who sees what becomes of it; nil: no one can.
func (m *CursorMove) Watch(w Witness) { m.Delivery.Watch(w) }
