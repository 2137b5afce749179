package verbs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lapid/engine"
	"lapid/transport/admin"
)

// decisionsCommand is the noun decisions: what runs, one by hand, an end before its
// time, and whole lists from elsewhere.
func decisionsCommand(t *Terminal) *cobra.Command {
	c := group("decisions", "Decisions: list, add, delete, import",
		decisionsList(t), decisionsAdd(t), decisionsDelete(t), decisionsRestore(t), decisionsExtend(t), decisionsImport(t))
	c.Aliases = []string{"decision"}
	return c
}

// decisionsList is decisions list. Alerts are asked for, since the reference's list
// shows scenario, country and machine beside each decision; so --limit counts alerts.
func decisionsList(t *Terminal) *cobra.Command {
	var f alertFlags
	c := &cobra.Command{
		Use: "list", Short: "List running decisions", Args: NoArgs,
		Long: `Lists the decisions of the newest alerts that have a running one; --limit counts alerts. With
--ip, --range, --type or --origin only the decisions that these ask for are shown. Everything else
chooses alerts, --all too, so decisions of such an alert that are over show up with an expiration of 0s
or less: of an import, which is one alert, all that was deleted or replaced since.
--batch-name shows what an import stored, --name what a named list has; -o json tells the batch or the
list of each alert.
What -o json and -o raw print can be given to "decisions import".`,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("limit") && (f.batch != "" || f.list != "") {
				f.limit = 0 // all that came in together
			}
			return listAlerts(c.Context(), t, &f, true, showDecisions)
		},
	}
	f.listing(c, 100)
	s := c.Flags()
	s.StringVarP(&f.kindOfDecision, "type", "t", "", "type of decision (ban, captcha ...)")
	s.BoolVar(&f.noSimulated, "no-simu", false, "leave simulated decisions out")
	s.StringVar(&f.batch, "batch-name", "", "what the import of that name stored")
	s.StringVar(&f.list, "name", "", "what the named list has (decisions import --name)")
	return c
}

// decisionColumns are those of the raw form; the table has the same without
// simulated, which it writes into the action.
var decisionColumns = []string{"id", "source", "ip", "reason", "action", "country", "as", "events_count", "expiration",
	"simulated", "alert_id"}

// showDecisions writes the decisions of alerts in the chosen format. JSON has the
// alerts around them, as in the reference: it is what import takes back.
func showDecisions(t *Terminal, parts alertParts, machines bool) error {
	seen := newSeenTargets()
	switch t.Output {
	case jsonWords:
		return t.jsonAlerts(parts, func(a *admin.Alert, d *admin.Decision) bool { return !seen.again(a, d) }, "\n")
	case raw:
		header := decisionColumns
		if machines {
			header = append(header[:len(header):len(header)], "machine")
		}
		return t.csvEach(header, func(write func([]string) error) error {
			return seen.eachDecision(parts, func(a *admin.Alert, d *admin.Decision) error {
				row := []string{id(d.ID), d.Origin, d.Scope + ":" + d.Value, d.Scenario, d.Type, a.Source.Cn, as(a),
					strconv.Itoa(int(a.EventsCount)), d.Duration, strconv.FormatBool(a.Simulated), id(a.ID)}
				return write(withMachine(row, a, machines))
			})
		})
	}
	if err := showDecisionsTable(t, seen, parts, machines); err != nil {
		return err
	}
	if seen.skipped > 0 {
		t.print("%d duplicated entries skipped\n", seen.skipped)
	}
	return nil
}

// showDecisionsTable is the list for people; a simulated decision is marked in its
// action.
func showDecisionsTable(t *Terminal, seen *seenTargets, parts alertParts, machines bool) error {
	names := []string{"ID", "Source", "Scope:Value", "Reason", "Action", "Country", "AS", "Events", "expiration", "Alert ID"}
	if machines {
		names = append(names, "Machine")
	}
	// The table is drawn only when there is a row; else a sentence says that there is none.
	table := boxedTable()
	defer table.close()
	table.head(center, names...)
	table.body()
	err := seen.eachDecision(parts, func(a *admin.Alert, d *admin.Decision) error {
		action := d.Type
		if a.Simulated {
			action = "(simul)" + action
		}
		row := []string{id(d.ID), d.Origin, d.Scope + ":" + d.Value, d.Scenario, action, a.Source.Cn, as(a),
			strconv.Itoa(int(a.EventsCount)), d.Duration, id(a.ID)}
		return table.packed(withMachine(row, a, machines)...)
	})
	switch {
	case err != nil:
		return err
	case table.rows.n == 0:
		t.print("No active decisions\n")
		return nil
	}
	return t.showLong(table)
}

// decisionsAdd is decisions add: one decision by hand, stored as an alert of this
// machine's.
func decisionsAdd(t *Terminal) *cobra.Command {
	var f targetFlags
	var n admin.NewDecision
	c := &cobra.Command{
		Use: "add", Short: "Add one decision", Args: NoArgs,
		Long: `Adds one decision. With --dry-run nothing is stored: it says whether a decision of that type runs on
the target already, whether an allowlist is in the way, and which bouncers would be told of more than
their --max-entries; the exit code is that of the real run.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return addDecision(c.Context(), t, &f, &n)
		},
	}
	f.flags(c)
	s := c.Flags()
	s.StringVar(&f.scope, "scope", engine.ScopeIP, "scope of the value (ip, range, country, as, any word)")
	s.StringVarP(&n.Duration, "duration", "d", "4h", "how long (4h, 30m, 2d ..., forever)")
	s.StringVarP(&n.Type, "type", "t", "ban", "type of decision (ban, captcha ...)")
	s.StringVarP(&n.Reason, "reason", "R", "", "reason (default: manual '<type>' from '<login>')")
	s.BoolVar(&n.Dry, "dry-run", false, "store nothing, only say what would be")
	s.BoolVarP(&n.Bypass, "bypass-allowlist", "B", false, "add the decision although the value is allowlisted")
	return c
}

// addDecision judges the decision and sends it. What can never work is refused here,
// with what to write instead; what is only strange is warned of and stored. An
// allowlist that protects the value refuses it in the contract's words, which name
// the item.
func addDecision(ctx context.Context, t *Terminal, f *targetFlags, n *admin.NewDecision) error {
	if err := f.target(n); err != nil {
		return err
	}
	warnOfScope(t, n.Scope)
	if err := warnOfType(t, n.Type); err != nil {
		return err
	}
	s, err := t.Setup()
	if err != nil {
		return err
	}
	// A decision is signed by the login of this machine; it needs none to be made.
	n.Machine = s.Login()
	if n.Reason == "" {
		n.Reason = fmt.Sprintf("manual '%s' from '%s'", n.Type, n.Machine)
	}
	return t.withClient(ctx, func(client *admin.Client) error {
		var look *admin.Outlook
		var warning string
		var err error
		if n.Dry {
			look, err = client.WouldAddDecision(ctx, n)
		} else {
			warning, err = client.AddDecision(ctx, n)
		}
		if errors.Is(err, engine.ErrRefused) {
			return fmt.Errorf("%w, use --bypass-allowlist to add the decision anyway", err) // in the contract's words
		}
		if err != nil {
			return apiError(err)
		}
		if n.Dry {
			return showWouldAdd(t, n, look)
		}
		if warning != "" {
			t.log("warning", "%s", warning)
		}
		if t.Output == jsonWords {
			return t.json(storedObject{addedObject{n.Scope, n.Value, n.Type, n.Duration, n.Reason}, newestRevision(ctx, client)}, " ")
		}
		t.success("Decision successfully added")
		return nil
	})
}

// showWouldAdd says what would come of an addition.
func showWouldAdd(t *Terminal, n *admin.NewDecision, look *admin.Outlook) error {
	over := overflowing(look.Overflows)
	if t.Output == jsonWords {
		return t.json(wouldAddObject{
			addedObject{n.Scope, n.Value, n.Type, n.Duration, n.Reason}, true, look.New, look.Known, overflowObjects(over),
		}, " ")
	}
	t.print("Would add a %s on %s:%s for %s: %s\n", n.Type, n.Scope, n.Value, n.Duration, outlookText(look, 0))
	tellOverflows(t, over)
	return nil
}

// wouldAddObject is a decision that would be added, in JSON.
type wouldAddObject struct {
	addedObject
	DryRun    bool             `json:"dry_run"`
	New       int              `json:"new"`
	Known     int              `json:"known"`
	Overflows []overflowObject `json:"overflows"`
}

// addedObject is a decision that was added, in JSON.
type addedObject struct {
	Scope    string `json:"scope"`
	Value    string `json:"value"`
	Type     string `json:"type"`
	Duration string `json:"duration"`
	Reason   string `json:"reason"`
}

// storedObject says too which revision has it, or one behind that: what bouncers wait takes.
type storedObject struct {
	addedObject

	Revision uint64 `json:"revision,omitempty"`
}

// newestRevision is the newest there is: what was stored before is in it. 0: the server has
// gone meanwhile.
func newestRevision(ctx context.Context, client *admin.Client) uint64 {
	s, err := client.Status(ctx)
	if err != nil {
		return 0
	}
	return uint64(s.Revision)
}

// decisionFlags are what running decisions are found by.
type decisionFlags struct {
	targetFlags
	kind, scenario, origin, number string
	batch, list                    string
	contained                      bool
}

func (f *decisionFlags) flags(c *cobra.Command) {
	f.targetFlags.flags(c)
	s := c.Flags()
	s.StringVarP(&f.kind, "type", "t", "", "type of decision")
	s.StringVarP(&f.scenario, "scenario", "s", "", "scenario")
	s.StringVar(&f.origin, "origin", "", "origin (crowdsec, cscli, cscli-import, CAPI, lists ...)")
	s.StringVar(&f.number, "id", "", "number of the decision")
	s.BoolVar(&f.contained, "contained", false, "what lies inside the range")
	s.StringVar(&f.batch, "batch-name", "", "what the import of that name stored")
	s.StringVar(&f.list, "name", "", "what the named list has (decisions import --name)")
}

// filter is what was given; free are flags that may stand beside --id. The number 0, which no decision has, is nought: the
// server would take it for "no number", which is every decision. some is false when nothing narrows it.
func (f *decisionFlags) filter(c *cobra.Command, free ...string) (what admin.DecisionFilter, nought, some bool, err error) {
	// A filter that was written with an empty value filters by it: no decision has an
	// empty type, so nothing is found, where leaving it away would find more.
	what = admin.DecisionFilter{
		Inside: f.contained, Type: given(c, "type", f.kind), Value: given(c, "value", f.value),
		Scenario: given(c, "scenario", f.scenario), Origin: given(c, "origin", f.origin), Batch: f.batch, List: f.list,
	}
	for flag, name := range map[string]string{"batch-name": f.batch, "name": f.list} {
		if c.Flags().Changed(flag) && name == "" {
			return what, false, false, fmt.Errorf("--%s is empty: give the name", flag)
		}
	}
	if f.batch != "" && f.list != "" {
		return what, false, false, errors.New("give one of --batch-name and --name, not both")
	}
	if f.number != "" {
		if others := otherFlags(c, append(free, "id")...); len(others) > 0 {
			return what, false, false, fmt.Errorf("--id names one decision: it cannot be narrowed by --%s, leave that out", others[0])
		}
		n, err := strconv.ParseUint(f.number, 10, 63)
		if err != nil {
			return what, false, false, fmt.Errorf("id '%s' is not an integer: %w", f.number, err)
		}
		return admin.DecisionFilter{ID: n}, n == 0, true, nil
	}
	if what.Address, err = f.address(); err != nil {
		return what, false, false, err
	}
	return what, false, what.Narrows(), nil
}

// decisionsDelete is decisions delete. Decisions end, they do not vanish: their
// alerts stay, and bouncers are told of each end. A verb without any filter ends
// nothing and says what to add.
func decisionsDelete(t *Terminal) *cobra.Command {
	var f decisionFlags
	var how deletion
	var all bool
	c := &cobra.Command{
		Use: "delete", Short: "End running decisions", Args: NoArgs, Aliases: []string{"remove"},
		Long: `Ends the running decisions that match every filter. An address also ends decisions on ranges
that contain it; --contained ends what lies inside a range instead. Says what it ended, the first
ten by name. On a terminal it asks before more than a thousand end, unless --yes is given.
--id stands alone. --batch-name takes back what an import stored, --name a whole named list; what of it has ended already
does not matter, and a name that there is not is an error. --dry-run ends nothing and says what would end.`,
		RunE: func(c *cobra.Command, _ []string) error {
			what, nought, some, err := f.filter(c, "yes", "dry-run")
			switch {
			case err != nil:
				return err
			case !some && !all:
				return errNoFilter(c)
			}
			how.nought = nought
			return deleteDecisions(c.Context(), t, &what, how)
		},
	}
	f.flags(c)
	s := c.Flags()
	s.BoolVarP(&all, "all", "a", false, "all decisions")
	s.BoolVar(&how.yes, "yes", false, "do not ask, however many there are")
	s.BoolVar(&how.dry, "dry-run", false, "end nothing, only say what would end")
	return c
}

// otherFlags are the flags of the verb's own that were given, beside these.
func otherFlags(c *cobra.Command, these ...string) (list []string) {
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && !slices.Contains(these, f.Name) {
			list = append(list, f.Name)
		}
	})
	return list
}

// manyDecisions is how many may be deleted without a question on a terminal.
// It is the size of a slip: one country, one scenario, one list.
const manyDecisions = 1000

// deletion is how decisions are deleted. nought is the number 0, which no decision has; it
// must not be taken for "no number", which would end all.
type deletion struct{ nought, yes, dry bool }

// deleteDecisions ends what the filter finds, in one commit, and says what ended.
func deleteDecisions(ctx context.Context, t *Terminal, what *admin.DecisionFilter, how deletion) error {
	what.Dry = how.dry
	return t.withClient(ctx, func(client *admin.Client) error {
		if !how.yes && !how.dry && !how.nought && t.attended() {
			ok, err := agreeToDelete(ctx, t, client, *what)
			if err != nil || !ok {
				return err
			}
		}
		// The server would take 0 for "no number", which is every decision.
		ended, err := &admin.Ended{}, error(nil)
		if how.nought { // no decision has the number 0
			err = &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounDecision, Name: "0"}
		} else {
			ended, err = client.DeleteDecisions(ctx, what)
		}
		if err != nil {
			return fmt.Errorf("unable to delete decision: %w", apiError(worded("delete", err)))
		}
		switch {
		case how.dry && t.Output == jsonWords:
			return t.json(wouldDeleteObject{DryRun: true, Would: ended.N, First: append([]admin.Decision{}, ended.First...)}, " ")
		case how.dry:
			tellEnded(t, ended)
			t.print("Would delete %d decision(s)\n", ended.N)
			return nil
		case t.Output == jsonWords:
			return t.json(deletedObject{ended.N}, " ")
		}
		tellEnded(t, ended)
		if ended.At != 0 {
			t.success("'decisions restore %d' takes it back", ended.At)
		}
		t.success("%d decision(s) deleted", ended.N)
		return nil
	})
}

// wouldDeleteObject is what a deletion would end, in JSON, the first ones by name.
type wouldDeleteObject struct {
	DryRun bool             `json:"dry_run"`
	Would  int              `json:"would_delete"`
	First  []admin.Decision `json:"first"`
}

// agreeToDelete asks before very much is deleted. It lets the server count without
// changing anything; between that and the deletion more may come to match, and the
// question is not repeated.
func agreeToDelete(ctx context.Context, t *Terminal, client *admin.Client, what admin.DecisionFilter) (bool, error) {
	// The filter is a copy: the caller's stays one that deletes.
	what.Dry = true
	would, err := client.DeleteDecisions(ctx, &what)
	if err != nil {
		return false, fmt.Errorf("unable to delete decision: %w", apiError(err))
	}
	if would.N <= manyDecisions {
		return true, nil
	}
	tellEnded(t, would)
	return t.agree(fmt.Sprintf("All these %d decisions will be deleted. Continue?", would.N))
}

// tellEnded says which decisions a deletion is about, the first ones by name.
// What is left of each duration is said, since it is what the deletion takes away.
func tellEnded(t *Terminal, e *admin.Ended) {
	for i := range e.First {
		d := &e.First[i]
		t.success("%s of %s:%s (decision %d, %s, %s left)", d.Type, d.Scope, d.Value, d.ID, d.Scenario, d.Duration)
	}
	if more := e.N - len(e.First); more > 0 {
		t.success("... and %d more", more)
	}
}
