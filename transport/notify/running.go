package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// startWithin bounds how long a program may take to say where it listens.
	startWithin = 10 * time.Second
	// livesWithin is how long a program that did not take a text may take to say that it
	// lives, before it is ended.
	livesWithin = 2 * time.Second
	// endWithin is how long a program that is told to end may take, before it is ended by
	// force, and then how long that is waited for.
	endWithin = 3 * time.Second
	// giveUpEvery is how often programs are looked for that are to be given up.
	giveUpEvery = 50 * time.Millisecond
	// mostSecrets bounds how many are looked for in what a program says.
	mostSecrets = 1000
)

// programs are the plugin programs that run: one process for each type, as in the field,
// however many notifications it sends for.
type programs struct {
	log   *slog.Logger // nil: none
	clock Clock
	begin time.Duration // how long one may take to begin; 0: startWithin

	mu  sync.Mutex
	all []*running

	over atomic.Bool // nothing is started any more
}

// giveUp ends all programs by force, and has none start any more, until its caller has no
// more use for them: whoever waits for one gets an error.
func (p *programs) giveUp(until <-chan struct{}) {
	p.over.Store(true)
	again := time.NewTicker(giveUpEvery) // one may be about to start
	defer again.Stop()
	for {
		p.mu.Lock()
		for _, r := range p.all {
			if at := r.process.Load(); at != nil {
				at.abort()
			}
		}
		p.mu.Unlock()
		select {
		case <-again.C:
		case <-until:
			return
		}
	}
}

// running is one program, started when the first text is sent and again after it has died
// or hung, with pauses. Any goroutine may use it; while one starts it the others wait.
type running struct {
	c     *Program // of whoever came first; file, user and group are those of all
	log   *slog.Logger
	clock Clock
	begin time.Duration
	users int // under programs.mu
	over  *atomic.Bool

	process atomic.Pointer[process] // the last that was made

	mask atomic.Pointer[mask] // of all configurations it was told of

	mu     sync.Mutex
	kept   []string // what mask hides
	client *plugin.Client
	at     *process // nil: it has not come to that
	conn   *grpc.ClientConn
	knows  map[string]string // the configurations that the process has, by name

	began time.Time
	pause time.Duration // between two starts, from firstPause to longestPause while it does not begin well
}

// use returns the program of a configuration, for one more user.
func (p *programs) use(c *Program) *running {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.all {
		if r.users > 0 && r.c.Path == c.Path && r.c.User == c.User && r.c.Group == c.Group {
			r.users++
			return r
		}
	}
	r := &running{c: c, log: p.log, clock: p.clock, begin: cmp.Or(p.begin, startWithin), users: 1, over: &p.over}
	p.all = append(p.all, r)
	return r
}

// leave ends the program with its last user.
func (p *programs) leave(r *running) {
	if !p.left(r) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = slices.DeleteFunc(p.all, func(one *running) bool { return one == r })
}

// left notes that, and reports whether it was the last. Then nobody gets the program any
// more; giveUp still finds it.
func (p *programs) left(r *running) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.users--
	return r.users == 0
}

// connect is the connection to the program, which is started where there is none that
// lives and told of the notification where it does not know it.
func (r *running) connect(ctx context.Context, name string, c *Program) (*grpc.ClientConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keepSecrets(c)
	if r.client != nil && r.client.Exited() {
		r.end()
	}
	if r.client == nil {
		if err := r.start(); err != nil {
			return nil, err
		}
	}
	if document, known := r.knows[name]; !known || document != c.Document {
		err := call(ctx, r.conn, "/proto.Notifier/Configure", protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), c.Document))
		if err != nil {
			if !r.lives() {
				r.end()
			}
			return nil, fmt.Errorf("while configuring %s: %s", name, r.hide(err.Error()))
		}
		r.knows[name] = c.Document
	}
	r.pause = 0 // it began well: how often it may die of a text is the couriers' to bound
	return r.conn, nil
}

// keepSecrets adds what is to be hidden. Under mu.
func (r *running) keepSecrets(c *Program) {
	known := len(r.kept)
	for _, one := range secretsOf(&Configuration{Program: c}) {
		if !slices.Contains(r.kept, one) {
			r.kept = append(r.kept, one)
		}
	}
	if len(r.kept) == known {
		return
	}
	if n := len(r.kept) - mostSecrets; n > 0 { // of configurations that have changed
		r.kept = slices.Delete(r.kept, 0, n)
	}
	r.mask.Store(newMask(r.kept))
}

// hide takes secrets out of what the program says.
func (r *running) hide(text string) string { return r.mask.Load().hide(text) }

// start starts the program, unless it is too early for that. Under mu.
func (r *running) start() error {
	if r.over.Load() {
		return fmt.Errorf("plugin %s is not started: the server ends", r.c.Path)
	}
	now := r.clock.Now()
	if ran := now.Sub(r.began); ran < r.pause {
		return fmt.Errorf("plugin %s did not begin as it should, it is started again in %v", r.c.Path, (r.pause - ran).Round(time.Millisecond))
	}
	r.began, r.pause = now, min(max(2*r.pause, firstPause), longestPause)
	as, err := r.c.credential()
	if err != nil {
		return err
	}
	lines := &pluginLines{program: filepath.Base(r.c.Path), log: r.log, clock: r.clock, mask: &r.mask}
	r.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "CROWDSEC_PLUGIN_KEY", MagicCookieValue: "lapid"},
		Plugins:          plugin.PluginSet{r.c.Type: notifier{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     r.begin,
		Logger:           hclog.New(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off}),
		Stderr:           lines,
		SyncStdout:       io.Discard,
		SyncStderr:       io.Discard,
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			p, err := newProcess(r.c.Path, r.c.environment(cmd.Env), dir, as)
			r.at = p
			r.process.Store(p)
			return p, err
		},
	})
	way, err := r.client.Client()
	if err == nil {
		var raw any
		if raw, err = way.Dispense(r.c.Type); err == nil {
			r.conn, r.knows = raw.(*grpc.ClientConn), map[string]string{}
			return nil
		}
	}
	r.end()
	if said := lines.last(); said != "" {
		return fmt.Errorf("starting plugin %s: %w; it says: %s", r.c.Path, oneLine(err), said)
	}
	return fmt.Errorf("starting plugin %s: %w", r.c.Path, oneLine(err))
}

// oneLine is the first line of an error: the library explains at length.
func oneLine(err error) error { return errors.New(firstLine(err.Error())) }

// look ends a program that did not take a text and does not say that it lives: one that
// hangs would never die.
func (r *running) look(conn *grpc.ClientConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil && r.conn == conn && !r.lives() {
		if r.log != nil {
			r.log.Warn("a plugin program does not answer, it is ended and started again", "program", r.c.Path)
		}
		r.end()
	}
}

// lives asks the program whether it does. Under mu.
func (r *running) lives() bool {
	if r.client.Exited() {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), livesWithin)
	defer cancel()
	return call(ctx, r.conn, "/grpc.health.v1.Health/Check", protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), plugin.GRPCServiceName)) == nil
}

// end ends the program in order, or by force, with all that it has started. Under mu.
func (r *running) end() {
	client, at := r.client, r.at
	if client == nil {
		return
	}
	r.client, r.at, r.conn, r.knows = nil, nil, nil, nil
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client.Kill()
	}()
	select {
	case <-ended:
		return
	case <-time.After(endWithin):
	}
	if at != nil {
		_ = at.Kill(context.Background())
	}
	select {
	case <-ended:
	case <-time.After(endWithin):
		if r.log != nil {
			r.log.Error("a plugin program does not end", "program", r.c.Path)
		}
	}
}
