package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// metricsDoor is the listener of /metrics and /debug/pprof/. It asks nobody who
// they are: whoever reaches the port may read.
type metricsDoor struct {
	listener net.Listener
	http     *http.Server
}

func openMetrics(address string, h http.Handler) (*metricsDoor, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &metricsDoor{l, &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}}, nil
}

// Run serves until ctx ends. Scrapes that are under way then are cut off.
func (m *metricsDoor) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = m.http.Close() })
	defer stop()
	if err := m.http.Serve(m.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
