package shadow

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// dialLimit is how long a connection to a server may take to be made.
const dialLimit = 10 * time.Second

// newTransport makes the way to one server. Nothing is compressed, followed or proxied: what
// comes is what the server said.
func newTransport(o *Options) *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialLimit}).DialContext,
		TLSClientConfig:       o.UpstreamTLS,
		TLSHandshakeTimeout:   dialLimit,
		DisableCompression:    true,
		MaxIdleConns:          o.Connections,
		MaxIdleConnsPerHost:   o.Connections,
		MaxConnsPerHost:       2 * o.Connections,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: o.Patience,
		// Larger heads are no server's that is known.
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// server is one of the two.
type server struct {
	side Side
	way  *http.Transport
	base func() *url.URL
}

// asking is one request to one server.
type asking struct {
	target string // "": the exchange's
	body   io.Reader
	again  func() io.ReadCloser // gives the body anew; nil: it cannot be sent twice
}

// ask sends a request and gives the head of the answer; its body must be closed.
func (s *Shadow) ask(ctx context.Context, side Side, x *exchange, q asking) (*http.Response, error) {
	to := &s.servers[side]
	if q.target == "" {
		q.target = x.target
	}
	u, err := urlOf(to.base(), q.target)
	if err != nil {
		return nil, err
	}
	r := (&http.Request{
		Method: x.method, URL: u, Host: x.host, Header: x.header.Clone(), ContentLength: x.length,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if q.body == nil || x.length == 0 {
		r.Body, r.ContentLength = http.NoBody, 0
	} else {
		r.Body = io.NopCloser(q.body)
		if q.again != nil {
			r.GetBody = func() (io.ReadCloser, error) { return q.again(), nil }
		}
	}
	s.tokens.translate(r.Header, side)
	if side == Ours {
		forwardToOurs(r.Header, x.peer, s.options.Proxies)
	} else {
		forwardTo(r.Header, x.peer)
	}
	return to.way.RoundTrip(r)
}

// neverSent tells whether a request cannot have reached a server: its connection was never made.
func neverSent(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}
