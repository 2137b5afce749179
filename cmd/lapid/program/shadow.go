package program

import (
	"context"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"lapid/cmd/lapid/config"
	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/shadow"
)

// Shadowing is a start as a shadow: the whole server, but for the Central API and notifications, listens for
// the shadow alone, and the shadow takes its place in front of another server. It is only read.
type Shadowing struct {
	Upstream string // http://host:port or https://host:port
	Listen   string // host:port, for clients
	Answer   shadow.Side
	Bouncers []string      // with shadow.Ours: only these
	Metrics  string        // host:port of the metrics listener, "": what lapid.yaml says, or none
	CA       string        // file of authorities that sign the upstream's certificate; "": the system's
	Quiet    time.Duration // see shadow.Options
}

// SetAnswer reads theirs or ours.
func (sh *Shadowing) SetAnswer(word string) (err error) {
	sh.Answer, err = shadow.ParseSide(word)
	return err
}

// Check refuses what can never work. It opens nothing.
func (sh *Shadowing) Check() error {
	if _, err := shadow.ParseUpstream(sh.Upstream); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(sh.Listen); err != nil {
		return fmt.Errorf("--listen must be host:port, not %q", sh.Listen)
	}
	if sh.Answer == shadow.Theirs && len(sh.Bouncers) > 0 {
		return errors.New("--bouncers goes with --answer ours: the old server answers all others anyway")
	}
	return nil
}

// ownAddress is where lapid's own server listens for the shadow: any free port, of this machine alone.
const ownAddress = "127.0.0.1:0"

// prepare makes the setup that of a shadow. The addresses in it are those of the other server, which has them.
func (sh *Shadowing) prepare(s *config.Setup) {
	if sh == nil {
		return
	}
	api := &s.Config.API
	if api.Server == nil {
		api.Server = &config.APIServer{}
	}
	a := api.Server
	a.Enable, a.ListenURI, a.ListenSocket, a.Online = nil, ownAddress, "", nil
	if len(a.TrustedProxies) == 0 && a.ForwardedFor {
		a.TrustedProxies = []string{"0.0.0.0/0"} // what the switch means alone
	}
	a.TrustedProxies = append(a.TrustedProxies, "127.0.0.1") // the shadow; the last of them (openShadow)
}

// quieten takes away what would be done twice, and an address that the other server has.
func (sh *Shadowing) quieten(p *program) {
	if sh == nil {
		return
	}
	p.told, p.central, p.server.MetricsAddress = nil, nil, sh.Metrics
	if own := p.setup.Own.Metrics; sh.Metrics == "" && own != "off" {
		p.server.MetricsAddress = own
	}
}

// openShadow opens the listener for clients, when lapid's own server listens. What must be done first is said.
func (p *program) openShadow() error {
	sh := p.shadowing
	if sh == nil {
		return nil
	}
	o := &shadow.Options{
		Upstream: sh.Upstream, Listen: sh.Listen, Answer: sh.Answer, Bouncers: sh.Bouncers, Quiet: sh.Quiet,
		Ours: func() string { return p.api.Addr().String() }, Logger: p.log.Logger, BouncerName: p.bouncerName,
		Vouch: p.vouch, Dir: filepath.Join(p.setup.Data().Folder(), "shadow"),
	}
	o.Proxies = p.server.TrustedProxies[:len(p.server.TrustedProxies)-1]
	alert, decision := p.engine.View().LastNumbers()
	o.Kept = shadow.IDs{Alerts: int64(alert), Decisions: int64(decision)}
	var err error
	if o.UpstreamTLS, err = sh.upstreamTLS(); err != nil {
		return err
	}
	if t := p.setup.Config.API.Server.TLS; t != nil && t.CertFile != "" {
		if o.TLS, err = p.shadowTLS(); err != nil {
			return err
		}
	}
	if p.shadow, err = shadow.New(o); err != nil {
		return err
	}
	if v := p.engine.View(); v.BouncerCount() == 0 {
		p.log.Warn("lapid knows no bouncer yet: take over the old server's keys, passwords and decisions first, with 'lapid movein', or every comparison will differ")
	}
	if h := p.condition.metrics.Load(); h != nil {
		both := http.Handler(p.shadow.Metrics(*h))
		p.condition.metrics.Store(&both)
	}
	return p.shadow.Listen()
}

// upstreamTLS is how the other server's certificate is verified; nil: by the system's authorities.
func (sh *Shadowing) upstreamTLS() (*tls.Config, error) {
	if sh.CA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(sh.CA)
	if err != nil {
		return nil, fmt.Errorf("the authorities of the old server (--upstream-ca): %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the authorities of the old server (--upstream-ca): there is no certificate in %s", sh.CA)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// shadowTLS has the shadow show the server's certificate. It looks at those of clients, and believes none.
func (p *program) shadowTLS() (*tls.Config, error) {
	own, err := auth.NewTLS(p.setup.TLSOptions(p.log.Logger, p.engine.Now))
	if err != nil {
		return nil, err
	}
	p.tls = own
	current := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := own.Config().GetConfigForClient(nil)
		if err != nil {
			return nil, err
		}
		c = c.Clone()
		c.ClientAuth = tls.RequestClientCert
		return c, nil
	}
	c, err := current(nil)
	if err == nil {
		c.GetConfigForClient = current
	}
	return c, err
}

// bouncerName is the name of the oldest bouncer with a key, be it one that it was rotated to, or one before that
// is still good.
func (p *program) bouncerName(key string) string {
	hash, view := engine.KeyHash(sha512.Sum512([]byte(key))), p.engine.View()
	if _, good := view.ResolveKey(&hash, p.engine.Now()); !good {
		return ""
	}
	row, _ := view.OldestBouncer(&hash)
	if row == nil {
		return ""
	}
	return row.Load().Name
}

// vouch is a token for a machine that the old server has let in.
func (p *program) vouch(machine string) string {
	grant, err := p.gate.Vouched(machine)
	if err != nil {
		return "" // it is refused then, and the comparison tells
	}
	return grant.Token
}

// runShadow runs it in the group. The context it gives is that of the server below, which has to answer
// until the shadow has left.
func (p *program) runShadow(ctx context.Context, group *errgroup.Group) (below context.Context) {
	if p.shadow == nil {
		return ctx
	}
	below, leave := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer leave()
		return p.shadow.Run(ctx)
	})
	return below
}

// shadowVerbs are the operator's verbs about the shadow.
type shadowVerbs struct{ p *program }

func (v shadowVerbs) running() (*shadow.Shadow, error) {
	if v.p.listening.Load() == nil {
		return nil, fmt.Errorf("the shadow is starting")
	}
	return v.p.shadow, nil
}

func (v shadowVerbs) Report() (json.RawMessage, error) {
	s, err := v.running()
	if err != nil {
		return nil, err
	}
	return json.Marshal(s.Report())
}

func (v shadowVerbs) Answer(word string, bouncers []string) error {
	s, err := v.running()
	if err != nil {
		return err
	}
	side, err := shadow.ParseSide(word)
	if err != nil {
		return err
	}
	for _, name := range bouncers {
		if v.p.engine.View().Bouncer(name) == nil {
			return fmt.Errorf("no bouncer is called %q here: see 'lapid bouncers list', and take over those that are new with 'lapid movein'", name)
		}
	}
	return s.Switch(side, bouncers)
}

func (v shadowVerbs) Reset() error {
	s, err := v.running()
	if err == nil {
		s.Reset()
	}
	return err
}
