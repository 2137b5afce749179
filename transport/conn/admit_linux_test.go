package conn

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// counted notes how many connections had come in and not been answered, at most.
type counted struct {
	handler
	in             *atomic.Int64
	served, waited *atomic.Int64
}

func (c *counted) Serve(r *Request, a *Answer) bool {
	waiting := c.in.Load() - c.served.Add(1)
	for most := c.waited.Load(); waiting > most && !c.waited.CompareAndSwap(most, waiting); {
		most = c.waited.Load()
	}
	return c.handler.Serve(r, a)
}

// TestAdmission: of hundreds that come at once, each with a request, no more are let in than
// are served meanwhile, so that whoever was there before waits for few.
func TestAdmission(t *testing.T) {
	t.Parallel()
	const crowd, few = 400, 4 * admitAtOnce
	var in *atomic.Int64
	var served, waited atomic.Int64
	h := newHouse(t, func(o *Options) {
		o.Loops, o.MaxConnections, o.MaxServed = 2, crowd, crowd
		o.NewHandler = func() Handler { return &counted{in: in, served: &served, waited: &waited} }
	})
	h.must(h.Listen())
	in = &h.tcp.count
	var all []net.Conn
	for range crowd { // the kernel has them
		c, err := net.Dial("tcp", h.Addr().String())
		h.must(err)
		defer c.Close()
		_, err = io.WriteString(c, live)
		h.must(err)
		all = append(all, c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- h.Run(ctx, time.Hour, func() {}, func() {}) }()
	for _, c := range all {
		got, err := http.ReadResponse(bufio.NewReader(c), nil)
		h.must(err)
		got.Body.Close()
	}
	if served.Load() != crowd || waited.Load() > few {
		t.Errorf("of %d, %d waited at once; more than %d", served.Load(), waited.Load(), few)
	}
	cancel()
	h.must(<-over)
}
