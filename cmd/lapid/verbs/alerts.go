package verbs

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
)

// alertsCommand is the noun alerts. Like every noun it goes over the operator's
// socket and needs no login: a user who may open the socket may do everything.
func alertsCommand(t *Terminal) *cobra.Command {
	c := group("alerts", "Alerts: list, inspect, delete, flush",
		alertsList(t), alertsInspect(t), alertsDelete(t), alertsFlush(t))
	c.Aliases = []string{"alert"}
	return c
}

// alertsList is alerts list. Alerts without decisions are in it; those that only
// stand for a community list are not, unless --all asks for them.
func alertsList(t *Terminal) *cobra.Command {
	var f alertFlags
	c := &cobra.Command{
		Use: "list", Short: "List alerts, newest first", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return listAlerts(c.Context(), t, &f, false, showAlerts)
		},
	}
	f.listing(c, 50)
	c.Flags().StringVar(&f.kindOfDecision, "type", "", "type of decision (ban, captcha ...)")
	c.Flags().StringVar(&f.kindOfAlert, "kind", "", "kind of alert (crowdsec, cscli, capi ...)")
	return c
}

// listAlerts asks for alerts, with active only those with a running decision, and has
// them shown as they come. The limit is the server's to keep.
func listAlerts(ctx context.Context, t *Terminal, f *alertFlags, active bool,
	show func(t *Terminal, parts alertParts, machines bool) error) error {
	filter, err := f.filter(active)
	if err != nil {
		return err
	}
	filter.Counted = !active && t.Output != jsonWords
	return t.withClient(ctx, func(client *admin.Client) error {
		return show(t, client.AlertParts(ctx, filter), f.machines)
	})
}

// showAlerts writes the list in the chosen format. Columns, their order and the words
// for nothing are those of the reference (testdata/cscli), because scripts read them.
// Decisions come counted but for JSON.
func showAlerts(t *Terminal, parts alertParts, machines bool) error {
	switch t.Output {
	case jsonWords: // without a newline at the end, as the reference
		return t.jsonAlerts(parts, nil, "")
	case raw:
		header := []string{"id", "scope", "value", "reason", "country", "as", "decisions", "created_at", "kind"}
		if machines {
			header = append(header, "machine")
		}
		return t.csvEach(header, func(write func([]string) error) error {
			return eachPart(parts, func(p *admin.AlertPart) error {
				a := p.Alert
				row := []string{id(a.ID), a.Source.Scope, a.Source.Value, a.Scenario, a.Source.Cn, as(a), decidedText(p.Counts), a.CreatedAt, a.Kind}
				return write(withMachine(row, a, machines))
			})
		})
	}
	names := []string{"ID", "value", "reason", "country", "as", "decisions", "created_at", "kind"}
	if machines {
		names = append(names, "machine")
	}
	table := boxedTable()
	defer table.close()
	table.head(center, names...)
	table.body()
	err := eachPart(parts, func(p *admin.AlertPart) error {
		a := p.Alert
		row := []string{id(a.ID), alertTarget(p), a.Scenario, a.Source.Cn, as(a), decidedText(p.Counts), a.CreatedAt, a.Kind}
		return table.packed(withMachine(row, a, machines)...)
	})
	switch {
	case err != nil:
		return err
	case table.rows.n == 0:
		t.print("No active alerts\n")
		return nil
	}
	return t.showLong(table)
}

// alertTarget is whom the alert is about, and how many decisions it has when
// there are several.
func alertTarget(p *admin.AlertPart) string {
	text := p.Alert.Source.Scope
	if p.Alert.Source.Value != "" {
		text += ":" + p.Alert.Source.Value
	}
	all := 0
	for _, n := range p.Counts {
		all += n
	}
	if all > 1 {
		text += fmt.Sprintf(" (%d Ips)", all)
	}
	return text
}

// alertsDelete is alerts delete. Deleting needs a filter, numbers or --all: a verb
// without any says so and deletes nothing, so that a variable that is empty in a
// script costs nothing. Several numbers are deleted one by one, what a filter finds
// in one commit.
func alertsDelete(t *Terminal) *cobra.Command {
	var f alertFlags
	var number string
	var all, yes bool
	c := &cobra.Command{
		Use: "delete", Short: "Delete alerts with their decisions", Args: NoArgs, Aliases: []string{"remove"},
		Long: "Deletes alerts and ends their decisions, of which bouncers are told. Says what went, the first ten by name.",
		RunE: func(c *cobra.Command, _ []string) error {
			what := &admin.AlertDeletion{}
			filter, err := f.filter(false)
			if err != nil {
				return err
			}
			// What is deleted by a filter is deleted whatever its origin.
			filter.HideCommunity = false
			what.Filter = *filter
			switch {
			case number != "":
				ids, err := parseRanges(number)
				if errors.Is(err, errNoID) {
					return errors.New("API error: alert_id must be valid integer")
				}
				if err != nil {
					return err
				}
				if len(ids) > 1 {
					return deleteAlertsByID(c.Context(), t, ids)
				}
				what.ID = ids[0]
			// Only --contained, which narrows nothing down, may be set in a filter
			// that says nothing.
			case !all && *filter == (admin.AlertFilter{Inside: f.contained}):
				return errNoFilter(c)
			}
			// A person is asked, a program is not: it could only fail.
			if what.ID == 0 && all && !yes && t.attended() {
				if ok, err := t.agree("All alerts that match will be deleted, with their decisions. Continue?"); err != nil || !ok {
					return err
				}
			}
			return deleteAlerts(c.Context(), t, what)
		},
	}
	f.flags(c)
	s := c.Flags()
	s.StringVar(&f.scope, "scope", "", "scope (ip, range, as, country, any word)")
	s.StringVarP(&f.scenario, "scenario", "s", "", "scenario")
	s.BoolVar(&f.contained, "contained", false, "what lies inside the range")
	s.StringVar(&number, "id", "", "number of the alert, or several: 41-49,51")
	s.BoolVarP(&all, "all", "a", false, "all alerts; on a terminal it asks")
	s.BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// deleteAlerts deletes what one request asks for and says what went. A number that is
// not there is an error in the reference's words, a filter that finds nothing is not
// one: 0 were deleted.
func deleteAlerts(ctx context.Context, t *Terminal, what *admin.AlertDeletion) error {
	return t.withClient(ctx, func(client *admin.Client) error {
		gone, err := client.DeleteAlerts(ctx, what)
		if err != nil {
			return fmt.Errorf("unable to delete alert: %w", apiError(worded("delete", err)))
		}
		if t.Output == jsonWords {
			return t.json(deletedObject{gone.N}, " ")
		}
		tellDeleted(t, gone)
		t.success("%d alert(s) deleted", gone.N)
		return nil
	})
}

// tellDeleted says which alerts went, the first ones by name. The server
// sends at most admin.ShownEnded of them, so a deletion of a million is told
// in a few lines.
func tellDeleted(t *Terminal, gone *admin.DeletedAlerts) {
	for _, a := range gone.First {
		about := ""
		if a.Scope != "" || a.Value != "" {
			about = " of " + a.Scope + ":" + a.Value
		}
		t.success("alert %d%s (%s, %d decision(s))", a.ID, about, a.Scenario, a.Decisions)
	}
	if more := gone.N - len(gone.First); more > 0 {
		t.success("... and %d more", more)
	}
}

// deleteAlertsByID deletes several; those that are gone already do not matter.
// Each is a commit of its own; when one fails, the error says how many went before
// it. Told are the first admin.ShownEnded, as by one request.
func deleteAlertsByID(ctx context.Context, t *Terminal, ids []uint64) error {
	return t.withClient(ctx, func(client *admin.Client) error {
		// One request each: the server knows deletion by one number or by a filter.
		all := &admin.DeletedAlerts{}
		for _, n := range ids {
			gone, err := client.DeleteAlerts(ctx, &admin.AlertDeletion{ID: n})
			if errors.Is(err, engine.ErrNotFound) {
				continue
			}
			if err != nil {
				return fmt.Errorf("unable to delete alert %d (%d were deleted before it): %w", n, all.N, apiError(err))
			}
			if all.N++; len(all.First) < admin.ShownEnded {
				all.First = append(all.First, gone.First...)
			}
		}
		if t.Output == jsonWords {
			return t.json(deletedObject{all.N}, " ")
		}
		tellDeleted(t, all)
		t.success("%d alert(s) deleted", all.N)
		return nil
	})
}

// alertsFlush is alerts flush: retention by hand. Alerts with a running decision
// stay, however old or many they are, for bouncers act on them; so more than
// --max-items may be left. A limit of 0 keeps everything.
func alertsFlush(t *Terminal) *cobra.Command {
	var items int
	var age string
	c := &cobra.Command{
		Use: "flush", Short: "Remove alerts that are too many or too old; those with running decisions stay", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := engine.ParseDuration(age)
			if err != nil {
				return fmt.Errorf("invalid max-age '%s': %w", age, err)
			}
			if items < 0 || d < 0 {
				return errors.New("max-items and max-age can't be negative")
			}
			// In the reference's words, before anything is done.
			t.success("Flushing alerts. !! This may take a long time !!")
			return t.withClient(c.Context(), func(client *admin.Client) error {
				if _, err := client.FlushAlerts(c.Context(), &admin.Flush{MaxItems: items, MaxAge: int64(d)}); err != nil {
					return fmt.Errorf("unable to flush alerts: %w", err)
				}
				t.success("Alerts flushed")
				return nil
			})
		},
	}
	c.Flags().IntVar(&items, "max-items", 5000, "how many alerts to keep")
	c.Flags().StringVar(&age, "max-age", "7d", "how old they may be")
	return c
}

// alertsInspect is alerts inspect. Alerts are shown one after the other; the first
// that is not there ends it with an error, and what was shown before stays.
func alertsInspect(t *Terminal) *cobra.Command {
	var details bool
	c := &cobra.Command{
		Use: "inspect ID...", Short: "Show all that is known of alerts", Args: minArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				for _, arg := range args {
					if err := inspectAlert(c.Context(), t, client, arg, details); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&details, "details", "d", false, "the events too")
	return c
}

// inspectAlert shows one alert with all that is stored of it. Numbers have at most 63
// bits, as in the database of the reference, so that its error for more is the same.
func inspectAlert(ctx context.Context, t *Terminal, client *admin.Client, arg string, details bool) error {
	n, err := strconv.ParseUint(arg, 10, 63)
	if err != nil {
		return fmt.Errorf("bad alert id %s", arg)
	}
	a, err := client.Alert(ctx, n)
	if err != nil {
		return fmt.Errorf("can't find alert with id %s: %w", arg, apiError(worded("inspect", err)))
	}
	switch t.Output {
	case jsonWords:
		return t.json(a.Alert, "  ")
	case raw:
		t.print("%s\n", alertYAML(a.Alert))
		return nil
	}
	showAlert(t, a, details)
	return nil
}

// showAlert is the page for people. The fields and the rule of 96 signs above them
// are the reference's. Events are left out without details: there may be hundreds.
func showAlert(t *Terminal, shown *admin.AlertShown, details bool) {
	a := shown.Alert
	target := a.Source.Scope
	if a.Source.Value != "" {
		target += ":" + a.Source.Value
	}
	t.print("\n%s\n\n", strings.Repeat("#", 96))
	for _, f := range [][2]string{
		{"ID", id(a.ID)}, {"Date", a.CreatedAt}, {"Machine", a.MachineID}, {"Simulation", fmt.Sprint(a.Simulated)},
		{"Remediation", fmt.Sprint(a.Remediation)}, {"Kind", a.Kind}, {"Reason", a.Scenario},
		{"Events Count", fmt.Sprint(a.EventsCount)}, {"Scope:Value", target}, {"Country", a.Source.Cn},
		{"AS", a.Source.AsName}, {"Begin", a.StartAt}, {"End", a.StopAt}, {"UUID", a.UUID},
	} {
		t.print(" - %-12s : %s\n", f[0], f[1])
	}
	t.print("\n")
	showRunning(t, shown)
	if len(a.Meta) > 0 {
		showContext(t, a)
	}
	if details {
		showEvents(t, a)
	}
}

// showRunning draws the decisions of the alert that run at the server's now. Which
// those are is told by the server, whose clock is the one that counts.
func showRunning(t *Terminal, shown *admin.AlertShown) {
	if len(shown.Running) == 0 {
		return
	}
	// A set, for an alert may have thousands of decisions.
	running := map[uint64]bool{}
	for _, n := range shown.Running {
		running[n] = true
	}
	table := boxedTable()
	table.title("Active Decisions")
	table.head(center, "ID", "scope:value", "action", "expiration", "created_at")
	table.body()
	for _, d := range shown.Alert.Decisions {
		if running[d.ID] {
			table.row(id(d.ID), d.Scope+":"+d.Value, d.Type, d.Duration, shown.Alert.CreatedAt)
		}
	}
	t.show(table)
}

// showContext lists what the log processor attached: values are lists in JSON.
// A value that is no such list is shown as it is.
func showContext(t *Terminal, a *admin.Alert) {
	t.print("\n - Context  :\n")
	table := boxedTable()
	table.head(center, "Key", "Value")
	table.body()
	for _, m := range a.Meta {
		for _, v := range texts(m.Value) {
			table.row(m.Key, v)
		}
	}
	t.show(table)
}

// showEvents draws a table for each event, in the order they were sent, with keys in
// alphabetical order. The alert is left as it is: the list is sorted in a copy.
func showEvents(t *Terminal, a *admin.Alert) {
	t.print("\n - Events  :\n")
	for _, e := range a.Events {
		t.print("\n- Date: %s\n", e.Timestamp)
		table := boxedTable()
		table.head(center, "Key", "Value")
		table.body()
		meta := append([]admin.Meta(nil), e.Meta...)
		sort.SliceStable(meta, func(i, j int) bool { return meta[i].Key < meta[j].Key })
		for _, m := range meta {
			table.row(m.Key, m.Value)
		}
		t.show(table)
	}
}
