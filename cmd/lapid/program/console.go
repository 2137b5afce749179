package program

import (
	"context"
	"crypto/tls"
	"syscall"
	"time"

	"lapid/transport/auth"
	"lapid/transport/console"
	"lapid/transport/openapi"
)

// traffic is what the Local API has counted; nothing before there is one.
func (p *program) traffic() (t console.Traffic) {
	if api := p.helper.Load(); api != nil {
		t.LiveQueries, t.LiveHits, t.StreamPulls = api.Traffic()
	}
	return t
}

// openConsole opens the operators' listener over HTTP, if there shall be one.
func (p *program) openConsole() error {
	c, err := p.setup.ConsoleListener()
	if err != nil || c.Listen == "" {
		return err
	}
	p.noteInForce()
	proxies, _ := c.Proxies() // checked when it was read
	zone, _ := c.Location()   // … too
	figures := p.condition.metrics.Load()
	o := &console.Options{
		Engine: p.engine, Verbs: p.verbs, Logger: p.log.Logger, Listen: c.Listen, Hosts: c.Hosts, TLS: c.Encrypted(), CertFile: c.CertFile, KeyFile: c.KeyFile,
		ClientCAFile: c.CAFile, AllowedUnits: c.AllowedUnits, BasePath: c.BasePath, Proxies: proxies, ReadOnly: c.ReadOnly, LookupURL: c.LookupURL, Zone: zone,
		Metrics: *figures, Reload: p.askReload, Audit: p.auditor.Note, Description: openapi.Access(p.setup.Own.OpenAPI),
		Config: func() any { return p.inForce.Load() }, Traffic: p.traffic, Surroundings: p.surroundings.attention, Rest: p.rest,
	}
	if o.TLS && len(o.AllowedUnits) > 0 {
		o.Certified = func(state *tls.ConnectionState) error { return p.gate.Certified(auth.NewPeer(state), o.AllowedUnits) }
	}
	if !o.TLS && !c.Local() {
		p.log.Warn("the console sends passwords and tokens in clear (console.tls: false): only a proxy in front of it that encrypts makes that safe", "listen", c.Listen)
	}
	if p.console, err = console.Listen(o); err != nil {
		return err
	}
	if p.engine.View().OperatorCount() == 0 {
		p.log.Warn("nobody can log in to the console yet: make an operator with lapid operators add NAME --role admin", "console", p.console.URL())
	}
	p.verbs.Console = p.console.URL
	return nil
}

// rest has who works for the console leave the processor to bouncers.
func (p *program) rest(worked time.Duration) {
	if api := p.helper.Load(); api != nil {
		api.Rest(worked)
	}
}

// noteInForce notes what may be told of the configuration. Nothing of it is secret.
func (p *program) noteInForce() {
	told := p.setup.SummaryObject()
	p.inForce.Store(&told)
}

// runConsole serves it until ctx ends.
func (p *program) runConsole(ctx context.Context) error {
	if p.console == nil {
		return nil
	}
	return p.console.Run(ctx)
}

// askReload has the configuration read again, as a signal does. One that waits already is enough.
func (p *program) askReload() error {
	select {
	case p.hangups <- syscall.SIGHUP:
	default:
	}
	return nil
}

// closeConsole gives the listener up after a start that failed.
func (p *program) closeConsole() {
	if p.console != nil {
		_ = p.console.Close()
	}
}
