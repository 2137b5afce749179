package verbs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
)

// decisionsExtend is decisions extend.
func decisionsExtend(t *Terminal) *cobra.Command {
	var f decisionFlags
	var by string
	var dry bool
	c := &cobra.Command{
		Use: "extend", Short: "Let running decisions end later, or sooner", Args: NoArgs,
		Long: `Moves the end of the running decisions that match every filter, in one commit: --duration +4h lets each run four hours
longer than it would, -1h an hour shorter, and 4h (or forever) is what is left of each from now on. An address also finds
decisions on ranges that contain it; --contained finds what lies inside a range instead. --id stands alone.

A decision never changes: each ends and its like begins, with another number, of another alert of the same machine ("why" shows
both). So bouncers hear of the new end at their next poll; one that looks only at how long a ban it has already lasts may not take an
earlier one. Decisions of lists, which set their own ends, and those
that would be over are left as they are, and counted. 100000 are extended at most. --dry-run only says what would be.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if by == "" {
				return errors.New("say what becomes of their end: --duration +4h (longer), -1h (shorter) or 4h (from now on)")
			}
			x, err := admin.ParseExtension(by)
			if err != nil {
				return err
			}
			what, nought, some, err := f.filter(c, "duration", "dry-run")
			switch {
			case err != nil:
				return err
			case !some:
				return errors.New("say which decisions are meant, for example by --ip, --origin, --type or --id")
			}
			if nought {
				return fmt.Errorf("unable to extend decision: %w", apiError(worded("extend", &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounDecision, Name: "0"})))
			}
			what.Dry = dry
			return extendDecisions(c.Context(), t, &admin.DecisionExtension{DecisionFilter: what, By: int64(x.By), FromEnd: x.FromEnd})
		},
	}
	f.flags(c)
	c.Flags().StringVarP(&by, "duration", "d", "", "+4h: longer; -1h: shorter; 4h, forever: from now on")
	c.Flags().BoolVar(&dry, "dry-run", false, "change nothing, only say what would be")
	return c
}

// extendDecisions moves the ends and says of which, the first ones by name.
func extendDecisions(ctx context.Context, t *Terminal, q *admin.DecisionExtension) error {
	return t.withClient(ctx, func(client *admin.Client) error {
		out, err := client.ExtendDecisions(ctx, q)
		if err != nil {
			return fmt.Errorf("unable to extend decision: %w", apiError(worded("extend", err)))
		}
		if t.Output == jsonWords {
			return t.json(out, " ")
		}
		for _, d := range out.First {
			t.success("%s of %s:%s (decision %d, %s, %s left) until %s", d.Type, d.Scope, d.Value, d.ID, d.Scenario, d.Duration, d.Until.Format(time.RFC3339))
		}
		if more := out.N - len(out.First); more > 0 {
			t.success("... and %d more", more)
		}
		for _, left := range []struct {
			n   int
			why string
		}{{out.Lists, "of a list, which sets its own ends: left as they are"}, {out.Over, "would be over: left as they are, see 'decisions delete'"}, {out.Same, "end there already"}} {
			if left.n > 0 {
				t.success("%d %s", left.n, left.why)
			}
		}
		if q.Dry {
			t.print("Would extend %d decision(s)\n", out.N)
			return nil
		}
		t.success("%d decision(s) extended", out.N)
		return nil
	})
}
