package transport

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lapid/transport/auth"
)

// purses is the memory for large request bodies. Those who have not shown who they
// are have a small part of their own, in two halves: for addresses where the store
// knows nobody and for those where it does, so that the unknown do not starve the
// known.
type purses struct {
	known     *purse // of machines and bouncers
	strangers [2]*purse
	wide      [2]slot
}

func newPurses(known, strangers int64, labour func(int)) purses {
	return purses{newPurse(known, labour), [2]*purse{newPurse(strangers/2, labour), newPurse(strangers/2, labour)}, [2]slot{}}
}

// slot is the place for one wide body of somebody who has not logged in. No login
// is that large, but the contract takes it.
type slot struct{ taken atomic.Bool }

// purse bounds how much memory bodies take together, and shares it out. One holder
// may have half of it while there are others, and with several bodies at once no
// more than half of what others leave. So there is always room for who has nothing
// yet, or there will be soon. A single body may have all of it when it is alone.
type purse struct {
	most   int64
	labour func(int) // told 1 when a body takes something, -1 when it has given it back

	mu    sync.Mutex
	used  int64
	by    map[holder]share
	queue []*wish // those who wait, in order of arrival; no more than there are connections
}

// holder is whose bodies count together: those of a machine or a bouncer, or those
// of strangers at one address.
type holder struct {
	place netip.Prefix
	name  string
}

func strangersAt(client netip.Addr) holder { return holder{place: auth.PlaceOf(client)} }

// share is what one holder has.
type share struct {
	taken  int64
	bodies int
}

// wish is one who waits.
type wish struct {
	hold    *hold
	n       int64
	granted chan struct{}
}

// hold is what one body has.
type hold struct {
	of    holder
	from  *purse // nil: nothing yet
	taken int64
	wide  *slot // besides
}

func newPurse(most int64, labour func(int)) *purse {
	return &purse{most: most, labour: labour, by: make(map[holder]share)}
}

// take reports whether n more bytes fit, and if so counts them. It does not wait:
// a body that has some memory and waits for more would hold up everybody.
func (p *purse) take(h *hold, n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.grant(h, n)
}

// await is take for a body that has nothing yet: it waits for room until patience
// is over or life ends.
func (p *purse) await(h *hold, n int64, patience time.Duration, life <-chan struct{}) bool {
	p.mu.Lock()
	if p.grant(h, n) {
		p.mu.Unlock()
		return true
	}
	w := &wish{h, n, make(chan struct{})}
	p.queue = append(p.queue, w)
	p.mu.Unlock()
	enough := time.NewTimer(patience)
	defer enough.Stop()
	select {
	case <-w.granted:
		return true
	case <-enough.C:
	case <-life:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.Index(p.queue, w)
	if at >= 0 {
		p.queue = slices.Delete(p.queue, at, at+1)
	}
	return at < 0 // it was granted at this moment
}

// give takes back n bytes of what a body has, and lets in who waits and fits now:
// whoever has least goes first.
func (p *purse) give(h *hold, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
	h.taken -= n
	s := p.by[h.of]
	s.taken -= n
	if h.taken == 0 {
		p.labour(-1)
		s.bodies--
	}
	if p.by[h.of] = s; s.bodies == 0 {
		delete(p.by, h.of)
	}
	for {
		next := -1
		for i, w := range p.queue {
			if p.fits(w.hold, w.n) && (next < 0 || p.by[w.hold.of].taken < p.by[p.queue[next].hold.of].taken) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		w := p.queue[next]
		p.queue = slices.Delete(p.queue, next, next+1)
		p.grant(w.hold, w.n)
		close(w.granted)
	}
}

// grant counts n bytes if they fit. Called with the lock.
func (p *purse) grant(h *hold, n int64) bool {
	if !p.fits(h, n) {
		return false
	}
	s := p.by[h.of]
	if h.taken == 0 {
		s.bodies++
		p.labour(1)
	}
	s.taken += n
	p.by[h.of] = s
	p.used += n
	h.taken += n
	return true
}

// fits is the rule. Called with the lock.
func (p *purse) fits(h *hold, n int64) bool {
	own := p.by[h.of]
	more := own.bodies // besides this one
	if h.taken > 0 {
		more--
	}
	others := p.used - own.taken
	switch {
	case p.used+n > p.most:
		return false
	case more > 0:
		return own.taken+n <= (p.most-others)/2
	case others > 0:
		return own.taken+n <= p.most/2
	}
	return true
}

// inUse is how much is taken, in bytes.
func (p *purse) inUse() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// inUse is how much is taken of all, in bytes.
func (p *purses) inUse() int64 {
	return p.known.inUse() + p.strangers[0].inUse() + p.strangers[1].inUse()
}

func (s *slot) take() bool { return s.taken.CompareAndSwap(false, true) }

// shrink gives back what is more than n bytes.
func (h *hold) shrink(n int64) {
	if h.taken > n {
		h.from.give(h, h.taken-n)
	}
}

// release gives back everything.
func (h *hold) release() {
	if h.taken > 0 {
		h.from.give(h, h.taken)
	}
	if h.wide != nil {
		h.wide.taken.Store(false)
	}
	*h = hold{}
}
