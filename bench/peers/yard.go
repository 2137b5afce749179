//go:build linux

package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"lapid/bench/load"
)

// ErrMissing: a peer's program is not there.
var ErrMissing = errors.New("not installed")

// missing says what to do about it.
func missing(program string) error {
	return fmt.Errorf("%s is %w; bench/peers/install.sh brings it from Debian", program, ErrMissing)
}

const (
	// startTime is how long a server may take until it answers.
	startTime = 5 * time.Minute
	// stopTime is how long a server may take to stop by itself.
	stopTime = 60 * time.Second
	// probeEvery is how often a starting server is asked.
	probeEvery = time.Millisecond
)

// Yard is where servers stand. Any goroutine may start servers in it.
type Yard struct {
	Dir        string // their files; the owner removes it
	ServerCPUs []int
	ClientCPUs []int // of the operator's programs; nil: wherever this process may be

	mu      sync.Mutex
	running []*Server

	certificates func() (*Certificates, error) // made when they are first asked for
}

// Close kills what still runs.
func (y *Yard) Close() {
	y.mu.Lock()
	list := y.running
	y.running = nil
	y.mu.Unlock()
	for _, s := range list {
		s.Kill()
	}
}

// Server is a running process. Its embedded Process reads its costs.
type Server struct {
	load.Process
	Name    string
	Address string // host:port
	command *exec.Cmd
	ended   chan struct{} // closed when the process has gone
	log     string
}

// start runs a command on the server's CPUs; what it says goes to a file.
func (y *Yard) start(name, address string, env []string, argv ...string) (*Server, error) {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, missing(argv[0])
	}
	s := &Server{Name: name, Address: address, ended: make(chan struct{}), log: filepath.Join(y.Dir, name+".log")}
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	s.command = exec.Command(program, argv[1:]...)
	s.command.Stdout, s.command.Stderr = out, out
	s.command.Env = append(os.Environ(), env...)
	if err := load.StartPinned(s.command, y.ServerCPUs); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	s.PID = s.command.Process.Pid
	go func() {
		_ = s.command.Wait() // how it ended does not matter; the log tells
		close(s.ended)
	}()
	y.mu.Lock()
	y.running = append(y.running, s)
	y.mu.Unlock()
	return s, nil
}

// await asks until probe is content. A process that ends meanwhile, or does
// not answer in startTime, is an error with the end of its log.
func (s *Server) await(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return fmt.Errorf("%s ended while it started: %s", s.Name, s.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer (%w): %s", s.Name, err, s.lastWords())
		}
	}
}

// connects is a probe: somebody listens.
func (s *Server) connects(ctx context.Context) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", s.Address)
	if err == nil {
		_ = c.Close()
	}
	return err
}

// lastWords gives the end of the log.
func (s *Server) lastWords() string {
	text, _ := os.ReadFile(s.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// Stop asks the server to end and waits for it.
func (s *Server) Stop() {
	_ = s.command.Process.Signal(syscall.SIGTERM) // gone already: fine
	select {
	case <-s.ended:
	case <-time.After(stopTime):
		s.Kill()
	}
}

// Kill ends the server at once.
func (s *Server) Kill() {
	_ = s.command.Process.Kill() // gone already: fine
	<-s.ended
}

// free gives an address on loopback that nobody listens at. Another program may take
// it before it is used; then the start fails, and says so.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// answer reads one answer and wants a status.
func answer(r *http.Response, err error, want int, read func(*http.Response) error) error {
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != want {
		return fmt.Errorf("%s: status %d, not %d", r.Request.URL.Path, r.StatusCode, want)
	}
	return read(r)
}

// run carries a command out and gives what it said, of which the end is in the
// error.
func (y *Yard) run(ctx context.Context, argv ...string) (string, error) {
	if _, err := exec.LookPath(argv[0]); err != nil {
		return "", missing(argv[0])
	}
	var out bytes.Buffer
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Stdout, c.Stderr = &out, &out
	start := c.Start
	if len(y.ClientCPUs) > 0 {
		start = func() error { return load.StartPinned(c, y.ClientCPUs) }
	}
	err := start()
	if err == nil {
		err = c.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out.Bytes()[max(0, out.Len()-500):])
	}
	return out.String(), nil
}
