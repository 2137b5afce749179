package program

import (
	"os"
	"runtime"
	"sync"
	"time"
)

// processors is how many places there are for goroutines to run in.
//
// There are two at least, also where there is one processor. With one, a request that
// arrives while an import or a snapshot computes is only noticed when that is made to
// pause, after up to ten milliseconds; with two, the kernel shares the processor out
// at once (the readers' 99th percentile during an import fell from 53 to 9 ms).
//
// And while passwords are checked or long bodies are read there is one more, for the
// same reason: they may keep all places for ten milliseconds, and the kernel, other
// than the scheduler of goroutines, lets a thread that was woken go first. Beside a siege of
// 400 unknown clients on two processors, polls waited 11.4 ms in one of a hundred cases and
// wait 6.7 ms with one place more, repeated logins 41 and 11.5 ms (TestFlood). It is
// not there always because live queries alone are slower for it: threads that look for
// work are more than have any.
//
// An operator's GOMAXPROCS takes precedence.
type processors struct {
	mu     sync.Mutex
	fixed  bool // by the operator
	atWork int  // goroutines that compute for long
	extra  bool // there is one more place
	rest   *time.Timer
}

const (
	// restAfter is for how long none must have been at work before the place goes;
	// each change stops all goroutines for some microseconds.
	restAfter = 10 * time.Second
	// manyProcessors is from how many on there is always one that is free.
	manyProcessors = 8
)

// use is called once, before anything else.
func (p *processors) use() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fixed = os.Getenv("GOMAXPROCS") != ""
	p.rest = time.AfterFunc(restAfter, p.relax)
	p.asUsual()
}

// labour is told 1 when a goroutine begins to compute for long, and -1 at the end. Any
// goroutine may call it.
func (p *processors) labour(change int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.atWork += change
	switch {
	case p.atWork == 0 && p.extra:
		p.rest.Reset(restAfter)
	case p.atWork > 0 && !p.extra && !p.fixed && runtime.GOMAXPROCS(0) < manyProcessors:
		p.extra = true
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}

// relax takes the place away when none is at work.
func (p *processors) relax() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.atWork == 0 && p.extra {
		p.extra = false
		p.asUsual()
	}
}

// asUsual is called with the lock.
func (p *processors) asUsual() {
	if p.fixed {
		return
	}
	runtime.SetDefaultGOMAXPROCS()
	if runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2)
	}
}
