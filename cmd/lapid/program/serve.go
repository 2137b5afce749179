package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"lapid/cmd/lapid/config"
	"lapid/transport/visible"
)

// Start is how a server is started. It is only read, and must not change meanwhile.
type Start struct {
	Setup      *config.Setup // checked when it was loaded; the program's from now on
	Version    string        // of this program, as clients and the log are told
	Commit     string        // that it was built from, for programs in which Go has not noted it
	Level      string        // of the log, in the reference's words; "": what the configuration says
	Foreign    []string      // flags that mean nothing here: the log names them
	NoCentral  bool          // without the Central API in this run
	TrustClock bool          // however far it is ahead of the store (see engine.Options)
	Shadow     *Shadowing    // in front of another server; nil: a server for itself
	AsRoot     bool          // also where the data directory is another user's

	Out io.Writer // the log, where it is neither in files nor in the syslog
	Err io.Writer // what is said before there is a log
	// Ready is called once, from a goroutine of its own, when every listener is open;
	// nil: nothing is told. It has returned when the server has.
	Ready func()
}

// ErrFatal: the server could not start or had to stop, and the log says why.
// The exit code is all that is left to give.
var ErrFatal = errors.New("fatal error")

// Serve runs the server until ctx ends or SIGTERM or SIGINT comes. The error,
// if any, is ErrFatal and has been logged. Checks come in the order of the harm they
// prevent: nothing is made, not even a log, before it is clear whose folder this is.
func Serve(ctx context.Context, o *Start) error {
	s := o.Setup
	root := s.Data().RefuseRoot(s.Named() + " serve")
	if root != nil && !o.AsRoot {
		return Fail(o.Err, root) // not even a log is made
	}
	if err := s.Data().RefuseLinks(); err != nil {
		return Fail(o.Err, err)
	}
	log, err := openLog(s, o.Out, o.Level)
	if err != nil {
		return Fail(o.Err, err)
	}
	for _, f := range log.files {
		sayLine(o.Err, "info", "lines go to "+f.path)
	}
	if len(o.Foreign) > 0 {
		log.Warn("without a meaning here: " + strings.Join(o.Foreign, ", "))
	}
	if root != nil {
		log.Warn("this server runs as root, and its data directory " + s.Config.Paths.DataDir + " belongs to another user, who can mislead it")
	}
	if err := o.run(ctx, log); err != nil {
		log.Log(ctx, config.LevelFatal, err.Error())
		return ErrFatal
	}
	return nil
}

// Run runs a server whose folder has been looked at already, until ctx ends or
// SIGTERM or SIGINT comes. The error is not logged.
func Run(ctx context.Context, o *Start) error {
	log, err := openLog(o.Setup, o.Out, o.Level)
	if err != nil {
		return err
	}
	return o.run(ctx, log)
}

// run runs the program until ctx ends, or a signal comes.
func (o *Start) run(ctx context.Context, log *serverLog) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var ready func()
	if o.Ready != nil {
		ready = sync.OnceFunc(o.Ready)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // one that comes between two programs must not end the process
	defer signal.Stop(hangups)
	e := newEstate()
	defer e.member.close()
	for {
		if err := o.once(ctx, log, ready, e); !errors.Is(err, errAnew) {
			return err
		}
	}
}

// once makes a program and runs it to its end. errAnew: another one is to begin.
func (o *Start) once(ctx context.Context, log *serverLog, ready func(), e *estate) error {
	p, err := newProgram(o.Setup, log, o.Shadow)
	if err != nil {
		return err
	}
	p.estate = e
	p.trustClock, p.version, p.commit, p.noCentral = o.TrustClock, o.Version, o.Commit, o.NoCentral
	if ready != nil {
		over, told := make(chan struct{}), make(chan struct{})
		defer func() {
			close(over)
			<-told
		}()
		go func() {
			defer close(told)
			select {
			case <-p.ready:
				ready()
			case <-over:
			}
		}()
	}
	return p.run(ctx)
}

// Fail is for what goes wrong before there is a log. It has the form of a line
// of the log, for that is where an operator looks. It returns
// ErrFatal.
func Fail(out io.Writer, err error) error {
	sayLine(out, "fatal", strings.ReplaceAll(err.Error(), "\n", "; "))
	return ErrFatal
}

// sayLine writes one line as the reference's log does; level is the reference's word.
func sayLine(out io.Writer, level, text string) {
	fmt.Fprintf(out, "level=%s msg=%s\n", level, strconv.Quote(text))
}

// Test is a really dry run: it looks whether a start would succeed, makes nothing
// and leaves nothing. Warnings are the log's own lines, on standard error, in the form
// that the server would write. The last line says how it ended.
func Test(ctx context.Context, o *Start) error {
	s := o.Setup
	log := &serverLog{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), level: new(slog.LevelVar)}
	if root := s.Data().RefuseRoot(s.Named() + " serve"); root != nil && !o.AsRoot {
		sayLine(o.Err, "warning", fmt.Sprintf("a start by root would be refused: %v", root))
	}
	if err := s.Data().RefuseLinks(); err != nil {
		return Fail(o.Err, err)
	}
	lines, err := logHandler(s, visible.Under(o.Err), log.level)
	if err == nil {
		var l slog.Level
		if l, err = s.LogLevel(); o.Level != "" {
			l, err = config.Level(o.Level)
		}
		log.level.Set(l)
	}
	if err == nil {
		log.Logger = slog.New(lines)
		err = o.try(ctx, log)
	}
	if err != nil {
		return Fail(o.Err, err)
	}
	log.Info("Configuration test done")
	return nil
}

// try looks whether a start would succeed; what is only worth a warning goes to log.
func (o *Start) try(ctx context.Context, log *serverLog) error {
	s := o.Setup
	p, err := newProgram(s, log, nil)
	if err == nil {
		err = p.tryStart(ctx)
	}
	if m := s.Config.Common.Media; err == nil && m != "" && m != "stdout" && m != "file" && m != "syslog" {
		err = s.Bad("common.log_media", "unknown log_mode '%s': use stdout, file or syslog", m)
	}
	return err
}

// Look is Test for a program: the warnings come as they are, one sentence each, with the memory that a start would
// find (bytes) and what says so. The error is not said anywhere. Whether this user would be let start is no matter: root
// looks at services of others.
func Look(ctx context.Context, o *Start) (warnings []string, memory int64, source string, err error) {
	s := o.Setup
	found := limits{}
	if own, bad := s.Own.MemoryBytes(); bad == nil {
		found = findLimits(os.DirFS("/"), own)
	}
	lines := &warningLines{}
	if err = s.Data().RefuseLinks(); err == nil {
		_, err = logHandler(s, io.Discard, new(slog.LevelVar))
	}
	if err == nil {
		err = o.try(ctx, &serverLog{Logger: slog.New(lines), level: new(slog.LevelVar)})
	}
	return lines.said, found.memory, found.source, err
}

// warningLines is a log that keeps the sentences of warnings and errors.
type warningLines struct{ said []string }

// Enabled implements slog.Handler.
func (w *warningLines) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements slog.Handler.
func (w *warningLines) Handle(_ context.Context, r slog.Record) error {
	w.said = append(w.said, r.Message)
	return nil
}

// WithAttrs implements slog.Handler: a sentence says all by itself.
func (w *warningLines) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w *warningLines) WithGroup(string) slog.Handler { return w }
