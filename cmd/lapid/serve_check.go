package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lapid/transport/admin"
)

// resolveLimit is how long a test waits for a name.
const resolveLimit = 2 * time.Second

// checkListenURI tells whether a TCP listener can be at text, as far as it is
// written.
func (s *Setup) checkListenURI(text string) error {
	const key = "api.server.listen_uri"
	if strings.Contains(text, "://") || strings.HasPrefix(text, "/") || strings.HasPrefix(text, "unix:") {
		return s.bad(key, "listen_uri must be host:port, such as 127.0.0.1:8080, not %q: the path of a Unix socket is given with listen_socket", text)
	}
	_, port, err := net.SplitHostPort(text)
	if err == nil && port == "" {
		err = errors.New("the port is missing")
	}
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return s.bad(key, "listen_uri must be host:port, such as 127.0.0.1:8080, not %q: %v; the path of a Unix socket is given with listen_socket", text, err)
	}
	return nil
}

// tryStart looks whether a start would get what it needs: the addresses, the log,
// the data directory. Addresses that this configuration's own server listens on are
// good, for a test comes before a reload. It makes nothing and leaves nothing.
func (p *Program) tryStart(ctx context.Context) error {
	s, a := p.setup, p.setup.Config.API.Server
	own := s.askOwn(ctx)
	for _, l := range []struct{ key, address string }{
		{"api.server.listen_uri", a.ListenURI}, {"prometheus.listen_port", p.server.MetricsAddress},
	} {
		if err := p.tryListen(ctx, l.address, own); err != nil {
			return s.bad(l.key, "a start would fail: %v", err)
		}
	}
	if a.ListenSocket != "" {
		if err := mayMake(filepath.Dir(a.ListenSocket)); err != nil {
			return s.bad("api.server.listen_socket", "a start would fail: no socket can be made at %s: %v", a.ListenSocket, err)
		}
		if at, err := os.Lstat(a.ListenSocket); err == nil && at.Mode()&fs.ModeSocket == 0 {
			return s.bad("api.server.listen_socket", "a start would fail: %s is in the way and not a socket", a.ListenSocket)
		}
	}
	if err := s.tryLog(); err != nil {
		return s.bad("common.log_dir", "a start would fail: opening the log: %v", err)
	}
	for _, path := range s.logFiles() {
		for _, line := range unexpected(path) {
			p.log.Warn(line)
		}
	}
	if err := s.tryData(); err != nil {
		return s.bad("config_paths.data_dir", "a start would fail: %v", err)
	}
	return nil
}

// ownServer is the server that runs with this configuration's store.
type ownServer struct {
	silent    bool     // it is there and does not say where it listens: it is believed
	listening []string // addresses
}

// askOwn asks the server behind the operator's socket where it listens. One that is
// still starting, an older program, and one that this user may not speak to do not
// say.
func (s *Setup) askOwn(ctx context.Context) (own ownServer) {
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

// holds reports whether an address is the server's own: the port is, and the host is
// the same, or one of the two means all.
func (own *ownServer) holds(ctx context.Context, address string) bool {
	if own.silent {
		return true
	}
	host, name, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", name)
	if err != nil {
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
			return ip.Equal(there.IP) || ip.IsUnspecified() || there.IP.IsUnspecified()
		})
	})
}

// tryListen takes an address and gives it back. A name that nobody knows is worth a
// warning only: it may be known when the server starts.
func (p *Program) tryListen(ctx context.Context, address string, own ownServer) error {
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
func (s *Setup) tryLog() error {
	for _, path := range s.logFiles() {
		f, err := openPlain(path, os.O_APPEND|os.O_WRONLY, 0)
		switch {
		case err == nil:
			_ = f.Close()
		case !errors.Is(err, fs.ErrNotExist):
			return err
		default:
			if err := mayMake(s.logDir()); err != nil {
				return err
			}
		}
	}
	return nil
}

// tryData looks whether the store's folder is there and may be written to, or could
// be made.
func (s *Setup) tryData() error {
	at := absolute(s.Store())
	for missing(at) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
	}
	if err := mayMake(at); err != nil {
		return fmt.Errorf("the store in %s: %w", s.Store(), err)
	}
	return nil
}

// mayMake tells whether this user may make something in a folder.
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

// checkDates says loudly that clients will refuse the server's certificate. It is
// no reason not to start: the Unix socket works, and the files may be replaced
// while the server runs.
func (s *Setup) checkDates(log *slog.Logger, now time.Time) {
	t := s.Config.API.Server.TLS
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return // told by who reads it for use
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return
	}
	const key = "api.server.tls.cert_file"
	place := ""
	if n := s.place[key]; n != nil {
		place = n.at() + ": "
	}
	switch {
	case now.After(leaf.NotAfter):
		log.Error(fmt.Sprintf("%s%s: the certificate in %s has expired at %s: clients refuse it", place, key, t.CertFile, leaf.NotAfter.UTC().Format(time.RFC3339)))
	case now.Before(leaf.NotBefore):
		log.Error(fmt.Sprintf("%s%s: the certificate in %s is not valid before %s: clients refuse it", place, key, t.CertFile, leaf.NotBefore.UTC().Format(time.RFC3339)))
	}
}
