//go:build linux

package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Fetched is one large answer.
type Fetched struct {
	Status int
	Body   int64         // bytes
	First  time.Duration // from the request to the first byte of the answer
	Whole  time.Duration // from the request to the last byte
}

// Rate gives bytes of body a second, the wait for the first byte included.
func (f *Fetched) Rate() float64 { return float64(f.Body) / f.Whole.Seconds() }

// Fetch sends one request on a connection of its own and reads the answer as fast
// as it comes. What was read goes to copy as well, if that is not nil: head,
// chunk sizes and all.
func Fetch(ctx context.Context, address string, request []byte, copy io.Writer) (*Fetched, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return fetch(ctx, c, address, request, copy)
}

// FetchTLS does the same over TLS. The handshake is over before the time begins.
func FetchTLS(ctx context.Context, address string, config *tls.Config, request []byte) (*Fetched, error) {
	c, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return fetch(ctx, c, address, request, nil)
}

// fetch asks over a connection, which it closes.
func fetch(ctx context.Context, c net.Conn, address string, request []byte, copy io.Writer) (*Fetched, error) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	start := time.Now()
	if _, err := c.Write(request); err != nil {
		return nil, fmt.Errorf("sending to %s: %w", address, err)
	}
	f := new(Fetched)
	var a answer
	buffer := make([]byte, 1<<20)
	for {
		n, err := c.Read(buffer)
		if n == 0 && err != nil {
			return nil, fmt.Errorf("answer of %s after %d bytes: %w", address, a.body, errors.Join(err, ctx.Err()))
		}
		if f.First == 0 {
			f.First = time.Since(start)
		}
		if copy != nil {
			if _, err := copy.Write(buffer[:n]); err != nil {
				return nil, err
			}
		}
		_, done, err := a.feed(buffer[:n])
		if err != nil {
			return nil, err
		}
		if done {
			f.Whole, f.Status, f.Body = time.Since(start), a.status, a.body
			return f, nil
		}
	}
}
