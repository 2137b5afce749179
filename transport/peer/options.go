package peer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"lapid/engine"
)

// Options say what a Node is. What is not said to be optional must be given.
type Options struct {
	Name        string         // of this node, as the others know it
	Listen      string         // host:port
	Credentials *Credentials   // Renew takes others
	Engine      *engine.Engine // of this node; nil: it only asks others, and neither listens nor passes on
	Version     string         // of the program, for State

	// Writer is the node that writes, as this one knows it, and where it is called, host:port;
	// false: none is known. It may be this node. It is asked several times a second by each
	// request that waits, and must not wait.
	Writer func() (name, address string, ok bool)

	// Handlers answer what is passed on, by kind; set before Run (Handle).
	Handlers [kinds]Handler

	// Describe adds to what State says; optional. It must not wait.
	Describe func(*State)

	// Age is how old what this node knows of the history may be, for relays; nil: it is the newest. It
	// must not wait.
	Age func() time.Duration

	Hold   time.Duration // how long a request waits for a writer (8 s)
	Logger *slog.Logger  // nil: silence

	answerWithin time.Duration // for tests; answerWithin
}

// Handler answers a request that another node passes on, at the writer, as if it had come here.
type Handler interface {
	// ServePassed answers r with w, or returns an error and has written nothing: with
	// engine.ErrNotWriter and engine.ErrUnsure the other node asks again, elsewhere, under
	// the same id. The context has the request's id (engine.ForRequest) and ends when the
	// other node gives up.
	ServePassed(ctx context.Context, r *Request, w http.ResponseWriter) error
}

// HandlerFunc is a Handler that is a function.
type HandlerFunc func(context.Context, *Request, http.ResponseWriter) error

// ServePassed calls it.
func (f HandlerFunc) ServePassed(ctx context.Context, r *Request, w http.ResponseWriter) error {
	return f(ctx, r, w)
}

func (o *Options) withDefaults() (Options, error) {
	c := *o
	switch {
	case c.Name == "" || c.Credentials == nil || c.Writer == nil:
		return c, errors.New("a node needs a name, credentials and somebody who knows the writer")
	case c.Listen == "" && c.Engine != nil:
		return c, errors.New("a node with an engine needs an address")
	case len(c.Name) > longestName:
		return c, errors.New("a node's name has 64 bytes at most")
	}
	if c.Hold <= 0 {
		c.Hold = 8 * time.Second
	}
	if c.answerWithin <= 0 {
		c.answerWithin = answerWithin
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// longestName bounds a node's name, in bytes.
const longestName = 64

// Failures of Pass. Nothing was written to the answer then.
var (
	// ErrHere: this node writes, so the request is to be done here, under the same id.
	ErrHere = errors.New("this node writes itself")
	// ErrNoWriter: no node took it in time. It was not stored.
	ErrNoWriter = errors.New("no server writes at the moment, try again later")
	// ErrPerhaps: a node may have taken it, and did not say.
	ErrPerhaps = errors.New("it is not known whether it was stored, look before trying again")
	// ErrTooLarge: the body is longer than BodyAtMost.
	ErrTooLarge = errors.New("the body is too large to be passed on")
)
