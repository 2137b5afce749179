package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"lapid/transport/socket"
)

// ErrNotRunning: no server listens on the socket.
var ErrNotRunning = errors.New("no server is running")

// Client is the command's end of the socket. Its methods may be called from
// several goroutines. Errors that the server met come back with their kind, as
// *engine.Error.
type Client struct {
	base  string // before the paths of verbs
	http  *http.Client
	close func()

	patience time.Duration // with a greeting; 0: greetWithin
}

// greetWithin is how long a server has to say who it is. That waits for no work, however long verbs take; the verbs
// that follow have no such limit, for a backup or an import may be silent for minutes.
const greetWithin = 20 * time.Second

// Dial connects to the server behind the socket at path. The error is
// ErrNotRunning when there is none, and another when there is one that may not
// be spoken to, or that has not answered within 20 s.
func Dial(ctx context.Context, path string) (*Client, error) {
	return dialWithin(ctx, path, greetWithin)
}

// dialWithin is Dial with another limit.
func dialWithin(ctx context.Context, path string, within time.Duration) (*Client, error) {
	c := newClient(func(ctx context.Context) (net.Conn, error) { return socket.Dial(ctx, path) })
	c.patience = within
	err := c.greet(ctx)
	for again := 0; again < regreet && hungUp(err); again++ {
		err = c.greet(ctx)
	}
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNotRunning
	}
	c.Close()
	return nil, fmt.Errorf("operator's socket %s: %w", path, err)
}

// errSilent: a connection was taken, and no answer came.
var errSilent = errors.New("a server that does not answer")

// regreet is how often a greeting is said again that the server has hung up on.
const regreet = 3

// hungUp reports whether the server has closed a connection that it had accepted
// before it answered: it makes room for others, or did not come to read what was sent
// in the time that a request may take, on a machine that is busy. Nothing was asked
// yet but the status.
func hungUp(err error) bool {
	if err == nil {
		return false
	}
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) ||
		errors.Is(err, net.ErrClosed) || // net/http has seen the end first, and closed this side too
		strings.Contains(err.Error(), "server closed idle connection") // net/http has no value for it
}

// Local serves h to a client in this process. Closing the client ends it.
func Local(h *Handler) *Client {
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := newHTTP(h, slog.New(slog.DiscardHandler))
	go func() { _ = server.Serve(l) }()
	c := newClient(l.dial)
	idle := c.close
	c.close = func() { idle(); _ = server.Close() }
	return c
}

// localBase names a server at the other end of a socket.
const localBase = "http://lapid"

// newClient is a client over connections that dial makes.
func newClient(dial func(context.Context) (net.Conn, error)) *Client {
	t := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
		WriteBufferSize:    lineAtLeast, // long requests are written in few steps
	}
	return &Client{base: localBase, http: &http.Client{Transport: t}, close: t.CloseIdleConnections}
}

// Close lets go of the connections.
func (c *Client) Close() { c.close() }

// greet makes sure that the other end speaks the same protocol.
func (c *Client) greet(ctx context.Context) error {
	within := c.patience
	if within == 0 {
		within = greetWithin
	}
	limited, cancel := context.WithTimeoutCause(ctx, within, errSilent)
	defer cancel()
	s, err := c.Status(limited)
	if err != nil && context.Cause(limited) == errSilent {
		return fmt.Errorf("there is %w: nothing came within %s, and nothing was asked of it but who it is; look whether its process is stopped (ps has T for it, and kill -CONT lets it go on) "+
			"or its machine is too busy, then try again", errSilent, within)
	}
	if err != nil {
		return err
	}
	if s.Version != Version {
		return fmt.Errorf("the running server (%s, process %d) speaks version %d of the operator's protocol, this command %d: use the same program",
			s.Program, s.PID, s.Version, Version)
	}
	return nil
}

// post sends a request. The caller closes the body of the answer.
func (c *Client) post(ctx context.Context, verb string, q any) (io.ReadCloser, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+verb, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	w, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if w.StatusCode == http.StatusOK {
		return w.Body, nil
	}
	defer w.Body.Close()
	return nil, failureAnswered(w, verb)
}

// failureAnswered is the failure that an answer tells. What stands in front of the verbs over HTTP has
// another shape for it (RFC 9457), of which the sentence is taken.
func failureAnswered(w *http.Response, verb string) error {
	var f struct {
		failure
		Detail string
	}
	err := json.NewDecoder(io.LimitReader(w.Body, 1<<20)).Decode(&f)
	switch {
	case err == nil && f.Detail != "":
		return fmt.Errorf("%s (status %d)", f.Detail, w.StatusCode)
	case err != nil || f.Text == "" && f.Kind == "":
		return fmt.Errorf("%s: status %d", verb, w.StatusCode)
	}
	return f.error()
}

// ask sends a request and reads the one object of its answer.
func ask[A any](ctx context.Context, c *Client, verb string, q any) (*A, error) {
	body, err := c.post(ctx, verb, q)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	a := new(A)
	if err := json.NewDecoder(body).Decode(a); err != nil {
		return nil, fmt.Errorf("unreadable answer to %s: %w", verb, err)
	}
	return a, nil
}

// each reads a list line by line. An error is the last thing it yields.
func each[T any](ctx context.Context, c *Client, verb string, q any) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		body, err := c.post(ctx, verb, q)
		if err != nil {
			yield(nil, err)
			return
		}
		defer body.Close()
		d := json.NewDecoder(body)
		for {
			var l line[T]
			err := d.Decode(&l)
			switch {
			case err != nil:
				yield(nil, fmt.Errorf("the list was cut off: %w", err))
				return
			case l.Fail != nil:
				yield(nil, l.Fail.error())
				return
			case l.End || !yield(l.Item, nil):
				return
			}
		}
	}
}

// pipes is a listener whose connections stay in this process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

// dial gives the client one end of a new connection, and hands the other to Accept.
func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept gives the other end of the next dialled connection.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. It is called once, by the server.
func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

// Addr has nothing to tell.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "local", Net: "unix"} }
