package verbs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lapid/cmd/lapid/docs"
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
			return errors.Join(writeManual(c.Root(), args[0], t.Build.Version), writeFilePages(c.Root(), args[0], t.Build.Version))
		},
	}
}

// manualWidth is how wide a page of lapid docs is set as a page of man, which sets it in by seven blanks.
const manualWidth = 73

// writeFilePages writes the pages about files, NAME.5: lapid.yaml from the settings that the help of the
// program lists, and the whole configuration from the page about it, as lapid docs shows it.
func writeFilePages(root *cobra.Command, dir, version string) error {
	_, settings, _ := strings.Cut(root.Long, "\nSettings that ")
	pages := map[string]string{
		"lapid.yaml": manHead("lapid.yaml", "5", "settings that config.yaml has no room for", version) +
			".SH DESCRIPTION\nThe file lies beside config.yaml; where it says the same as a variable, the variable counts.\n.nf\n" +
			roff("Settings that "+settings) + "\n.fi\n.SH SEE ALSO\n.BR lapid (8),\n.BR lapid\\-config (5)\n",
	}
	for _, topic := range docs.Topics() {
		if topic.Name == "configuration" {
			pages["lapid-config"] = manHead("lapid-config", "5", topic.About, version) +
				".SH DESCRIPTION\n.nf\n" + roff(plainPage(topic.Text, manualWidth)) + ".fi\n.SH SEE ALSO\n.BR lapid (8),\n.BR lapid.yaml (5)\n"
		}
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(dir, name+".5"), []byte(page), 0o644); err != nil {
			return fmt.Errorf("writing man pages: %w", err)
		}
	}
	return nil
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
	out.WriteString(manHead(name, "8", c.Short, version))
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
	if !c.HasParent() {
		out.WriteString(manOverview)
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

// manHead is how a page begins. It has no date: the same program gives the same pages, whenever they are
// written.
func manHead(name, section, about, version string) string {
	return fmt.Sprintf(".TH %q %s \"\" \"lapid %s\" \"lapid\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), section, version, roff(name), roff(about))
}

// manOverview is what only the first page says, in the language of man.
const manOverview = `.SH FILES
.TP
.I /etc/lapid/config.yaml
the configuration, in the reference's words
.TP
.I /etc/lapid/lapid.yaml
lapid's own settings, beside it
.TP
.I /etc/lapid/profiles.yaml
what becomes of an alert
.TP
.I /var/lib/lapid
the store of the service: journal, snapshots, rows. It is the server's alone
.TP
.I /run/lapid/admin.sock
where a server of the package takes the verbs of an operator
.SH ENVIRONMENT
Beside the variables of settings, above:
.TP
.B CS_LAPI_SECRET
the key that tokens of machines are signed with
.TP
.B GOGC, GOMEMLIMIT, GOMAXPROCS
as for any program in Go; memory and processors are found by themselves
.TP
.B HTTP_PROXY, HTTPS_PROXY, NO_PROXY
for the Central API, lists and notifications
.SH EXIT STATUS
.TP
.B 0
done
.TP
.B 1
it failed, and said why; nothing was changed unless it says so
.TP
.B 2
the server was started with a flag that it does not know
.TP
.B 130
interrupted
.SH SIGNALS
.TP
.B SIGHUP
the server reads its configuration again, and its log file anew
.TP
.B SIGTERM, SIGINT
the server answers what was asked, writes a snapshot if one is due, and ends
`

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
