package shadow

import (
	"slices"
	"strings"
	"time"
)

// Report is what came of it so far.
type Report struct {
	Upstream  string        `json:"upstream"`
	Listen    string        `json:"listen"`
	Answer    string        `json:"answer"` // theirs or ours
	Bouncers  []string      `json:"bouncers,omitempty"`
	Since     time.Time     `json:"since"`
	Void      string        `json:"void,omitempty"` // why the comparison is void
	VoidAt    *time.Time    `json:"void_at,omitempty"`
	Waiting   int           `json:"waiting"`       // requests in the queue
	Bytes     int64         `json:"waiting_bytes"` // of their bodies and answers
	Routes    []RouteReport `json:"routes"`
	Lost      []Lost        `json:"lost"` // the first hundred
	LostCount int64         `json:"lost_count"`
	Aborted   int64         `json:"aborted"` // requests whose body never came whole
	Refused   int64         `json:"refused"` // connections beyond the bound

	Certificates map[string]int64 `json:"certificates,omitempty"` // clients that cannot be shadowed
}

// RouteReport is one route's part.
type RouteReport struct {
	Route       string           `json:"route"`
	Requests    int64            `json:"requests"`
	Equal       int64            `json:"equal"`
	Explained   int64            `json:"explained"`
	Reasons     map[string]int64 `json:"reasons"` // of those explained; one may have several
	Unexplained int64            `json:"unexplained"`
	Skipped     map[string]int64 `json:"skipped"` // by reason
	Dropped     int64            `json:"dropped"`
	Unanswered  int64            `json:"unanswered"`
	Theirs      Took             `json:"theirs"`
	Ours        Took             `json:"ours"`
	Kinds       []Kind           `json:"differences"` // unexplained ones
}

// Took are latencies in seconds.
type Took struct {
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Sum    float64 `json:"sum"`
	Count  int64   `json:"count"`
}

// Kind is one kind of unexplained differences, with the first of them.
type Kind struct {
	Kind     string    `json:"kind"`
	Count    int64     `json:"count"`
	Examples []Example `json:"examples"`
}

// Example is one difference. Bodies are cut, and secrets are taken out.
type Example struct {
	At      time.Time `json:"at"`
	Request string    `json:"request"`
	Body    string    `json:"body,omitempty"`
	What    string    `json:"what"`
	Theirs  Said      `json:"theirs"`
	Ours    Said      `json:"ours"`
}

// Said is what one server answered.
type Said struct {
	Status int       `json:"status"`
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended"`
	Body   string    `json:"body,omitempty"`
}

// Good tells whether nothing is unexplained, nothing was lost and the comparison is not void.
func (r *Report) Good() bool { return r.Unexplained() == 0 && r.Void == "" }

// Unexplained are all of them.
func (r *Report) Unexplained() (n int64) {
	for i := range r.Routes {
		n += r.Routes[i].Unexplained
	}
	return n
}

// Report tells what came of it so far. Any goroutine.
func (s *Shadow) Report() *Report {
	a := s.answering.Load()
	r := &Report{Upstream: s.upstream.String(), Listen: s.Addr().String(), Answer: a.side.String(), Bouncers: a.bouncers,
		Waiting: len(s.queue), Bytes: s.room.used.Load(), Aborted: s.count.aborted.Load(), Refused: s.count.refused.Load(), Certificates: s.names.all()}
	s.mu.Lock()
	r.Since, r.Void, r.Lost, r.LostCount = s.since.UTC(), s.voided, slices.Clone(s.lost), s.lostN
	if s.voided != "" {
		at := s.voidAt.UTC()
		r.VoidAt = &at
	}
	routes := make(map[string]*routeCounts, len(s.routes))
	for name, c := range s.routes {
		routes[name] = c
	}
	s.mu.Unlock()
	for name, c := range routes {
		r.Routes = append(r.Routes, c.report(name))
	}
	slices.SortFunc(r.Routes, func(a, b RouteReport) int { return strings.Compare(a.Route, b.Route) })
	return r
}

func (c *routeCounts) report(name string) RouteReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := RouteReport{Route: name, Requests: c.requests.Load(), Dropped: c.dropped.Load(), Unanswered: c.unanswered.Load(),
		Equal: c.equal, Unexplained: c.unexplained, Explained: c.right, Reasons: map[string]int64{}, Skipped: map[string]int64{},
		Theirs: tookOf(&c.took[Theirs]), Ours: tookOf(&c.took[Ours])}
	for why, n := range c.explained {
		r.Reasons[why] = n
	}
	for why, n := range c.skipped {
		r.Skipped[why] = n
	}
	for _, k := range c.kinds {
		one := *k
		one.Examples = slices.Clone(k.Examples)
		r.Kinds = append(r.Kinds, one)
	}
	slices.SortFunc(r.Kinds, func(a, b Kind) int { return strings.Compare(a.Kind, b.Kind) })
	return r
}

func tookOf(l *latencies) Took {
	return Took{l.quantile(0.5).Seconds(), l.quantile(0.99).Seconds(), l.sum.Seconds(), l.n}
}

func (c *certificateNames) all() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]int64, len(c.names))
	for name, n := range c.names {
		all[name] = n
	}
	return all
}

// Reset begins the comparison anew: all counts are zero, nothing is void, and the sets of the stream are learnt again. For
// after lapid was brought level. Requests in the queue count to the new one.
func (s *Shadow) Reset() {
	s.mu.Lock()
	s.routes, s.voided, s.since, s.lost, s.lostN = map[string]*routeCounts{}, "", s.options.Now(), nil, 0
	s.mu.Unlock()
	s.states.forget()
	s.options.Logger.Info("the comparison begins anew")
}
