package verbs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/admin"
	"lapid/transport/shadow"
)

// ShadowVerbs are the verbs that ask a running shadow.
func ShadowVerbs(t *Terminal) []*cobra.Command {
	return []*cobra.Command{shadowReport(t), shadowAnswer(t), shadowReset(t)}
}

// withShadow runs one verb with the way in to the server that runs: a shadow's counts are nowhere else.
func withShadow(ctx context.Context, t *Terminal, verb func(*admin.Client) error) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	tellOrigin(t, s)
	c, err := admin.Dial(ctx, s.Socket())
	if errors.Is(err, admin.ErrNotRunning) {
		return fmt.Errorf("no shadow is running on %s: start one with 'lapid%s shadow --upstream http://HOST:PORT'", s.Store(), s.Named())
	}
	if err != nil {
		return datadir.Permitted(err, s.Socket())
	}
	defer c.Close()
	return verb(c)
}

// shadowReport is shadow report.
func shadowReport(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "report", Short: "What the two servers answered differently", Args: NoArgs,
		Long: `Shows what came of the comparison since the shadow began or was reset: for each route how many requests there were, how many
answers were equal, differed for a known reason, or differed without one, and how long each server took.
JSON has the first ten unexplained differences of each kind with both bodies, cut at 4 KiB, without secrets.

Exit code 1 when something is unexplained, or the comparison is void.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return withShadow(c.Context(), t, func(client *admin.Client) error {
				text, err := client.ShadowReport(c.Context())
				if err != nil {
					return err
				}
				r := &shadow.Report{}
				if err := json.Unmarshal(text, r); err != nil {
					return fmt.Errorf("unreadable report: %w", err)
				}
				if err := showShadow(t, r); err != nil {
					return err
				}
				return doubtful(r)
			})
		},
	}
}

// doubtful is why a cut-over should wait; nil when nothing speaks against it.
func doubtful(r *shadow.Report) error {
	switch n := r.Unexplained(); {
	case r.Void != "":
		return fmt.Errorf("the comparison is void since %s: %s", r.VoidAt.Format(time.RFC3339), r.Void)
	case n > 0:
		return fmt.Errorf("%d answers differ without a known reason: 'lapid shadow report -o json' has the first of each kind with both bodies", n)
	}
	return nil
}

// showShadow shows a report in the format that was asked for.
func showShadow(t *Terminal, r *shadow.Report) error {
	switch t.Output {
	case jsonWords:
		return t.json(r, " ")
	case config.Raw:
		var rows [][]string
		for _, one := range r.Routes {
			rows = append(rows, []string{one.Route, counted(one.Requests), counted(one.Equal), counted(one.Explained), counted(one.Unexplained),
				counted(total(one.Skipped)), counted(one.Dropped), inSeconds(one.Theirs.Median), inSeconds(one.Theirs.P99), inSeconds(one.Ours.Median), inSeconds(one.Ours.P99)})
		}
		return t.csv([]string{"route", "requests", "equal", "explained", "unexplained", "skipped", "dropped",
			"theirs_median", "theirs_p99", "ours_median", "ours_p99"}, rows)
	}
	who := "the old server answers"
	switch {
	case r.Answer == shadow.Ours.String() && len(r.Bouncers) > 0:
		who = fmt.Sprintf("lapid answers %v, the old server all others", r.Bouncers)
	case r.Answer == shadow.Ours.String():
		who = "lapid answers"
	}
	t.print("%s in front of %s since %s; %s; %d requests wait\n", r.Listen, r.Upstream, r.Since.Format(time.RFC3339), who, r.Waiting)
	shadowTable(t, r)
	shadowReasons(t, r)
	return nil
}

func shadowTable(t *Terminal, r *shadow.Report) {
	out := boxedTable()
	out.head(left, "Route", "Requests", "Equal", "Explained", "Unexplained", "Skipped", "Dropped", "Theirs p50/p99", "Ours p50/p99")
	out.body()
	for _, one := range r.Routes {
		cells := []cell{{text: one.Route}}
		for _, n := range []int64{one.Requests, one.Equal, one.Explained, one.Unexplained, total(one.Skipped), one.Dropped} {
			cells = append(cells, cell{text: counted(n), align: right})
		}
		for _, took := range []shadow.Took{one.Theirs, one.Ours} {
			cells = append(cells, cell{text: briefly(took.Median) + " / " + briefly(took.P99), align: right})
		}
		out.line(cells...)
	}
	t.show(out)
}

// shadowReasons are the lines below the table: what explains, what does not, what is missing on one side.
func shadowReasons(t *Terminal, r *shadow.Report) {
	for _, one := range r.Routes {
		for _, why := range slices.Sorted(maps.Keys(one.Reasons)) {
			t.print("explained %d  %s: %s\n", one.Reasons[why], one.Route, why)
		}
		for _, why := range slices.Sorted(maps.Keys(one.Skipped)) {
			t.print("skipped %d  %s: %s\n", one.Skipped[why], one.Route, why)
		}
	}
	for _, one := range r.Routes {
		for _, k := range one.Kinds {
			t.print("UNEXPLAINED %d  %s: %s\n", k.Count, one.Route, k.Kind)
			if len(k.Examples) > 0 {
				e := k.Examples[0]
				t.print("  first: %s: %s\n", e.Request, e.What)
			}
		}
	}
	for _, l := range r.Lost {
		t.print("NOT PASSED ON to the server that is %s: %s %s at %s: %s\n", l.Side, l.Method, l.Target, l.At.Format(time.RFC3339), l.Why)
	}
	if more := r.LostCount - int64(len(r.Lost)); more > 0 {
		t.print("NOT PASSED ON: %d more\n", more)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Certificates)) {
		t.print("cannot be shadowed, for it shows a certificate: %s\n", name)
	}
}

func total(reasons map[string]int64) (n int64) {
	for _, one := range reasons {
		n += one
	}
	return n
}

func inSeconds(s float64) string { return strconv.FormatFloat(s, 'g', 4, 64) }

// briefly is a latency for people.
func briefly(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < time.Millisecond {
		return d.Round(time.Microsecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

// shadowAnswer is shadow answer.
func shadowAnswer(t *Terminal) *cobra.Command {
	var bouncers []string
	c := &cobra.Command{
		Use: "answer theirs|ours", Short: "Say who answers from now on", Args: exactArgs(1), ValidArgs: []string{"theirs", "ours"},
		Long: `Says who answers requests that come from now on: the old server (theirs) or lapid (ours), everybody or the bouncers that are
named alone. The other one gets every request all the same, so it can be undone at once.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := SomeBouncers(c, bouncers); err != nil {
				return err
			}
			return withShadow(c.Context(), t, func(client *admin.Client) error {
				if err := client.ShadowAnswer(c.Context(), &admin.Answering{Side: args[0], Bouncers: bouncers}); err != nil {
					return err
				}
				t.success("%s", answeredNow(args[0], bouncers))
				return nil
			})
		},
	}
	c.Flags().StringSliceVar(&bouncers, "bouncers", nil, "with ours: only these bouncers, separated by commas")
	return c
}

// SomeBouncers refuses a flag --bouncers that is given and names nobody, as an unset variable makes it: without it
// everybody is meant.
func SomeBouncers(c *cobra.Command, names []string) error {
	if c.Flags().Changed("bouncers") && len(names) == 0 {
		return errors.New("--bouncers names nobody: name bouncers, separated by commas, or leave it out to mean everybody")
	}
	return nil
}

func answeredNow(side string, bouncers []string) string {
	switch {
	case side == "theirs":
		return "the old server answers everybody"
	case len(bouncers) > 0:
		return fmt.Sprintf("lapid answers %v, the old server all others", bouncers)
	}
	return "lapid answers everybody"
}

// shadowReset is shadow reset.
func shadowReset(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "reset", Short: "Begin the comparison anew", Args: NoArgs,
		Long: "Sets all counts to zero and forgets what made the comparison void. For after lapid was brought level, with 'lapid movein'.",
		RunE: func(c *cobra.Command, _ []string) error {
			return withShadow(c.Context(), t, func(client *admin.Client) error {
				if err := client.ShadowReset(c.Context()); err != nil {
					return err
				}
				t.success("the comparison begins anew")
				return nil
			})
		},
	}
}
