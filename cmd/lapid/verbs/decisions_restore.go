package verbs

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
)

// decisionsRestore is decisions restore.
func decisionsRestore(t *Terminal) *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use: "restore REVISION", Short: "Take a deletion of decisions back: they run until they would have ended", Args: exactArgs(1),
		Long: `Takes back what "decisions delete", over HTTP or here, has ended at a revision, which its answer names ("audit list --action
decision.delete" has it too). Of each decision whose time is not over the like begins, with another number, in one commit. What is
decided anew already, is allowlisted by now or belongs to a list stays ended, and is counted. A deletion of alerts cannot be taken back: they are
gone. --dry-run only says what would be.`,
		RunE: func(c *cobra.Command, args []string) error {
			at, err := strconv.ParseUint(args[0], 10, 63)
			if err != nil || at == 0 {
				return fmt.Errorf("a revision is a number, not %q", args[0])
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				out, err := client.RestoreDecisions(c.Context(), &admin.DecisionRestoration{Revision: engine.Revision(at), Dry: dry})
				if err != nil {
					return fmt.Errorf("unable to restore decisions: %w", err)
				}
				return showRestored(t, out)
			})
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "change nothing, only say what would be")
	return c
}

func showRestored(t *Terminal, out *admin.Restored) error {
	if t.Output == jsonWords {
		return t.json(out, " ")
	}
	for _, left := range []struct {
		n   int
		why string
	}{{out.Running, "decided anew already"}, {out.Allowlisted, "allowlisted by now"}, {out.Over, "whose time is over"}, {out.Lists, "of a list, which sets its own ends"}} {
		if left.n > 0 {
			t.success("%d %s: left as they are", left.n, left.why)
		}
	}
	if out.Dry {
		t.print("Would restore %d decision(s)\n", out.N)
		return nil
	}
	t.success("%d decision(s) restored", out.N)
	return nil
}
