package verbs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lapid/transport/admin"
)

// machinesInspect is machines inspect: what a machine has said of itself, or, with
// --hub, what is installed on it. There is no raw form but of the latter, as in the
// reference.
func machinesInspect(t *Terminal) *cobra.Command {
	var hub bool
	c := &cobra.Command{
		Use: "inspect NAME", Short: "Show all that is known of a machine", Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if t.Output == raw && !hub {
				return t.unsupported()
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				return inspectMachine(c.Context(), t, client, args[0], hub)
			})
		},
	}
	c.Flags().BoolVarP(&hub, "hub", "H", false, "the hub items it has installed")
	return c
}

// inspectMachine fetches one machine and the newest report of its counters, the last
// that the server yields. A machine that never reported has no counters, which is no
// error.
func inspectMachine(ctx context.Context, t *Terminal, client *admin.Client, name string, hub bool) error {
	m, err := client.Machine(ctx, name)
	if err != nil {
		return fmt.Errorf("unable to read machine data '%s': %w", name, worded("inspect", err))
	}
	if hub {
		return showHub(t, m)
	}
	// Reports come oldest first, and counters count from the start of the log processor: the
	// last report has all of them.
	var last *admin.UsageReport
	for r, err := range client.Usage(ctx, &admin.UsageRequest{Kind: "machine", Name: name}) {
		if err != nil {
			return err
		}
		last = r
	}
	usage := machineUsage{}
	if last != nil {
		if usage, err = machineUsageOf(last); err != nil {
			return err
		}
	}
	return showMachine(t, m, usage)
}

// machineUsage is what a log processor counted, in JSON as inspect shows it.
// Rows are in order of their names, whatever the order of the report.
type machineUsage struct {
	Acquisition []acquisitionRow `json:"acquisition,omitempty"`
	Parsers     []parserRow      `json:"parsers,omitempty"`
}

// acquisitionRow counts the lines of one source of logs since the log processor
// started.
type acquisitionRow struct {
	Source string `json:"source"`
	// In lines.
	Read     number `json:"read"`
	Parsed   number `json:"parsed"`
	Unparsed number `json:"unparsed"`
}

// parserRow counts what one parser was given from one source.
type parserRow struct {
	Source   string `json:"source"`
	Parser   string `json:"parser"`
	Stage    string `json:"stage"`
	Parsed   number `json:"parsed"`
	Unparsed number `json:"unparsed"`
}

// machineUsageOf sorts the counters of one report into its two tables. A
// counter with the label parser belongs to that parser, any other to its
// source; names that neither table has are passed over, for newer log
// processors count more. Counters that occur twice are added up.
func machineUsageOf(r *admin.UsageReport) (machineUsage, error) {
	items, err := usageItems(r)
	if err != nil {
		return machineUsage{}, err
	}
	sources, parsers := map[string]*acquisitionRow{}, map[[3]string]*parserRow{}
	for _, i := range items {
		source := usageSource(i.Labels)
		if name := i.Labels["parser"]; name != "" {
			k := [3]string{source, i.Labels["stage"], name}
			if parsers[k] == nil {
				parsers[k] = &parserRow{Source: source, Parser: name, Stage: k[1]}
			}
			parsers[k].count(i.Name, i.Value)
			continue
		}
		if i.Name != "read" && i.Name != "parsed" && i.Name != "unparsed" {
			continue
		}
		if sources[source] == nil {
			sources[source] = &acquisitionRow{Source: source}
		}
		sources[source].count(i.Name, i.Value)
	}
	var u machineUsage
	for _, r := range sources {
		u.Acquisition = append(u.Acquisition, *r)
	}
	for _, r := range parsers {
		u.Parsers = append(u.Parsers, *r)
	}
	slices.SortFunc(u.Acquisition, func(a, b acquisitionRow) int { return cmp.Compare(a.Source, b.Source) })
	slices.SortFunc(u.Parsers, func(a, b parserRow) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Parser, b.Parser))
	})
	return u, nil
}

// count adds a counter of the report; names that have no column change nothing.
func (r *acquisitionRow) count(name string, n number) {
	switch name {
	case "read":
		r.Read += n
	case "parsed":
		r.Parsed += n
	case "unparsed":
		r.Unparsed += n
	}
}

// count does the same for a parser.
func (r *parserRow) count(name string, n number) {
	switch name {
	case "parsed":
		r.Parsed += n
	case "unparsed":
		r.Unparsed += n
	}
}

// usageSource names where lines came from: "file:/var/log/auth.log (syslog)".
func usageSource(labels map[string]string) string {
	text := labels["source"]
	if kind := labels["datasource_type"]; kind != "" && !strings.HasPrefix(text, kind+":") {
		text = kind + ":" + text
	}
	if kind := labels["acquis_type"]; kind != "" {
		text += " (" + kind + ")"
	}
	return text
}

// showMachine is the page for people, or one object in JSON with the counters below
// "metrics".
func showMachine(t *Terminal, m *admin.Machine, usage machineUsage) error {
	if t.Output == jsonWords {
		return t.json(struct {
			machineObject
			Metrics machineUsage `json:"metrics"`
		}{machineObjectOf(m), usage}, "  ")
	}
	table := boxedTable()
	table.title("Machine: " + m.ID)
	table.body()
	for _, f := range [][2]string{
		{"IP Address", m.IP}, {"Created At", fullTime(m.CreatedAt)}, {"Last Update", fullTime(m.UpdatedAt)},
		{"Last Heartbeat", fullTime(m.LastHeartbeat)}, {"Validated?", fmt.Sprint(m.Validated)},
		{"CrowdSec version", m.Version}, {"OS", osText(m.OS)}, {"Auth type", m.AuthType},
	} {
		table.row(f[0], f[1])
	}
	var sources []string
	for _, d := range m.DataSources {
		sources = append(sources, fmt.Sprintf("%s: %d", d.Name, d.N))
	}
	table.column("Datasources", sources)
	table.column("Feature Flags", m.FeatureFlags)
	var collections []string
	for _, i := range m.HubItems["collections"] {
		collections = append(collections, i.Name)
	}
	table.column("Collections", collections)
	t.show(table)
	showUsage(t, usage)
	return nil
}

// column adds a name with as many values as there are, one below the other.
func (t *table) column(name string, values []string) {
	for i, v := range values {
		if i > 0 {
			name = ""
		}
		t.row(name, v)
	}
}

// showUsage draws the tables of counters that have a row. Figures are in full: they
// are compared with each other.
func showUsage(t *Terminal, u machineUsage) {
	if len(u.Acquisition) > 0 {
		table := boxedTable()
		table.title("Acquisition Metrics")
		table.head(left, "Source", "Read", "Parsed", "Unparsed")
		table.body()
		for _, r := range u.Acquisition {
			table.line(cell{text: r.Source}, figure(r.Read), figure(r.Parsed), figure(r.Unparsed))
		}
		t.show(table)
	}
	if len(u.Parsers) > 0 {
		table := boxedTable()
		table.title("Parser Metrics")
		table.head(left, "Source", "Parser", "Parsed", "Unparsed")
		table.body()
		for _, r := range u.Parsers {
			table.line(cell{text: r.Source}, cell{text: r.Stage + "/" + r.Parser}, figure(r.Parsed), figure(r.Unparsed))
		}
		t.show(table)
	}
}

// figure is a number in a column of numbers.
func figure(n number) cell { return cell{text: n.String(), align: right} }

// hubObject is a hub item in JSON.
type hubObject struct {
	Name    string `json:"name"`
	Status  string `json:"status"`
	Version string `json:"version"`
}

// showHub writes the hub items of a machine in the chosen format, kind by kind in
// alphabetical order, so that two machines can be compared by diff.
func showHub(t *Terminal, m *admin.Machine) error {
	if t.Output == jsonWords {
		out := map[string][]hubObject{}
		for kind, items := range m.HubItems {
			out[kind] = []hubObject{}
			for _, i := range items {
				out[kind] = append(out[kind], hubObject{i.Name, i.Status, i.Version})
			}
		}
		return t.json(out, "  ")
	}
	// In alphabetical order in each format that has one.
	kinds := sortedKeys(m.HubItems)
	if t.Output == raw {
		var rows [][]string
		for _, kind := range kinds {
			for _, i := range m.HubItems[kind] {
				rows = append(rows, []string{kind, i.Name, i.Status, i.Version})
			}
		}
		return t.csv([]string{"type", "name", "status", "version"}, rows)
	}
	for _, kind := range kinds {
		table := boxedTable()
		table.title(kind)
		table.head(left, "Name", "Status", "Version")
		table.body()
		for _, i := range m.HubItems[kind] {
			table.row(i.Name, i.Status, i.Version)
		}
		t.show(table)
	}
	return nil
}
