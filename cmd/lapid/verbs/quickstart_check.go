package verbs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"syscall"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/admin"
)

// checkQuick looks before anything is written: the addresses, given or as
// they were, can be read and are free, and no other server has the folder.
// An address that was not given is that of the configuration, if there is
// one. Both are opened and held until both were seen, so that they cannot be
// the same.
func checkQuick(ctx context.Context, t *Terminal, q *quick, listen, metrics bool) error {
	file := filepath.Join(q.dir, config.QuickConfig)
	// First for the folder that was named, which need not be there, then for the data
	// directory of the configuration in it, which may be another.
	if err := q.refuseRoot(datadir.Dir(q.dir)); err != nil {
		return err
	}
	if !datadir.Missing(file) {
		s, err := config.Load(file, t.Env)
		if err != nil {
			return err
		}
		if err := q.refuseRoot(s.Data()); err != nil {
			return err
		}
		if server, err := admin.Dial(ctx, s.Socket()); err == nil {
			defer server.Close()
			status, err := server.Status(ctx)
			if err != nil {
				return err
			}
			return fmt.Errorf("a server is running in %s already, process %d: use it, stop it, or choose another folder with --dir", q.dir, status.PID)
		}
		q.keep(s, listen, metrics)
		if q.console = s.Own.Console.Listen; q.console == "" {
			q.console = noConsole // it was made without, or before there was one
		}
	}
	// Two spellings of one address are found below: the first listener is still open.
	if q.listen == q.metrics {
		return fmt.Errorf("--listen and --metrics are both %s: give each an address of its own", q.listen)
	}
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for _, a := range []struct{ flag, address string }{{"--listen", q.listen}, {"--metrics", q.metrics}} {
		if err := readableAddress(a.address); err != nil {
			return fmt.Errorf("%s: %w", a.flag, err)
		}
		l, err := net.Listen("tcp", a.address)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("%s is taken by another program: stop it, or choose another address with %s HOST:PORT", a.address, a.flag)
		case err != nil:
			return fmt.Errorf("%s: %w", a.flag, err)
		}
		held = append(held, l)
	}
	return q.checkConsole(t)
}

// checkConsole goes without the console where its address is taken, and says so: everything else can be tried all the
// same.
func (q *quick) checkConsole(t *Terminal) error {
	if q.console == noConsole {
		return nil
	}
	if err := readableAddress(q.console); err != nil {
		return fmt.Errorf("--console: %w", err)
	}
	l, err := net.Listen("tcp", q.console)
	if err == nil {
		return l.Close()
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("--console: %w", err)
	}
	t.log("warning", "%s is taken by another program, so there is no web console this time: choose another address with --console HOST:PORT, or in %s", q.console, filepath.Join(q.dir, quickOwn))
	q.console = noConsole
	return nil
}

// refuseRoot is the rule that serve has. And, for any user, no link of another user's
// leads to the store.
func (q *quick) refuseRoot(d datadir.Dir) error {
	err := d.RefuseRoot(" quickstart --dir " + q.dir)
	if err != nil && !q.asRoot {
		return err
	}
	return d.RefuseLinks()
}

// keep takes the addresses that were not given from the configuration.
// Whether one of them moves is told by comparing, not by what was typed.
func (q *quick) keep(s *config.Setup, listen, metrics bool) {
	was, wasMetrics := "", s.MetricsAddress()
	if a := s.Config.API.Server; a != nil {
		was = a.ListenURI
	}
	if !listen {
		q.listen = was
	}
	if !metrics {
		q.metrics = wasMetrics
	}
	q.moves = q.listen != was || q.metrics != wasMetrics
}

// readableAddress tells what is wrong with host:port.
func readableAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is no address: write HOST:PORT, such as 127.0.0.1:8080", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("%q has no port between 1 and 65535", address)
	}
	return nil
}
