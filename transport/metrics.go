package transport

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// counterShares is into how many parts the counters are split, so that
// processors do not fight for their cache lines. Exchanges hold a share each.
const counterShares = 16

// edges are the upper bounds of the latency histogram, in nanoseconds. Those of
// the contract (metrics.md section 2) are all among them, so that one
// observation serves both histograms.
var edges = [...]int64{
	10e3, 25e3, 50e3, 100e3, 250e3, 500e3, 1e6, 2.5e6, 5e6, 10e6, 25e6, 50e6, 75e6, 100e6,
	200e6, 300e6, 400e6, 500e6, 750e6, 1e9, 2.5e9, 5e9, 10e9,
}

// dashboardEdges are the contract's buckets, in seconds.
var dashboardEdges = [...]float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1}

// counting holds what is counted about requests: per line of the table a
// latency histogram, whose total is the number of requests, and per visitor its
// requests. Counting takes no lock and allocates nothing but a visitor's
// counters at its first request.
type counting struct {
	shares [counterShares]counters
	next   atomic.Uint32
	lines  int

	bouncers visitors[*engine.BouncerRow]
	machines visitors[string]
}

// counters are one share of the latency histograms, line by line.
type counters struct {
	lines []latency
	codes [highestCode + 1]atomic.Uint64 // answers by status
	_     [64]byte
}

// highestCode is the highest status that is counted by itself, and that of
// impossible ones.
const highestCode = 599

// answered counts an answer.
func (c *counters) answered(status int) {
	if status < 0 || status > highestCode {
		status = highestCode
	}
	c.codes[status].Add(1)
}

// code adds up the shares of one status.
func (c *counting) code(status int) (n uint64) {
	for i := range c.shares {
		n += c.shares[i].codes[status].Load()
	}
	return n
}

type latency struct {
	counts [len(edges) + 1]atomic.Uint64
	nanos  atomic.Int64
}

func (c *counting) start(lines int) {
	c.lines = lines
	for i := range c.shares {
		c.shares[i].lines = make([]latency, lines)
	}
	c.bouncers.lines, c.machines.lines = lines, lines
}

// share gives one of the shares to an exchange.
func (c *counting) share() *counters { return &c.shares[c.next.Add(1)%counterShares] }

// count counts an answered request, in a share, by line and by visitor: a bouncer, or a
// machine, or neither.
func (c *counting) count(share *counters, line *route, status int, row *engine.BouncerRow, machine string, took time.Duration) {
	n := line.number
	l := &share.lines[n]
	at := 0
	for at < len(edges) && int64(took) > edges[at] {
		at++
	}
	l.counts[at].Add(1)
	l.nanos.Add(int64(took))
	share.answered(status)
	if line.who == either {
		return // the contract does not count these by visitor
	}
	if row != nil {
		c.bouncers.of(row, aboutRow).requests[n].Add(1)
	} else if machine != "" {
		c.machines.of(machine, aboutMachine).requests[n].Add(1)
	}
}

// live counts a live query by whether it found something.
func (c *counting) live(row *engine.BouncerRow, found bool) {
	if row == nil {
		return
	}
	v := c.bouncers.of(row, aboutRow)
	if found {
		v.found.Add(1)
	} else {
		v.missed.Add(1)
	}
}

// alerts counts what a machine has reported and is stored.
func (c *counting) alerts(machine string, n int) {
	if machine != "" && n > 0 {
		c.machines.of(machine, aboutMachine).alerts.Add(uint64(n))
	}
}

// Bounds of what is counted for each visitor by itself, so that a million rows of
// bouncers are neither a million series nor half a kilobyte each.
const (
	// ownSeries is how many bouncers, and machines, have counters of their own.
	// Beyond, they are counted together under the name without address and
	// crowdSuffix.
	ownSeries = 10_000
	// ownStrangers is how many there may be before rows that keys and certificates
	// made from new addresses get none of their own.
	ownStrangers = 1000
	// mostCrowds is how many such names there are; others are one crowd.
	mostCrowds = 1000
	// crowdSuffix takes the place of the address.
	crowdSuffix = "@*"
)

// visitor is what is counted about one bouncer or machine, or about a crowd.
type visitor struct {
	requests      []atomic.Uint64 // by line of the table
	found, missed atomic.Uint64   // live queries
	alerts        atomic.Uint64   // stored
}

// visitors are the counters of everybody who came, as far as they have their own,
// and of the crowds that the others are counted in. Who is not known any more is
// forgotten (prune); crowds stay, for counters only grow.
type visitors[K comparable] struct {
	lines  int
	all    sync.Map                            // K to *visitor
	own    atomic.Int64                        // in all, within a few
	crowds atomic.Pointer[map[string]*visitor] // by name; replaced whole
	crowd  sync.Mutex                          // one at a time replaces it
}

// of returns the counters of a visitor. The name, and whether it made itself from a
// strange address, are asked only about those who have no counters yet.
func (v *visitors[K]) of(who K, about func(K) (name string, stranger bool)) *visitor {
	if known, ok := v.all.Load(who); ok {
		return known.(*visitor)
	}
	name, stranger := about(who)
	if n := v.own.Load(); n >= ownSeries || stranger && n >= ownStrangers {
		return v.crowdOf(engine.BaseName(name))
	}
	made, known := v.all.LoadOrStore(who, v.counters())
	if !known {
		v.own.Add(1)
	}
	return made.(*visitor)
}

func (v *visitors[K]) counters() *visitor {
	return &visitor{requests: make([]atomic.Uint64, v.lines)}
}

// crowdOf returns the counters of all of a name who have none of their own.
func (v *visitors[K]) crowdOf(name string) *visitor {
	if known := v.crowdNamed(name); known != nil {
		return known
	}
	v.crowd.Lock()
	defer v.crowd.Unlock()
	if known := v.crowdNamed(name); known != nil {
		return known
	}
	next := map[string]*visitor{}
	if now := v.crowds.Load(); now != nil {
		maps.Copy(next, *now)
	}
	if len(next) >= mostCrowds {
		name = ""
		if next[name] != nil {
			return next[name]
		}
	}
	made := v.counters()
	next[strings.Clone(name)] = made
	v.crowds.Store(&next)
	return made
}

// crowdNamed returns nil when there is no such crowd, and may still be one.
func (v *visitors[K]) crowdNamed(name string) *visitor {
	now := v.crowds.Load()
	if now == nil {
		return nil
	}
	if known := (*now)[name]; known != nil || len(*now) <= mostCrowds {
		return known
	}
	return (*now)[""]
}

// prune forgets those who are not known any more.
func (v *visitors[K]) prune(known func(K) bool) {
	v.all.Range(func(who, _ any) bool {
		if !known(who.(K)) {
			v.all.Delete(who)
			v.own.Add(-1)
		}
		return true
	})
}

// each yields everybody with counters of their own, then the crowds.
func (v *visitors[K]) each(nameOf func(K) string, yield func(name string, one *visitor)) {
	v.all.Range(func(who, counted any) bool {
		yield(nameOf(who.(K)), counted.(*visitor))
		return true
	})
	if now := v.crowds.Load(); now != nil {
		for name, counted := range *now {
			yield(name+crowdSuffix, counted)
		}
	}
}

func rowName(r *engine.BouncerRow) string { return r.Load().Name }

func aboutRow(r *engine.BouncerRow) (name string, stranger bool) {
	b := r.Load()
	return b.Name, b.AutoCreated
}

func aboutMachine(id string) (name string, stranger bool) { return id, false }

// prune forgets the counters of those who were removed. It is called
// every minute, and at every scrape.
func (c *counting) prune(view *engine.View) {
	c.bouncers.prune(func(r *engine.BouncerRow) bool { return !r.Gone() && view.Bouncer(rowName(r)) == r })
	c.machines.prune(func(id string) bool { return view.Machine(id) != nil })
}

// snapshot adds up the shares of one line.
func (c *counting) snapshot(line int) (counts [len(edges) + 1]uint64, nanos int64) {
	for i := range c.shares {
		l := &c.shares[i].lines[line]
		for j := range counts {
			counts[j] += l.counts[j].Load()
		}
		nanos += l.nanos.Load()
	}
	return counts, nanos
}
