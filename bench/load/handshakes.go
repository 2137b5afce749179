//go:build linux

package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Handshakes has clients connect, shake hands in full, ask once and go, over and over: a handshake counts
// when the answer is there, since before it nobody knows whether the server has taken the client's
// certificate. The clients are crypto/tls, in goroutines: Result.Idle says whether they were the limit.
func Handshakes(ctx context.Context, t Target, clients int, plan *Plan) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, plan.Warmup+plan.Length+grace)
	defer cancel()
	from := time.Now().Add(plan.Warmup)
	all := make([]shaker, clients)
	errs := make([]error, clients)
	var work sync.WaitGroup
	for i := range all {
		all[i] = shaker{target: t, plan: plan, source: plan.Sources(i, clients), from: from, until: from.Add(plan.Length)}
		work.Go(func() { errs[i] = all[i].run(ctx) })
	}
	select {
	case <-time.After(plan.Warmup):
	case <-ctx.Done():
	}
	before, own := serverUsage(plan), ownTime()
	begin := time.Now()
	select {
	case <-time.After(plan.Length):
	case <-ctx.Done():
	}
	after, spent := serverUsage(plan), ownTime()-own
	r := &Result{Elapsed: time.Since(begin), Latency: new(Histogram), CPU: after.CPU - before.CPU, Resident: after.Resident, Peak: after.Peak}
	work.Wait()
	for i := range all {
		r.Latency.Merge(&all[i].latency)
		r.Bad += all[i].bad
	}
	r.Requests = r.Latency.Count()
	r.Rate = float64(r.Requests) / r.Elapsed.Seconds()
	r.Mean, r.Max = r.Latency.Mean(), r.Latency.Max()
	r.P50, r.P99, r.P999 = r.Latency.Quantile(0.5), r.Latency.Quantile(0.99), r.Latency.Quantile(0.999)
	r.Idle = max(0, 1-spent.Seconds()/r.Elapsed.Seconds()/float64(max(len(t.CPUs), 1)))
	return r, errors.Join(errs...)
}

func serverUsage(plan *Plan) Usage {
	if plan.Server == nil {
		return Usage{}
	}
	return plan.Server.Usage()
}

// ownTime is what this process has spent.
func ownTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// shaker is one client; its goroutine has it.
type shaker struct {
	target      Target
	plan        *Plan
	source      Source
	from, until time.Time
	latency     Histogram
	bad         uint64
	buffer      [16 << 10]byte
	request     []byte
}

func (s *shaker) run(ctx context.Context) error {
	for ctx.Err() == nil && time.Now().Before(s.until) {
		begin := time.Now()
		status, err := s.once(ctx)
		if err != nil {
			return fmt.Errorf("handshake with %s: %w", s.target.Address, err)
		}
		now := time.Now()
		if now.Before(s.from) || now.After(s.until) {
			continue
		}
		s.latency.Record(now.Sub(begin))
		if status != cmp.Or(s.plan.Wanted, 200) {
			s.bad++
		}
	}
	return ctx.Err()
}

// once is one connection. It ends with a reset, so that no port waits for a minute.
func (s *shaker) once(ctx context.Context) (status int, err error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", s.target.Address)
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // refused: it only waits
	}
	if limit, ok := ctx.Deadline(); ok {
		if err := raw.SetDeadline(limit); err != nil {
			return 0, err
		}
	}
	c := tls.Client(raw, s.target.TLS)
	if err := c.HandshakeContext(ctx); err != nil {
		return 0, err
	}
	if c.ConnectionState().DidResume {
		return 0, errors.New("a session was resumed")
	}
	s.request = s.source.Next(s.request[:0], 0)
	if _, err := c.Write(s.request); err != nil {
		return 0, err
	}
	var a answer
	for {
		n, err := c.Read(s.buffer[:])
		if err != nil && n == 0 {
			return 0, err
		}
		if _, done, err := a.feed(s.buffer[:n]); done || err != nil {
			return a.status, err
		}
	}
}
