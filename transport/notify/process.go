package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a program with all that it starts: a process group of its own, which ends as a
// whole, also when the program dies by itself. It is waited for as soon as it has ended,
// whoever still holds its output.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *os.File
	theirs         []*os.File   // the program's ends of the two
	pid            atomic.Int64 // 0: it has not begun
	ended          chan struct{}
	err            error // of the end; after ended
}

// outputAfter is how long output is read after the program has ended: others may hold its
// end, and never let go.
const outputAfter = time.Second

// newProcess makes one that has not begun. dir is where its socket is to be: it is the
// program's alone.
func newProcess(path string, env []string, dir string, as *syscall.Credential) (*process, error) {
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	p := &process{cmd: exec.Command(path), ended: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.SysProcAttr = groupOfItsOwn(as)
	var err error
	var out, errs *os.File
	if p.stdout, out, err = os.Pipe(); err != nil {
		return nil, err
	}
	if p.stderr, errs, err = os.Pipe(); err != nil {
		return nil, errors.Join(err, p.stdout.Close(), out.Close())
	}
	p.cmd.Stdout, p.cmd.Stderr, p.theirs = out, errs, []*os.File{out, errs}
	return p, nil
}

// Start starts it.
func (p *process) Start(context.Context) error {
	err := p.cmd.Start()
	for _, f := range p.theirs {
		_ = f.Close()
	}
	if err != nil {
		p.silence()
		return err
	}
	p.pid.Store(int64(p.cmd.Process.Pid))
	go func() {
		p.err = p.cmd.Wait()
		p.killAll()
		time.AfterFunc(outputAfter, p.silence)
		close(p.ended)
	}()
	return nil
}

// killAll ends what is left of the group.
func (p *process) killAll() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// abort ends the group without waiting, if it has begun. Any goroutine.
func (p *process) abort() {
	select {
	case <-p.ended:
	default:
		if pid := p.pid.Load(); pid != 0 {
			_ = syscall.Kill(-int(pid), syscall.SIGKILL)
		}
	}
}

// silence ends the reading of its output.
func (p *process) silence() { _, _ = p.stdout.Close(), p.stderr.Close() }

// Wait waits for the end.
func (p *process) Wait(context.Context) error {
	<-p.ended
	return p.err
}

// Kill ends the whole group and waits.
func (p *process) Kill(context.Context) error {
	if p.cmd.Process == nil {
		return nil
	}
	select {
	case <-p.ended:
		return nil
	default:
	}
	p.killAll()
	<-p.ended
	return nil
}

// Stdout is what the program says where it listens on.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr is its log.
func (p *process) Stderr() io.ReadCloser { return p.stderr }

// Name is the file.
func (p *process) Name() string { return p.cmd.Path }

// ID is the number of the process, "" where there is none.
func (p *process) ID() string {
	if p.cmd.Process == nil {
		return ""
	}
	return strconv.Itoa(p.cmd.Process.Pid)
}

// Diagnose adds nothing to an error.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost and HostToPlugin: both see the same addresses.
func (p *process) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin is the other way.
func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// pluginLines passes on what a program writes to its standard error: JSON of the field's
// library from warnings on, and whatever else it writes. A program that floods has
// linesAMinute in the log, and then one line that says how many were left out.
type pluginLines struct {
	program string
	log     *slog.Logger
	clock   Clock
	mask    *atomic.Pointer[mask] // of what it writes; nil: nothing is hidden

	mu     sync.Mutex
	line   []byte // what has come of it, at most longestRead
	cut    bool   // of the line more has come
	minute time.Time
	lines  int // of the minute
	said   string
}

const (
	linesAMinute = 30
	longestLine  = 1000     // in the log
	longestRead  = 64 << 10 // so that a secret in it is found before it is cut
)

// Write takes any part of lines.
func (l *pluginLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := b; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte{'\n'})
		fits := min(len(line), longestRead-len(l.line))
		l.line, l.cut = append(l.line, line[:fits]...), l.cut || fits < len(line)
		if whole {
			l.tell(string(bytes.TrimSpace(l.line)))
			l.line, l.cut = l.line[:0], false
		}
		rest = after
	}
	return len(b), nil
}

// tell passes one line on. Under mu.
func (l *pluginLines) tell(line string) {
	if line == "" {
		return
	}
	level, text := slog.LevelWarn, line
	var entry struct {
		Level   string `json:"@level"`
		Message string `json:"@message"`
	}
	if json.Unmarshal([]byte(line), &entry) == nil && entry.Level != "" {
		text = entry.Message
		switch entry.Level {
		case "trace", "debug", "info":
			return
		case "error":
			level = slog.LevelError
		}
	}
	text = l.hidden(text)
	l.said = text
	if l.log == nil {
		return
	}
	if now := l.clock.Now(); now.Sub(l.minute) >= time.Minute {
		if more := l.lines - linesAMinute; more > 0 {
			l.log.Warn(fmt.Sprintf("%d more lines of a plugin program were left out", more), "program", l.program)
		}
		l.minute, l.lines = now, 0
	}
	if l.lines++; l.lines <= linesAMinute {
		l.log.Log(context.Background(), level, "plugin: "+text, "program", l.program)
	}
	if l.lines == linesAMinute+1 {
		l.log.Warn("a plugin program writes too much, the rest of this minute is left out", "program", l.program)
	}
}

// hidden is what may be told of a line. Under mu.
func (l *pluginLines) hidden(text string) string {
	var m *mask
	if l.mask != nil {
		m = l.mask.Load()
	}
	if l.cut {
		text = m.hideCut(text)
	} else {
		text = m.hide(text)
	}
	return strings.ToValidUTF8(text[:min(len(text), longestLine)], "?")
}

// last is the last line that was worth telling.
func (l *pluginLines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
