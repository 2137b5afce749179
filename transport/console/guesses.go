package console

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// guesses are the credentials that did not fit, by address and by name: after freeTries the next
// one has to wait, for a second at first, twice as long each time, pauseAtMost at most. Both are
// looked at before anything is hashed, so guessing costs little. An address is a /64 where it is IPv6.
//
// At most mostGuessers are remembered, the longest ago forgotten first.
type guesses struct {
	now func() int64
	mu  sync.Mutex
	of  map[string]*guesser
}

type guesser struct {
	wrong int
	last  int64 // Unix nanoseconds
}

const (
	freeTries    = 5
	pauseAtMost  = 5 * time.Minute
	forgotten    = 15 * time.Minute // after so long without a wrong one all is as at first
	mostGuessers = 4096
)

// addressKey and nameKey are who guesses.
func addressKey(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return "a:" + p.String()
		}
	}
	return "a:" + a.String()
}

func nameKey(name string) string { return "n:" + name }

// wait is how long the next try has to wait, 0: it need not.
func (g *guesses) wait(keys ...string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	longest, now := time.Duration(0), g.now()
	for _, k := range keys {
		if one := g.of[k]; one != nil && one.wrong >= freeTries {
			longest = max(longest, one.pause()-time.Duration(now-one.last))
		}
	}
	return longest
}

func (g *guesser) pause() time.Duration {
	return min(time.Second<<min(g.wrong-freeTries, 10), pauseAtMost)
}

// wrong notes a wrong try.
func (g *guesses) wrong(keys ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.of == nil {
		g.of = map[string]*guesser{}
	}
	for _, k := range keys {
		one := g.of[k]
		if one == nil || now-one.last > int64(forgotten) {
			g.makeRoom()
			one = &guesser{}
			g.of[k] = one
		}
		one.wrong++
		one.last = now
	}
}

// makeRoom forgets the one of longest ago when there are as many as there may be. mu is held.
func (g *guesses) makeRoom() {
	if len(g.of) < mostGuessers {
		return
	}
	oldest := ""
	for k, one := range g.of {
		if oldest == "" || one.last < g.of[oldest].last {
			oldest = k
		}
	}
	delete(g.of, oldest)
}

// shutOut are the addresses, in order, whose next try has to wait; ten at most.
func (g *guesses) shutOut() (list []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for k, one := range g.of {
		if at, is := strings.CutPrefix(k, "a:"); is && one.wrong >= freeTries && now-one.last < int64(forgotten) {
			list = append(list, at)
		}
	}
	slices.Sort(list)
	return list[:min(len(list), 10)]
}

// right forgets what was wrong before.
func (g *guesses) right(keys ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range keys {
		delete(g.of, k)
	}
}

// refusals are the lines about who was not let in: one a second at most, so that no stranger makes the
// log as long as he likes. The next one says how many had none.
type refusals struct {
	last atomic.Int64 // Unix nanoseconds
	more atomic.Int64
}

func (r *refusals) say(s *Server, what string, args ...any) {
	now, last := s.options.Engine.Now(), r.last.Load()
	if last != 0 && now >= last && now-last < int64(time.Second) || !r.last.CompareAndSwap(last, now) {
		r.more.Add(1)
		return
	}
	if more := r.more.Swap(0); more > 0 {
		args = append(args, "more_since_the_last_line", more)
	}
	s.log.Warn(what, args...)
}
