package engine

import "runtime"

// pace is Options.Yield, as long computations call it; nil: there is none.
//
// A goroutine that computes is let run for ten milliseconds before others get its
// processor, and on two processors a live query would wait that long. So loops over
// what one request may bring a hundred thousand of step back by themselves, every
// hundred microseconds or so.
type pace func()

// stretchOfWork is after how many turns of such a loop it steps back.
const stretchOfWork = 256

// step is called in each turn of such a loop, with its number.
func (p pace) step(i int) {
	if i%stretchOfWork != stretchOfWork-1 {
		return
	}
	if p != nil {
		p()
	}
	runtime.Gosched()
}
