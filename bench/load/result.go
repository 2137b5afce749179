//go:build linux

package load

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Result is what a run counted. Durations are nanoseconds in JSON.
type Result struct {
	Requests uint64        `json:"requests"` // answered
	Elapsed  time.Duration `json:"elapsed"`  // counted time
	Rate     float64       `json:"rate"`     // answered requests a second
	Asked    float64       `json:"asked"`    // requests a second that were due; 0: closed loop
	Mean     time.Duration `json:"mean"`     // latency
	P50      time.Duration `json:"p50"`      //
	P99      time.Duration `json:"p99"`      //
	P999     time.Duration `json:"p999"`     //
	Max      time.Duration `json:"max"`      //
	Empty    uint64        `json:"empty"`    // good answers with a body of at most four bytes
	Body     uint64        `json:"body"`     // bytes
	Bad      uint64        `json:"bad"`      // answers with another status
	Lost     uint64        `json:"lost"`     // connections that broke
	Late     uint64        `json:"late"`     // unanswered in the end
	First    string        `json:"first"`    // what went wrong first
	CPU      time.Duration `json:"cpu"`      // of the server
	Idle     float64       `json:"idle"`     // part of the time in which the generator had nothing to do; near 0 it is the limit
	Resident int64         `json:"resident"` // bytes of the server, in the end
	Peak     int64         `json:"peak"`     // bytes of the server
	Written  int64         `json:"written"`  // bytes the server gave to write calls

	Latency *Histogram `json:"-"`
}

// gather adds the threads up.
func gather(plan *Plan, work []*thread, c *costs) *Result {
	r := &Result{Asked: plan.Rate, Elapsed: c.elapsed, Latency: new(Histogram)}
	free := time.Duration(0)
	for _, t := range work {
		free += t.free
		r.Latency.Merge(&t.latency)
		r.Requests += t.requests
		r.Empty += t.empty
		r.Body += t.body
		r.Bad += t.bad
		r.Lost += t.lost
		r.Late += t.late
		if r.First == "" {
			r.First = t.worst
		}
		if plan.Each > 0 {
			r.Elapsed = max(r.Elapsed, t.last)
		}
	}
	r.Idle = free.Seconds() / r.Elapsed.Seconds() / float64(len(work))
	r.Rate = float64(r.Requests) / r.Elapsed.Seconds()
	r.Mean, r.Max = r.Latency.Mean(), r.Latency.Max()
	r.P50, r.P99, r.P999 = r.Latency.Quantile(0.5), r.Latency.Quantile(0.99), r.Latency.Quantile(0.999)
	r.CPU = c.after.CPU - c.before.CPU
	r.Resident, r.Peak = c.after.Resident, c.after.Peak
	r.Written = c.after.Written - c.before.Written
	return r
}

// Errors counts requests that were not answered as wanted.
func (r *Result) Errors() uint64 { return r.Bad + r.Lost + r.Late }

// Named is a result with its line's name.
type Named struct {
	Name string `json:"name"`
	*Result
}

// WriteTable writes results one under the other.
func WriteTable(w io.Writer, results []Named) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\trequests/s\tp50\tp99\tp99.9\tmax\terrors\tserver CPU\tresident\tgenerator idle\t")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%.0f\t%v\t%v\t%v\t%v\t%d\t%.2fs\t%.1fM\t%.0f %%\t\n", r.Name, r.Rate,
			round(r.P50), round(r.P99), round(r.P999), round(r.Max), r.Errors(), r.CPU.Seconds(), float64(r.Resident)/(1<<20), 100*r.Idle)
	}
	return t.Flush()
}

// round keeps three figures.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
