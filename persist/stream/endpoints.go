package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
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
	cause   atomic.Pointer[cause]
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
	tls  *tls.Config
	user bool
	make func(url string) (*clientv3.Client, error)
	at   atomic.Int32
	kv   func(clientv3.KV) clientv3.KV // for tests: what stands between; nil: nothing
}

func newEndpoints(o *Options) *endpoints {
	all := &endpoints{tls: o.TLS, user: o.User != "", make: func(url string) (*clientv3.Client, error) {
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
		if !final(err) {
			err = all.why(context.Background(), e)
		}
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
			return nil, fmt.Errorf("%s: %w", e.url, all.why(ctx, e))
		}
		conn.Connect()
		if !conn.WaitForStateChange(ctx, state) {
			return nil, fmt.Errorf("%s: %w", e.url, all.why(context.Background(), e))
		}
	}
}

var errNotReached = errors.New("it is not reached")

const (
	// whyEvery is how often is looked why an endpoint is not reached, and whyWithin how long that may take.
	whyEvery  = 5 * time.Second
	whyWithin = 300 * time.Millisecond
)

// cause is why an endpoint was not reached, and when that was looked at.
type cause struct {
	at  int64 // steady
	err error
}

// why connects once more, without the library, which keeps such things to itself: a refused connection, a certificate that
// is over, or not trusted, or that the other side refuses.
func (all *endpoints) why(ctx context.Context, e *endpoint) error {
	if last := e.cause.Load(); last != nil && steady()-last.at < int64(whyEvery) {
		return last.err
	}
	ctx, cancel := context.WithTimeout(ctx, whyWithin)
	defer cancel()
	err := fmt.Errorf("%w: %s", errNotReached, advise(nil))
	if cause := all.connect(ctx, e.url); cause != nil {
		err = fmt.Errorf("%w: %s (%w)", errNotReached, advise(cause), cause)
	}
	e.cause.Store(&cause{steady(), err})
	return err
}

// connect returns nil if nothing is wrong with connecting.
func (all *endpoints) connect(ctx context.Context, of string) error {
	c, err := all.dial(ctx, of)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if end, ok := ctx.Deadline(); ok {
		_ = c.SetReadDeadline(end)
	}
	_, err = c.Read(make([]byte, 1)) // a certificate of ours is refused only then
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return err
	}
	return nil
}

// dial connects, and shakes hands where there is TLS.
func (all *endpoints) dial(ctx context.Context, of string) (net.Conn, error) {
	u, err := url.Parse(of)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" {
		return new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	}
	config := &tls.Config{}
	if all.tls != nil {
		config = all.tls.Clone()
	}
	config.NextProtos = []string{"h2"}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", u.Host)
}

// clientOf makes the client at its first use: with a user that asks for a token already.
func (all *endpoints) clientOf(ctx context.Context, e *endpoint) (*clientv3.Client, error) {
	select {
	case e.making <- struct{}{}:
		defer func() { <-e.making }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if e.client == nil {
		if all.user { // it would wait for a member that is away
			c, err := all.dial(ctx, e.url)
			if err != nil {
				return nil, err
			}
			_ = c.Close()
		}
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
