//go:build linux

package peers

import (
	"bytes"
	"context"
	"net/http"
)

// Ceiling is a running ceiling program.
type Ceiling struct{ *Server }

// NewCeiling starts the ceiling program at a path. It answers when this
// returns.
func (y *Yard) NewCeiling(ctx context.Context, program string) (*Ceiling, error) {
	address, err := free()
	if err != nil {
		return nil, err
	}
	s, err := y.start("ceiling", address, nil, program, "-listen", address)
	if err != nil {
		return nil, err
	}
	return &Ceiling{s}, s.await(ctx, s.connects)
}

// Route names what the ceiling answers with constant bytes.
type Route string

// Routes whose bytes are given.
const (
	Live   Route = "live"
	Stream Route = "stream"
)

// Set gives the bytes of a route. They are in force with the next request.
func (c *Ceiling) Set(ctx context.Context, route Route, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+c.Address+"/constant/"+string(route), bytes.NewReader(body))
	if err != nil {
		return err
	}
	w, err := http.DefaultClient.Do(r)
	return answer(w, err, http.StatusNoContent, discard)
}
