package verbs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
)

// whyCommand is why: what is decided on a target, how that came to be, and who knows it.
func whyCommand(t *Terminal) *cobra.Command {
	var at string
	var all bool
	q := &admin.WhyRequest{}
	c := &cobra.Command{
		Use: "why TARGET", Short: "Explain what is decided on an address, and who has been told", Args: exactArgs(1),
		Long: `Says in a sentence whether TARGET is decided against, until when and by what, and how many bouncers know it.
Then: the decisions in force, longest first; what is decided on parts of a range; allowlist entries that cover it,
and what they ended; for each bouncer whether it was told, and if not, why; and what was decided before, with
what ended it.

TARGET is an address or a range in any spelling, scope:value (country:DE, as:64500, username:bob), decision:ID or
alert:ID. A number alone is a decision; an alert, where there is no such decision.

--at asks about another moment, as far as what is kept can tell: an RFC 3339 time, how long ago (2h, 3d; +2h for
what will be then), or seconds since 1970. What cannot be known of that moment is said.

Bouncers that stand alike are counted, and the ten farthest behind are named; --all names each row, 100 000 at
most. Other lists show ten, and a thousand with --all; -o json implies --all and tells all counts. What a bouncer
leaves out by its own parameters is not known here.

The exit code is 0 when the question was answered, whatever the answer (scripts read .decided of -o json), and 1
when it could not be: TARGET cannot be read, or no such decision, alert or bouncer is kept.`,
		RunE: func(c *cobra.Command, args []string) error {
			if t.Output == raw {
				return t.unsupported()
			}
			if c.Flags().Changed("bouncer") && q.Bouncer == "" {
				return errors.New("--bouncer is given with nothing in it: give it a bouncer's name, or leave it out for all")
			}
			if err := whyMoment(q, at, c.Flags().Changed("at")); err != nil {
				return err
			}
			if q.Target = args[0]; all || t.Output == jsonWords {
				q.Most, q.EveryRow = engine.MostShown, true
			}
			return t.withClient(c.Context(), func(client *admin.Client) error { return explain(c.Context(), t, client, q) })
		},
	}
	c.Flags().StringVar(&q.Bouncer, "bouncer", "", "only this bouncer, with the rows made from its key")
	c.Flags().StringVar(&at, "at", "", "another moment: RFC 3339, how long ago (2h), or seconds since 1970")
	c.Flags().BoolVar(&all, "all", false, "name every bouncer, and up to a thousand of everything else")
	return c
}

// whyMoment reads --at. How long ago is counted by the server.
func whyMoment(q *admin.WhyRequest, text string, given bool) error {
	text = strings.TrimSpace(text)
	if !given {
		return nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n <= 0 || n > math.MaxInt64/int64(time.Second) {
			return fmt.Errorf("--at %s: seconds since 1970 are between 1 and %d", text, math.MaxInt64/int64(time.Second))
		}
		q.At = n * int64(time.Second)
		return nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		if at.Year() < 1971 || at.Year() > 2261 {
			return fmt.Errorf("--at %s: the year must be between 1971 and 2261", text)
		}
		q.At = at.UnixNano()
		return nil
	}
	ago, err := engine.ParseDuration(strings.TrimPrefix(text, "+"))
	if err != nil || ago <= 0 || ago == math.MaxInt64 {
		return fmt.Errorf("--at '%.60s' is no moment: give a time such as 2026-07-01T12:00:00Z, how long ago (2h, 3d), or seconds since 1970", text)
	}
	if q.Ago = int64(ago); strings.HasPrefix(text, "+") {
		q.Ago = -q.Ago
	}
	return nil
}

// explain asks and shows the answer.
func explain(ctx context.Context, t *Terminal, client *admin.Client, q *admin.WhyRequest) error {
	a, err := client.Why(ctx, q)
	if e := (*engine.Error)(nil); errors.As(err, &e) && e.Kind == engine.ErrNotFound && e.Noun == engine.NounBouncer {
		return fmt.Errorf("there is no bouncer '%s': their names are shown by: %s bouncers list", q.Bouncer, t.program())
	}
	if err != nil {
		return err
	}
	if t.Output == jsonWords {
		return t.json(a, "  ")
	}
	showWhy(t, a)
	return nil
}

// showWhy writes the answer for people: the sentence, what it cannot tell, and a table for each
// thing that there is.
func showWhy(t *Terminal, a *engine.Why) {
	t.print("%s\n", a.Verdict)
	for _, s := range a.Notes {
		t.print("Note: %s.\n", s)
	}
	showWhyDecisions(t, "In force", &a.Decisions, a)
	if a.Inside != nil {
		showWhyDecisions(t, "In force on parts of it", a.Inside, a)
	}
	showWhyEntries(t, &a.Allowlists)
	if a.Bouncers != nil {
		showWhyBouncers(t, a.Bouncers)
	}
	showWhyDecisions(t, "Before", &a.Before, a)
}

// whyTitle is the head of a section, with how many there are and how many are shown.
func whyTitle(what string, count, shown int, more bool) string {
	n := strconv.Itoa(count)
	if more {
		n += " or more"
	}
	if shown < count {
		return fmt.Sprintf("%s: %s, the first %d shown", what, n, shown)
	}
	return what + ": " + n
}

// showWhyDecisions writes decisions, nothing when there are none.
func showWhyDecisions(t *Terminal, title string, list *engine.WhyDecisions, a *engine.Why) {
	if list.Count == 0 {
		return
	}
	table := lightTable()
	table.title(whyTitle(title, list.Count, len(list.First), list.More))
	table.head(left, "ID", "Type", "On", "Origin", "Reason", "Alert", "Machine", "Since", "Until", "Note")
	table.body()
	for i := range list.First {
		d := &list.First[i]
		until := whyMomentText(d.Until)
		if d.Ended != nil {
			until = whyMomentText(d.Ended)
		}
		table.row(id(uint64(d.ID)), d.Type, d.Scope+":"+d.Value, d.Origin, d.Scenario, id(uint64(d.Alert)), d.Machine,
			whyMomentText(d.Since), until, whyNote(d, a))
	}
	t.print("\n")
	t.show(table)
}

// whyNote is what is to be said of one decision beside its fields.
func whyNote(d *engine.WhyDecision, a *engine.Why) string {
	var notes []string
	if d.Simulated {
		notes = append(notes, "simulated: nobody is told")
	}
	if d.Wider {
		notes = append(notes, "covers it with its whole range")
	}
	if d.OutlastedBy != 0 {
		notes = append(notes, fmt.Sprintf("decision %d on the same lasts longer", d.OutlastedBy))
	}
	if d.Ended != nil {
		ending := d.Ending
		if a.At != nil && d.Ended.After(*a.At) {
			ending = "after that " + ending
		}
		notes = append(notes, ending)
	}
	if d.AlertGone && !strings.Contains(d.Ending, "its alert was deleted") {
		notes = append(notes, "its alert was deleted")
	}
	return strings.Join(notes, "; ")
}

// showWhyEntries writes allowlist entries.
func showWhyEntries(t *Terminal, list *engine.WhyEntries) {
	if list.Count == 0 {
		return
	}
	table := lightTable()
	table.title(whyTitle("Allowlisted", list.Count, len(list.First), false))
	table.head(left, "List", "Entry", "Comment", "Since", "Until", "Note")
	table.body()
	for i := range list.First {
		e := &list.First[i]
		until := "forever"
		if e.Until != nil {
			until = whyMomentText(e.Until)
		}
		table.row(e.List, e.Entry, e.Comment, whyMomentText(e.Since), until, whyEntryNote(e))
	}
	t.print("\n")
	t.show(table)
}

// whyEntryNote is what an entry has done.
func whyEntryNote(e *engine.WhyEntry) string {
	var notes []string
	if !e.Covers {
		notes = append(notes, "lies inside")
	}
	if e.Removed != nil {
		notes = append(notes, "removed "+whyMomentText(e.Removed))
	}
	if e.EndedCount > 0 {
		ids := make([]string, len(e.Ended))
		for i, n := range e.Ended {
			ids[i] = id(uint64(n))
		}
		if more := e.EndedCount - len(e.Ended); more > 0 {
			ids = append(ids, fmt.Sprintf("%d more", more))
		}
		notes = append(notes, "ended "+strings.Join(ids, ", "))
	}
	if e.Dropped > 0 {
		notes = append(notes, fmt.Sprintf("alerts dropped since the server started: %d, last %s", e.Dropped, whyMomentText(e.LastDropped)))
	}
	return strings.Join(notes, "; ")
}

// whyStandings are the standings in words.
var whyStandings = map[engine.BouncerStanding]string{
	engine.StandingWaiting: "not told yet", engine.StandingHolding: "not told of the end", engine.StandingSent: "being told",
	engine.StandingHidden: "hidden", engine.StandingNever: "never asked", engine.StandingLive: "asks live", engine.StandingTold: "told",
	engine.StandingFree: "nothing to tell",
}

// showWhyBouncers writes how bouncers stand, worst first.
func showWhyBouncers(t *Terminal, b *engine.WhyBouncers) {
	if b.Rows == 0 {
		return
	}
	table := lightTable()
	rows := 0
	for i := range b.First {
		rows += b.First[i].Rows
	}
	table.title(whyTitle("Bouncers", b.Rows, rows, false))
	table.head(left, "Name", "Rows", "Knows", "Decision", "Since revision", "Cursor", "Behind", "Last API pull", "Note")
	table.body()
	for i := range b.First {
		x := &b.First[i]
		cursor, behind, decision, began := "", "", "", ""
		if x.Cursor != nil {
			cursor, behind = fmt.Sprint(*x.Cursor), fmt.Sprint(x.Behind)
		}
		if x.Decision != 0 {
			decision, began = id(uint64(x.Decision)), fmt.Sprint(x.Began)
		}
		knows := whyStandings[x.Standing]
		if x.Acked {
			knows = "acknowledged"
		}
		table.row(x.Name, strconv.Itoa(x.Rows), knows, decision, began, cursor, behind, whyMomentText(x.LastPull), x.By)
	}
	t.print("\n")
	t.show(table)
	if b.More > 0 {
		lines := "1 more line is"
		if b.More > 1 {
			lines = fmt.Sprintf("%d more lines are", b.More)
		}
		t.print("%s left out: --all shows each row.\n", lines)
	}
}

// whyMomentText is a moment in whole seconds, UTC, "" where it is not known.
func whyMomentText(at *time.Time) string {
	if at == nil {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}
