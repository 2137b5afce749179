package verbs

import (
	"fmt"
	"time"

	"lapid/transport/movein"
)

// tableRows are the accounts of tables that were read and written, whichever way.
type tableRows []tableRow

type tableRow struct {
	table                     string
	rows, read, done, leftOut int64
	why                       []string // one line or more
}

// rowsOf is what was taken over.
func rowsOf(tally *movein.Tally) (rows tableRows) {
	for _, t := range tally.Tables {
		rows = append(rows, tableRow{t.Table, t.Rows, t.Read, t.Taken, t.LeftOut(), reasonsOf(t.Left, t.Remarks)})
	}
	return rows
}

// backRowsOf is what was written for the way back.
func backRowsOf(tally *movein.BackTally) (rows tableRows) {
	for _, t := range tally.Tables {
		rows = append(rows, tableRow{t.Table, t.Rows, t.Read, t.Written, t.LeftOut(), reasonsOf(t.Left, t.Remarks)})
	}
	return rows
}

// raw writes them as CSV; done is the column of what was done with them.
func (rows tableRows) raw(t *Terminal, done string) error {
	var lines [][]string
	for _, r := range rows {
		lines = append(lines, []string{r.table, counted(r.rows), counted(r.read), counted(r.done), counted(r.leftOut)})
	}
	return t.csv([]string{"table", "rows", "read", done, "left_out"}, lines)
}

// boxed is the table for people.
func (rows tableRows) boxed(done string) *table {
	out := boxedTable()
	out.head(left, "Table", "Rows", "Read", done, "Left out", "Why, and what else there is to say")
	out.body()
	for _, r := range rows {
		number := func(n int64) cell { return cell{text: counted(n), align: right} }
		out.line(cell{text: r.table}, number(r.rows), number(r.read), number(r.done), number(r.leftOut), cell{text: r.why[0]})
		for _, line := range r.why[1:] {
			out.row("", "", "", "", "", line)
		}
	}
	return out
}

// newRowProgress is a bar over rows that says how fast they come, since began, and how long it
// will take.
func newRowProgress(t *Terminal, rows int, began time.Time) *progress {
	bar := newProgress(t, rows)
	bar.tail = func(done int) string {
		rate := float64(done) / max(time.Since(began).Seconds(), 0.001)
		left := time.Duration(float64(rows-done) / max(rate, 1) * float64(time.Second))
		return fmt.Sprintf(" %.0f rows/s, %s left", rate, left.Round(time.Second))
	}
	return bar
}
