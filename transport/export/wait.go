package export

import (
	"time"

	"lapid/transport/budget"
)

// turn is a lock that can be waited for with an end.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// try takes it if nobody has it.
func (t turn) try() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

// take waits for it until enough has something, or life ends; both may be nil.
func (t turn) take(enough <-chan time.Time, life <-chan struct{}) bool {
	select {
	case t <- struct{}{}:
		return true
	case <-enough:
	case <-life:
	}
	return false
}

func (t turn) end() { <-t }

// looksEvery is how often is looked whether somebody still waits for a list.
const looksEvery = time.Second

// Wait is the patience of one who pulls a list: it counts from when he came, whatever he waits for. It is
// for one goroutine.
type Wait struct {
	until time.Time
	gone  func() bool // nil: never
}

// NewWait begins to wait. gone, which is asked now and then from another goroutine, says that nobody waits
// any more; nil: somebody does until the end of patience.
func NewWait(gone func() bool) *Wait { return &Wait{time.Now().Add(patience), gone} }

// turnOf waits until nobody else looks at a place.
func (w *Wait) turnOf(p *rendering) bool {
	if p.turn.try() {
		return true
	}
	enough := time.NewTimer(time.Until(w.until))
	defer enough.Stop()
	life, end := w.watch()
	defer end()
	return p.turn.take(enough.C, life)
}

// memory waits until there is so much for a hold that has none yet.
func (w *Wait) memory(hold *budget.Hold, bytes int64) bool {
	if hold.Take(bytes) {
		return true
	}
	life, end := w.watch()
	defer end()
	return hold.Await(bytes, time.Until(w.until), life)
}

// watch gives a channel that is closed when nobody waits any more; end is to be called.
func (w *Wait) watch() (life <-chan struct{}, end func()) {
	if w.gone == nil {
		return nil, func() {}
	}
	over, watched := make(chan struct{}), make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(watched)
		look := time.NewTicker(looksEvery)
		defer look.Stop()
		for !w.gone() {
			select {
			case <-look.C:
			case <-stop:
				return
			}
		}
		close(over)
	}()
	return over, func() { close(stop); <-watched } // what gone looks at is not used beyond
}
