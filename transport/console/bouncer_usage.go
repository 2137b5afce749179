package console

import (
	"cmp"
	"slices"
	"time"

	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// modeOf is how a bouncer asks: by a stream, or live, for each address; "": it never did.
func modeOf(b *admin.Bouncer) string {
	switch {
	case b.LastPull == 0:
		return ""
	case b.Streams:
		return "stream"
	}
	return "live"
}

// Asking is the same in words, with about how often; templates ask for it.
func (b *bouncerShown) Asking() string {
	if b.Mode == "stream" && b.Period >= 1 {
		return "stream, every " + site.Span(time.Duration(b.Period*float64(time.Second)).Round(time.Second))
	}
	return b.Mode
}

// silentAfter is for how long a bouncer may be silent before that is worth a word: three of its periods, where those are
// known, a minute at the least.
func silentAfter(b *admin.Bouncer) time.Duration {
	if b.Streams && b.Period >= int64(time.Second) {
		return max(3*time.Duration(b.Period), briefestSilence)
	}
	return silentBouncer
}

// usageTable is what a bouncer has told of itself: a row for each origin, a column for each thing that is counted and its unit.
type usageTable struct {
	Since, At int64
	Columns   []usageColumn
	Rows      []usageRow
	Total     []string
}

type usageColumn struct{ Name, Unit string }

// Title is the head of the column.
func (c usageColumn) Title() string {
	name := map[string]string{"active_decisions": "Active decisions", "dropped": "Dropped", "processed": "Processed"}[c.Name]
	switch c.Unit {
	case "":
		return name
	case "ip":
		return name + ", addresses"
	}
	return name + ", " + c.Unit + "s"
}

func (c usageColumn) text(n float64) string {
	if c.Unit == "byte" {
		return site.Bytes(n)
	}
	return site.Count(int64(n))
}

type usageRow struct {
	Origin string // "": what is not counted by origin
	Cells  []string
}

// usageOf is the table of what one has told; nil: nothing.
func usageOf(u *admin.BouncerUsage) *usageTable {
	if u == nil {
		return nil
	}
	t := &usageTable{Since: u.Since, At: u.At}
	figures := slices.Concat(u.Holds, u.Figures)
	var origins []string
	sums := map[usageColumn]float64{}
	of := map[string]map[usageColumn]float64{}
	for _, f := range figures {
		c := usageColumn{f.Name, f.Unit}
		if !slices.Contains(t.Columns, c) {
			t.Columns = append(t.Columns, c)
		}
		if of[f.Origin] == nil {
			origins, of[f.Origin] = append(origins, f.Origin), map[usageColumn]float64{}
		}
		of[f.Origin][c] += f.Value
		sums[c] += f.Value
	}
	slices.SortFunc(t.Columns, func(a, b usageColumn) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Unit, b.Unit))
	})
	slices.SortFunc(origins, func(a, b string) int {
		if a == "" || b == "" {
			return cmp.Compare(b, a) // what has no origin stands at the end
		}
		return cmp.Compare(a, b)
	})
	for _, origin := range origins {
		row := usageRow{Origin: origin}
		for _, c := range t.Columns {
			cell := ""
			if n, ok := of[origin][c]; ok {
				cell = c.text(n)
			}
			row.Cells = append(row.Cells, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	for _, c := range t.Columns {
		t.Total = append(t.Total, c.text(sums[c]))
	}
	return t
}
