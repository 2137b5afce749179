package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// maxConns bounds the connections served at once; more wait in the kernel's
	// queue of the socket.
	maxConns = 64

	// farewell is how long verbs that are under way may take once the server
	// was told to stop. Then their connections are closed.
	farewell = 5 * time.Second
)

// Server is the socket of a running server. Make it with Listen.
type Server struct {
	path     string
	listener net.Listener
	http     *http.Server
}

// Listen opens the socket at path, in a folder that is made with mode 0750 when
// missing. A file left there by a server that has died is removed first: the
// caller holds the store's lock, so nobody else can be listening.
func Listen(path string, h *Handler, log *slog.Logger) (*Server, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("operator's socket: %w", err)
	}
	if err := removeSocket(path); err != nil {
		return nil, err
	}
	l, err := listenUnix(path)
	if err != nil {
		return nil, fmt.Errorf("operator's socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("operator's socket: %w", err)
	}
	return &Server{path: path, listener: l, http: newHTTP(h, log)}, nil
}

func newHTTP(h *Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// removeSocket removes a dead socket, and refuses to remove anything else.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("operator's socket: %w", err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("operator's socket: %s is in the way and not a socket", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("operator's socket: %w", err)
	}
	return nil
}

// Run serves until ctx ends, then lets verbs that are under way finish, and
// removes the socket.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(limit(s.listener, maxConns)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("operator's socket: %w", err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	err := s.http.Shutdown(patience)
	if err != nil {
		err = s.http.Close()
	}
	_ = os.Remove(s.path)
	<-ended
	return err
}

// Close gives the socket up without having served; for a start that failed.
func (s *Server) Close() error {
	_ = os.Remove(s.path)
	return s.listener.Close()
}

// limited is a listener that serves so many connections at once.
type limited struct {
	net.Listener
	free chan struct{}
}

func limit(l net.Listener, n int) net.Listener {
	return &limited{l, make(chan struct{}, n)}
}

// Accept waits for a free place, then for a connection. A closed listener is
// noticed at the next connection that ends.
func (l *limited) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &counted{Conn: c, leave: sync.OnceFunc(func() { <-l.free })}, nil
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close may be called more than once.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
