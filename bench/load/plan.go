//go:build linux

package load

import (
	"context"
	"time"
)

// Source makes requests. Each thread has one of its own.
type Source interface {
	// Next appends the next request of a connection, 0 to Connections-1, to dst.
	Next(dst []byte, connection int) []byte
}

// Sources gives thread number i of n its source.
type Sources func(i, n int) Source

// Plan is one run over a pool's connections.
type Plan struct {
	Sources Sources
	Rate    float64       // requests per second of all connections together; 0: closed loop
	Warmup  time.Duration // sent and not counted
	Length  time.Duration // counted
	Each    int           // if above 0, each connection sends so many and the run ends; no Warmup, no Rate
	Server  *Process      // whose costs are read; nil: nobody's
	Wanted  int           // status that counts as good; 0 is 200
}

// grace is how long answers are waited for when the time is up. Requests still
// unanswered then are counted as lost and have no latency; in an open loop their
// number times grace is more than any latency shown.
const grace = 2 * time.Second

// Run carries out a plan. When ctx ends, or a connection cannot be made again,
// the result is what was counted until then, with the error. Only one Run at a
// time.
func (p *Pool) Run(ctx context.Context, plan *Plan) (*Result, error) {
	good := plan.Wanted
	if good == 0 {
		good = 200
	}
	var c costs
	if plan.Warmup == 0 {
		c.begin(plan.Server)
	}
	start := time.Now()
	work := make([]*thread, len(p.groups))
	ended := make(chan error, len(work))
	for i, g := range p.groups {
		t := &thread{group: g, plan: plan, good: good, start: start, source: plan.Sources(i, len(p.groups))}
		t.from, t.until = plan.Warmup, plan.Warmup+plan.Length
		if plan.Each > 0 {
			t.from, t.until = 0, 1<<62
		}
		if plan.Rate > 0 {
			t.period = float64(len(p.groups)) / plan.Rate * float64(time.Second)
			t.due = t.period * float64(i) / float64(len(p.groups))
		}
		work[i] = t
		go func() { ended <- t.run() }()
	}
	failed := watch(ctx, &c, plan, work, ended)
	return gather(plan, work, &c), failed
}

// watch reads the server's costs at both ends of the counted time and waits for
// the threads.
func watch(ctx context.Context, c *costs, plan *Plan, work []*thread, ended <-chan error) (failed error) {
	warm := time.NewTimer(plan.Warmup)
	defer warm.Stop()
	done := ctx.Done()
	var over <-chan time.Time
	for waiting := len(work); waiting > 0; {
		select {
		case <-warm.C:
			if plan.Warmup > 0 {
				c.begin(plan.Server)
			}
			if plan.Each == 0 {
				over = time.After(plan.Length)
			}
		case <-over:
			c.end(plan.Server)
		case <-done:
			done, failed = nil, ctx.Err()
			for _, t := range work {
				t.stop.Store(true)
			}
		case err := <-ended:
			waiting--
			if failed == nil {
				failed = err
			}
		}
	}
	if c.elapsed == 0 {
		c.end(plan.Server)
	}
	return failed
}

// costs are what a server spent between two moments.
type costs struct {
	since   time.Time
	before  Usage
	after   Usage
	elapsed time.Duration
}

func (c *costs) begin(p *Process) {
	c.since = time.Now()
	if p != nil {
		c.before = p.Usage()
	}
}

func (c *costs) end(p *Process) {
	c.elapsed = time.Since(c.since)
	if p != nil {
		c.after = p.Usage()
	}
}
