package capi

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"time"

	"lapid/engine"
)

// Credentials are what the service knows this server by.
type Credentials struct {
	URL      string // the base of every request, with a slash at its end
	Login    string
	Password string
	Orders   string // where the orders of the console are asked for; "": OrdersURL
}

// Shown is the URL without a password that may stand in it.
func (c *Credentials) Shown() string {
	u, err := url.Parse(c.URL)
	if err != nil || u.User == nil {
		return c.URL
	}
	return u.Redacted()
}

// Options are what a Client is made of. It is not changed afterwards.
type Options struct {
	Engine      *engine.Engine
	Credentials Credentials
	Logger      *slog.Logger
	Version     string // of this program

	NoCommunity  bool // the service is told to leave the community list out
	NoBlocklists bool // … and the links of third-party lists
	NoSharing    bool // no signals are sent
	Console      Console
	NoUsage      bool // no usage metrics are sent
	Shrunken     bool // lists that lost more than half are believed

	// MostEntries is how many entries all lists may have together; one that does not fit any
	// more is held back. 0: as many as come.
	MostEntries int

	// Orders counts orders of the console; nil: nobody reads that.
	Orders *OrderCounts

	// Whitelist are addresses and ranges of which no list may ban anything.
	Whitelist []netip.Prefix

	// Rules remember by which Console the history was looked at; nil: this client's own.
	Rules *Rules

	// Figures are told how everything goes; nil: nobody is.
	Figures *Figures

	// Seams. nil: the world's.
	Now    func() time.Time                     // the engine's clock
	After  func(time.Duration) <-chan time.Time // time.After
	Jitter func(time.Duration) time.Duration    // a part of a duration, by chance: at least 0, less than d
	Proxy  func(*http.Request) (*url.URL, error)
	Within func(context.Context, time.Duration) (context.Context, context.CancelFunc) // context.WithTimeout
}

// Same tells whether a client of o would do all as one of p does. Seams are not compared.
func (o *Options) Same(p *Options) bool {
	a, b := *o, *p
	for _, x := range []*Options{&a, &b} {
		x.Engine, x.Logger, x.Version, x.Figures, x.Orders, x.Rules = nil, nil, "", nil, nil, nil
		x.Now, x.After, x.Jitter, x.Proxy, x.Within = nil, nil, nil, nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// Check says what of the credentials is missing or cannot be used, nil: nothing.
func (o *Options) Check() error {
	c := &o.Credentials
	for _, field := range []struct{ name, value string }{{"login", c.Login}, {"password", c.Password}, {"url", c.URL}} {
		if field.value == "" {
			return errors.New("missing " + field.name + " field")
		}
	}
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" {
		return errors.New("url is no http or https address")
	}
	if !strings.HasSuffix(c.URL, "/") {
		return errors.New("url must have a slash at its end")
	}
	if u, err := url.Parse(c.Orders); c.Orders != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "") {
		return errors.New("papi_url is no http or https address")
	}
	return nil
}

// complete fills in what is not given, and refuses what cannot work.
func (o *Options) complete() error {
	if err := o.Check(); err != nil {
		return err
	}
	if o.Now == nil {
		o.Now = func() time.Time { return time.Unix(0, o.Engine.Now()) }
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.Jitter == nil {
		o.Jitter = rand.N[time.Duration]
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.Orders == nil {
		o.Orders = &OrderCounts{}
	}
	if o.Within == nil {
		o.Within = context.WithTimeout
	}
	if o.Rules == nil {
		o.Rules = &Rules{}
	}
	if o.Figures == nil {
		o.Figures = &Figures{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
