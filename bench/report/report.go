package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Report gathers what one run measured. One goroutine owns it.
type Report struct {
	Title      string
	Judged     bool     // with what must be reached, and verdicts
	Conditions []string // lines on machine, versions and command

	rows     []*Row
	sections []section
	data     map[string]any
	plots    []plot
}

// section is figures that are shown as they are.
type section struct{ title, text string }

// plot is a picture and its name.
type plot struct {
	name string
	svg  []byte
}

// New makes a report with these rows, not yet measured. Rows keep their
// order.
func New(title string, judged bool, rows []Row) *Report {
	r := &Report{Title: title, Judged: judged}
	for _, row := range rows {
		r.rows = append(r.rows, &row)
	}
	return r
}

// row is the one with a key. Keys are the program's own: one that is not there is its
// fault.
func (r *Report) row(key string) *Row {
	for _, row := range r.rows {
		if row.Key == key {
			return row
		}
	}
	panic("BUG: no row " + key)
}

// Measured enters a row's figure, and in details what it was made of. A
// failure that was noted before is forgotten: it was tried again.
func (r *Report) Measured(key string, value float64, format string, details ...any) {
	row := r.row(key)
	row.done, row.value, row.failure = true, value, ""
	row.details = fmt.Sprintf(format, details...)
}

// Failed enters why rows have no figure; those that have one keep it. So one
// failure can be noted for all rows of a part that ended early.
func (r *Report) Failed(err error, keys ...string) {
	for _, key := range keys {
		if row := r.row(key); !row.done {
			row.failure = err.Error()
		}
	}
}

// Lost enters where rows were measured, and which part of these CPUs' time went to others meanwhile. Of a
// row that was measured in several parts the worst counts.
func (r *Report) Lost(where string, share float64, keys ...string) {
	for _, key := range keys {
		row := r.row(key)
		row.where, row.lost = where, max(row.lost, share)
	}
}

// Keep leaves only the rows that were measured or failed.
func (r *Report) Keep() {
	var kept []*Row
	for _, row := range r.rows {
		if row.done || row.failure != "" {
			kept = append(kept, row)
		}
	}
	r.rows = kept
}

// Section adds figures as they are, under a title.
func (r *Report) Section(title, text string) {
	r.sections = append(r.sections, section{title, strings.TrimRight(text, "\n")})
}

// Attach adds figures to the JSON beside the page, under a title. They must
// be what encoding/json can write.
func (r *Report) Attach(title string, figures any) {
	if r.data == nil {
		r.data = map[string]any{}
	}
	r.data[title] = figures
}

// Plot adds an SVG picture; the name is a part of its file's name.
func (r *Report) Plot(name string, svg []byte) {
	r.plots = append(r.plots, plot{name, svg})
}

// WriteMarkdown writes the page. Its plots are expected beside it, in files that
// begin with prefix; without one there are none.
func (r *Report) WriteMarkdown(w io.Writer, prefix string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", r.Title)
	for _, line := range r.Conditions {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	b.WriteString("\n")
	if len(r.rows) > 0 {
		r.table(&b)
	}
	for _, p := range r.plots {
		if prefix == "" {
			break
		}
		fmt.Fprintf(&b, "![%s](%s)\n\n", p.name, prefix+p.name+".svg")
	}
	for _, s := range r.sections {
		fmt.Fprintf(&b, "## %s\n\n```\n%s\n```\n\n", s.title, s.text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table writes the rows; line ends and bars in a text would break it and are
// replaced.
func (r *Report) table(b *strings.Builder) {
	head := []string{"what", "measured"}
	if r.Judged {
		head = []string{"what", "must", "beyond", "measured", "verdict"}
	}
	line := func(cells []string) {
		for i, c := range cells {
			cells[i] = strings.NewReplacer("|", "\\|", "\n", " ").Replace(c)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
	line(head)
	fmt.Fprintf(b, "|%s\n", strings.Repeat("---|", len(head)))
	for _, row := range r.rows {
		line(row.cells(r.Judged))
	}
	b.WriteString("\n")
}

// WriteJSON writes the rows that have a figure, and all that was attached.
// What is no number cannot stand in JSON and is left out.
func (r *Report) WriteJSON(w io.Writer) error {
	type row struct {
		What, Details string
		Value         float64
		Unit          string
		CPUs          string  `json:",omitempty"`
		Lost          float64 // part of the CPUs' time that others had
	}
	var rows []row
	for _, of := range r.rows {
		if of.done && !slices.ContainsFunc([]float64{of.value, of.lost}, noNumber) {
			rows = append(rows, row{of.What, of.details, of.value, of.Bound.Unit, of.where, of.lost})
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(map[string]any{"title": r.Title, "conditions": r.Conditions, "rows": rows, "figures": r.data})
}

func noNumber(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }

// Save writes the page as dir/NAME.md, its figures as NAME.json and each plot
// beside it, and gives the page's path. The folder is made when it is missing.
// Files of that name are replaced.
func (r *Report) Save(dir, name string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, p := range r.plots {
		if err := os.WriteFile(filepath.Join(dir, name+"-"+p.name+".svg"), p.svg, 0o644); err != nil {
			return "", err
		}
	}
	if err := save(filepath.Join(dir, name+".json"), r.WriteJSON); err != nil {
		return "", err
	}
	file := filepath.Join(dir, name+".md")
	return file, save(file, func(w io.Writer) error { return r.WriteMarkdown(w, name+"-") })
}

// save writes a file; an error may leave a part of it.
func save(file string, write func(io.Writer) error) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
