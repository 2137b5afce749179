package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lapid/engine"
	"lapid/persist"
	"lapid/transport/visible"
)

// Exit codes. A verb that fails gives 1, whatever the reason, a wrong command line
// included; the server gives 2 for a flag that it does not know, as the reference does.
const (
	exitGood  = 0
	exitFails = 1
	exitUsage = 2

	exitInterrupted = 130 // as a shell says it of SIGINT
)

// errLine marks a flag or verb that there is not: one line says so, and what
// was probably meant. It chooses the exit code: a program that calls another
// version of this one can tell a verb it does not have from one that failed.
type errLine struct{ error }

// Unwrap gives the complaint.
func (e errLine) Unwrap() error { return e.error }

// run is the program: it takes the arguments behind the program's name and
// gives the exit code. It never exits by itself, so tests call it as main
// does. Everything that it writes goes through the guards of the terminal,
// which are flushed at the end.
func run(ctx context.Context, t *terminal, args []string) int {
	defer t.guard()()
	if daemon, ok := daemonArgs(args); ok {
		return runDaemon(ctx, t, daemon)
	}
	root := rootCommand(t)
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitGood
	}
	if errors.Is(err, errFatal) {
		return exitFails // said already, by the log
	}
	var line errLine
	fmt.Fprintf(t.err, "Error: %s: %s\n%s", c.CommandPath(), complaint(err), t.advice(err))
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	if (c == root || c.Name() == "serve") && errors.As(err, &line) {
		return exitUsage
	}
	return exitFails
}

// complaint is an error as it is shown. Where it has several lines, no other
// than the first looks like a line of ours. An error may carry what a
// stranger wrote, and a line end in it would otherwise begin a line that
// looks like the program's.
func complaint(err error) string {
	return strings.ReplaceAll(visible.Lines(err.Error()), "\n", "\n  ")
}

// advice says what to do about a disk that refuses to write, in a line of
// its own; nothing about anything else. An import that ended early says
// itself what is stored; everything else is one commit, so nothing is.
func (t *terminal) advice(err error) string {
	if !errors.Is(err, engine.ErrDisk) && !errors.Is(err, persist.ErrDisk) {
		return ""
	}
	said := "Nothing was stored. "
	var early *earlyEnd
	if errors.As(err, &early) {
		said = "" // it says what was
	}
	if strings.Contains(err.Error(), persist.ErrGone.Error()) {
		return said + "'lapid ready' says what else can be done.\n"
	}
	s, err := t.setup()
	if err != nil {
		return ""
	}
	return fmt.Sprintf(said+"Make room in %s, or make it writable, and try again: "+
		"a running server notices by itself, within a second.\n", s.Store())
}

// rootCommand is the tree of verbs, made anew for each run: flags write into t and
// into variables of their verbs. Its help is the shortest complete account of how
// lapid is found and set up.
func rootCommand(t *terminal) *cobra.Command {
	root := &cobra.Command{
		Use:   "lapid",
		Short: "A decision engine in place of CrowdSec's Local API",
		Long: `lapid takes alerts from log processors, judges them by the operator's profiles and
hands the decisions out to bouncers. It speaks the Local API of CrowdSec.

  lapid quickstart          try it: a server, a key, three lines to paste
  lapid -c FILE serve       run it with the reference's config.yaml
  lapid bouncers add NAME   everything an operator does

Without -c FILE it reads the first of ./config.yaml (if it is the user's own and has
config_paths), ./lapid-data/config.yaml, /etc/lapid/config.yaml and
/etc/crowdsec/config.yaml, and verbs say which; without any it listens on 127.0.0.1:8080 and
keeps its store in the folder lapid-data.

Verbs ask the running server. Without one they work on the store itself and say so; they make
none, unless --init says that there is to be one before the first start.

Settings that config.yaml has no room for stand in lapid.yaml beside it, or in variables:
  data_dir              LAPID_DATA_DIR              in place of config_paths.data_dir
  admin_socket          LAPID_ADMIN_SOCKET          path of the operator's socket
  listen_uri            LAPID_LISTEN_URI            in place of api.server.listen_uri; on also where
                                                    api.server.enable is false
  metrics               LAPID_METRICS               host:port, or off, in place of prometheus
  listen_socket_mode    LAPID_LISTEN_SOCKET_MODE    who may connect to listen_socket (0660)
  access_log            LAPID_ACCESS_LOG            one line per request (true where log_media is file,
                                                    in crowdsec_api.log; else false)
  sync                  LAPID_SYNC                  false: answer writes before the disk has them
  on_filter_error       LAPID_ON_FILTER_ERROR       refuse (default) or continue
  memory                LAPID_MEMORY                what the server may take, such as 512MiB (what its
                                                    control group, GOMEMLIMIT and the machine allow)
  snapshot_every        LAPID_SNAPSHOT_EVERY        time between snapshots of the store (10m)
  bouncer_rows_per_key  LAPID_BOUNCER_ROWS_PER_KEY  rows that one key gets by coming from new
                                                    addresses; then the one idle longest is
                                                    forgotten and begins anew (10000)
  bouncer_ipv6_prefix   LAPID_BOUNCER_IPV6_PREFIX   64: bouncers of one key in one /64 share a
                                                    row and a stream (128: none do)
  max_header_bytes      LAPID_MAX_HEADER_BYTES      how long the headers of a request may be,
                                                    4KiB to 1MiB (64KiB); more get 431
  loops                 LAPID_LOOPS                 auto (one for each processor), how many, or off:
                                                    what holds connections without TLS and without
                                                    a goroutine each (auto)
CS_LAPI_SECRET, 64 characters or more, is the key that tokens are signed with; without it one
is made at the first start and kept.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return t.settle()
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q%s", args[0], hint(args[0]))
			}
			return nil
		},
	}
	root.SetIn(t.in)
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return errLine{unknownFlag(c, err)} })
	f := root.PersistentFlags()
	f.StringVarP(&t.file, "config", "c", "", "path to config.yaml (default: the first of "+strings.Join(usualConfigs, ", ")+")")
	f.BoolVar(&t.init, "init", t.init, "make an empty store when there is none and no server runs: for use before the first start")
	f.StringVarP(&t.output, "output", "o", "", "output format: human, json, raw")
	f.StringVar(&t.color, "color", "auto", "colours in tables: yes, no, auto (tables have none; accepted for scripts)")
	f.BoolVar(&t.safeCSV, "safe-csv", false, "with -o raw: an apostrophe before what a spreadsheet would take for a formula")
	for _, word := range []string{"trace", "debug", "info", "warning", "error"} {
		f.Bool(word, false, "log level "+word)
		_ = f.MarkHidden(word)
	}
	root.AddCommand(
		serveCommand(t), quickstartCommand(t), readyCommand(t), versionCommand(t),
		machinesCommand(t), bouncersCommand(t), allowlistsCommand(t), alertsCommand(t), decisionsCommand(t),
		metricsCommand(t), lapiCommand(t), configCommand(t), backupCommand(t), restoreCommand(t), checkCommand(t), manCommand(),
	)
	addExamples(root)
	t.addCompletions(root)
	return root
}

// hint names the verb that was probably meant, or where all are told. Only
// the first level is looked at: groups name their own verbs.
func hint(word string) string {
	verbs := []string{"serve", "quickstart", "ready", "machines", "bouncers", "allowlists", "alerts", "decisions",
		"metrics", "lapi", "config", "backup", "restore", "check", "version", "completion"}
	if near := nearest(word, verbs); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; see \"lapid --help\""
}

// group is a command that only holds others. Without a verb it shows its
// help and does nothing.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(verbs...)
	return c
}

// noVerb complains about a word that is no verb of a group. The error says
// which there are, for their number is small.
func noVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var verbs []string
	for _, v := range c.Commands() {
		if v.IsAvailableCommand() && v.Name() != "help" {
			verbs = append(verbs, v.Name())
		}
	}
	if near := nearest(args[0], verbs); near != "" {
		return errLine{fmt.Errorf("unknown command %q for %q; did you mean %q?", args[0], c.CommandPath(), near)}
	}
	return errLine{fmt.Errorf("unknown command %q for %q; there are %s", args[0], c.CommandPath(), strings.Join(verbs, ", "))}
}

// unknownFlag adds to the complaint about a flag what was probably meant.
// Flags of the verb and those that all verbs have are compared; hidden ones are too,
// for they can be meant.
func unknownFlag(c *cobra.Command, err error) error {
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return fmt.Errorf("%w; see \"%s --help\"", err, c.CommandPath())
	}
	var known []string
	add := func(f *pflag.Flag) { known = append(known, f.Name) }
	c.Flags().VisitAll(add)
	c.InheritedFlags().VisitAll(add)
	if near := nearest(name, known); near != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return fmt.Errorf("%w; see \"%s --help\"", err, c.CommandPath())
}

// exactArgs, minArgs and noArgs complain with what is expected. The sentence
// is made from the line of use, so it cannot differ from --help.
func exactArgs(n int) cobra.PositionalArgs { return usage(cobra.ExactArgs(n)) }
func minArgs(n int) cobra.PositionalArgs   { return usage(cobra.MinimumNArgs(n)) }

var noArgs = usage(cobra.NoArgs)

// usage says in one line what a verb expects, where it is given something else.
// It comes before the verb runs, so nothing has happened then.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return nil
		}
		_, expected, some := strings.Cut(c.Use, " ")
		if !some {
			return fmt.Errorf("no arguments are expected, but %q was given; see \"%s --help\"", strings.Join(args, " "), c.CommandPath())
		}
		given := fmt.Sprintf("%d arguments were", len(args))
		switch len(args) {
		case 0:
			given = "none was"
		case 1:
			given = "one was"
		}
		return fmt.Errorf("expected is %s, but %s given; see \"%s --help\"", expected, given, c.CommandPath())
	}
}

// errNoFilter refuses to delete everything by accident. A variable that is
// empty in a script leaves a verb without a filter.
func errNoFilter(c *cobra.Command) error {
	return fmt.Errorf("at least one filter or --all must be specified; see \"%s --help\"", c.CommandPath())
}
