package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"lapid/transport/visible"
)

// serving is what the flags of serve say.
type serving struct {
	test    bool
	level   string
	noAPI   bool
	foreign []string
	trust   bool // the clock, however far it is ahead
	asRoot  bool // also in a data directory of somebody else's
}

// errFatal: the server could not start or had to stop, and the log says why.
// The exit code is all that is left to give.
var errFatal = errors.New("fatal error")

// serveCommand is serve: the server, in the foreground, until it is told to end.
func serveCommand(t *terminal) *cobra.Command {
	var s serving
	c := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: noArgs,
		Long: `Runs the server until SIGTERM or SIGINT. SIGHUP reads profiles, log level, certificates and
trusted addresses again, and begins new log files where the old were moved away; a file with a mistake
leaves the old ones in force, and the log says what changed, and what waits for a restart. The line
"lapid is ready" is the last of a start: every warning of it stands before.

With -t the configuration is tested, and whether a start would succeed. Errors are, with file, line and
column: unknown keys and values of another kind; what can never work in a configuration or a profile (a
filter that is not true or false, a duration that is over at once); an address, a socket, a log, a syslog
or a data directory that this user would not get; a store that was removed or is of another format; a
certificate that is out of date or has another key; a revocation list that cannot be read. What its own
running server listens on is good. Warnings are: what is configured and does not happen; comparisons with
scopes that are never true; types and scopes that no bouncer acts on; certificates that end soon or are
for another use; names that cannot be resolved now. Nothing is made and nobody is asked but the resolver.

Exit code 0 is an orderly end, or a test that found no error; 1 what keeps it from starting, has it stop,
or fails the test, which the last line says; 2 a flag that there is not.

A clock that is more than a month ahead of the last change in the store (or more than the shortest age
that anything is kept for, if that is longer) is not trusted at once: for ten minutes nothing is deleted
for its age, and 'lapid ready' says so. Set the clock if it is wrong. If it is right, because the server
was off for so long or an old backup was restored, wait, or start once with --trust-clock.

As root it does not start in a data directory that belongs to another user, who could not use any more
what it leaves there: start it as that user, or give root the directory. --as-root has it start all the
same. With -t that is a warning.`,
		RunE: func(c *cobra.Command, _ []string) error {
			// The last of them that is set wins, from the most talkative to the
			// least.
			for _, l := range levels {
				if on, err := c.Flags().GetBool(l); err == nil && on {
					s.level = l
				}
			}
			return t.serve(c.Context(), &s)
		},
	}
	f := c.Flags()
	f.BoolVarP(&s.test, "test", "t", false, "test the configuration and leave")
	f.BoolVar(&s.trust, "trust-clock", false, "believe the clock at once, though it is more than a month ahead of what is stored")
	f.BoolVar(&s.asRoot, "as-root", false, "start as root although the data directory belongs to another user")
	f.BoolVar(&s.noAPI, "no-api", false, "without the Local API")
	f.Bool("no-cs", false, "accepted: there is no log processor here")
	f.Bool("no-capi", false, "accepted: there is no connection to the Central API")
	f.Bool("fatal", false, "log level fatal")
	for _, hidden := range []string{"no-api", "no-cs", "no-capi", "fatal"} {
		_ = f.MarkHidden(hidden)
	}
	return c
}

// serve runs the server, or tests its configuration. The error, if any, has
// been logged. Checks come in the order of the harm they prevent: nothing is
// made, not even a log, before it is clear whose folder this is.
func (t *terminal) serve(ctx context.Context, o *serving) error {
	setup, err := t.setup()
	if err != nil {
		return t.fatal(err)
	}
	setup.strayVariables(os.Environ())
	if o.noAPI {
		return t.fatal(errors.New("you must run at least the API Server or crowdsec"))
	}
	if o.test {
		return t.testConfiguration(ctx, setup, o)
	}
	root := setup.refuseRoot()
	if root != nil && !o.asRoot {
		return t.fatal(root) // not even a log is made
	}
	if err := setup.refuseLinks(); err != nil {
		return t.fatal(err)
	}
	log, err := openLog(setup, t.out, o.level)
	if err != nil {
		return t.fatal(err)
	}
	for _, f := range log.files {
		t.log("info", "lines go to %s", f.path)
	}
	if len(o.foreign) > 0 {
		log.Warn("without a meaning here: " + strings.Join(o.foreign, ", "))
	}
	if root != nil {
		log.Warn("this server runs as root, and its data directory " + setup.Config.Paths.DataDir + " belongs to another user, who can mislead it")
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	program, err := NewProgram(setup, log)
	if err == nil {
		program.trustClock = o.trust
		err = program.Run(ctx)
	}
	if err != nil {
		log.Log(ctx, levelFatal, err.Error())
		return errFatal
	}
	return nil
}

// fatal is for what goes wrong before there is a log. It has the form of a
// line of the log, for that is where an operator looks.
func (t *terminal) fatal(err error) error {
	t.log("fatal", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	return errFatal
}

// testConfiguration is a really dry run: it looks whether a start would
// succeed, makes nothing and leaves nothing. Warnings are the log's own
// lines, on standard error, in the form that the server would write. The
// last line says how it ended.
func (t *terminal) testConfiguration(ctx context.Context, s *Setup, o *serving) error {
	log := &Log{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), level: new(slog.LevelVar)}
	if root := s.refuseRoot(); root != nil && !o.asRoot {
		t.log("warning", "a start by root would be refused: %v", root)
	}
	if err := s.refuseLinks(); err != nil {
		return t.fatal(err)
	}
	at := o.level
	lines, err := logHandler(s, visible.Under(t.err), log.level)
	if err == nil {
		var l slog.Level
		if l, err = s.logLevel(); at != "" {
			l, err = level(at)
		}
		log.level.Set(l)
	}
	if err == nil {
		log.Logger = slog.New(lines)
		var p *Program
		if p, err = NewProgram(s, log); err == nil {
			err = p.tryStart(ctx)
		}
	}
	if m := s.Config.Common.Media; err == nil && m != "" && m != "stdout" && m != "file" && m != "syslog" {
		err = s.bad("common.log_media", "unknown log_mode '%s': use stdout, file or syslog", m)
	}
	if err != nil {
		return t.fatal(err)
	}
	log.Info("Configuration test done")
	return nil
}

// say puts the warnings of a configuration into the log. They are said at
// every start and reload: what is wrong with a configuration does not become
// right by being old.
func (s *Setup) say(log *slog.Logger) {
	for _, w := range s.Warnings {
		log.Warn(w)
	}
	if s.Found {
		log.Info("configuration " + s.File)
	}
	if s.File == "" {
		log.Info(fmt.Sprintf("no configuration file: built-in defaults, store in %s", s.Folder()))
	}
}
