package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// Program is how a plugin program of the field is run.
type Program struct {
	Path     string // of the file
	Type     string
	Document string // the configuration in YAML, as the program gets it
	User     string // whom it runs as, with Group; "": as the server
	Group    string
}

// startWithin bounds how long a program may take to say where it listens.
const startWithin = 10 * time.Second

// plugged is a program that sends for one notification. It is started when the first text
// is sent, and again when it has died: never more often than texts are sent.
type plugged struct {
	c    *Program
	name string
	log  *slog.Logger // nil: none

	mu     sync.Mutex // the end may come from another goroutine
	client *plugin.Client
	conn   *grpc.ClientConn
}

func newPlugged(name string, c *Program) (*plugged, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return &plugged{c: c, name: name}, nil
}

// check refuses a program that another user could have put there, as the field does.
func (c *Program) check() error {
	info, err := os.Stat(c.Path)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return fmt.Errorf("plugin at %s is no file", c.Path)
	case ok && int(owner.Uid) != os.Getuid():
		return fmt.Errorf("plugin at %s is not owned by the user that the server runs as: chown it", c.Path)
	case mode.Perm()&0o002 != 0:
		return fmt.Errorf("plugin at %s is world writable, which is not allowed: chmod o-w %s", c.Path, c.Path)
	case mode.Perm()&0o020 != 0:
		return fmt.Errorf("plugin at %s is group writable, which is not allowed: chmod g-w %s", c.Path, c.Path)
	case mode&os.ModeSetgid != 0:
		return fmt.Errorf("plugin at %s has setgid permission, which is not allowed", c.Path)
	}
	_, err = c.credential()
	return err
}

// credential is whom the program runs as; nil: as the server.
func (c *Program) credential() (*syscall.Credential, error) {
	if c.User == "" && c.Group == "" {
		return nil, nil
	}
	if c.User == "" || c.Group == "" {
		return nil, errors.New("both plugin user and group must be set")
	}
	u, err := user.Lookup(c.User)
	if err != nil {
		return nil, fmt.Errorf("plugin_config.user: %w", err)
	}
	g, err := user.LookupGroup(c.Group)
	if err != nil {
		return nil, fmt.Errorf("plugin_config.group: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(g.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// Send hands one text to the program.
func (p *plugged) Send(ctx context.Context, text string) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	message := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), text)
	message = protowire.AppendString(protowire.AppendTag(message, 2, protowire.BytesType), p.name)
	if err := call(ctx, conn, "/proto.Notifier/Notify", message); err != nil {
		return fmt.Errorf("plugin %s: %w", p.c.Path, err)
	}
	return nil
}

// connect is the connection to the program, which is started where there is none that
// lives.
func (p *plugged) connect(ctx context.Context) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil && !p.client.Exited() {
		return p.conn, nil
	}
	p.kill()
	as, err := p.c.credential()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.c.Path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "CROWDSEC_PLUGIN_KEY", MagicCookieValue: "lapid"},
		Plugins:          plugin.PluginSet{p.c.Type: notifier{}},
		Cmd:              cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     startWithin,
		Logger:           hclog.New(&hclog.LoggerOptions{Output: logLines{p.log}, Level: hclog.Warn, DisableTime: true}),
		SyncStdout:       io.Discard,
		SyncStderr:       io.Discard,
	})
	way, err := p.client.Client()
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("starting plugin %s: %w", p.c.Path, err)
	}
	raw, err := way.Dispense(p.c.Type)
	if err == nil {
		p.conn = raw.(*grpc.ClientConn)
		err = call(ctx, p.conn, "/proto.Notifier/Configure", protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), p.c.Document))
	}
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("while configuring %s: %w", p.name, err)
	}
	return p.conn, nil
}

// Close ends the program.
func (p *plugged) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
}

// kill ends the program in order, or by force. Under mu.
func (p *plugged) kill() {
	if p.client != nil {
		p.client.Kill()
		p.client, p.conn = nil, nil
	}
}

// call does one call whose answer is empty.
func call(ctx context.Context, conn *grpc.ClientConn, method string, message []byte) error {
	var answer []byte
	return conn.Invoke(ctx, method, message, &answer, grpc.ForceCodec(bytesCodec{}))
}

// bytesCodec passes messages that were encoded by hand: there are three, of two fields.
type bytesCodec struct{}

// Marshal takes the bytes as they are.
func (bytesCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }

// Unmarshal gives them.
func (bytesCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = b
	return nil
}

// Name is what goes over the wire as the kind of content.
func (bytesCodec) Name() string { return "proto" }

// notifier hands out the connection itself.
type notifier struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer is for programs; this is none.
func (notifier) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return errors.New("a client") }

// GRPCClient gives the connection.
func (notifier) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

// logLines passes a program's lines on to the log.
type logLines struct{ log *slog.Logger }

// Write takes one line.
func (l logLines) Write(b []byte) (int, error) {
	const most = 1000
	if l.log != nil {
		l.log.Warn("plugin: " + strings.TrimSpace(string(b[:min(len(b), most)])))
	}
	return len(b), nil
}
