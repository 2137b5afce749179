package verbs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/admin"
)

// profilesCommand is the noun profiles: the operator's rules for alerts.
func profilesCommand(t *Terminal) *cobra.Command {
	return group("profiles", "The rules that judge alerts", profilesTest(t))
}

// errRefusedAlert is how a test ends whose alert a server would refuse.
var errRefusedAlert = errors.New("a filter has failed, and a server would refuse the alert with the whole request that it came in: " +
	"mend the filter, or give its profile an on_error")

// profilesTest is profiles test.
func profilesTest(t *Terminal) *cobra.Command {
	var a trialAlert
	c := &cobra.Command{
		Use: "test", Short: "Try the profiles on an alert, which is not stored", Args: NoArgs,
		Long: `Reads the profiles as they are in their files now and judges an alert by them, as the server would, and stores and
sends nothing. It shows what each profile says, each filter with its result and with the values that it asked for, what
would be stored, until when, and who would be told.

The alert comes from a file (-f: an alert as log processors send it, or as "alerts inspect -o json" shows it), or is made
of flags: it asks for remediation, is about an address (--ip), and has one event.

What was decided before (GetDecisionsCount and its like) and allowlists are the running server's, or the store's while
none runs; where there is no store, nothing was ever decided. Exit code 1: the profiles have a mistake, or a filter fails
and the alert would be refused.`,
		RunE: func(c *cobra.Command, _ []string) error {
			alert, err := a.alert(c, t.In)
			if err != nil {
				return err
			}
			return tryProfiles(c.Context(), t, alert)
		},
	}
	a.flags(c)
	return c
}

// trialAlert is what the flags say of the alert.
type trialAlert struct {
	file, scenario, message, machine string
	ip, rng, scope, value            string
	country, asNumber, asName        string
	events                           int32
	meta                             []string
	remediation, simulated           bool
}

func (a *trialAlert) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&a.file, "file", "f", "", "file with one alert in JSON (- is standard input), in place of all other flags")
	f.StringVarP(&a.scenario, "scenario", "s", "", "its scenario")
	f.StringVarP(&a.ip, "ip", "i", "", "the address that it is about")
	f.StringVarP(&a.rng, "range", "r", "", "the range that it is about; with --ip: the range that the address is in")
	f.StringVar(&a.scope, "scope", "", "with --value: what kind of thing it is about, in place of --ip")
	f.StringVarP(&a.value, "value", "v", "", "with --scope: what it is about")
	f.StringVar(&a.country, "country", "", "country of the source, such as DE")
	f.StringVar(&a.asNumber, "as-number", "", "AS number of the source, such as 64500")
	f.StringVar(&a.asName, "as-name", "", "AS name of the source")
	f.Int32Var(&a.events, "events", 1, "how many events it has")
	f.StringArrayVar(&a.meta, "meta", nil, "KEY=VALUE of its meta; may be repeated")
	f.StringVar(&a.message, "message", "", "its message")
	f.StringVarP(&a.machine, "machine", "m", "", "the machine that reports it")
	f.BoolVar(&a.remediation, "remediation", true, "that it asks for remediation")
	f.BoolVar(&a.simulated, "simulated", false, "that its scenario is in simulation")
}

// alert is the one of the file, or one made of the flags. What can never come in is refused.
func (a *trialAlert) alert(c *cobra.Command, in io.Reader) (*admin.Alert, error) {
	if a.file != "" {
		for _, name := range []string{"scenario", "ip", "range", "scope", "value", "country", "as-number", "as-name", "events", "meta", "message", "machine", "remediation", "simulated"} {
			if c.Flags().Changed(name) {
				return nil, fmt.Errorf("--%s is about an alert that is made of flags, and --file brings one: give one of both", name)
			}
		}
		return readAlert(a.file, in)
	}
	out := &admin.Alert{
		Scenario: a.scenario, Message: a.message, MachineID: a.machine, EventsCount: a.events, Remediation: a.remediation, Simulated: a.simulated,
		Source: admin.Source{IP: a.ip, Range: a.rng, Cn: a.country, AsNumber: a.asNumber, AsName: a.asName},
	}
	switch s := &out.Source; {
	case (a.scope == "") != (a.value == ""):
		return nil, errors.New("--scope and --value belong together")
	case a.scope != "" && (a.ip != "" || a.rng != ""):
		return nil, errors.New("an alert is about one thing: give --ip, --range, or --scope with --value")
	case a.scope != "":
		s.Scope, s.Value = a.scope, a.value
	case a.ip != "":
		s.Scope, s.Value = "Ip", a.ip
		if _, err := netip.ParseAddr(a.ip); err != nil {
			return nil, fmt.Errorf("%s is not a valid ip", a.ip)
		}
	case a.rng != "":
		s.Scope, s.Value = "Range", a.rng
	default:
		return nil, errors.New("an alert is missing: make one with --scenario and --ip, or name a file with -f")
	}
	if a.rng != "" {
		if _, err := netip.ParsePrefix(a.rng); err != nil {
			return nil, fmt.Errorf("%s is not a valid range", a.rng)
		}
	}
	if a.events < 0 {
		return nil, fmt.Errorf("--events cannot be %d", a.events)
	}
	for _, pair := range a.meta {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--meta must be KEY=VALUE, not %q", pair)
		}
		out.Meta = append(out.Meta, admin.Meta{Key: key, Value: value})
	}
	for range min(out.EventsCount, mostTrialEvents) {
		out.Events = append(out.Events, admin.Event{Meta: out.Meta, Timestamp: time.Now().UTC().Format(time.RFC3339)})
	}
	return out, nil
}

// mostTrialEvents is how many events are really made; a log processor sends fewer than it counts, too.
const mostTrialEvents = 100

// longestAlert bounds a file, as a request body is bounded.
const longestAlert = 50 << 20

// readAlert reads one alert. A list, as it is sent to the Local API, may hold one.
func readAlert(file string, in io.Reader) (*admin.Alert, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, longestAlert+1))
	if err == nil && len(text) > longestAlert {
		err = fmt.Errorf("more than %d MiB", longestAlert>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var list []admin.Alert
	if strings.HasPrefix(strings.TrimSpace(string(text)), "[") {
		err = json.Unmarshal(text, &list)
	} else {
		list = make([]admin.Alert, 1)
		err = json.Unmarshal(text, &list[0])
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s is no alert: %w", file, err)
	case len(list) != 1:
		return nil, fmt.Errorf("%s holds %d alerts: give one, with jq '.[0]' for example", file, len(list))
	case list[0].Source.Scope == "" && len(list[0].Decisions) == 0:
		return nil, fmt.Errorf("%s is no alert: its source has no scope", file)
	}
	return &list[0], nil
}

// trialObject is a test in JSON.
type trialObject struct {
	Files []string     `json:"profile_files"` // none: the stock profiles
	Alert *admin.Alert `json:"alert"`
	*config.Trial
}

// tryProfiles reads the rules and asks whoever has the history.
func tryProfiles(ctx context.Context, t *Terminal, alert *admin.Alert) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	// Warnings are lines of the log, as serve -t shows them.
	log := slog.New(slog.DiscardHandler)
	if t.Output == human {
		log = slog.New(warningLines{t})
	}
	r, kinds, err := s.TrialRules(log)
	if err != nil {
		return datadir.DeniedFile(err)
	}
	rules, err := json.Marshal(r)
	if err != nil {
		return err
	}
	text, err := judgedTrial(ctx, t, s, alert, rules)
	if err != nil {
		return err
	}
	o := trialObject{Files: trialFiles(s), Alert: alert, Trial: &config.Trial{}}
	if err := json.Unmarshal(text, o.Trial); err != nil {
		return err
	}
	for i := range o.Notify {
		o.Notify[i].Type = kinds[o.Notify[i].Name]
	}
	switch t.Output {
	case jsonWords:
		err = t.json(o, " ")
	case raw:
		return t.unsupported()
	default:
		showTrial(t, &o)
	}
	if err == nil && o.Refused != "" {
		return errRefusedAlert
	}
	return err
}

// judgedTrial asks the server, or the store; where there is neither, nothing was ever decided.
func judgedTrial(ctx context.Context, t *Terminal, s *config.Setup, alert *admin.Alert, rules json.RawMessage) (text json.RawMessage, err error) {
	t.Init = false // also where it is said: a test makes nothing
	err = t.withClient(ctx, func(client *admin.Client) error {
		text, err = client.TryProfiles(ctx, alert, rules)
		return apiError(err)
	})
	if !errors.Is(err, errNoStore) {
		return text, err
	}
	now := time.Now().UnixNano()
	found, err := config.TryRules(rules, admin.ComingAlert(alert, now), nil, now)
	if err != nil {
		return nil, err
	}
	return json.Marshal(found)
}

// trialFiles are the files of profiles that are there.
func trialFiles(s *config.Setup) []string {
	return append([]string{}, slices.DeleteFunc(s.ProfileFiles(), datadir.Missing)...)
}

// warningLines is a log whose warnings are shown on the terminal.
type warningLines struct{ t *Terminal }

// Enabled implements slog.Handler.
func (w warningLines) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements slog.Handler.
func (w warningLines) Handle(_ context.Context, r slog.Record) error {
	w.t.log("warning", "%s", r.Message)
	return nil
}

// WithAttrs implements slog.Handler; what is said here has none.
func (w warningLines) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w warningLines) WithGroup(string) slog.Handler { return w }

// showTrial is for people: the rules, one filter a line, then what would come of them.
func showTrial(t *Terminal, o *trialObject) {
	if len(o.Files) == 0 {
		t.print("Profiles: the stock ones, for the configuration names no file\n")
	} else {
		t.print("Profiles: %s\n", strings.Join(o.Files, ", "))
	}
	if !o.History {
		t.print("There is no store: nothing was ever decided, and nothing is allowlisted.\n")
	}
	t.print("Alert: %s by %s, events: %d\n\n", cmp.Or(o.Alert.Scenario, "(no scenario)"), o.Alert.Source.Scope+":"+o.Alert.Source.Value, o.Alert.EventsCount)
	if o.Allowlisted != "" {
		t.print("The alert would be dropped, and no profile asked: it is allowlisted by %s.\n", o.Allowlisted)
		return
	}
	table := boxedTable()
	table.head(left, "Profile", "Says", "Filter", "Result", "Because")
	table.body()
	for i := range o.Profiles {
		p := &o.Profiles[i]
		name, says := p.Name, profileSays(p)
		for j := range p.Filters {
			f := &p.Filters[j]
			table.row(name, says, f.Text, cmp.Or(f.Result, f.Error, "not asked"), because(f.Parts))
			name, says = "", ""
		}
		if len(p.Filters) == 0 {
			table.row(name, says, "(none)", "", "")
		}
		for j := range p.Durations {
			d := &p.Durations[j]
			table.row("", "", "duration_expr: "+d.Text, d.Result+suffix(" (", d.Error, ")"), because(d.Parts))
		}
	}
	t.show(table)
	showTrialOutcome(t, o)
}

// suffix is a text with something around it; nothing around nothing.
func suffix(before, text, behind string) string {
	if text == "" {
		return ""
	}
	return before + text + behind
}

// profileSays is a profile's verdict in a word or two.
func profileSays(p *config.TracedProfile) string {
	var says []string
	switch {
	case !p.Reached:
		return "not reached"
	case !p.Matched:
		return "no match"
	case p.Decides:
		says = []string{"decides"}
	default:
		says = []string{"matches"}
	}
	if len(p.Notify) > 0 {
		says = append(says, "notifies")
	}
	if p.Stops {
		says = append(says, "stops")
	}
	return strings.Join(says, ", ")
}

// because are the values that an expression asked for.
func because(parts []config.TracedPart) string {
	var said []string
	for _, p := range parts {
		if p.Error != "" {
			said = append(said, p.Text+": "+p.Error)
			continue
		}
		said = append(said, p.Text+" = "+p.Value)
	}
	return strings.Join(said, ", ")
}

// showTrialOutcome says what would be stored and who would be told.
func showTrialOutcome(t *Terminal, o *trialObject) {
	switch {
	case o.Refused != "":
		t.print("\nThe alert would be refused: %s\n", o.Refused)
		return
	case !o.Stored:
		t.print("\nThe alert would be dropped: none of its %d decisions could be stored.\n", o.Discarded)
		return
	case len(o.Decisions) == 0:
		t.print("\nThe alert would be stored, without decisions.\n")
	default:
		t.print("\nThe alert would be stored, with these decisions%s:\n", map[bool]string{true: ", simulated, which no bouncer is told"}[o.Simulated])
		table := boxedTable()
		table.head(left, "Action", "Scope:Value", "Duration", "Until", "Origin")
		table.body()
		for _, d := range o.Decisions {
			table.row(d.Type, d.Scope+":"+d.Value, d.Duration, d.Until, d.Origin)
		}
		t.show(table)
	}
	if o.Discarded > 0 && len(o.Decisions) > 0 {
		t.print("%d more could not be stored.\n", o.Discarded)
	}
	for _, n := range o.Notify {
		without := map[bool]string{true: ", without decisions: its profile matches before one decides"}[n.Undecided]
		t.print("Told: %s (%s)%s\n", n.Name, n.Type, without)
	}
	for i := range o.Profiles {
		for _, name := range o.Profiles[i].Unsent {
			t.print("Not told: %s, for no notification of that name is configured\n", name)
		}
	}
	if len(o.Notify) == 0 {
		t.print("Nobody would be told.\n")
	}
	t.print("Nothing was stored, and nothing was sent.\n")
}
