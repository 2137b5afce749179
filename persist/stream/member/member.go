// Package member runs a member of etcd in this process, from etcd's own configuration file, as etcd reads it. An etcd
// of the same version can take the member over: stop, `etcd --config-file FILE`.
package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Member is an etcd that runs. Close ends it.
type Member struct {
	etcd *embed.Etcd
	ends atomic.Bool // it was told to: what it says of that is for debugging
}

// What a file that says nothing gets: etcd's own defaults (5000, 10000) keep ten times as many commits in memory.
const (
	catchUpEntries = 500
	snapshotCount  = 1000
)

// Start reads a configuration file of etcd (etcd.yaml) and starts the member. It returns once the member answers clients, which
// for one of several needs a majority of them, or with the error of ctx. What the member says goes to log: its warnings
// and errors, and the rest for debugging.
func Start(ctx context.Context, file string, log *slog.Logger) (*Member, error) {
	c, err := read(file)
	if err != nil {
		return nil, err
	}
	m := &Member{}
	core := &toSlog{log: log.With("from", "etcd"), ends: &m.ends, lines: newLines()}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(core))
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("starting the member of etcd that %s describes: %w%s", file, err, advice(c, err))
	}
	m.etcd = etcd
	select {
	case <-etcd.Server.ReadyNotify():
		return m, nil
	case err = <-etcd.Err():
	case <-etcd.Server.StopNotify():
		err = errors.New("it stopped")
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = m.Close()
	return nil, fmt.Errorf("starting the member of etcd that %s describes: %w", file, err)
}

// advice is what to do about an error that etcd does not explain; "": nothing that is known here.
func advice(c *embed.Config, err error) string {
	text := err.Error()
	var urls []string
	for i := range c.AdvertisePeerUrls {
		urls = append(urls, c.AdvertisePeerUrls[i].String())
	}
	switch {
	case strings.Contains(text, "already been bootstrapped"), strings.Contains(text, "has already been removed"):
		return fmt.Sprintf(". Its data (data-dir: %s) was lost or is another's: at a member that runs, `etcdctl member remove` it and `etcdctl member add %s --peer-urls=%s`, "+
			"then set initial-cluster-state: existing and start this node with that folder empty", c.Dir, c.Name, strings.Join(urls, ","))
	case strings.Contains(text, "cluster ID mismatch"):
		return fmt.Sprintf(". Its data (data-dir: %s) is of another etcd than initial-cluster names: give it the right folder, or the right initial-cluster", c.Dir)
	}
	return ""
}

// read reads the file and gives what it leaves open.
func read(file string) (*embed.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading etcd's configuration: %w", err)
	}
	c, err := embed.ConfigFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s is no configuration of etcd: %w", file, err)
	}
	if !says(text, "snapshot-catchup-entries") {
		c.SnapshotCatchUpEntries = catchUpEntries
	}
	if !says(text, "snapshot-count") {
		c.SnapshotCount = snapshotCount
	}
	return c, nil
}

// says reports whether a file of etcd, whose settings stand at the beginning of lines, has one.
func says(text []byte, setting string) bool {
	for line := range strings.Lines(string(text)) {
		name, _, ok := strings.Cut(line, ":")
		if ok && strings.Trim(name, " \t\"'") == setting {
			return true
		}
	}
	return false
}

// Err yields the error with which the member ends by itself, such as a disk that refuses. The process can go on with the
// other members.
func (m *Member) Err() <-chan error { return m.etcd.Err() }

// Addrs are where it listens for clients, as the system gave them.
func (m *Member) Addrs() (all []net.Addr) {
	for _, l := range m.etcd.Clients {
		all = append(all, l.Addr())
	}
	return all
}

// Close ends the member, and gives what it leads away first where there are others. It may be called once.
func (m *Member) Close() error {
	m.ends.Store(true)
	m.etcd.Close()
	return nil
}

// toSlog writes etcd's lines to ours.
type toSlog struct {
	log    *slog.Logger
	ends   *atomic.Bool // nil: never
	lines  *lines
	fields []zapcore.Field
}

// level is levelOf while the member runs.
func (c *toSlog) level(l zapcore.Level) slog.Level {
	if c.ends != nil && c.ends.Load() {
		return slog.LevelDebug
	}
	return levelOf(l)
}

// levelOf is quieter than etcd: what it tells of its ordinary life is for who looks for something.
func levelOf(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (c *toSlog) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), c.level(l))
}

func (c *toSlog) With(fields []zapcore.Field) zapcore.Core {
	return &toSlog{c.log, c.ends, c.lines, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *toSlog) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write writes a line, or counts it: strangers at the member's ports cause such, and other members that are away.
func (c *toSlog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if c.level(e.Level) < slog.LevelWarn {
		c.write(e, fields, 1)
		return nil
	}
	c.lines.write(e.Message, func(times int) { c.write(e, fields, times) })
	return nil
}

// write writes a line that stands for so many.
func (c *toSlog) write(e zapcore.Entry, fields []zapcore.Field, times int) {
	values := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(values)
	}
	var args []any
	for _, name := range slices.Sorted(maps.Keys(values.Fields)) {
		args = append(args, name, values.Fields[name])
	}
	if times > 1 {
		args = append(args, "times", times)
	}
	c.log.Log(context.Background(), c.level(e.Level), e.Message, args...)
}

func (c *toSlog) Sync() error { return nil }
