// Package budget bounds memory and shares it out: a Purse has so many bytes for
// one purpose, a Holder is a client that some of them are spent on, and a Hold is
// what one body or answer has.
//
// One holder may have half of a purse while there are others, and with several
// holds at once no more than half of what others leave. So there is always room
// for a holder that has nothing yet, or there will be soon. A single hold may have
// all of it when it is alone.
//
// What does not fit is refused at once (Take) or waited for (Await), by no more
// callers than there are connections; of those who wait the one goes first whose
// holder has least. Both are a lock and a map's entry; they are not for answers of a
// few bytes.
package budget

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Purse is the memory for one purpose. Its methods, and those of its holds, may be
// called from any goroutine; one hold is for one goroutine at a time.
type Purse struct {
	most   int64
	labour func(int) // told 1 when a hold takes something, -1 when it has given it back

	mu    sync.Mutex
	used  int64
	by    map[Holder]share
	queue []*wish // those who wait, in order of arrival; no more than there are connections
}

// Holder is whose holds count together: those of a machine or a bouncer, by name,
// or those of strangers at one place.
type Holder struct {
	Place netip.Prefix
	Name  string
}

// Hold is what one body or answer has. The zero Hold has nothing, and no purse
// until From is set; Of and From are not changed while it has something.
type Hold struct {
	Of    Holder
	From  *Purse // nil: nothing yet
	taken int64
}

// share is what one holder has.
type share struct {
	taken int64
	holds int
}

// wish is one who waits.
type wish struct {
	hold    *Hold
	n       int64
	granted chan struct{}
}

// NewPurse makes a purse of so many bytes. labour, which may be nil, is told 1 when
// a hold takes its first byte and -1 when it has given back its last; it is called
// with the purse locked and must not call it.
func NewPurse(most int64, labour func(int)) *Purse {
	if labour == nil {
		labour = func(int) {}
	}
	return &Purse{most: most, labour: labour, by: make(map[Holder]share)}
}

// Most is how many bytes there are in all.
func (p *Purse) Most() int64 { return p.most }

// InUse is how many are taken.
func (p *Purse) InUse() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Taken is how many bytes the hold has.
func (h *Hold) Taken() int64 { return h.taken }

// Take reports whether n more bytes fit, and if so has them. It does not wait:
// a hold that has some memory and waits for more would hold up everybody.
func (h *Hold) Take(n int64) bool {
	p := h.From
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.grant(h, n)
}

// Await is Take for a hold that has nothing yet: it waits for room until patience
// is over or life ends.
func (h *Hold) Await(n int64, patience time.Duration, life <-chan struct{}) bool {
	p := h.From
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

// Shrink gives back what is more than n bytes.
func (h *Hold) Shrink(n int64) {
	if h.taken > n {
		h.From.give(h, h.taken-n)
	}
}

// Release gives back everything and leaves the zero Hold.
func (h *Hold) Release() {
	if h.taken > 0 {
		h.From.give(h, h.taken)
	}
	*h = Hold{}
}

// give takes back n bytes of what a hold has, and lets in who waits and fits now:
// whoever has least goes first.
func (p *Purse) give(h *Hold, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
	h.taken -= n
	s := p.by[h.Of]
	s.taken -= n
	if h.taken == 0 {
		p.labour(-1)
		s.holds--
	}
	if p.by[h.Of] = s; s.holds == 0 {
		delete(p.by, h.Of)
	}
	for {
		next := -1
		for i, w := range p.queue {
			if p.fits(w.hold, w.n) && (next < 0 || p.by[w.hold.Of].taken < p.by[p.queue[next].hold.Of].taken) {
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
func (p *Purse) grant(h *Hold, n int64) bool {
	if !p.fits(h, n) {
		return false
	}
	s := p.by[h.Of]
	if h.taken == 0 {
		s.holds++
		p.labour(1)
	}
	s.taken += n
	p.by[h.Of] = s
	p.used += n
	h.taken += n
	return true
}

// fits is the rule. Called with the lock.
func (p *Purse) fits(h *Hold, n int64) bool {
	own := p.by[h.Of]
	more := own.holds // besides this one
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
