package engine

import "runtime"

// pace is Options.Yield, as long computations call it; nil: there is none.
//
// A goroutine that computes is let run for ten milliseconds before others get its
// processor, and on two processors a live query would wait that long. So loops over
// what one request may bring a hundred thousand of look after the connections by
// themselves, every fifty microseconds or so, and step back a little less often:
// whoever steps back waits for all others that compute.
type pace func()

const (
	// stretchOfWork is after how many turns of such a loop the connections are looked
	// after: turns take half a microsecond to a microsecond.
	stretchOfWork = 64
	// stepBackAfter is after how many it steps back as well.
	stepBackAfter = 4 * stretchOfWork
	// glances are how many looks at a record take as long as a turn.
	glances = 8
)

// step is called in each turn of such a loop, with its number.
func (p pace) step(i int) {
	if i%stretchOfWork != stretchOfWork-1 {
		return
	}
	if p != nil {
		p()
	}
	if i%stepBackAfter == stepBackAfter-1 {
		runtime.Gosched()
	}
}

// glance is step for a computation whose turns take some ten nanoseconds, such as a look at a record.
func (p pace) glance(i int) {
	if i%glances == glances-1 {
		p.step(i / glances)
	}
}

// stretch is step for a computation whose turns are long: each is a stretch of work by itself.
func (p pace) stretch(i int) { p.step(i*stretchOfWork + stretchOfWork - 1) }

// rest is called between two stretches of a computation that counts them itself.
func (p pace) rest() {
	if p != nil {
		p()
	}
}

// Pace is called in each turn of a loop over what one request brings, with the number of
// the turn, by whoever makes ready what the engine is asked to store. It is
// Options.Yield, now and then, and lets other goroutines run. Any goroutine.
func (e *Engine) Pace(i int) { e.pace.step(i) }
