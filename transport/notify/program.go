package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

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

	// Secrets are what the document holds and no log or error may: they are hidden in
	// whatever the program says.
	Secrets []string
	// Withheld are secrets of the server: variables that hold one are not in the program's
	// environment, nor are those of the server's own (environment).
	Withheld []string
}

// plugged hands the texts of one notification to a program, which it shares with others of
// its type.
type plugged struct {
	c        *Program
	name     string
	programs *programs // where the program is looked for
	at       *running  // nil: not used yet
}

func newPlugged(name string, c *Program) (*plugged, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return &plugged{c: c, name: name, programs: &programs{clock: machineClock{}}}, nil
}

// check refuses a program that another user could have put there, as the field does.
func (c *Program) check() error {
	info, err := os.Stat(c.Path)
	if err != nil {
		return err
	}
	if err := trusted(c.Path, info); err != nil {
		return err
	}
	as, err := c.credential()
	if err == nil && as != nil && os.Getuid() != 0 && (int(as.Uid) != os.Getuid() || int(as.Gid) != os.Getgid()) {
		return fmt.Errorf("plugin_config: only root may start programs as user %s and group %s: run the server as root, or write its own user and group there", c.User, c.Group)
	}
	return err
}

// CheckProgram says what keeps a file of plugin_dir from being a plugin program, in the
// words of the field; nil: nothing does.
func CheckProgram(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := trusted(path, info); err != nil {
		return err
	}
	if !strings.Contains(filepath.Base(path), "-") {
		return fmt.Errorf("plugin name %s is invalid. Name should be like {type-name}", path)
	}
	return nil
}

// trusted looks at owner and permissions, of what a link leads to. What root owns is
// trusted too.
func trusted(path string, info os.FileInfo) error {
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return fmt.Errorf("plugin at %s is no file", path)
	case ok && owner.Uid != 0 && int(owner.Uid) != os.Getuid():
		return fmt.Errorf("plugin at %s is not owned by user '%s': chown it", path, ownName())
	case mode.Perm()&0o002 != 0:
		return fmt.Errorf("plugin at %s is world writable, world writable plugins are not allowed: chmod o-w %s", path, path)
	case mode.Perm()&0o020 != 0:
		return fmt.Errorf("plugin at %s is group writable, group writable plugins are not allowed: chmod g-w %s", path, path)
	case mode&os.ModeSetgid != 0:
		return fmt.Errorf("plugin at %s has setgid permission, which is not allowed: chmod g-s %s", path, path)
	case mode.Perm()&0o111 == 0:
		return fmt.Errorf("plugin at %s cannot be executed: chmod 755 %s", path, path)
	}
	return nil
}

// ownName is the user that the server runs as.
func ownName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
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

// environment is the server's, as in the field, but for the secrets that are the server's
// own: what signs its tokens, its settings, and what its configuration put in as one.
func (c *Program) environment(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(line string) bool {
		name, value, _ := strings.Cut(line, "=")
		return name == "CS_LAPI_SECRET" || name == "MYSQL_PWD" || name == "PGPASSWORD" || strings.HasPrefix(name, "LAPID_") ||
			strings.Contains(strings.ToLower(name), "bouncer_key") || strings.HasPrefix(name, "AGENT_PASSWORD") || name == "ENROLL_KEY" || name == "REGISTRATION_TOKEN" || slices.Contains(c.Withheld, value)
	})
}

// Send hands one text to the program.
func (p *plugged) Send(ctx context.Context, text string) error {
	if p.at == nil {
		p.at = p.programs.use(p.c)
	}
	conn, err := p.at.connect(ctx, p.name, p.c)
	if err != nil {
		return err
	}
	message := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), text)
	message = protowire.AppendString(protowire.AppendTag(message, 2, protowire.BytesType), p.name)
	if err := call(ctx, conn, "/proto.Notifier/Notify", message); err != nil {
		p.at.look(conn)
		return fmt.Errorf("plugin %s: %s", p.c.Path, p.at.hide(err.Error()))
	}
	return nil
}

// Close lets go of the program, which ends with the last that uses it.
func (p *plugged) Close() {
	if p.at != nil {
		p.programs.leave(p.at)
		p.at = nil
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
