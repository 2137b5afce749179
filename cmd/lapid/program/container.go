package program

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/capi"
)

// furnish makes what the environment of a container gives: bouncers, machines, credentials for
// cscli. It is done before the Local API's listener is open, so that nobody who is named there is
// ever refused. What cannot be made has a line in the log, without its secret, and keeps nothing
// else from being made, nor the server from starting. Of the nodes of a cluster the one that writes does it, so all are to be
// given the same.
func (p *program) furnish(ctx context.Context) {
	c := p.setup.Container()
	if c == nil {
		return
	}
	if p.relay != nil {
		if len(c.Bouncers)+len(c.Machines) > 0 {
			p.log.Warn("BOUNCER_KEY_… and AGENT_… of the environment have no effect: a relay knows the bouncers and machines of the nodes that it follows; give them to those")
		}
		return
	}
	ctx = engine.As(ctx, engine.Actor{Kind: engine.ActorServer, Name: "environment"})
	for _, b := range c.Bouncers {
		if err := p.furnishBouncer(ctx, &b, c.Replace); err != nil {
			p.log.Error(fmt.Sprintf("the bouncer of the %s could not be given its key: %v", b.From, err))
		}
	}
	for _, m := range c.Machines {
		if err := p.furnishMachine(ctx, m.Name, m.Password); err != nil {
			p.log.Error(fmt.Sprintf("the machine of the variable %s could not be added: %v", m.From, err))
		}
	}
	if err := p.furnishLocal(ctx, &c.Local); err != nil {
		p.log.Warn(fmt.Sprintf("there are no credentials for cscli in this container: %v; lapid's own verbs need none", err))
	}
}

// furnishBouncer adds one bouncer. One that is there keeps its key, unless replace is set.
func (p *program) furnishBouncer(ctx context.Context, b *config.ContainerBouncer, replace bool) error {
	if err := admin.NewName("the bouncer's name", b.Name); err != nil {
		return err
	}
	key, view := engine.KeyHash(sha512.Sum512([]byte(b.Key))), p.engine.View()
	if row := view.Bouncer(b.Name); row != nil {
		has := row.Load()
		switch {
		case has.AuthType == engine.AuthAPIKey && view.CurrentKey(has.KeyHash) == key:
			return nil
		case !replace:
			p.log.Warn(fmt.Sprintf("the bouncer %q is there with another key than the %s gives, and keeps it: set LAPID_BOUNCER_KEYS=replace, or delete the bouncer and start again", b.Name, b.From))
			return nil
		}
		if err := p.engine.RotateBouncer(ctx, b.Name, key, 0); err != nil {
			return err
		}
		p.log.Info("the bouncer has the key that the environment gives", "bouncer", b.Name, "from", b.From)
		return nil
	}
	now := p.engine.Now()
	if _, err := p.engine.AddBouncer(ctx, &engine.Bouncer{Name: b.Name, KeyHash: key, AuthType: engine.AuthAPIKey, CreatedAt: now, UpdatedAt: now}); err != nil {
		return err
	}
	p.log.Info("added the bouncer that the environment gives", "bouncer", b.Name, "from", b.From)
	return nil
}

// furnishMachine adds a machine, or gives one that is there this password.
func (p *program) furnishMachine(ctx context.Context, name, password string) error {
	if err := admin.NewName("the machine's name", name); err != nil {
		return err
	}
	m := p.engine.View().Machine(name)
	if m != nil && m.Validated && m.AuthType == engine.AuthPassword && bcrypt.CompareHashAndPassword(m.PasswordHash, []byte(password)) == nil {
		return nil
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return fmt.Errorf("its password: %w", err)
	}
	now := p.engine.Now()
	fresh := &engine.Machine{ID: name, PasswordHash: hash, AuthType: engine.AuthPassword, Validated: true, CreatedAt: now, UpdatedAt: now}
	if err := p.engine.AddMachine(ctx, fresh, true); err != nil {
		return err
	}
	p.log.Info("added the machine that the environment gives", "machine", name, "replaces", m != nil)
	return nil
}

// furnishLocal sees to it that the credentials file of this container lets cscli in. One that does stays as it is, whoever
// wrote it, but for what the environment says.
func (p *program) furnishLocal(ctx context.Context, l *config.LocalMachine) error {
	client := p.setup.Config.API.Client
	if client == nil || client.Credentials == "" {
		return errors.New("api.client.credentials_path is missing")
	}
	file := client.Credentials
	has, err := p.setup.Credentials()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		has = &config.Credentials{}
	}
	want := *has
	if want.URL = cmp.Or(l.URL, has.URL); want.URL == "" {
		want.URL = p.setup.OwnURL()
	}
	want.CAFile = cmp.Or(l.CAFile, has.CAFile)
	known := has.Login != "" && p.engine.View().Machine(has.Login) != nil || has.CertFile != "" && has.KeyFile != ""
	switch byCertificate := l.CertFile != "" && l.KeyFile != ""; {
	case byCertificate:
		want.Login, want.Password, want.CertFile, want.KeyFile, known = "", "", l.CertFile, l.KeyFile, true
	case !known || l.Named && has.Login != p.localName(l):
		want.Login, want.CertFile, want.KeyFile, known = p.localName(l), "", "", false
	}
	if known && *has == want {
		return nil
	}
	if err := datadir.CheckSecret(file); err != nil { // a machine whose password is lost is worth nothing
		return err
	}
	if !known {
		want.Password = letters(64)
		if err := p.furnishMachine(ctx, want.Login, want.Password); err != nil {
			return err
		}
	}
	if err := datadir.WriteSecret(file, []byte(want.Text())); err != nil {
		return err
	}
	p.log.Info("wrote the credentials of this container", "file", file)
	return nil
}

// localName is the machine whose credentials this container has. Nodes of a cluster have one each.
func (p *program) localName(l *config.LocalMachine) string {
	if p.cluster != nil && !l.Named {
		return p.setup.Own.Cluster.Name
	}
	return l.Name
}

// openAccount gives this server an account with the Central API where the configuration names one
// that there is not, and enrolls it, as the environment of a container wants it. The Central API is asked
// again after one to thirty minutes until ctx ends. What was written is put in force by a reload.
func (p *program) openAccount(ctx context.Context, setup *config.Setup, service string, hangups chan<- os.Signal) error {
	c := setup.Container()
	if a := setup.Config.API.Server; c == nil || c.Online.Off || p.noCentral || a == nil || a.Online == nil || a.Online.Credentials == "" {
		return nil
	}
	pause := time.Minute
	for {
		changed, err := p.tryAccount(ctx, setup, service)
		if changed {
			select {
			case hangups <- syscall.SIGHUP:
			default: // one is on its way
			}
		}
		if err == nil || ctx.Err() != nil {
			return nil
		}
		p.log.Warn("the Central API has not taken this server, and is asked again", "in", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, 30*time.Minute)
	}
}

// accountPatience is how long one answer is waited for.
const accountPatience = 30 * time.Second

// tryAccount does what is left to do; changed tells that files were written.
func (p *program) tryAccount(ctx context.Context, setup *config.Setup, service string) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, accountPatience)
	defer cancel()
	file := setup.Config.API.Server.Online.Credentials
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := datadir.CheckSecret(file); err != nil { // an account whose password is lost is worth nothing
			return false, fmt.Errorf("its credentials cannot be written: %w", err)
		}
		o := capi.Options{Credentials: capi.Credentials{URL: service, Login: letters(48), Password: letters(64)}, Version: p.version}
		if err := capi.Register(ctx, o); err != nil {
			return false, err
		}
		if err := datadir.WriteSecret(file, []byte(config.CredentialsText(service, o.Credentials.Login, o.Credentials.Password))); err != nil {
			return false, err
		}
		changed = true
		p.log.Info("this server has an account with the Central API", "file", file)
	}
	enrolled, err := p.tryEnrolment(ctx, setup)
	return changed || enrolled, err
}

// tryEnrolment asks for a place in the console. A server that has one is not asked for it again.
func (p *program) tryEnrolment(ctx context.Context, setup *config.Setup) (enrolled bool, err error) {
	want := &setup.Container().Online
	if want.Key == "" {
		return false, nil
	}
	o, err := setup.Central()
	if err != nil {
		return false, err
	}
	o.Version = p.version
	name := want.Name
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return false, err
		}
	}
	done, err := capi.Enroll(ctx, *o, &capi.Enrolment{Key: want.Key, Name: name, Tags: slices.Clone(want.Tags)})
	if err != nil || done.Already {
		return false, err
	}
	p.log.Info("this server was enrolled: accept it in the console", "name", name)
	shared := o.Console
	shared.Manual, shared.Tainted, shared.Context = true, true, true // as an enrolment by hand
	if err := datadir.WriteSecret(setup.ConsoleFile(), []byte(config.ConsoleText(shared))); err != nil {
		p.log.Warn("what an enrolled server shares could not be written down: manual decisions, tainted scenarios and contexts are not shared", "error", err)
	}
	return true, nil
}

// letters are n letters and digits of chance, five bits each.
func letters(n int) string {
	out := ""
	for len(out) < n {
		out += rand.Text()
	}
	return out[:n]
}
