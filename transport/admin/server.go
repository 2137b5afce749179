package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"lapid/transport/socket"
)

// farewell is how long verbs that are under way may take once the server was
// told to stop. Then their connections are closed.
const farewell = 5 * time.Second

// Server is the socket of a running server. Make it with Listen.
type Server struct {
	listener net.Listener
	http     *http.Server
	places   *places
}

// Listen opens the socket at path, in a folder that is made with mode 0750 when
// missing. A socket left there by a server that has died is removed first; see
// socket.Listen for what else may be there.
func Listen(path string, h *Handler, log *slog.Logger) (*Server, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("operator's socket: %w", err)
	}
	l, err := socket.Listen(path, 0o660)
	if err != nil {
		return nil, fmt.Errorf("operator's socket (admin_socket): %w", err)
	}
	return &Server{listener: l, http: newHTTP(h, log), places: newPlaces()}, nil
}

// headWithin is how long the head of a request may take. It is long: half a request holds
// up no other (places.go), and a server that is starved of processor time and reads too
// late would close a connection that is not at fault.
const headWithin = time.Minute

// newHTTP is a server of net/http with bounds that hold before a verb is found. What
// it complains about is the clients' doing and goes to debug.
func newHTTP(h *Handler, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           h,
		ConnContext:       knowCaller,
		ReadHeaderTimeout: headWithin,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.RegisterOnShutdown(func() { h.ending.Store(true) })
	return s
}

// Run serves until ctx ends, then lets verbs that are under way finish, and
// removes the socket.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(&crowd{s.listener, s.places}) }()
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
	<-ended
	return err
}

// Close gives the socket up without having served; for a start that failed.
func (s *Server) Close() error {
	return s.listener.Close()
}
