package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/connectivity"
)

// endpoint is one member of etcd, with a client of its own: which member is asked is chosen here, for a client
// of several would go on with one that hangs.
type endpoint struct {
	url     string
	making  chan struct{} // holds one: who has it may make the client
	client  *clientv3.Client
	leaving atomic.Int64 // until when it is left alone, nanoseconds of the steady clock
}

// leaveAlone is how long an endpoint that failed comes last.
const leaveAlone = 3 * time.Second

// began is where the steady clock starts.
var began = time.Now()

func steady() int64 { return int64(time.Since(began)) }

// endpoints are asked one after the other, the one that last answered first.
type endpoints struct {
	all  []*endpoint
	make func(url string) (*clientv3.Client, error)
	at   atomic.Int32
	kv   func(clientv3.KV) clientv3.KV // for tests: what stands between; nil: nothing
}

func newEndpoints(o *Options) *endpoints {
	all := &endpoints{make: func(url string) (*clientv3.Client, error) {
		return clientv3.New(clientv3.Config{
			Endpoints: []string{url}, TLS: o.TLS, Username: o.User, Password: o.Password, Logger: zap.NewNop(),
			DialTimeout: 2 * time.Second, DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 2 * time.Second,
			MaxCallSendMsgSize: 4 * pieceSize,
		})
	}}
	for _, url := range o.Endpoints {
		all.all = append(all.all, &endpoint{url: url, making: make(chan struct{}, 1)})
	}
	return all
}

// pick returns the endpoint that is to be asked: from the preferred one on, the first that did not fail just now.
func (all *endpoints) pick() *endpoint {
	n, at, now := len(all.all), int(all.at.Load()), steady()
	for i := range n {
		if e := all.all[(at+i)%n]; e.leaving.Load() < now {
			all.at.CompareAndSwap(int32(at), int32((at+i)%n))
			return e
		}
	}
	return all.all[int(all.at.Add(1))%n] // all failed: in turn
}

// failed has others asked first for a while.
func (e *endpoint) failed() { e.leaving.Store(steady() + int64(leaveAlone)) }

// well takes that back.
func (e *endpoint) well() { e.leaving.Store(0) }

// ready returns the client of an endpoint once it is connected, so that what is asked then is known to have been
// sent, and what is not asked is known not to have been.
func (all *endpoints) ready(ctx context.Context, e *endpoint) (*clientv3.Client, error) {
	c, err := all.clientOf(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.url, err)
	}
	conn := c.ActiveConnection()
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return c, nil
		case connectivity.Shutdown:
			return nil, errClosed
		case connectivity.TransientFailure:
			return nil, fmt.Errorf("%s: %w", e.url, errNotReached)
		}
		conn.Connect()
		if !conn.WaitForStateChange(ctx, state) {
			return nil, fmt.Errorf("%s: %w", e.url, errNotReached)
		}
	}
}

var errNotReached = errors.New("it is not reached: is this etcd running, and are the address and the certificates right?")

// clientOf makes the client at its first use: with a user that asks for a token already.
func (all *endpoints) clientOf(ctx context.Context, e *endpoint) (*clientv3.Client, error) {
	select {
	case e.making <- struct{}{}:
		defer func() { <-e.making }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if e.client == nil {
		c, err := all.make(e.url)
		if err != nil {
			return nil, err
		}
		e.client = c
	}
	return e.client, nil
}

// kvOf is what requests go to.
func (all *endpoints) kvOf(c *clientv3.Client) clientv3.KV {
	if all.kv == nil {
		return c
	}
	return all.kv(c)
}

// close ends all clients. Nothing may be asked any more.
func (all *endpoints) close() {
	for _, e := range all.all {
		e.making <- struct{}{} // stays taken: no client is made any more
		if e.client != nil {
			_ = e.client.Close()
		}
	}
}

// pace is how quickly etcd answered lately, for one to know when to ask elsewhere.
type pace struct {
	mu     sync.Mutex
	last   [64]time.Duration
	n      int
	median time.Duration
}

const (
	leastPatience = 250 * time.Millisecond
	mostPatience  = 2 * time.Second
)

func (p *pace) note(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[p.n%len(p.last)] = took
	if p.n++; p.n%16 == 0 {
		sorted := slices.Sorted(slices.Values(p.last[:min(p.n, len(p.last))]))
		p.median = sorted[len(sorted)/2]
	}
}

// patience is how long the first try waits; each further one waits twice as long.
func (p *pace) patience() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(max(leastPatience, 4*p.median), mostPatience)
}
