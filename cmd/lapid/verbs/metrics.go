package verbs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/admin"
	"lapid/transport/inputs"
)

// metricSections are the sections that a Local API has, in the order they are shown.
var metricSections = []struct{ name, title, about string }{
	{"alerts", "Local API Alerts", "Stored alerts by scenario"},
	{"bouncers", "Bouncer Metrics", "What bouncers say they did"},
	{"decisions", "Local API Decisions", "Running decisions by reason, origin and action"},
	{"lapi", "Local API Metrics", "Requests by route"},
	{"lapi-bouncer", "Local API Bouncers Metrics", "Requests by bouncer and route"},
	{"lapi-decisions", "Local API Bouncers Decisions", "Live queries that found something, and that did not"},
	{"lapi-denied", "Local API Refusals", "Callers that were not let in, by reason; the log names them"},
	{"lapi-machine", "Local API Machines Metrics", "Requests by machine and route"},
	{"lapi-status", "Local API Answers", "Answers by status"},
}

// metricGroups are names for several sections. Sections of the log processor
// and of the web firewall are known, and empty here; "lapi" is what it is in the
// reference, without the sections that only we have.
var metricGroups = map[string][]string{
	"lapi":          {"alerts", "decisions", "lapi", "lapi-bouncer", "lapi-decisions", "lapi-machine"},
	"engine":        {},
	"appsec":        {},
	"bot-detection": {},
	"acquisition":   {}, "parsers": {}, "scenarios": {}, "stash": {}, "whitelists": {},
	"appsec-engine": {}, "appsec-rule": {},
}

// showing is what the flags of metrics say.
type showing struct {
	url    string
	noUnit bool
}

// metricsCommand is the noun metrics: the figures of the running server, which it has
// in memory alone, and those that bouncers reported, which are in the store.
func metricsCommand(t *Terminal) *cobra.Command {
	var s showing
	show := func(c *cobra.Command, names []string) error { return showMetrics(c.Context(), t, &s, names) }
	c := &cobra.Command{
		Use: "metrics", Short: "Figures of the server and of its bouncers", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return show(c, nil) },
	}
	f := c.PersistentFlags()
	f.StringVarP(&s.url, "url", "u", "", "address of the metrics (default: from prometheus.listen_addr and listen_port)")
	f.BoolVar(&s.noUnit, "no-unit", false, "figures in full")
	c.AddCommand(&cobra.Command{
		Use: "show [TYPE...]", Short: "Some of the figures, or all", Args: cobra.ArbitraryArgs, RunE: show,
	}, &cobra.Command{
		Use: "list", Short: "What can be shown", Args: NoArgs,
		RunE: func(*cobra.Command, []string) error { return listMetrics(t) },
	})
	return c
}

// listMetrics lists what can be shown.
func listMetrics(t *Terminal) error {
	if t.Output == jsonWords {
		type object struct {
			Type        string `json:"type"`
			Title       string `json:"title"`
			Description string `json:"description"`
		}
		var out []object
		for _, s := range metricSections {
			out = append(out, object{s.name, s.title, s.about})
		}
		return t.json(out, " ")
	}
	if t.Output == raw {
		return t.unsupported()
	}
	table := boxedTable()
	table.head(left, "Type", "Title", "Description")
	table.body()
	for _, s := range metricSections {
		table.row(s.name, s.title, s.about)
	}
	t.show(table)
	return nil
}

// showMetrics shows the named sections, all of them when none is named.
// Figures of the server and of bouncers come by two ways; when one fails, what came
// by the other is shown and the error follows it.
func showMetrics(ctx context.Context, t *Terminal, s *showing, names []string) error {
	if t.Output == raw {
		return t.unsupported()
	}
	wanted, err := wantedSections(names)
	if err != nil {
		return err
	}
	setup, err := t.Setup()
	if err != nil {
		return err
	}
	if s.url == "" {
		if !setup.Config.Metrics.Enabled {
			return errors.New("prometheus is not enabled, can't show metrics")
		}
		s.url = "http://" + setup.MetricsAddress() + "/metrics"
	}
	// The server is asked only where something of its own is wanted: bouncers' figures are
	// in the store, and there without a server.
	var samples []sample
	var failed error
	if slices.ContainsFunc(wanted, func(w string) bool { return w != "bouncers" }) {
		if samples, err = scrape(ctx, s.url); err != nil {
			failed = noFigures(ctx, setup, err)
		}
	}
	var bouncers []bouncerUsage
	if slices.Contains(wanted, "bouncers") {
		if bouncers, err = addUpUsage(ctx, t); err != nil {
			failed = errors.Join(failed, fmt.Errorf("failed to fetch bouncer metrics: %w", err))
		}
	}
	if t.Output == jsonWords {
		return errors.Join(showMetricsJSON(t, wanted, samples, bouncers), failed)
	}
	showSections(t, s, wanted, samples, bouncers, len(names) > 0)
	return failed
}

// noFigures is why a server's figures cannot be had: what is in the store is
// shown all the same. A server that runs and does not answer has another
// fault than one that is not there.
func noFigures(ctx context.Context, s *config.Setup, err error) error {
	c, dialed := admin.Dial(ctx, s.Socket())
	if dialed == nil {
		c.Close()
	}
	if errors.Is(dialed, admin.ErrNotRunning) {
		return fmt.Errorf("no server is running (nobody listens on %s), and its figures are in its memory alone: start it first", datadir.Absolute(s.Socket()))
	}
	return fmt.Errorf("failed to fetch metrics: %w", err)
}

// showSections draws the sections; named says that they were asked for.
// Without names, sections in which nothing was counted are left out; asked for
// bouncers, their absence is said.
func showSections(t *Terminal, s *showing, wanted []string, samples []sample, bouncers []bouncerUsage, named bool) {
	for _, section := range metricSections {
		if !slices.Contains(wanted, section.name) {
			continue
		}
		if section.name == "bouncers" {
			for i := range bouncers {
				t.show(bouncers[i].table(s.noUnit))
			}
			if len(bouncers) == 0 && named {
				t.print("No bouncer metrics found.\n")
			}
			continue
		}
		if table := sectionTable(section.name, section.title, samples, s.noUnit); table != nil {
			t.show(table)
		}
	}
}

// wantedSections are the sections that the words mean, all of them for no word, with
// groups resolved. A word that means nothing is an error before anything is fetched.
func wantedSections(names []string) ([]string, error) {
	var wanted []string
	if len(names) == 0 {
		for _, s := range metricSections {
			wanted = append(wanted, s.name)
		}
	}
	for _, name := range names {
		// A name may be both: lapi is a section and a group, and the group wins, as in the
		// reference.
		group, isGroup := metricGroups[name]
		known := isGroup
		for _, s := range metricSections {
			known = known || s.name == name
		}
		if !known {
			return nil, fmt.Errorf("unknown metrics type: %s%s", name, metricMeant(name))
		}
		if !isGroup {
			group = []string{name}
		}
		wanted = append(wanted, group...)
	}
	return wanted, nil
}

// metricMeant names the type that was probably meant.
func metricMeant(name string) string {
	if near := inputs.Nearest(name, metricNames()); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}

// maxScrape bounds the exposition text that is read, in bytes. It is far
// above any server's; what is longer is cut, and then no exposition.
const maxScrape = 256 << 20

// scrape reads the exposition text. It waits half a minute at most. Whatever
// has another status than 200 has no figures, and is an error with the
// status.
func scrape(ctx context.Context, url string) ([]sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, w.Status)
	}
	return parseSamples(io.LimitReader(w.Body, maxScrape))
}

// layout says how a section is made of series: which family, what its label
// values are called in the table. Columns are the labels' names and, at the
// end, what is counted.
type layout struct {
	family  string
	labels  []string
	columns []string
}

// layouts are the sections that are a table of one family.
var layouts = map[string]layout{
	"alerts":       {"cs_alerts", []string{"reason"}, []string{"Reason", "Count"}},
	"decisions":    {"cs_active_decisions", []string{"reason", "origin", "action"}, []string{"Reason", "Origin", "Action", "Count"}},
	"lapi":         {"cs_lapi_route_requests_total", []string{"route", "method"}, []string{"Route", "Method", "Hits"}},
	"lapi-bouncer": {"cs_lapi_bouncer_requests_total", []string{"bouncer", "route", "method"}, []string{"Bouncer", "Route", "Method", "Hits"}},
	"lapi-denied":  {"lapid_denied_total", []string{"reason"}, []string{"Reason", "Count"}},
	"lapi-status":  {"lapid_responses_total", []string{"code"}, []string{"Status", "Count"}},
	"lapi-machine": {"cs_lapi_machine_requests_total", []string{"machine", "route", "method"}, []string{"Machine", "Route", "Method", "Hits"}},
}

// sectionTable draws one section, nil when there is nothing in it. Series
// that count nothing are left out: the server has one for each route from
// its start.
func sectionTable(name, title string, samples []sample, full bool) *table {
	table := boxedTable()
	table.title(title)
	rows := 0
	if name == "lapi-decisions" {
		table.head(left, "Bouncer", "Empty answers", "Non-empty answers")
		table.body()
		answers := liveAnswers(samples)
		for _, bouncer := range sortedKeys(answers) {
			table.row(bouncer, shown(answers[bouncer].Empty, full), shown(answers[bouncer].NonEmpty, full))
			rows++
		}
	} else {
		l := layouts[name]
		table.head(left, l.columns...)
		table.body()
		// One row for each series that has counted anything.
		for _, s := range pick(samples, l.family) {
			if s.value == 0 {
				continue
			}
			var row []string
			for _, label := range l.labels {
				row = append(row, s.labels[label])
			}
			table.row(append(row, shown(number(s.value), full))...)
			rows++
		}
	}
	if rows == 0 {
		return nil
	}
	return table
}

// answers counts the live queries of a bouncer. Its fields are the names
// that JSON has, as in the reference.
type answers struct {
	NonEmpty number
	Empty    number
}

// liveAnswers sums up the two families by bouncer.
func liveAnswers(samples []sample) map[string]*answers {
	out := map[string]*answers{}
	of := func(s sample) *answers {
		b := s.labels["bouncer"]
		if out[b] == nil {
			out[b] = &answers{}
		}
		return out[b]
	}
	for _, s := range pick(samples, "cs_lapi_decisions_ok_total") {
		of(s).NonEmpty += number(s.value)
	}
	for _, s := range pick(samples, "cs_lapi_decisions_ko_total") {
		of(s).Empty += number(s.value)
	}
	return out
}

// showMetricsJSON writes the sections as nested objects, label by label.
// Sections in which nothing was counted are empty objects: a program finds every name
// it has asked for.
func showMetricsJSON(t *Terminal, wanted []string, samples []sample, bouncers []bouncerUsage) error {
	out := map[string]any{}
	for _, name := range wanted {
		switch name {
		case "bouncers":
			out[name] = bouncersObject(bouncers)
		case "lapi-decisions":
			out[name] = liveAnswers(samples)
		default:
			root := map[string]any{}
			l := layouts[name]
			for _, s := range pick(samples, l.family) {
				if s.value != 0 {
					nest(root, l.labels, s)
				}
			}
			out[name] = root
		}
	}
	text, err := jsonIndented(out, " ")
	t.write(text)
	return err
}

// nest puts a figure below its label values. The last label's value is the
// key of the figure itself.
func nest(root map[string]any, labels []string, s sample) {
	for i, label := range labels {
		value := s.labels[label]
		if i == len(labels)-1 {
			root[value] = number(s.value)
			return
		}
		next, ok := root[value].(map[string]any)
		if !ok {
			next = map[string]any{}
			root[value] = next
		}
		root = next
	}
}

// pick gives the samples of one family, ordered by their labels. Label by
// label, so that rows of one bouncer or machine stand together.
func pick(samples []sample, family string) []sample {
	var out []sample
	for _, s := range samples {
		if s.family == family {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b sample) int { return strings.Compare(a.order(), b.order()) })
	return out
}

// order is what samples are sorted by: the values of all labels that any section
// shows.
func (s sample) order() string {
	text := ""
	for _, k := range []string{"bouncer", "machine", "reason", "origin", "route", "action", "method", "code"} {
		text += s.labels[k] + "\x00"
	}
	return text
}

// metricNames are what metrics show takes. Groups come last, in alphabetical
// order.
func metricNames() []string {
	var names []string
	for _, s := range metricSections {
		names = append(names, s.name)
	}
	for _, group := range sortedKeys(metricGroups) {
		if !slices.Contains(names, group) {
			names = append(names, group)
		}
	}
	return names
}
