package program

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lapid/cmd/lapid/config"
	"lapid/engine/profile"
	"lapid/transport/capi"
)

// reloadLoop reloads at each SIGHUP until ctx ends. The log files are opened anew before
// the configuration is looked at: a program that moves log files sends SIGHUP for
// that alone. A reload that fails leaves all as it is and says why. Signals that come
// meanwhile are one more reload at most.
func (p *program) reloadLoop(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
			notify(reloading + "\n" + monotonic())
			if err := p.log.reopen(); err != nil { // whatever the configuration has become: the files may have been moved
				p.log.Error("the old log file stays in use", "error", err)
			}
			err := p.reload(ctx)
			if p.surroundings.reloaded(err); err != nil {
				p.log.Error("nothing was reloaded, what was in force stays", "error", err)
			}
			notify(ready)
		}
	}
}

// monotonic is the moment of a reload as the service manager wants to hear it.
// systemd wants it with RELOADING=1 since version 253. "" where there is no such
// clock.
func monotonic() string {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return ""
	}
	return fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000)
}

// reload reads the configuration again and puts in force what can change
// while the server runs: profiles, notifications, log level, certificates, revocation list,
// trusted addresses, registration, the connection to the Central API with what it shares and
// exempts. It reads and checks everything first;
// after an error all is as it was. Call it from one goroutine. Certificates
// and lists are replaced after everything was read and checked; each of the
// three replacements is whole or not at all, and those that can fail come
// first.
func (p *program) reload(ctx context.Context) error {
	fresh, err := p.setup.Again()
	if err != nil {
		return err
	}
	fresh.StrayVariables(os.Environ())
	next, err := newProgram(fresh, p.log, p.shadowing)
	if err != nil {
		return err
	}
	next.sayOutOfDate()
	at, err := fresh.LogLevel()
	if err != nil {
		return err
	}
	if next.unusable != nil && p.central != nil && !p.noCentral {
		return fmt.Errorf("the connection to the Central API: %w", next.unusable)
	}
	if p.tls != nil {
		if err := p.tls.Reload(); err != nil {
			return err
		}
	}
	renewed, err := p.cluster.renewed(fresh)
	if err != nil {
		return err
	}
	if err := p.gate.Replace(fresh.Rules(next.server)); err != nil {
		return err
	}
	if err := p.teller.Replace(ctx, next.told); err != nil { // before the rules that name them
		return err
	}
	if p.cluster == nil || p.engine.Writes() { // else it is done by the node that writes, with its own files
		if err := p.declareExports(ctx, fresh); err != nil {
			return err
		}
	}
	p.engine.SetProfiles(next.rules)
	if p.cluster != nil {
		p.cluster.renew(fresh, renewed)
	}
	p.exchangeCentral(ctx, next)
	p.logChanges(next, at)
	p.setup, p.server, p.rules, p.specs, p.told = fresh, next.server, next.rules, next.specs, next.told
	p.central, p.unusable = next.central, next.unusable
	p.noteInForce()
	return nil
}

// patience is longer than a client of the Central API may take to bring away what it has begun.
const patience = 10 * time.Second

// exchangeCentral has the connection to the Central API be the one of next. When it returns the one
// before takes nothing on any more: what comes after a reload was told is shared as the new
// settings say.
func (p *program) exchangeCentral(ctx context.Context, next *program) {
	asked := program{noCentral: p.noCentral, central: next.central, unusable: next.unusable, setup: next.setup}
	to := asked.wanted()
	if to.renew = p.sameCentral(next) && to.options != nil; to.renew {
		p.connection.turn(to)
		return
	}
	to.turned = make(chan struct{})
	p.connection.turn(to)
	select {
	case <-to.turned:
	case <-ctx.Done():
	case <-time.After(patience):
		p.log.Warn("the connection to the Central API is still at what it has begun: it ends by itself")
	}
}

// logChanges says what a reload has changed, at the more talkative of the two log
// levels, and leaves the new one in force. A change of the level to a
// quieter one is still said; what needs a restart is a warning, for the
// operator believes it to be in force.
func (p *program) logChanges(next *program, at slog.Level) {
	changes := p.changes(next)
	if old := p.log.level.Level(); !p.log.forced && at != old {
		changes = append(changes, fmt.Sprintf("log level %s instead of %s", levelWord(at), levelWord(old)))
		p.log.level.Set(min(at, old))
		defer p.log.level.Set(at)
	}
	later := config.NeedRestart(p.setup, next.setup)
	if len(later) > 0 {
		p.log.Warn("changed, but in force only after a restart: " + strings.Join(later, ", "))
	}
	switch {
	case len(changes) == 0 && len(later) > 0:
		return // all that has changed was said
	case len(changes) == 0:
		changes = []string{"nothing has changed"}
	}
	p.log.Info("reloaded: " + strings.Join(changes, "; "))
}

// sameCentral tells whether the connection to the Central API stays as it is.
func (p *program) sameCentral(next *program) bool {
	if p.central == nil || next.central == nil {
		return p.central == next.central
	}
	return p.central.Same(next.central)
}

// changes says what a reload puts in force. Secrets are not in it: of a
// token it only says that it is another. Certificates are always read again,
// whether or not the files have changed.
func (p *program) changes(next *program) []string {
	var out []string
	if !reflect.DeepEqual(p.specs, next.specs) {
		out = append(out, fmt.Sprintf("profiles (%s)", specNames(next.specs)))
	}
	if !reflect.DeepEqual(p.told, next.told) {
		out = append(out, fmt.Sprintf("notifications (%d)", len(next.told)))
	}
	for _, list := range []struct {
		name     string
		old, now any
	}{
		{"trusted_proxies", p.server.TrustedProxies, next.server.TrustedProxies},
		{"trusted_ips", p.server.TrustedIPs, next.server.TrustedIPs},
		{"auto_registration ranges", p.server.AutoRanges, next.server.AutoRanges},
	} {
		if !reflect.DeepEqual(list.old, list.now) {
			out = append(out, fmt.Sprintf("%s is %v instead of %v", list.name, list.now, list.old))
		}
	}
	if p.server.AutoToken != next.server.AutoToken {
		out = append(out, "auto_registration token")
	}
	old, now := p.setup.Config.API.Server, next.setup.Config.API.Server
	if old.NoRemoteRegistering != now.NoRemoteRegistering {
		out = append(out, fmt.Sprintf("disable_remote_lapi_registration is %v", now.NoRemoteRegistering))
	}
	if p.setup.Own.OnFilterError != next.setup.Own.OnFilterError {
		out = append(out, fmt.Sprintf("on_filter_error is %q", next.setup.Own.OnFilterError))
	}
	if !p.sameCentral(next) && !p.noCentral {
		out = append(out, "the connection to the Central API: "+aboutCentral(next.central))
	}
	if p.tls != nil {
		out = append(out, "certificates read again")
	}
	if p.cluster != nil {
		out = append(out, "certificate for other nodes read again")
	}
	return out
}

// aboutCentral says what a connection is and shares, without its password.
func aboutCentral(o *capi.Options) string {
	if o == nil {
		return "none"
	}
	shared := "no signals"
	if !o.NoSharing {
		shared = fmt.Sprintf("%+v", o.Console)
	}
	return fmt.Sprintf("%s at %s, shared: %s, %d addresses and ranges exempt from its lists", o.Credentials.Login, o.Credentials.Shown(), shared, len(o.Whitelist))
}

// specNames lists the profiles that are in force, in their order, which is what
// matters of them.
func specNames(specs []profile.Spec) string {
	names := make([]string, len(specs))
	for i := range specs {
		names[i] = specs[i].Name
	}
	return strings.Join(names, ", ")
}
