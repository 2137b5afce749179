package verbs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
)

// waiting is what bouncers wait is asked for.
type waiting struct {
	revision, decision uint64
	all                bool
	timeout            time.Duration
}

// mostWait is the longest wait for bouncers.
const mostWait = time.Hour

// bouncersWait is bouncers wait: back when bouncers have what was decided.
func bouncersWait(t *Terminal) *cobra.Command {
	var w waiting
	c := &cobra.Command{
		Use: "wait (--revision R | --decision ID) (--all | NAME...)", Short: "Wait until bouncers have acknowledged a revision or a decision",
		Long: `Waits until the named bouncers, or with --all all that have ever asked for decisions, have
acknowledged a revision or a decision. A bouncer acknowledges what it was told by coming back with
it: the answer's arrival alone shows nothing. So this takes up to two of its polls; with held polls
(--hold) and event streams it takes milliseconds. The rows that a bouncer's key made from other
addresses are waited for with it; each row counts as one bouncer, however many processes share it.

Nothing is waited for, and that is said, where nothing in the revision concerns the bouncer, where
its view or what it asks hides the decision, where it asks for each address by itself (it has all at
once), where the decision has ended meanwhile, and with --all from bouncers that have never asked.

The revision is in what "decisions add" and "decisions import" print with -o json.

Exit code 0: they have it. 1: not all have it, and those who have not are listed; or there is no
such bouncer, decision or revision. 130: interrupted.`,
		Args: func(c *cobra.Command, args []string) error { return w.judge(c, args) },
		RunE: func(c *cobra.Command, args []string) error { return waitForBouncers(c.Context(), t, &w, args) },
	}
	s := c.Flags()
	s.Uint64Var(&w.revision, "revision", 0, "the revision that they must have")
	s.Uint64Var(&w.decision, "decision", 0, "the number of the decision that they must have")
	s.BoolVar(&w.all, "all", false, "all bouncers that have ever asked for decisions")
	s.DurationVar(&w.timeout, "timeout", 30*time.Second, "how long to wait, an hour at most")
	return c
}

// judge refuses what says too little or contradicts itself.
func (w *waiting) judge(c *cobra.Command, args []string) error {
	revision, decision := c.Flags().Changed("revision"), c.Flags().Changed("decision")
	switch {
	case revision == decision:
		return errors.New("say what to wait for: either --revision or --decision")
	case decision && w.decision == 0:
		return errors.New("there is no decision 0: give the number of one")
	case w.all == (len(args) > 0):
		return errors.New("say for whom to wait: either --all or the names of bouncers")
	case w.timeout < 0 || w.timeout > mostWait:
		return fmt.Errorf("--timeout is %s: give one of up to %s", w.timeout, mostWait)
	}
	return nil
}

// what is what is waited for, in words.
func (w *waiting) what() string {
	if w.decision != 0 {
		return fmt.Sprintf("decision %d", w.decision)
	}
	return fmt.Sprintf("revision %d", w.revision)
}

// waitForBouncers waits and says how it ended.
func waitForBouncers(ctx context.Context, t *Terminal, w *waiting, names []string) error {
	return t.withClient(ctx, func(client *admin.Client) error {
		if t.offline {
			w.timeout = 0 // nobody can come
		}
		q := admin.AwaitRequest{Revision: engine.Revision(w.revision), Decision: w.decision, Names: names}
		got, err := client.AwaitBouncers(ctx, q, w.timeout)
		if ctx.Err() != nil {
			return fmt.Errorf("%w while waiting for bouncers", ErrInterrupted)
		}
		if err != nil {
			return fmt.Errorf("unable to wait for bouncers: %w", worded("wait for", err))
		}
		return showAwaited(t, w, names, got)
	})
}

// awaitedObject is the end of a wait in JSON.
type awaitedObject struct {
	Done     bool               `json:"done"`
	Revision uint64             `json:"revision"`
	Decision uint64             `json:"decision,omitempty"`
	Ended    bool               `json:"ended"` // the decision has
	Bouncers []awaitedRowObject `json:"bouncers"`
}

type awaitedRowObject struct {
	Name         string  `json:"name"`
	State        string  `json:"state"` // has, nothing, live, never, waits
	Acknowledged *uint64 `json:"acknowledged,omitempty"`
}

// showAwaited writes how it ended; an error where not all have it.
func showAwaited(t *Terminal, w *waiting, names []string, got *engine.Awaited) error {
	missing := missingRows(names, got)
	if t.Output == jsonWords {
		if err := t.json(awaitedObjectOf(w, got), " "); err != nil {
			return err
		}
	} else if got.Over {
		t.success("%s has ended: there is nothing to wait for", w.what())
	} else {
		tellAwaited(t, w, got)
	}
	if got.Done {
		return nil
	}
	for _, line := range missing {
		t.log("error", "%s", line)
	}
	if t.offline {
		return fmt.Errorf("%d bouncer(s) do not have %s, and without a server none can come for it: start it", len(missing), w.what())
	}
	return fmt.Errorf("%d bouncer(s) do not have %s after %s", len(missing), w.what(), w.timeout)
}

// tellAwaited says of whom nothing is to be waited for, and why, and how many have it.
func tellAwaited(t *Terminal, w *waiting, got *engine.Awaited) {
	n := map[engine.HoldState][]string{}
	for _, r := range got.Rows {
		n[r.State] = append(n[r.State], r.Name)
	}
	for _, of := range []struct {
		state engine.HoldState
		says  string
	}{
		{engine.HoldNothing, "nothing in it concerns %s"},
		{engine.HoldLive, "nothing to wait for with %s: each address is asked for by itself, and has it at once"},
		{engine.HoldNever, "%s has never asked for decisions"},
	} {
		if list := n[of.state]; len(list) > 0 {
			t.success(of.says, shownNames(list))
		}
	}
	if got.Done {
		t.success("%d bouncer(s) have %s", len(n[engine.HoldHas]), w.what())
	}
}

// shownNames is a few of many names.
func shownNames(list []string) string {
	const most = 10
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// missingRows says who does not have it, a line for each; of those that were named, who has
// never asked too.
func missingRows(names []string, got *engine.Awaited) (lines []string) {
	if got.Done {
		return nil
	}
	came := map[string]bool{}
	for _, r := range got.Rows {
		came[engine.BaseName(r.Name)] = came[engine.BaseName(r.Name)] || r.State != engine.HoldNever
		if r.State != engine.HoldWaits {
			continue
		}
		at := "has acknowledged nothing since it began anew"
		if r.Has {
			at = fmt.Sprintf("has acknowledged revision %d", r.Acknowledged)
		}
		lines = append(lines, fmt.Sprintf("%s %s, and not %d", r.Name, at, got.Revision))
	}
	for _, name := range names {
		if !came[engine.BaseName(name)] {
			lines = append(lines, name+" has never asked for decisions")
		}
	}
	return lines
}

func awaitedObjectOf(w *waiting, got *engine.Awaited) awaitedObject {
	o := awaitedObject{Done: got.Done, Revision: uint64(got.Revision), Decision: w.decision, Ended: got.Over, Bouncers: []awaitedRowObject{}}
	for _, r := range got.Rows {
		row := awaitedRowObject{Name: r.Name, State: string(r.State)}
		if r.Has {
			at := uint64(r.Acknowledged)
			row.Acknowledged = &at
		}
		o.Bouncers = append(o.Bouncers, row)
	}
	return o
}
