package auth

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// class is how much is known about the sender of a password that is to be checked, or
// hashed, before that is done. The best come first.
type class uint8

const (
	// expected are machines that are validated and come from where they logged in
	// last, as the store remembers it: a fleet after a restart.
	expected class = iota
	// unusual are machines from elsewhere, and registrations with the right token.
	unusual
	// doubtful are addresses that guessed wrong too often of late, and registrations
	// without the right token.
	doubtful

	classes = int(doubtful) + 1
)

// queueLength is how many of a class may wait; the rest are told to come back
// later. A worker is through with 256 after some fifteen seconds.
var queueLength = [classes]int{expected: 256, unusual: 256, doubtful: 64}

// fairTurn: every so many checks a lower class has its turn although a higher one
// waits, so that no class waits for ever.
const fairTurn = 4

var errBusy = &Refusal{Kind: Busy, Text: "too many logins at once", Reason: NoRoomForPassword}

// party is what has a line of its own: an address, IPv6 by /64. An expected machine is
// a party of its own, so that a fleet behind one proxy is not one line.
type party struct {
	place   netip.Prefix
	machine string
}

// PlaceOf is the prefix that counts as one address when shares are given out: an IPv4
// address, or the /64 of an IPv6 one, whose owner has all of it. Of no address it is the
// zero Prefix.
func PlaceOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// passwordQueue bounds expensive work: few do it at a time. A better class goes first. Within a
// class every party has a line of its own and the lines take turns, so that a flood delays
// only its own party; and when a queue is full, room is made for a
// party with a short line at the end of the longest. After work for the doubtful
// there is none for them for as long as it took: half of a worker is the most that
// they get, even when there is no other work.
type passwordQueue struct {
	mu     sync.Mutex
	free   int  // workers
	turns  uint // checks that were let in after waiting
	queues [classes]classQueue
	rests  time.Time // until when the doubtful wait
}

// classQueue is what waits in one class.
type classQueue struct {
	waiting int
	lines   map[party]*line
	turn    []*line // all lines; the first is next
}

type line struct {
	party
	tickets []*ticket // never empty
}

// ticket is one check that waits.
type ticket struct {
	in  *line
	let chan bool // gets one value: true to go on, false when there is no room any more
}

func newPasswordQueue(workers int) *passwordQueue {
	d := &passwordQueue{free: workers}
	for i := range d.queues {
		d.queues[i].lines = make(map[party]*line)
	}
	return d
}

// do waits for a worker and runs work. errBusy means that there was no room to
// wait or ctx ended first, and work did not run.
func (d *passwordQueue) do(ctx context.Context, c class, p party, work func()) error {
	t := d.enter(c, p)
	if t == nil {
		return errBusy
	}
	select {
	case room := <-t.let:
		if !room {
			return errBusy
		}
	case <-ctx.Done():
		if d.giveUp(c, t) || !<-t.let {
			return errBusy
		} // else its turn has come at this moment
	}
	began := time.Now()
	defer func() { d.leave(c, time.Since(began)) }()
	work()
	return nil
}

// enter gives a ticket, nil when there is no room.
func (d *passwordQueue) enter(c class, p party) *ticket {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := &ticket{let: make(chan bool, 1)}
	if d.free > 0 && (c != doubtful || !d.resting()) {
		d.free--
		t.let <- true
		return t
	}
	q := &d.queues[c]
	if q.waiting >= queueLength[c] && !q.makeRoom(p) {
		return nil
	}
	if t.in = q.lines[p]; t.in == nil {
		t.in = &line{party: p}
		q.lines[p] = t.in
		q.turn = append(q.turn, t.in)
	}
	t.in.tickets = append(t.in.tickets, t)
	q.waiting++
	return t
}

// leave gives a worker back, which was at work for so long.
func (d *passwordQueue) leave(c class, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free++
	if c == doubtful {
		d.rests = time.Now().Add(took)
		time.AfterFunc(took, d.wake)
	}
	d.assign()
}

// wake is the end of a rest.
func (d *passwordQueue) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.assign()
}

func (d *passwordQueue) resting() bool { return time.Now().Before(d.rests) }

// assign gives free workers to waiting tickets. Called with the lock.
func (d *passwordQueue) assign() {
	for d.free > 0 {
		t := d.next()
		if t == nil {
			return
		}
		d.free--
		d.turns++
		t.let <- true
	}
}

// next takes the next ticket out, of all classes. Called with the lock.
func (d *passwordQueue) next() *ticket {
	for _, c := range d.order() {
		if c == doubtful && d.resting() {
			continue
		}
		if t := d.queues[c].next(); t != nil {
			return t
		}
	}
	return nil
}

// order is in which order the classes are looked at. Called with the lock.
func (d *passwordQueue) order() [classes]class {
	switch d.turns % (2 * fairTurn) {
	case fairTurn - 1:
		return [classes]class{unusual, expected, doubtful}
	case 2*fairTurn - 1:
		return [classes]class{doubtful, expected, unusual}
	}
	return [classes]class{expected, unusual, doubtful}
}

// giveUp takes back a ticket, and reports whether it was still waiting.
func (d *passwordQueue) giveUp(c class, t *ticket) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.in == nil {
		return false // a worker was free
	}
	at := slices.Index(t.in.tickets, t)
	if at >= 0 {
		d.queues[c].remove(t.in, at)
	}
	return at >= 0
}

// next takes the next ticket out.
func (q *classQueue) next() *ticket {
	if len(q.turn) == 0 {
		return nil
	}
	l := q.turn[0]
	t := l.tickets[0]
	q.turn = append(q.turn[1:], l)
	q.remove(l, 0)
	return t
}

// makeRoom sends away the last of the longest line, if that stays longer than
// the line of p would be.
func (q *classQueue) makeRoom(p party) bool {
	own := 0
	if l := q.lines[p]; l != nil {
		own = len(l.tickets)
	}
	longest := slices.MaxFunc(q.turn, func(a, b *line) int { return len(a.tickets) - len(b.tickets) })
	last := len(longest.tickets) - 1
	if last <= own {
		return false
	}
	longest.tickets[last].let <- false
	q.remove(longest, last)
	return true
}

// remove takes one out of a line; an empty line is removed.
func (q *classQueue) remove(l *line, at int) {
	l.tickets = slices.Delete(l.tickets, at, at+1)
	q.waiting--
	if len(l.tickets) == 0 {
		delete(q.lines, l.party)
		q.turn = slices.DeleteFunc(q.turn, func(other *line) bool { return other == l })
	}
}

const (
	// guessesAllowed is how many wrong passwords a party may give before it is
	// doubtful.
	guessesAllowed = 10
	// guessForgotten is after how long one of them is forgotten.
	guessForgotten = int64(6 * time.Second)
	// mostGuessers bounds the memory. When it is full those that are nearly
	// forgotten make room; if all are busy a newcomer is doubtful.
	mostGuessers = 4096
)

// guesses counts passwords that were wrong or are not checked yet, and
// registrations, by party.
type guesses struct {
	mu sync.Mutex
	by map[party]int64 // when the last of its guesses is forgotten
}

// begin counts one, and reports whether there were too many before.
func (g *guesses) begin(p party, now int64) (tooMany bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.by == nil {
		g.by = make(map[party]int64)
	}
	if _, known := g.by[p]; !known && len(g.by) >= mostGuessers {
		g.forget(now)
		if len(g.by) >= mostGuessers {
			return true
		}
	}
	was := max(g.by[p], now)
	g.by[p] = min(was+guessForgotten, now+2*guessesAllowed*guessForgotten)
	return was-now >= guessesAllowed*guessForgotten
}

// takeBack is for one that was right, or was not checked after all.
func (g *guesses) takeBack(p party, now int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until, known := g.by[p]; known {
		if until -= guessForgotten; until > now {
			g.by[p] = until
		} else {
			delete(g.by, p)
		}
	}
}

// forget drops the parties whose guesses are forgotten. Called with the lock.
func (g *guesses) forget(now int64) {
	for p, until := range g.by {
		if until <= now+guessForgotten {
			delete(g.by, p)
		}
	}
}
