//go:build linux

// Bench weighs lapid: see bench/scenario for what is measured and bench/load for
// how.
//
//	bench full    every row of the table, at a million decisions, within twenty minutes
//	bench short   the rows that need no peers, small, within a minute and a half; nothing is judged
//	bench peers   beside the reference, Redis, HAProxy and nginx only
//	bench index   index libraries side by side
//	bench load    ask any server, and print what it took
//
// It is run inside the repository: it builds what it measures, and full leaves a page
// with its plots in bench/results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// verb is a subcommand.
type verb struct {
	name, short string
	run         func(ctx context.Context, args []string) error
}

// verbs are the subcommands; they share their flags where they mean the same (settings).
var verbs = []verb{
	{"full", "every row, at a million decisions", full},
	{"short", "a small run of a minute and a half", short},
	{"peers", "beside the reference, Redis, HAProxy and nginx", beside},
	{"index", "index libraries side by side", indexes},
	{"load", "ask any server", ask},
	{"corpus", "write a decision set as a file", write},
	{"pebble", "what Pebble alone commits: DIR WRITERS SIZE DURATION", pebbleAlone},
	{"cost", "what a command takes: COMMAND [ARGUMENTS]", cost},
}

// main ends what was started, servers too, at the first signal.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		stop()
		os.Exit(1)
	}
}

// run finds the verb. Without one it tells which there are, and that is a failure.
func run(ctx context.Context, args []string) error {
	for _, v := range verbs {
		if len(args) > 0 && v.name == args[0] {
			return v.run(ctx, args[1:])
		}
	}
	fmt.Fprintln(os.Stderr, "usage: bench VERB [flags], and bench VERB -h tells the flags")
	for _, v := range verbs {
		fmt.Fprintf(os.Stderr, "  %-8s %s\n", v.name, v.short)
	}
	return flag.ErrHelp
}
