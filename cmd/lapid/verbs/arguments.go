package verbs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lapid/transport/inputs"
)

// UnknownWord marks a flag or verb that there is not: one line says so, and what
// was probably meant. What it wraps is the sentence. It chooses the exit code: a program that calls another
// version of this one can tell a verb it does not have from one that failed.
type UnknownWord struct{ error }

// Unwrap gives the complaint.
func (e UnknownWord) Unwrap() error { return e.error }

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
	if near := inputs.Nearest(args[0], verbs); near != "" {
		return UnknownWord{fmt.Errorf("unknown command %q for %q; did you mean %q?", args[0], c.CommandPath(), near)}
	}
	return UnknownWord{fmt.Errorf("unknown command %q for %q; there are %s", args[0], c.CommandPath(), strings.Join(verbs, ", "))}
}

// UnknownFlag is an UnknownWord that adds to the complaint about a flag what was probably meant.
// Flags of the verb and those that all verbs have are compared; hidden ones are too,
// for they can be meant.
func UnknownFlag(c *cobra.Command, err error) error { return UnknownWord{meantFlag(c, err)} }

// meantFlag is the sentence of UnknownFlag.
func meantFlag(c *cobra.Command, err error) error {
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return fmt.Errorf("%w; see \"%s --help\"", err, c.CommandPath())
	}
	var known []string
	add := func(f *pflag.Flag) { known = append(known, f.Name) }
	c.Flags().VisitAll(add)
	c.InheritedFlags().VisitAll(add)
	if near := inputs.Nearest(name, known); near != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return fmt.Errorf("%w; see \"%s --help\"", err, c.CommandPath())
}

// neverEmpty are the flags that name a file, a folder or a place: given an empty value, which is
// what a script has in a variable that was never set, a verb would do something else than meant.
var neverEmpty = []string{"config", "from", "back", "schema", "dir", "file", "input", "upstream", "upstream-ca"}

// RefuseEmpty complains about a flag that is given without a value and needs one. It comes
// before the verb runs.
func RefuseEmpty(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && slices.Contains(neverEmpty, f.Name) && strings.TrimSpace(f.Value.String()) == "" {
			err = fmt.Errorf("--%s is given with nothing in it: give it a value, or leave it out; see \"%s --help\"", f.Name, c.CommandPath())
		}
	})
	return err
}

// exactArgs complains unless a verb is given so many arguments. The sentence of this and
// the next two is made from the line of use, so it cannot differ from --help.
func exactArgs(n int) cobra.PositionalArgs { return usage(cobra.ExactArgs(n)) }

// minArgs complains about fewer.
func minArgs(n int) cobra.PositionalArgs { return usage(cobra.MinimumNArgs(n)) }

// NoArgs complains about any argument.
var NoArgs = usage(cobra.NoArgs)

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
