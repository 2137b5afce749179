//go:build clients

package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// verbTime bounds one run of a command that is expected to end by itself. The stock cscli repeats a
	// failing login for minutes; this cuts it off.
	verbTime = 60 * time.Second

	// farewell is how long a program may take from SIGTERM to its end before it is killed.
	farewell = 10 * time.Second

	// outputLimit bounds what is kept of a program's output; what comes later is dropped.
	outputLimit = 4 << 20
)

// result is how a command ended and what it wrote.
type result struct {
	line   string // the command as typed
	exit   int
	stdout string
	stderr string
}

func (r result) String() string {
	return fmt.Sprintf("%s\nexit %d\nstdout: %s\nstderr: %s", r.line, r.exit, r.stdout, r.stderr)
}

// run executes a command to its end. A command that cannot be started, or takes longer than verbTime,
// fails the test; an exit code other than zero is the caller's to judge.
func run(t *testing.T, line ...string) result {
	t.Helper()
	return runFor(t, verbTime, nil, line...)
}

// runFor is run with another bound and with variables added to the environment.
func runFor(t *testing.T, bound time.Duration, env []string, line ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = diesWithUs()
	cmd.WaitDelay = farewell
	err := cmd.Run()
	r := result{line: strings.Join(line, " "), stdout: stdout.String(), stderr: stderr.String()}
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("not done after %s: %s", bound, r)
	case errors.As(err, &ended):
		r.exit = ended.ExitCode()
	case err != nil:
		t.Fatalf("cannot run: %v: %s", err, r)
	}
	return r
}

// mustRun is run for a command that has to succeed.
func mustRun(t *testing.T, line ...string) result {
	t.Helper()
	r := run(t, line...)
	if r.exit != 0 {
		t.Fatalf("failed: %s", r)
	}
	return r
}

// program is a process that runs until it is stopped, at the latest at the end of its test.
type program struct {
	name   string
	cmd    *exec.Cmd
	output *output
	ended  chan struct{} // closed when the process is gone
	err    error         // how it ended; read after ended is closed
}

// start runs a program in the background and stops it at the end of the test. What it wrote is shown
// when the test has failed by then.
func start(t *testing.T, name string, line ...string) *program {
	t.Helper()
	p := &program{name: name, output: &output{}, ended: make(chan struct{})}
	p.cmd = exec.Command(line[0], line[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = diesWithUs()
	p.cmd.WaitDelay = farewell
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("cannot start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, tail(p.output.String(), 8000))
		}
	})
	return p
}

// stop asks the process to end, and kills it when it does not. It may be called more than once.
func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(farewell):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// alive reports an error when the process has ended.
func (p *program) alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s has ended: %v", p.name, p.err)
	default:
		return nil
	}
}

// says waits until the program has written text.
func (p *program) says(t *testing.T, text string) {
	t.Helper()
	await(t, fmt.Sprintf("%s writes %q", p.name, text), func() (bool, string) {
		if err := p.alive(); err != nil {
			t.Fatalf("%v before it wrote %q", err, text)
		}
		return strings.Contains(p.output.String(), text), ""
	})
}

// output collects what a program writes; safe for use by its writer and readers at once.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if room := outputLimit - o.text.Len(); room > 0 {
		o.text.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// diesWithUs makes the kernel kill a child when the test binary ends in a way that runs no cleanup.
func diesWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
