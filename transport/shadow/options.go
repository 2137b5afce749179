package shadow

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Options say what is shadowed and within which bounds. Zero values mean the defaults
// written beside them.
type Options struct {
	Upstream string // the old server: http://host:port or https://host:port; required
	Listen   string // host:port for clients; required
	TLS      *tls.Config
	// UpstreamTLS is how an https upstream is verified; nil: by the system's authorities.
	UpstreamTLS *tls.Config

	// Ours is host:port of lapid's own server, asked when Run begins; it trusts X-Forwarded-For
	// of loopback. Required.
	Ours func() string
	// Proxies are the proxies in front of the shadow that may name a client.
	Proxies []netip.Prefix
	// BouncerName is the name that a bouncer's key has here, "" for a key that nobody has.
	// Any goroutine. nil: nobody has one.
	BouncerName func(key string) string
	// Vouch is a token of lapid's for a machine that the old server has let in, "" when it may not come in here. Any
	// goroutine. nil: nobody is vouched for.
	Vouch func(machine string) string
	// Dir holds answers beyond Memory while they are compared, in files without a name, and
	// the note that a run is under way. Required; it is made.
	Dir string
	// Kept are the largest numbers of alerts and decisions that were moved in and are the same on both
	// sides. They are noted at the first run.
	Kept IDs

	Answer   Side     // who answers at the start (Theirs)
	Bouncers []string // with Ours: only these; nil: everybody

	Logger *slog.Logger
	Now    func() time.Time // time.Now
	Quiet  time.Duration    // without writes, before sets of the stream are compared (60 s)

	Connections   int           // of clients at once (4 096); more are closed at once and counted
	HeaderBytes   int           // request line and headers (64 KiB); more get 431
	Body          int64         // of a request that goes to both (64 MiB); longer ones go to the first alone, and the comparison is void
	Memory        int64         // of one body, before a file holds it (1 MiB)
	QueueItems    int           // requests that wait for the second server (20 000)
	QueueBytes    int64         // of their bodies and answers, in memory and files (2 GiB)
	Tokens        int           // pairs of machines' tokens (20 000); the oldest are forgotten
	Pairs         int           // pairs of ids (400 000); the oldest are forgotten
	Values        int           // values written through here that are remembered, and as many alerts (1 000 000: 250 MiB)
	Entries       int           // decisions of one answer that is compared (4 000 000: 128 MiB)
	States        int           // decisions in the sets of all bouncers together (8 000 000: 400 MiB)
	Patience      time.Duration // for the first byte of an answer (5 min)
	RetryFor      time.Duration // how long a write is tried again at the second server (10 min)
	SwitchLimit   time.Duration // how long requests wait while who answers changes (10 s)
	FarewellLimit time.Duration // for requests under way at the end, and then for the queue (10 s)
}

// IDs are numbers of alerts and decisions.
type IDs struct{ Alerts, Decisions int64 }

// Side is one of the two servers.
type Side int

const (
	Theirs Side = iota // the old one
	Ours               // lapid
)

func (s Side) String() string { return [...]string{"theirs", "ours"}[s] }

// other is the one that does not answer.
func (s Side) other() Side { return 1 - s }

// ParseSide reads theirs or ours.
func ParseSide(word string) (Side, error) {
	switch word {
	case "", "theirs":
		return Theirs, nil
	case "ours":
		return Ours, nil
	}
	return Theirs, fmt.Errorf("who answers is theirs or ours, not %q", word)
}

// withDefaults fills in what was left out; the error names what cannot be.
func (o *Options) withDefaults() (Options, *url.URL, error) {
	c := *o
	u, err := ParseUpstream(c.Upstream)
	switch {
	case err != nil:
		return c, nil, err
	case c.Listen == "":
		return c, nil, errors.New("a shadow needs an address for clients, such as --listen 127.0.0.1:8090")
	case c.Ours == nil || c.Dir == "":
		return c, nil, errors.New("a shadow needs a server of its own and a folder")
	case c.Answer == Theirs && len(c.Bouncers) > 0:
		return c, nil, errors.New("bouncers are named for --answer ours; the old server answers all others anyway")
	}
	c.Bouncers = slices.Clone(c.Bouncers)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.BouncerName == nil {
		c.BouncerName = func(string) string { return "" }
	}
	if c.Vouch == nil {
		c.Vouch = func(string) string { return "" }
	}
	c.fill()
	return c, u, nil
}

func (o *Options) fill() {
	fill(&o.Quiet, time.Minute)
	fill(&o.Connections, 4096)
	fill(&o.HeaderBytes, 64<<10)
	fill(&o.Body, 64<<20)
	fill(&o.Memory, 1<<20)
	fill(&o.QueueItems, 20_000)
	fill(&o.QueueBytes, 2<<30)
	fill(&o.Tokens, 20_000)
	fill(&o.Pairs, 400_000)
	fill(&o.Values, 1_000_000)
	fill(&o.Entries, 4_000_000)
	fill(&o.States, 8_000_000)
	fill(&o.Patience, 5*time.Minute)
	fill(&o.RetryFor, 10*time.Minute)
	fill(&o.SwitchLimit, 10*time.Second)
	fill(&o.FarewellLimit, 10*time.Second)
}

func fill[N int | int64 | time.Duration](n *N, usual N) {
	if *n <= 0 {
		*n = usual
	}
}

// ParseUpstream reads the address of the old server.
func ParseUpstream(text string) (*url.URL, error) {
	if text == "" {
		return nil, errors.New("name the old server with --upstream http://HOST:PORT")
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("--upstream must be http://HOST:PORT or https://HOST:PORT, without a path, not %q", text)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}
