package verbs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manCommand writes the man pages, one per command, for packagers. It is
// hidden: an operator has --help, which says the same.
func manCommand(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the man pages into a folder", Args: exactArgs(1), Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return writeManual(c.Root(), args[0], t.Build.Version)
		},
	}
}

// writeManual writes the page of a command and of all below it, NAME.8, replacing
// what is there.
func writeManual(c *cobra.Command, dir, version string) error {
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	if err := os.WriteFile(filepath.Join(dir, name+".8"), []byte(manPage(c, name, version)), 0o644); err != nil {
		return fmt.Errorf("writing man pages: %w", err)
	}
	for _, verb := range c.Commands() {
		if verb.Hidden || !verb.IsAvailableCommand() {
			continue
		}
		if err := writeManual(verb, dir, version); err != nil {
			return err
		}
	}
	return nil
}

// manPage is the page of one command in the language of man. It is made from
// the same words as --help; texts keep their line ends.
func manPage(c *cobra.Command, name, version string) string {
	var out strings.Builder
	// No date: the same program gives the same pages, whenever they are written.
	fmt.Fprintf(&out, ".TH %q 8 \"\" \"lapid %s\" \"lapid\"\n", strings.ToUpper(name), version)
	fmt.Fprintf(&out, ".SH NAME\n%s \\- %s\n", roff(name), roff(c.Short))
	fmt.Fprintf(&out, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	text := c.Long
	if text == "" {
		text = c.Short
	}
	// Without filling: tables and examples in the texts are set with blanks.
	out.WriteString(".SH DESCRIPTION\n.nf\n" + roff(text) + "\n.fi\n")
	manFlags(&out, "OPTIONS", c.NonInheritedFlags())
	manFlags(&out, "GLOBAL OPTIONS", c.InheritedFlags())
	if c.Example != "" {
		out.WriteString(".SH EXAMPLES\n.nf\n" + roff(c.Example) + "\n.fi\n")
	}
	var also []string
	if c.HasParent() {
		also = append(also, strings.ReplaceAll(c.Parent().CommandPath(), " ", "-"))
	}
	for _, verb := range c.Commands() {
		if verb.IsAvailableCommand() {
			also = append(also, strings.ReplaceAll(verb.CommandPath(), " ", "-"))
		}
	}
	if len(also) > 0 {
		out.WriteString(".SH SEE ALSO\n")
		for i, page := range also {
			comma := ","
			if i == len(also)-1 {
				comma = ""
			}
			fmt.Fprintf(&out, ".BR %s (8)%s\n", roff(page), comma)
		}
	}
	return out.String()
}

// manFlags lists flags below a title, hidden ones left out; nothing when there are
// none.
func manFlags(out *strings.Builder, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	out.WriteString(".SH " + title + "\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		names := "--" + f.Name
		if f.Shorthand != "" {
			names = "-" + f.Shorthand + ", " + names
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			names += " " + strings.ToUpper(kind)
		}
		fmt.Fprintf(out, ".TP\n.B %s\n%s\n", roff(names), roff(usage))
	})
}

// roff makes a text safe for man: no backslashes, hyphens that stay hyphens,
// no line that begins with a dot. The text may hold anything.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
