package export

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Pull is one answer to a device.
type Pull struct {
	At      int64 // Unix nanoseconds
	Address netip.Addr
	Agent   string
	Status  int
	Entries int
	Bytes   int // of the body; 0 without one
}

// Pulls is what is known of the devices that pull an export, since the start.
type Pulls struct {
	name                         string
	Served, Unchanged, Turned    atomic.Uint64 // answers of 200, of 304, and all others
	Bytes                        atomic.Uint64
	Written                      atomic.Uint64 // lists, and parts of them, that were written: who pulls the same shares one
	LastPull, LastEmpty, Omitted atomic.Int64  // moments, Unix nanoseconds; entries that are left out
	Count                        atomic.Int64  // entries of the last list
	Held                         atomic.Bool   // a list of it is held back (guard.go)

	mu   sync.Mutex
	last []Pull // the newest last
}

// shownPulls is how many pulls of an export are told one by one.
const shownPulls = 10

// Of gives the pulls of an export.
func (r *Renderings) Of(name string) *Pulls {
	if p, ok := r.pulls.Load(name); ok {
		return p.(*Pulls)
	}
	p, _ := r.pulls.LoadOrStore(name, &Pulls{name: name})
	return p.(*Pulls)
}

// Unchanged304 counts an answer without a body. It takes no lock and allocates nothing once the
// export is known.
func (p *Pulls) Unchanged304(now int64) {
	p.Unchanged.Add(1)
	p.LastPull.Store(now)
}

// Note counts and keeps a pull; b is nil where no list was given. What is said of the list is
// said of all of it.
func (p *Pulls) Note(one Pull, b *Body) {
	switch one.Status {
	case 200:
		p.Served.Add(1)
		p.Bytes.Add(uint64(one.Bytes))
		p.LastPull.Store(one.At)
	case 304:
		p.Unchanged304(one.At)
	default:
		p.Turned.Add(1)
	}
	if b != nil && b.part == "" {
		p.Count.Store(int64(b.Count))
		p.Omitted.Store(int64(b.Left.Omitted()))
		if b.Count == 0 {
			p.LastEmpty.Store(one.At)
		} else {
			p.LastEmpty.Store(0)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.last) >= shownPulls {
		p.last = append(p.last[:0], p.last[1:]...)
	}
	p.last = append(p.last, one)
}

// Last are the last pulls that had a body or were refused, the newest first.
func (p *Pulls) Last() []Pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := slices.Clone(p.last)
	slices.Reverse(list)
	return list
}

// Name is the export's.
func (p *Pulls) Name() string { return p.name }
