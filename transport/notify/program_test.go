package notify

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The test's own program is a plugin program when it is started as one: it appends what it
// is told to the file that its configuration names, and dies of the text "die".
func TestMain(m *testing.M) {
	if os.Getenv("CROWDSEC_PLUGIN_KEY") != "" {
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig: plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "CROWDSEC_PLUGIN_KEY", MagicCookieValue: os.Getenv("CROWDSEC_PLUGIN_KEY")},
			Plugins:         plugin.PluginSet{"test": &appender{}},
			GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
				return grpc.NewServer(o...)
			},
		})
		return
	}
	os.Exit(m.Run())
}

// appender is that program.
type appender struct {
	plugin.NetRPCUnsupportedPlugin
	path string
}

// raw is a message whose fields are read by hand. The codec of gRPC wants a real one.
func (a *appender) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	handle := func(do func(fields map[protowire.Number]string) error) func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
		return func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := &emptypb.Empty{}
			if err := decode(m); err != nil {
				return nil, err
			}
			return &emptypb.Empty{}, do(fieldsOf(m.ProtoReflect().GetUnknown()))
		}
	}
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "proto.Notifier", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		{MethodName: "Configure", Handler: handle(func(f map[protowire.Number]string) error {
			_, path, found := strings.Cut(f[2], "path: ")
			if !found {
				return errors.New("path is missing")
			}
			a.path, _, _ = strings.Cut(path, "\n")
			return nil
		})},
		{MethodName: "Notify", Handler: handle(func(f map[protowire.Number]string) error {
			if strings.HasPrefix(f[1], "hang") {
				_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
				select {} // the signal may come a little later
			}
			out, err := os.OpenFile(a.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			defer out.Close()
			_, err = out.WriteString(f[2] + ":" + f[1] + "\n")
			if strings.HasPrefix(f[1], "192.0.2.2 ") {
				defer os.Exit(1)
			}
			return err
		})},
	}}, struct{}{})
	return nil
}

func (a *appender) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a server")
}

func fieldsOf(b []byte) map[protowire.Number]string {
	fields := map[protowire.Number]string{}
	for len(b) > 0 {
		n, _, size := protowire.ConsumeTag(b)
		text, more := protowire.ConsumeString(b[size:])
		fields[n], b = text, b[size+more:]
	}
	return fields
}

// script makes a plugin program of a shell script; SELF in it is the appender.
func script(t *testing.T, lines string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notification-test")
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.ReplaceAll(lines, "SELF", self)+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// tried is a sender of a program, with what it appends to and a clock that stands still.
type tried struct {
	*plugged
	out   string
	clock *leaping
	log   *lines
}

func tryProgram(t *testing.T, path string) *tried {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	p, err := newPlugged("ops", &Program{Path: path, Type: "test", Document: "name: ops\npath: " + out + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	log, clock := &lines{}, &leaping{now: time.Now()}
	p.programs = &programs{log: slog.New(slog.NewTextHandler(log, nil)), clock: clock, begin: time.Second}
	t.Cleanup(p.Close)
	return &tried{p, out, clock, log}
}

func (p *tried) wrote() string {
	b, _ := os.ReadFile(p.out)
	return string(b)
}

func (p *tried) send(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return p.Send(ctx, text)
}

// gone tells whether no process has the number that a file holds, not even as a zombie.
func gone(path string) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// A plugin program is configured and told; one that dies is started again, and nothing is
// lost by it; what it dies of does not hold up what comes behind.
func TestProgram(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	c := &Configuration{Name: "ops", Type: "test", Format: valuesOnly, MaxRetry: 1,
		Program: &Program{Path: script(t, "exec SELF"), Type: "test", Document: "name: ops\npath: " + out + "\n"}}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	o := newOffice(t, "ops")
	o.open(c)
	o.reports(3)
	wrote := func(text string) bool {
		b, _ := os.ReadFile(out)
		return strings.Contains(string(b), text)
	}
	await(t, "the first is there", func() bool { return wrote("ops:192.0.2.1") })
	await(t, "the second, which it dies of, and the third", func() bool { return wrote("ops:192.0.2.2") && wrote("ops:192.0.2.3") })
}

// Two notifications of a type share a process, which ends with the last of them, with all
// that it has started.
func TestProgramIsShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := tryProgram(t, script(t, "echo x >> "+dir+"/starts; echo $$ > "+dir+"/pid; sleep 1000 & echo $! > "+dir+"/child; exec SELF"))
	second, err := newPlugged("other", &Program{Path: first.c.Path, Type: "test", Document: "name: other\npath: " + first.out + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	second.programs = first.programs
	if err := errors.Join(first.send("one"), second.Send(t.Context(), "two"), first.send("three")); err != nil {
		t.Fatal(err)
	}
	if starts, _ := os.ReadFile(dir + "/starts"); first.wrote() != "ops:one\nother:two\nops:three\n" || string(starts) != "x\n" {
		t.Errorf("%q %q", first.wrote(), starts)
	}
	first.Close()
	if gone(dir + "/pid") {
		t.Error("it ended before its last user")
	}
	second.Close()
	if !gone(dir + "/pid") {
		t.Error("the process is still there")
	}
	await(t, "its child is gone", func() bool { return gone(dir + "/child") })
}

// Programs that do not begin as they should are told with what they say, ended, and started
// again only after a pause.
func TestProgramsThatDoNotBegin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, lines, want string }{
		{"dies", "echo 'no licence' >&2; exit 3", "it says: no licence"},
		{"silent", "exec sleep 1000", "timeout while waiting"},
		{"no handshake", "echo hello; exec sleep 1000", "Unrecognized remote plugin message"},
		{"another protocol", "echo '1|7|unix|/nowhere|grpc|'; exec sleep 1000", "ncompatible"},
		{"another core protocol", "echo '9|1|unix|/nowhere|grpc|'; exec sleep 1000", "ncompatible core API"},
		{"another flavour", "echo '1|1|unix|/nowhere|netrpc|'; exec sleep 1000", "unsupported plugin protocol"},
		{"no socket", "echo '1|1|unix|/nowhere/x|grpc|'; exec sleep 1000", "Unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			pid := filepath.Join(t.TempDir(), "pid")
			p := tryProgram(t, script(t, "echo $$ > "+pid+"; "+c.lines))
			if err := p.send("x"); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %s", err, c.want)
			}
			if err := p.send("x"); err == nil || !strings.Contains(err.Error(), "it is started again in") {
				t.Errorf("again: %v", err)
			}
			p.Close()
			if !gone(pid) {
				t.Error("it is still there")
			}
		})
	}
}

// A program that hangs is ended and started again; one whose child holds its output, or has
// left its group, does not hold up the end; one that floods is bounded in the log.
func TestProgramsThatMisbehave(t *testing.T) {
	t.Parallel()
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		pid := filepath.Join(t.TempDir(), "pid")
		p := tryProgram(t, script(t, "echo $$ > "+pid+"; exec SELF"))
		if err := p.send("warm"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := p.Send(ctx, "hang"); err == nil {
			t.Fatal("it took it")
		}
		if !gone(pid) {
			t.Error("it is still there")
		}
		p.clock.After(time.Minute)
		if err := p.send("again"); err != nil || !strings.HasSuffix(p.wrote(), "ops:again\n") {
			t.Errorf("%v %q", err, p.wrote())
		}
	})
	t.Run("leaves children", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		p := tryProgram(t, script(t, "setsid sh -c 'echo $$ > "+dir+"/far; exec sleep 1000' & while ! [ -s "+dir+"/far ]; do sleep 0.01; done; echo $$ > "+dir+"/pid; exec SELF"))
		if err := p.send("192.0.2.2 "); err == nil {
			t.Fatal("it took it and should have died")
		}
		await(t, "it is reaped", func() bool { return gone(dir + "/pid") })
		p.clock.After(time.Minute)
		if err := p.send("again"); err != nil {
			t.Error(err)
		}
		p.Close()
		b, _ := os.ReadFile(dir + "/far") // nobody else ends it
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	t.Run("floods", func(t *testing.T) {
		t.Parallel()
		p := tryProgram(t, script(t, "i=0; while [ $i -lt 20000 ]; do echo flood; i=$((i+1)); done >&2; exec SELF"))
		p.programs.begin = time.Minute
		if err := p.send("x"); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(p.log.String(), "plugin: flood"); n != linesAMinute || !strings.Contains(p.log.String(), "writes too much") {
			t.Errorf("%d lines", n)
		}
	})
}

// At the end a program that hangs, also while it begins, is given up: who waits for it has
// an error, and no other is started.
func TestProgramsAreGivenUp(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string]string{"in a message": "exec SELF", "at its start": "exec sleep 1000"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pid := filepath.Join(t.TempDir(), "pid")
			p := tryProgram(t, script(t, "echo $$ > "+pid+"; "+lines))
			p.programs.begin = time.Hour
			sent := make(chan error)
			go func() { sent <- p.Send(context.Background(), "hang") }()
			await(t, "it has begun", func() bool { b, _ := os.ReadFile(pid); return len(b) > 0 })
			until := make(chan struct{})
			go p.programs.giveUp(until)
			if err := <-sent; err == nil {
				t.Error("it was taken")
			}
			p.Close()
			close(until)
			p.clock.After(time.Hour)
			if err := p.send("again"); err == nil || !strings.Contains(err.Error(), "the server ends") || !gone(pid) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What a document holds of secrets is hidden in what its program says.
func TestProgramsKeepSecrets(t *testing.T) {
	t.Parallel()
	p := tryProgram(t, script(t, "echo 'login with hunter2 failed' >&2; exit 3"))
	p.c.Secrets = []string{"hunter2", "/T0/B1"}
	if err := p.send("x"); err == nil || !strings.Contains(err.Error(), "login with *** failed") || strings.Contains(p.log.String(), "hunter2") {
		t.Errorf("%v\n%s", err, p.log)
	}
}

// Lines are as long as bounded, JSON of the field's library has its level, and nothing of
// information comes through.
func TestPluginLines(t *testing.T) {
	t.Parallel()
	log := &lines{}
	l := &pluginLines{program: "p", log: slog.New(slog.NewTextHandler(log, nil)), clock: &leaping{now: time.Now()}}
	for _, part := range []string{`{"@level":"info","@message":"quiet"}` + "\n", `{"@level":"err`, `or","@message":"loud"}` + "\n", strings.Repeat("x", 5000), "\n", "plain\n\n"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got := log.String(); strings.Contains(got, "quiet") || !strings.Contains(got, `level=ERROR msg="plugin: loud"`) || strings.Count(got, "x") != longestLine ||
		!strings.Contains(got, "plugin: plain") || l.last() != "plain" {
		t.Error(got)
	}
}

// Programs that another user could have put there are refused.
func TestProgramChecks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notification-test")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]struct {
		mode        os.FileMode
		user, group string
	}{
		"world writable":           {0o757, "", ""},
		"group writable":           {0o775, "", ""},
		"setgid":                   {0o755 | os.ModeSetgid, "", ""},
		"both plugin user and":     {0o755, "nobody", ""},
		"unknown user nobody-here": {0o755, "nobody-here", "nogroup"},
		"cannot be executed":       {0o644, "", ""},
	} {
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		f := &Configuration{Name: "n", Type: "test", Program: &Program{Path: path, Type: "test", User: c.user, Group: c.group}}
		if err := f.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
