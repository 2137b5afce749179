package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/program"
	"lapid/cmd/lapid/verbs"
	"lapid/transport/inputs"
)

// run is the program: it takes the arguments behind the program's name and
// gives the exit code. It never exits by itself, so tests call it as main
// does. Everything that it writes goes through the guards of the terminal,
// which are flushed at the end.
func run(ctx context.Context, t *verbs.Terminal, args []string) int {
	defer t.Guard()()
	if daemon, ok := daemonArgs(args); ok {
		return runDaemon(ctx, t, daemon)
	}
	// Anything else has a verb, or is help.
	var sick verbs.Sick
	root := rootCommand(t)
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitGood
	}
	if errors.Is(err, program.ErrFatal) {
		return exitFails // said already, by the log
	}
	if errors.As(err, &sick) { // shown already
		if sick.Broken {
			return exitBroken
		}
		return exitFails
	}
	var line verbs.UnknownWord
	fmt.Fprintf(t.Err, "Error: %s: %s\n%s", c.CommandPath(), complaint(err), t.Advice(err))
	if errors.Is(err, verbs.ErrInterrupted) {
		return exitInterrupted
	}
	// The reference's server is called with flags alone, and gives 2 for an unknown one.
	if (c == root || c.Name() == "serve") && errors.As(err, &line) {
		return exitUsage
	}
	return exitFails
}

// rootCommand is the tree of verbs, made anew for each run: flags write into t and
// into variables of their verbs. Its help is the shortest complete account of how
// lapid is found and set up.
func rootCommand(t *verbs.Terminal) *cobra.Command {
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
  snapshot_every        LAPID_SNAPSHOT_EVERY        time between snapshots of the store, 1s to 30d (10m)
  bouncer_rows_per_key  LAPID_BOUNCER_ROWS_PER_KEY  rows that one key gets by coming from new
                                                    addresses; then the one idle longest is
                                                    forgotten and begins anew (10000)
  bouncer_ipv6_prefix   LAPID_BOUNCER_IPV6_PREFIX   64: bouncers of one key in one /64 share a
                                                    row and a stream (128: none do)
  max_header_bytes      LAPID_MAX_HEADER_BYTES      how long the headers of a request may be,
                                                    4KiB to 1MiB (64KiB); more get 431
  loops                 LAPID_LOOPS                 auto (one for each processor), how many, or off:
                                                    what holds connections without a goroutine
                                                    each (auto)
  bookmark_journal      LAPID_BOOKMARK_JOURNAL      journal kept for a reader of the history that is
                                                    behind, 1MiB or more (1GiB); no more than
                                                    two million changes of decisions in any case
  movein                LAPID_MOVEIN                auto: a start on a store without bouncers and
                                                    machines takes over the database of db_config
                                                    (off: it says that it is there; never: not that)
  allowlist_wins        LAPID_ALLOWLIST_WINS        true: what is allowlisted is free, whatever is
                                                    banned around it, before or after (false)
  capi_shrunken_lists   LAPID_CAPI_SHRUNKEN_LISTS   hold (default) or accept: a list of the Central API
                                                    that is empty, or lost more than half
  exports               (in lapid.yaml alone)       lists for devices that cannot be bouncers
  audit                 (in lapid.yaml alone)       max_age and max_rows of the audit's rows that are
                                                    kept (90d, 1000000); off: true has none be written
  backup                (in lapid.yaml alone)       dir in which the server makes backups by itself
                                                    (nowhere), every so often (24h), and how many it
                                                    has keep (7)
  cluster               (in lapid.yaml alone)       this server as one of several with one history: see
                                                    docs/cluster.md; LAPID_CLUSTER_ and its keys in
                                                    capitals are variables for them
  relay                 (in lapid.yaml alone)       this server as a relay that follows such nodes and
                                                    serves bouncers; LAPID_RELAY_ and its keys
  openapi               LAPID_OPENAPI               who may have the description of the API at
                                                    /openapi.json, /openapi.yaml and /docs: public
                                                    (default), authenticated or off
  console.listen        LAPID_CONSOLE_LISTEN        host:port on which operators are served over HTTP
                                                    (nowhere); console also has hosts, tls, cert_file,
                                                    key_file, ca_file, allowed_ou, base_path,
                                                    trusted_proxies, read_only, lookup_url and
                                                    zone
CS_LAPI_SECRET, 64 characters or more, is the key that tokens are signed with; without it one
is made at the first start and kept.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if err := verbs.RefuseEmpty(c); err != nil {
				return err
			}
			if c.Flags().Changed("init") && c.Flags().Changed("dry-run") {
				return errors.New("--dry-run stores nothing, and --init would make a store: give one of both")
			}
			if err := t.Remote.Check(c); err != nil {
				return err
			}
			return t.Settle()
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q%s", args[0], hint(c, args[0]))
			}
			return nil
		},
	}
	// Help and completions go where everything else goes, through the guards.
	root.SetIn(t.In)
	root.SetOut(t.Out)
	root.SetErr(t.Err)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return verbs.UnknownFlag(c, err) })
	f := root.PersistentFlags()
	f.StringVarP(&t.File, "config", "c", "", "path to config.yaml (default: the first of "+strings.Join(config.UsualConfigs, ", ")+")")
	f.BoolVar(&t.Init, "init", t.Init, "make an empty store when there is none and no server runs: for use before the first start")
	f.StringVarP(&t.Output, "output", "o", "", "output format: human, json, raw")
	f.StringVar(&t.Remote.URL, "remote", "", "ask the server whose console has this URL, in place of the socket")
	f.StringVar(&t.Remote.TokenFile, "token-file", "", "with --remote: file with an operator's token (default: the variable LAPID_TOKEN)")
	f.StringVar(&t.Remote.CAFile, "ca-file", "", "with --remote: certificates of the authorities that are trusted (default: the system's)")
	f.StringVar(&t.Color, "color", "auto", "colours in tables: yes, no, auto (tables have none; accepted for scripts)")
	f.BoolVar(&t.SafeCSV, "safe-csv", false, "with -o raw: an apostrophe before what a spreadsheet would take for a formula")
	// Accepted from scripts that were written for the reference; verbs have no such log.
	for _, word := range []string{"trace", "debug", "info", "warning", "error"} {
		f.Bool(word, false, "log level "+word)
		_ = f.MarkHidden(word)
	}
	root.AddCommand(serveCommand(t), verbs.Doctor(t, lookAhead), shadowCommand(t), verbs.Quickstart(t, func(ctx context.Context, s *config.Setup, ready func()) error {
		return serveQuickstart(ctx, t, s, ready)
	}))
	root.AddCommand(verbs.Commands(t)...)
	// After the tree is whole: both look at every verb in it.
	verbs.AddExamples(root)
	verbs.AddCompletions(t, root)
	return root
}

// hint names the verb that was probably meant, or where all are told. Only
// the first level is looked at: groups name their own verbs.
func hint(root *cobra.Command, word string) string {
	var verbs []string
	for _, one := range root.Commands() {
		if one.IsAvailableCommand() {
			verbs = append(verbs, one.Name())
		}
	}
	if near := inputs.Nearest(word, verbs); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; see \"lapid --help\""
}
