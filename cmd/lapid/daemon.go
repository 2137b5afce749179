package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/verbs"
)

// daemonFlags are those of the reference's server, written with one dash, so
// that an existing service needs nothing but another path to the program.
type daemonFlags struct {
	file      string
	test      bool
	version   bool
	noAPI     bool
	noCentral bool
	trust     bool
	asRoot    bool
	level     string   // the last one given
	foreign   []string // flags of the log processor, which mean nothing here
}

// daemonArgs tells whether a command line has no verb but the flags of a server.
// A verb is a first word without a dash that belongs to no flag.
func daemonArgs(args []string) ([]string, bool) {
	for i := 0; i < len(args); i++ {
		name, _, joined := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		switch {
		case !strings.HasPrefix(args[i], "-"), name == "h", name == "help", name == "o", name == "output", name == "color":
			return nil, false
		case !joined && takesValue[name]:
			i++
		}
	}
	return args, len(args) > 0
}

// takesValue are the flags that are followed by a word of their own.
var takesValue = map[string]bool{"c": true, "config": true, "dsn": true, "type": true, "label": true, "transform": true,
	"dump-data": true, "args-file": true, "winsvc": true}

// parseDaemon reads the flags; a bad one is an error.
func parseDaemon(args []string) (*daemonFlags, error) {
	d := &daemonFlags{}
	f := flag.NewFlagSet("lapid", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&d.file, "c", "", "configuration file")
	f.StringVar(&d.file, "config", "", "configuration file")
	f.BoolVar(&d.test, "t", false, "test the configuration and leave")
	f.BoolVar(&d.version, "version", false, "say which version this is")
	f.BoolVar(&d.noAPI, "no-api", false, "without the Local API")
	f.Bool("no-cs", false, "without a log processor: there is none here")
	f.BoolVar(&d.noCentral, "no-capi", false, "without the Central API in this run")
	f.BoolVar(&d.trust, "trust-clock", false, "believe the clock, however far it is ahead")
	f.BoolVar(&d.asRoot, "as-root", false, "start as root although the data directory belongs to another user")
	for _, l := range levels {
		f.BoolFunc(l, "log level "+l, func(string) error { d.level = l; return nil })
	}
	for _, name := range []string{"dsn", "type", "label", "transform", "dump-data", "args-file", "winsvc"} {
		f.Func(name, "belongs to the log processor", func(string) error { d.foreign = append(d.foreign, "-"+name); return nil })
	}
	f.Bool("order-event", false, "belongs to the log processor")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return d, nil
}

// runDaemon is the program when it is started in the place of the
// reference's server. What differs from serve is the exit code for a flag
// that there is not, 2, and the words for flags that mean nothing here.
func runDaemon(ctx context.Context, t *verbs.Terminal, args []string) int {
	d, err := parseDaemon(args)
	if err != nil {
		fmt.Fprintf(t.Err, "Error: lapid: %s\nRun 'lapid --help' for the verbs and 'lapid serve --help' for the server.\n", complaint(err))
		return exitUsage
	}
	if d.version {
		verbs.SayVersion(t)
		return exitGood
	}
	// -o is no flag of the reference's server, so what is said is for people.
	t.File, t.Output = d.file, config.Human
	if err := serve(ctx, t, &serving{test: d.test, level: d.level, noAPI: d.noAPI, noCentral: d.noCentral, trust: d.trust, asRoot: d.asRoot, foreign: d.foreign}); err != nil {
		return exitFails
	}
	return exitGood
}
