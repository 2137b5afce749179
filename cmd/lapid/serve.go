package main

import (
	"cmp"
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/program"
	"lapid/cmd/lapid/verbs"
)

// serving is what the flags of serve say.
type serving struct {
	test      bool
	level     string
	noAPI     bool
	noCentral bool
	foreign   []string
	trust     bool // the clock, however far it is ahead
	asRoot    bool // also in a data directory of another user's
}

// serveCommand is serve: the server, in the foreground, until it is told to end.
func serveCommand(t *verbs.Terminal) *cobra.Command {
	var s serving
	c := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: verbs.NoArgs,
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
same. With -t that is a warning.

With --container, as in the image, the environment says what it says to CrowdSec's own image: 'lapid docs
containers' has the list. Without a config.yaml in /etc/crowdsec what is built in holds.`,
		RunE: func(c *cobra.Command, _ []string) error {
			// The last of them that is set wins, from the most talkative to the
			// least.
			for _, l := range levels {
				if on, err := c.Flags().GetBool(l); err == nil && on {
					s.level = l
				}
			}
			return serve(c.Context(), t, &s)
		},
	}
	f := c.Flags()
	f.BoolVarP(&s.test, "test", "t", false, "test the configuration and leave")
	f.BoolVar(&s.trust, "trust-clock", false, "believe the clock at once, though it is more than a month ahead of what is stored")
	f.BoolVar(&s.asRoot, "as-root", false, "start as root although the data directory belongs to another user")
	f.BoolVar(&t.Container, "container", t.Container, "go by the environment as CrowdSec's image does: BOUNCER_KEY_NAME, AGENT_USERNAME, USE_TLS and others")
	f.BoolVar(&s.noAPI, "no-api", false, "without the Local API")
	f.Bool("no-cs", false, "accepted: there is no log processor here")
	f.BoolVar(&s.noCentral, "no-capi", false, "without the Central API in this run")
	f.Bool("fatal", false, "log level fatal")
	for _, hidden := range []string{"no-api", "no-cs", "fatal"} {
		_ = f.MarkHidden(hidden)
	}
	return c
}

// serve runs the server, or tests its configuration. The error, if any, has
// been logged.
func serve(ctx context.Context, t *verbs.Terminal, o *serving) error {
	setup, err := t.Setup()
	if err != nil {
		return program.Fail(t.Err, err)
	}
	setup.StrayVariables(os.Environ())
	if c := setup.Container(); c != nil {
		o.test = o.test || c.Test
		o.level = cmp.Or(o.level, c.Level)
	}
	// The reference would run its log processor alone; here nothing would be left to run.
	if o.noAPI {
		return program.Fail(t.Err, errors.New("you must run at least the API Server or crowdsec"))
	}
	// Out is where the log goes unless the configuration says otherwise: a service manager
	// and a container read it there.
	start := &program.Start{
		Setup: setup, Version: version, Commit: commit, Level: o.level, Foreign: o.foreign, TrustClock: o.trust, NoCentral: o.noCentral, AsRoot: o.asRoot,
		Out: t.Out, Err: t.Err,
	}
	if o.test {
		return program.Test(ctx, start)
	}
	return program.Serve(ctx, start)
}

// lookAhead is what doctor asks of a start that does not happen.
func lookAhead(ctx context.Context, s *config.Setup) (*verbs.Prospect, error) {
	s.StrayVariables(os.Environ())
	warnings, memory, source, err := program.Look(ctx, &program.Start{Setup: s, Version: version})
	return &verbs.Prospect{Warnings: warnings, Memory: memory, MemorySource: source}, err
}

// serveQuickstart is the server of a quickstart: errors are its own, not the log's.
func serveQuickstart(ctx context.Context, t *verbs.Terminal, s *config.Setup, ready func()) error {
	return program.Run(ctx, &program.Start{Setup: s, Version: version, Commit: commit, Out: t.Err, Err: t.Err, Ready: ready})
}

// levels are the flags that choose the log level.
var levels = []string{"trace", "debug", "info", "warning", "error", "fatal"}
