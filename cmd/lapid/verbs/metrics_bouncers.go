package verbs

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"lapid/transport/admin"
)

// bouncerUsage is what one bouncer says it did, by origin, name and unit.
type bouncerUsage struct {
	name    string
	since   int64 // Unix nanoseconds of the oldest report
	figures map[string]map[string]map[string]number
}

// addUpUsage adds up the stored reports of every bouncer. Reports are read
// one at a time; what is kept is one figure for each series. The result is
// in order of the bouncers' names.
func addUpUsage(ctx context.Context, t *Terminal) ([]bouncerUsage, error) {
	var out []bouncerUsage
	err := t.withClient(ctx, func(client *admin.Client) error {
		sums := map[string]*usageSum{}
		for r, err := range client.Usage(ctx, &admin.UsageRequest{Kind: "bouncer"}) {
			if err != nil {
				return err
			}
			if sums[r.Name] == nil {
				sums[r.Name] = newUsageSum(r)
			}
			if err := sums[r.Name].add(r); err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(sums)) {
			out = append(out, sums[name].total(name))
		}
		return nil
	})
	return out, err
}

// usageSum adds up reports of one bouncer. A bouncer that gets no answer
// sends its report again, so a figure of the same series, moment and value
// is one.
type usageSum struct {
	since  int64
	seen   map[string]bool      // reports that came twice count once
	gauges map[string]usageItem // the last one of each series
	sums   map[string]usageItem // of each series, added up
}

// newUsageSum begins with the first report.
func newUsageSum(r *admin.UsageReport) *usageSum {
	return &usageSum{since: r.ReceivedAt, seen: map[string]bool{}, gauges: map[string]usageItem{}, sums: map[string]usageItem{}}
}

// add takes one report. Gauges (what runs now) replace what was before, by the
// sender's clock; all others are counts since the last report and are added up.
func (u *usageSum) add(r *admin.UsageReport) error {
	items, err := usageItems(r)
	if err != nil {
		return err
	}
	u.since = min(u.since, r.ReceivedAt)
	for _, i := range items {
		series := i.identity()
		// Without the sender's moment two equal counts of different times would be one.
		once := series + "\x00" + time.Unix(i.at, 0).String() + i.Value.String()
		if u.seen[once] {
			continue
		}
		u.seen[once] = true
		if i.gauge() {
			if last, ok := u.gauges[series]; !ok || i.at >= last.at {
				u.gauges[series] = i
			}
			continue
		}
		i.Value += u.sums[series].Value
		u.sums[series] = i
	}
	return nil
}

// total is what has come together, by origin, name and unit.
func (u *usageSum) total(name string) bouncerUsage {
	b := bouncerUsage{name: name, since: u.since, figures: map[string]map[string]map[string]number{}}
	for _, items := range []map[string]usageItem{u.gauges, u.sums} {
		for _, i := range items {
			b.put(i.Labels["origin"], i.Name, i.Unit, i.Value)
		}
	}
	return b
}

// put adds a figure at its place. Series that differ in other labels fall together
// here.
func (b *bouncerUsage) put(origin, name, unit string, n number) {
	if b.figures[origin] == nil {
		b.figures[origin] = map[string]map[string]number{}
	}
	if b.figures[origin][name] == nil {
		b.figures[origin][name] = map[string]number{}
	}
	b.figures[origin][name][unit] += n
}

// bouncersObject is all bouncers as JSON has them, by name.
func bouncersObject(bs []bouncerUsage) map[string]any {
	out := map[string]any{}
	for _, b := range bs {
		out[b.name] = b.figures
	}
	return out
}

// originWords explain the origins that are always the same.
var originWords = map[string]string{
	"CAPI":         "CAPI (community blocklist)",
	"crowdsec":     "crowdsec (security engine)",
	"cscli":        "cscli (manual decisions)",
	"cscli-import": "cscli-import (imported decisions)",
	"console":      "console (console decisions)",
}

// table draws one bouncer: a row for each origin, a column for each name and
// unit, names with several units over them all.
func (b *bouncerUsage) table(full bool) *table {
	columns := b.columns()
	table := boxedTable()
	table.title("Bouncer Metrics (" + b.name + ") since " + time.Unix(b.since/1e9, 0).UTC().String())
	// Two lines of heads: names, each over as many units as it has, and the units.
	names, units := []cell{{text: "Origin"}}, []cell{{}}
	for i, c := range columns {
		units = append(units, cell{text: unitWord(c[1]), align: center})
		if i > 0 && columns[i-1][0] == c[0] {
			names[len(names)-1].span++
			continue
		}
		names = append(names, cell{text: c[0], align: center, span: 1})
	}
	table.band(names, units)
	table.body()
	// Columns are summed over all origins, also over that without a name.
	totals := make([]number, len(columns))
	for _, origin := range slices.Sorted(maps.Keys(b.figures)) {
		word, known := originWords[origin]
		if !known {
			word = origin
		}
		row := []cell{{text: word}}
		for i, c := range columns {
			n := b.figures[origin][c[0]][c[1]]
			totals[i] += n
			row = append(row, cell{text: orNothing(n, full), align: right})
		}
		if origin != "" { // what has no origin is only in the total
			table.line(row...)
		}
	}
	total := []cell{{text: "Total", align: right}}
	for _, n := range totals {
		total = append(total, cell{text: orNothing(n, full), align: right})
	}
	table.band(total)
	return table
}

// columns are the pairs of name and unit that occur, in order.
func (b *bouncerUsage) columns() [][2]string {
	found := map[[2]string]bool{}
	for _, names := range b.figures {
		for name, units := range names {
			for unit := range units {
				found[[2]string{name, unit}] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b [2]string) int {
		return strings.Compare(a[0]+"\x00"+a[1], b[0]+"\x00"+b[1])
	})
}

// orNothing is a figure, or a dash where nothing was counted.
func orNothing(n number, full bool) string {
	if n == 0 {
		return "-"
	}
	return shown(n, full)
}

// unitWord is a unit as a heading. The words of bouncers are singular.
func unitWord(unit string) string {
	switch unit {
	case "":
		return ""
	case "ip":
		return "IPs"
	}
	return unit + "s"
}
