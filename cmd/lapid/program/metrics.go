package program

import (
	"errors"
	"net"
	"net/http"
	"time"
)

// metricsListener is the listener of /live, /ready, /metrics and /debug/pprof/. It
// asks for no credentials: a client that reaches the port may read. It is the first
// listener to be opened and the last to be closed, so that a start or an end that
// takes long can be told from a server that is not there.
type metricsListener struct {
	http   *http.Server
	at     net.Addr
	failed chan error // gets what ended it before it was closed
}

// openMetrics listens and serves until close.
func openMetrics(address string, h http.Handler) (*metricsListener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	m := &metricsListener{at: l.Addr(), http: &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}, failed: make(chan error, 1)}
	go func() {
		if err := m.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			m.failed <- err
		}
	}()
	return m, nil
}

// close cuts off what is being answered.
func (m *metricsListener) close() { _ = m.http.Close() }
