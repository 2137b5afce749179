package engine

import "sync/atomic"

// ledger lists the rows whose visits are to be written down, so that the committer need
// not look through all rows for them. Visitors put themselves in, from any goroutine,
// without lock or allocation, once until they have been taken; the committer takes
// them. The rows are linked through themselves: it needs no bound of its own.
type ledger[R any, P ledgerRow[R]] struct {
	newest atomic.Pointer[R]
	rest   *R // taken out together, still to be handled; the committer's

	acknowledged signal      // given when a bouncer has acknowledged something
	hurry        atomic.Bool // other nodes are to be told of some row at once
}

// ledgerRow is what a row brings for it: whether it is in, and the row that comes next,
// which is the ledger's while it is in.
type ledgerRow[R any] interface {
	*R
	linked[R]
}

type linked[R any] interface {
	marked() *atomic.Bool
	next() **R
}

var (
	_ linked[BouncerRow] = (*BouncerRow)(nil)
	_ linked[machineRow] = (*machineRow)(nil)
	_ linked[loginRow]   = (*loginRow)(nil)
)

// note puts a row in, unless it is in already. Any goroutine.
func (l *ledger[R, P]) note(r *R) {
	if P(r).marked().Load() || !P(r).marked().CompareAndSwap(false, true) {
		return
	}
	for {
		before := l.newest.Load()
		*P(r).next() = before
		if l.newest.CompareAndSwap(before, r) {
			return
		}
	}
}

// open takes out all rows that are noted, if none is left of those taken before.
func (l *ledger[R, P]) open() {
	if l.rest == nil {
		l.rest = l.newest.Swap(nil)
	}
}

// take returns the next row of those that open took, nil after the last. It may be
// put in again from then on: what is read of it afterwards is at least as new.
func (l *ledger[R, P]) take() *R {
	r := l.rest
	if r == nil {
		return nil
	}
	l.rest = *P(r).next()
	*P(r).next() = nil
	P(r).marked().Store(false)
	return r
}
