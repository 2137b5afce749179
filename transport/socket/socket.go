// Package socket opens and reaches Unix sockets in the file system, of whatever
// length their path is, in folders that may belong to another user.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// longest is how long a socket's path may be for the kernel, in bytes, without
// the one that ends it.
const longest = 107

// aliveFor is how long a program that listens may take to be found. One that
// takes longer counts as alive: its socket is not removed.
const aliveFor = 2 * time.Second

// Listener is a socket that this process listens on. Its methods may be called
// from several goroutines.
type Listener struct {
	*net.UnixListener
	place *place
	file  os.FileInfo // what was made there
	gone  sync.Once
}

// Listen listens at path, with exactly this mode (permission bits) whatever the
// umask says: a user that may write, may connect. At no moment is the mode a wider one.
//
// A socket that is there and on which no program listens any more is removed first.
// Anything else at path is an error, and stays: a file that is no socket, and a
// socket that another program is listening on.
func Listen(path string, mode fs.FileMode) (*Listener, error) {
	p, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l, err := p.listen(mode)
	if err != nil {
		p.close()
		return nil, err
	}
	return l, nil
}

// ErrHeld: another program listens on the socket.
var ErrHeld = errors.New("another program is listening on it")

// Try tells why Listen would fail at path, as far as that can be known without making
// or removing anything. Another that listens there is ErrHeld.
func Try(path string) error {
	p, err := open(path)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", path, err)
	}
	defer p.close()
	_, err = p.look()
	return err
}

func (p *place) listen(mode fs.FileMode) (*Listener, error) {
	if err := p.clear(); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return narrow(c, mode) }}
	bound, err := config.Listen(context.Background(), "unix", p.at)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", p.path, err)
	}
	l := &Listener{UnixListener: bound.(*net.UnixListener), place: p}
	l.SetUnlinkOnClose(false) // Close looks first
	if l.file, err = widen(p.at, mode); err != nil {
		_ = l.UnixListener.Close()
		return nil, fmt.Errorf("listening on %s: %w", p.path, err)
	}
	return l, nil
}

// Addr is the path as it was given.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: l.place.path, Net: "unix"} }

// Close ends Accept and removes the socket, unless another has taken its place.
func (l *Listener) Close() error {
	l.gone.Do(func() {
		if now, err := os.Lstat(l.place.at); err == nil && os.SameFile(now, l.file) {
			_ = os.Remove(l.place.at)
		}
		l.place.close()
	})
	return l.UnixListener.Close()
}

// clear removes a dead socket and refuses everything else.
func (p *place) clear() error {
	dead, err := p.look()
	if err != nil || !dead {
		return err
	}
	if err := os.Remove(p.at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the old socket: %w", err)
	}
	return nil
}

// look tells whether there is a dead socket, and refuses everything else.
func (p *place) look() (dead bool, err error) {
	info, err := os.Lstat(p.at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("listening on %s: %w", p.path, err)
	case info.Mode()&fs.ModeSocket == 0:
		return false, fmt.Errorf("%s is in the way and not a socket: remove it, or name another path for the socket", p.path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), aliveFor)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", p.at)
	switch {
	case err == nil:
		_ = c.Close()
		return false, &held{p.path}
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case !errors.Is(err, syscall.ECONNREFUSED):
		return false, fmt.Errorf("%s is in the way, a socket that may be in use: %w", p.path, err)
	}
	return true, nil
}

// held is ErrHeld with the path.
type held struct{ path string }

func (h *held) Error() string {
	return fmt.Sprintf("another program is listening on %s: stop it first, or name another path for the socket", h.path)
}

func (h *held) Is(target error) bool { return target == ErrHeld }

// Dial connects to the socket at path.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	if len(path) <= longest {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	p, err := open(path)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return new(net.Dialer).DialContext(ctx, "unix", p.at)
}

// place is where a socket is, or will be: a name in a folder that is held open,
// so that everything that is done there is done in the same folder, whatever
// others move or link meanwhile.
type place struct {
	path   string   // as it was given
	at     string   // the same for the kernel, and short enough for it
	folder *os.File // nil where folders cannot be held
}

func open(path string) (*place, error) {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	at := fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(at)); err == nil && len(at) <= longest {
		return &place{path, at, folder}, nil
	}
	_ = folder.Close()
	if len(path) > longest {
		return nil, fmt.Errorf("the path is longer than %d bytes: name a shorter one", longest)
	}
	return &place{path, path, nil}, nil
}

func (p *place) close() {
	if p.folder != nil {
		_ = p.folder.Close()
	}
}
