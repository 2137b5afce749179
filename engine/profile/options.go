package profile

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// Options are the settings of a Set. The zero value, or nil, is the
// contract's behaviour. Compile copies it; what it points to is used for as
// long as the Set.
type Options struct {
	// Logger takes warnings, failing filters, LogInfo and debug output.
	// Nil: slog.Default().
	Logger *slog.Logger

	// KeepGoing makes a failing filter without on_error skip its profile
	// instead of refusing the request.
	KeepGoing bool

	// Sends says whether there is a notification of a name. Of others a Warning says that
	// nobody will be told, and no verdict names them. Nil: there is none.
	Sends func(name string) bool

	// TimeLimit stops an expression that loops. 0: one second.
	TimeLimit time.Duration

	// Resolve answers LookupHost. It is given two seconds and called from the
	// goroutine that evaluates. Nil: the system's resolver.
	Resolve func(ctx context.Context, host string) ([]string, error)
}

// Bounds of one expression; what happens at them is said in doc.go.
const (
	sourceLimit   = 64 << 10 // bytes of one expression
	elementLimit  = 100_000  // list elements made by ranges, literals and loops
	materialLimit = 16 << 20 // bytes of texts and lists made in total
	nestingLimit  = 64       // lists within lists
	uniqLimit     = 4096     // elements of uniq, which compares each with each
	documentLimit = 1 << 20  // bytes of a JSON, XML or key=value text that is parsed
	timeLimit     = time.Second
	lookupLimit   = 2 * time.Second
)

// defaultDuration is how long a decision lasts when nothing says so.
const defaultDuration = "4h"

// withDefaults is a copy with every gap filled. A limit below zero is none
// that was meant and gets the default too.
func (o *Options) withDefaults() Options {
	var full Options
	if o != nil {
		full = *o
	}
	if full.Logger == nil {
		full.Logger = slog.Default()
	}
	if full.Sends == nil {
		full.Sends = func(string) bool { return false }
	}
	if full.TimeLimit <= 0 {
		full.TimeLimit = timeLimit
	}
	if full.Resolve == nil {
		full.Resolve = net.DefaultResolver.LookupHost
	}
	return full
}
