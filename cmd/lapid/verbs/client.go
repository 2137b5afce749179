package verbs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/persist"
	"lapid/transport/admin"
)

// usualPatience is how long a verb waits while another process holds the store and
// does not answer on the socket: a server that is just starting, another verb.
const usualPatience = 10 * time.Second

// retryAfter is the pause between two looks.
const retryAfter = 50 * time.Millisecond

// client opens the operator's way in: with --remote the console of another server, else the socket of the running server or, when
// there is none, the store itself, and then it says so. A store that is not there
// is made only for a verb with --init. close must be called; it may not be before
// the last answer was read.
func (t *Terminal) client(ctx context.Context) (c *admin.Client, close func(), err error) {
	if t.Remote.URL != "" {
		if c, err = t.Remote.dial(ctx, t); err != nil {
			return nil, nil, err
		}
		return c, c.Close, nil
	}
	s, err := t.Setup()
	if err != nil {
		return nil, nil, err
	}
	tellOrigin(t, s)
	var own *admin.Client
	c, err = t.serverOr(ctx, s, func() (again bool, err error) {
		if err := storeThere(s); err != nil && !(t.Init && errors.Is(err, errNoStore)) {
			return false, err
		}
		own, close, err = ownClient(ctx, s, t.Build.Version, t.rules)
		if t.offline = err == nil; t.offline {
			tellAlone(t, s)
		}
		return errors.Is(err, persist.ErrLocked), err
	})
	if c != nil {
		return c, c.Close, nil
	}
	return own, close, err
}

// serverOr finds the running server. Where none answers it calls alone, and that is all (c is
// nil), unless that says again: another process holds the store, a server that is starting or
// another verb, and is waited for.
func (t *Terminal) serverOr(ctx context.Context, s *config.Setup, alone func() (again bool, err error)) (c *admin.Client, err error) {
	patience := t.Patience
	if patience == 0 {
		patience = usualPatience
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		c, err := admin.Dial(ctx, s.Socket())
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, admin.ErrNotRunning) {
			return nil, datadir.Permitted(err, s.Socket())
		}
		again, err := alone()
		if !again {
			return nil, err
		}
		select {
		case <-time.After(retryAfter):
		case <-deadline.C:
			return nil, fmt.Errorf("%w, but nothing answers on %s: a server that is still starting, or one with another admin_socket; "+
				"try again later, or stop that process", err, s.Socket())
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tellOrigin says which configuration was found, when none was named and a
// person reads along.
func tellOrigin(t *Terminal, s *config.Setup) {
	if (s.Found || s.File == "") && !t.alone {
		t.success("%s", s.Origin())
	}
}

// tellAlone says that no server runs.
func tellAlone(t *Terminal, s *config.Setup) {
	if !t.alone {
		t.log("warning", "no server is running (nobody listens on %s): this is the store itself, in %s; %s", datadir.Absolute(s.Socket()), datadir.Absolute(s.Store()), s.Origin())
	}
	if dir, format, err := persist.Previous(&persist.Options{Dir: s.Store()}); err == nil && dir != "" {
		t.log("warning", "an older program wrote this store (format %d), and does not read it any more: as it was it is kept until a server has "+
			"ended in good order; back to it with: lapid restore --previous", format)
	}
}

// refuseBesideServer refuses what a verb must not do beside a running server; hint goes on with
// what to do instead.
func refuseBesideServer(ctx context.Context, s *config.Setup, hint string) error {
	c, err := admin.Dial(ctx, s.Socket())
	if err != nil {
		return nil // nothing answers: the store's own lock decides
	}
	c.Close()
	return errors.New("a server is running: stop it first" + hint)
}

// errNoStore: there is nothing to work on.
var errNoStore = errors.New("no server is running and there is no store")

// storeThere looks whether there is a store for a verb without a server.
// The error wraps errNoStore only when nothing was ever made here, for then --init
// may make one.
func storeThere(s *config.Setup) error {
	if err := s.Data().AsMade(); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.Store())
	switch {
	case err == nil && len(entries) > 0:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return datadir.Permitted(err, s.Store())
	}
	return fmt.Errorf("%w in %s (%s): start the server first, name another configuration with -c, "+
		"or make an empty store before the first start with --init", errNoStore, datadir.Absolute(s.Store()), s.Origin())
}

// ownClient opens the store for one command and serves the operator's handler
// in this process, which has the rights of the store's owner until close. It
// is for one verb: the engine runs, so writes are durable before they are
// answered, and profiles are not loaded but for a verb that asks them, since verbs bring
// decisions of their own.
func ownClient(ctx context.Context, s *config.Setup, version string, rules engine.Profiles) (*admin.Client, func(), error) {
	if s.Own.Cluster.On() {
		return nil, nil, fmt.Errorf("no server is running, and this is node %s of a cluster, whose store only its server may change: start it (lapid%s serve)", s.Own.Cluster.Name, s.Named())
	}
	if s.Own.Relay.On() {
		return nil, nil, fmt.Errorf("no server is running, and this is a relay, whose store only its server may change: start it (lapid%s serve)", s.Named())
	}
	back, err := s.Data().AsOwner()
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(s.Data().MakeFolder(), s.Data().AsMade()); err != nil {
		back()
		return nil, nil, err
	}
	log := slog.New(slog.DiscardHandler)
	e, err := engine.Open(s.EngineOptions(log))
	if err != nil {
		back()
		return nil, nil, fmt.Errorf("opening the store in %s: %w", s.Store(), datadir.Permitted(err, s.Store()))
	}
	if rules != nil {
		e.SetProfiles(rules)
	}
	_ = s.Data().NoteMade(e.StoreID()) // or the next time
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = e.Run(running) // what a verb must know it was told by its answer
	}()
	verbs := admin.NewHandler(e, version, log)
	verbs.SyncOrders, verbs.TryRules = syncAlone(s, e, version), config.TryRules
	if given, err := s.Secret(); given != nil || err != nil {
		verbs.FixedSecret = config.FixedSecret
	}
	c := admin.Local(verbs)
	return c, func() {
		c.Close()
		stop()
		<-ended
		_ = e.Close()
		back()
	}, nil
}

// withClient runs one verb with the way in open. The client is good until the
// verb returns.
func (t *Terminal) withClient(ctx context.Context, verb func(*admin.Client) error) error {
	c, close, err := t.client(ctx)
	if err != nil {
		return err
	}
	defer close()
	return verb(c)
}
