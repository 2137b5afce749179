package program

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/syslog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/persist"
	"lapid/transport/admin"
	"lapid/transport/socket"
)

// resolveLimit is how long a test waits for a name. A resolver that does not
// answer is no fault of the configuration.
const resolveLimit = 2 * time.Second

// tryStart looks whether a start would get what it needs: the addresses, the
// sockets, the log, the store, the certificates. Addresses that this
// configuration's own server listens on are good, for a test comes before a
// reload. It makes nothing and leaves nothing. The error begins with the
// place of the key that is to be changed. Between this test and a start
// things may change; it promises what it saw.
func (p *program) tryStart(ctx context.Context) error {
	err := p.tryPlaces(ctx)
	if err != nil {
		p.sayOutOfDate()
		return err
	}
	if p.outOfDate != nil {
		return fmt.Errorf("clients would refuse the server's certificate: replace it: %w", p.outOfDate)
	}
	return nil
}

// tryPlaces is tryStart without the dates of the server's own certificate.
func (p *program) tryPlaces(ctx context.Context) error {
	s := p.setup
	own := askOwn(ctx, s)
	if err := p.tryAddresses(ctx, &own); err != nil {
		return err
	}
	if err := trySockets(s, &own); err != nil {
		return err
	}
	if err := trySyslog(s); err != nil {
		return s.Bad("common.log_media", "a start would fail: opening syslog: %v: start one, or write log_media: stdout or file", err)
	}
	if err := tryLog(s); err != nil {
		return s.Bad("common.log_dir", "a start would fail: opening the log: %v", err)
	}
	for _, path := range s.LogFiles() {
		for _, line := range unexpected(path) {
			p.log.Warn(line)
		}
	}
	if err := tryData(s); err != nil {
		return s.Bad("config_paths.data_dir", "a start would fail: %v", err)
	}
	if format, err := persist.Format(&persist.Options{Dir: s.Store()}); err == nil && format > 0 && format < persist.FormatVersion {
		p.log.Warn(fmt.Sprintf("the store is of an older program's format (%d): a start makes it one of format %d, which that program does not read, "+
			"and keeps it as it was until a server has ended in good order; back to it, after kill -9, with: lapid restore --previous", format, persist.FormatVersion))
	}
	p.tryOldDatabase(ctx)
	if err := p.tryCluster(ctx); err != nil {
		return fmt.Errorf("a start would fail: %w", err)
	}
	return tryRevocations(s, p.log.Logger)
}

// tryAddresses looks at the addresses over TCP. Each is opened and closed at
// once, one after the other, so a port that both want would not be noticed
// by that: it is looked at apart.
func (p *program) tryAddresses(ctx context.Context, own *ownServer) error {
	s, api, metrics := p.setup, p.setup.Config.API.Server.ListenURI, p.server.MetricsAddress
	for _, l := range []struct{ key, address string }{{"api.server.listen_uri", api}, {"prometheus.listen_port", metrics}} {
		if err := p.tryListen(ctx, l.address, own); err != nil {
			return s.Bad(l.key, "a start would fail: %v", err)
		}
	}
	if api == "" || metrics == "" {
		return nil
	}
	if both := (ownServer{listening: []string{api}}); both.holds(ctx, metrics) {
		return s.Bad("prometheus.listen_port", "a start would fail: the metrics listener (prometheus) and the API (api.server.listen_uri) are both at %s: give one another port", metrics)
	}
	return nil
}

// trySockets looks at the two sockets in the file system. One that another
// program listens on is good when that is this configuration's own server.
// The operator's socket is held by the very server that will be reloaded,
// whatever it says.
func trySockets(s *config.Setup, own *ownServer) error {
	api := s.Config.API.Server.ListenSocket
	for _, l := range []struct{ key, path string }{{"api.server.listen_socket", api}, {"admin_socket", s.Socket()}} {
		if l.path == "" || l.key == "admin_socket" && s.Own.AdminSocket == "" && datadir.Missing(s.Data().Folder()) {
			continue
		}
		err := socket.Try(l.path)
		if errors.Is(err, socket.ErrHeld) && (l.key == "admin_socket" || own.silent || slices.Contains(own.listening, l.path)) {
			err = nil
		}
		if err == nil {
			if at, there := os.Lstat(l.path); there != nil || at.Mode()&fs.ModeSocket == 0 {
				err = mayMake(filepath.Dir(l.path))
			}
		}
		if err != nil {
			return s.Bad(l.key, "a start would fail: no socket (%s) can be made at %s: %v", l.key, l.path, err)
		}
	}
	if api != "" && samePlace(api, s.Socket()) {
		return s.Bad("api.server.listen_socket", "a start would fail: %s is the operator's socket (admin_socket): name another path for listen_socket", api)
	}
	return nil
}

// samePlace tells whether two paths name one place, also through linked folders.
// A folder that is not there yet is compared by its name.
func samePlace(a, b string) bool {
	place := func(path string) string {
		path = datadir.Absolute(path)
		if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			return filepath.Join(dir, filepath.Base(path))
		}
		return path
	}
	return place(a) == place(b)
}

// ownServer is the server that runs with this configuration's store.
type ownServer struct {
	silent    bool     // it is there and does not say where it listens: it is believed
	listening []string // addresses
}

// askOwn asks the server behind the operator's socket where it listens. One
// that is still starting, an older program, and one that this user may not
// speak to do not say. It asks for nothing but the status, which every
// version answers. One that hangs does not say either: it is waited for as long as ownPatience.
func askOwn(ctx context.Context, s *config.Setup) (own ownServer) {
	ctx, cancel := context.WithTimeout(ctx, ownPatience)
	defer cancel()
	c, err := admin.Dial(ctx, s.Socket())
	if err != nil {
		return ownServer{silent: !errors.Is(err, admin.ErrNotRunning)}
	}
	defer c.Close()
	status, err := c.Status(ctx)
	if err != nil || status.Listening == nil {
		return ownServer{silent: true}
	}
	return ownServer{listening: status.Listening}
}

// ownPatience is how long a trial waits to be told where the running server listens.
const ownPatience = 10 * time.Second

// holds reports whether an address is the server's own: the port is, and the
// host is the same, or one of the two means all. A host name is resolved;
// what cannot be resolved is not its own.
func (own *ownServer) holds(ctx context.Context, address string) bool {
	if own.silent {
		return true
	}
	host, name, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", name)
	if err != nil || port == 0 { // any
		return false
	}
	ips := []net.IP{net.IPv6unspecified}
	if host != "" {
		if ips, err = net.DefaultResolver.LookupIP(ctx, "ip", host); err != nil {
			return false
		}
	}
	return slices.ContainsFunc(own.listening, func(one string) bool {
		there, err := net.ResolveTCPAddr("tcp", one)
		return err == nil && there.Port == port && slices.ContainsFunc(ips, func(ip net.IP) bool {
			return ip.Equal(there.IP) || ip.IsUnspecified() || len(there.IP) == 0 || there.IP.IsUnspecified()
		})
	})
}

// tryListen takes an address and gives it back. A name that no resolver knows is worth a
// warning only: it may be known when the server starts.
func (p *program) tryListen(ctx context.Context, address string, own *ownServer) error {
	if address == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	var unknown *net.DNSError
	switch {
	case err == nil:
		return l.Close()
	case errors.Is(err, syscall.EADDRINUSE) && own.holds(ctx, address):
		return nil
	case errors.As(err, &unknown):
		p.log.Warn(fmt.Sprintf("the name in %s cannot be resolved now, and a start would fail as long as that is so: %v", address, err))
		return nil
	}
	return err
}

// tryLog looks whether the log could be opened; a file that is not there yet is not
// made.
func tryLog(s *config.Setup) error {
	for _, path := range s.LogFiles() {
		f, err := datadir.OpenPlain(path, os.O_APPEND|os.O_WRONLY, 0)
		switch {
		case err == nil:
			_ = f.Close()
		case !errors.Is(err, fs.ErrNotExist):
			return err
		default:
			if err := mayMake(s.LogDir()); err != nil {
				return err
			}
		}
	}
	return nil
}

// trySyslog looks whether a syslog takes lines, if they go there. It
// connects and writes no line.
func trySyslog(s *config.Setup) error {
	if s.Config.Common.Media != "syslog" {
		return nil
	}
	w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "lapid")
	if err != nil {
		return err
	}
	return w.Close()
}

// tryData looks whether the store's folder is one, and may be written to, or
// could be made. The nearest folder above that is there must allow it. The
// store itself is not opened: its server has it open.
func tryData(s *config.Setup) error {
	if err := s.Data().AsMade(); err != nil {
		return err
	}
	at := datadir.Absolute(s.Store())
	for datadir.Missing(at) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
	}
	if err := mayMake(at); err != nil {
		return fmt.Errorf("the store in %s: %w", s.Store(), err)
	}
	if err := persist.CheckFormat(s.Store()); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("opening the store in %s: %w", s.Store(), err)
	}
	return nil
}

// mayMake tells whether this user may make something in a folder. By the
// rights of the process as it is, without making anything.
func mayMake(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}
