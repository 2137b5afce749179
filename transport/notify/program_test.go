package notify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

// A plugin program is configured and told; one that dies is started again, and nothing is
// lost by it.
func TestProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, out := filepath.Join(dir, "notification-test"), filepath.Join(dir, "out")
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &Configuration{Name: "ops", Type: "test", Format: valuesOnly, Program: &Program{Path: program, Type: "test", Document: "name: ops\npath: " + out + "\n"}}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	o := newOffice(t, "ops")
	o.open(c)
	o.reports(3)
	lines := func() []string {
		b, _ := os.ReadFile(out)
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
	o.clock.mu.Lock()
	o.clock.held = false
	o.clock.mu.Unlock()
	await(t, "the first is there", func() bool { return strings.HasPrefix(lines()[0], "ops:192.0.2.1") })
	await(t, "the second is there, over and over", func() bool { return strings.Count(strings.Join(lines(), "\n"), "192.0.2.2") >= 2 })
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
