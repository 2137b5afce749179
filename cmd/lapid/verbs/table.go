package verbs

import (
	"bufio"
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"lapid/transport/visible"
)

// align is where a text stands in its cell.
type align uint8

const (
	left align = iota
	right
	center
)

// cell is one field of a table, which may span columns. Whatever its text holds,
// it is shown as what it is.
type cell struct {
	text  string
	align align
	span  int // columns; 0 is 1
}

// table draws what the operator reads. There are two looks: boxed, with lines
// around every column, and light, with nothing but rules. A table is a number of
// bands (a title, a header, the body …) with a rule between them.
//
// It is our own though go-pretty/v6 draws such tables: by that library (6.8) the
// mark of a valid row, ✔️, is two columns wide, which moves every column behind it
// away from where the golden files and the scripts that cut by columns have it; and
// a title longer than its table is broken within words, where here it widens the
// table.
type table struct {
	boxed bool
	whole bool       // no cell is cut, however wide it is
	bands [][][]cell // band, line, cell
	rows  packedRows // of a long list: the last band, which has no other lines
}

// narrowest is how narrow a column may be made so that a table fits.
const narrowest = 8

// boxedTable is an empty table with lines around and between its cells.
func boxedTable() *table { return &table{boxed: true} }

// lightTable is an empty table with a line below its head alone.
func lightTable() *table { return &table{} }

// title adds a band of one cell over the whole width.
func (t *table) title(text string) { t.band([]cell{{text: text, span: -1}}) }

// head adds a band with the names of the columns.
func (t *table) head(a align, names ...string) {
	line := make([]cell, len(names))
	for i, n := range names {
		line[i] = cell{text: n, align: a}
	}
	t.band(line)
}

// band adds a band of lines.
func (t *table) band(lines ...[]cell) {
	for _, line := range lines {
		t.show(line)
	}
	t.bands = append(t.bands, lines)
}

// widestCell is how many columns of a terminal one line of a cell's text takes at most.
// A column is as wide as its widest cell in every row: one that is longer is cut, and
// is whole with -o json.
const widestCell = 200

// show makes the texts of cells what is seen of them. Widths are those of what
// it has made.
func (t *table) show(cells []cell) {
	for i := range cells {
		if cells[i].text = visible.Text(cells[i].text); !t.whole {
			cells[i].text = shorten(cells[i].text)
		}
	}
}

// shorten cuts each line of a text that is too wide, and shows that.
func shorten(text string) string {
	if len(text) <= widestCell {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if textWidth(line) <= widestCell {
			continue
		}
		wide := 0
		for at, r := range line {
			if wide += runeWidth(r); wide >= widestCell {
				lines[i] = line[:at] + "…"
				break
			}
		}
	}
	return strings.Join(lines, "\n")
}

// row adds a line to the last band, left-aligned.
func (t *table) row(texts ...string) {
	line := make([]cell, len(texts))
	for i, s := range texts {
		line[i] = cell{text: s}
	}
	t.line(line...)
}

// line adds a line to the last band.
func (t *table) line(cells ...cell) {
	t.show(cells)
	last := len(t.bands) - 1
	t.bands[last] = append(t.bands[last], cells)
}

// packed is row for a list that may have millions: rows are kept as text, beyond some
// MiB in a file, and there are no others in their band. All have as many cells. The error is
// the disk's.
func (t *table) packed(texts ...string) error {
	for i := range texts {
		texts[i] = shorten(visible.Text(texts[i]))
	}
	return t.rows.add(texts)
}

// close gives back what packed rows took.
func (t *table) close() { t.rows.close() }

// body begins the band of the rows.
func (t *table) body() { t.band() }

// write draws the table. With a limit (columns of the terminal, 0: none) its
// widest columns are narrowed until it fits and their texts broken into lines.
// Narrowing ends at narrowest columns, so a terminal that is too small gets lines
// that wrap.
func (t *table) write(w io.Writer, limit int) error {
	columns := t.measure()
	t.narrow(columns, limit)
	out := bufio.NewWriterSize(w, listBuffer)
	var above []cell
	for i, band := range t.bands {
		long := i == len(t.bands)-1 && t.rows.n > 0
		if long {
			band = [][]cell{make([]cell, len(t.rows.widths))}
		}
		if len(band) == 0 {
			continue
		}
		t.rule(out, columns, above, band[0])
		if long {
			if err := t.rows.each(func(texts []string) { t.drawPacked(out, columns, texts) }); err != nil {
				return err
			}
		} else {
			for _, line := range band {
				t.draw(out, columns, line)
			}
		}
		above = band[len(band)-1]
	}
	t.rule(out, columns, above, nil)
	return out.Flush()
}

// between is what stands between the texts of two columns.
func (t *table) between() int {
	if t.boxed {
		return 3
	}
	return 2
}

// measure finds the width of each column. What spans several widens the last
// of them.
func (t *table) measure() []int {
	n := 0
	t.each(func(line []cell) { n = max(n, len(line), spanned(line)) })
	columns := make([]int, max(n, len(t.rows.widths)))
	n = len(columns)
	copy(columns, t.rows.widths)
	t.each(func(line []cell) {
		at := 0
		for _, c := range line {
			if c.span == 0 || c.span == 1 {
				columns[at] = max(columns[at], textWidth(c.text))
			}
			at += t.span(c, n)
		}
	})
	t.each(func(line []cell) {
		at := 0
		for _, c := range line {
			s := t.span(c, n)
			if s > 1 {
				if missing := textWidth(c.text) - t.room(columns[at:at+s]); missing > 0 {
					columns[at+s-1] += missing
				}
			}
			at += s
		}
	})
	return columns
}

// each goes through all lines of all bands.
func (t *table) each(f func([]cell)) {
	for _, band := range t.bands {
		for _, line := range band {
			f(line)
		}
	}
}

// spanned is how many columns a line has; what spans the whole width counts as one.
func spanned(line []cell) int {
	n := 0
	for _, c := range line {
		n += max(c.span, 1)
	}
	return n
}

// span is over how many of all columns a cell stretches.
func (t *table) span(c cell, all int) int {
	if c.span < 0 {
		return all
	}
	return max(c.span, 1)
}

// room is the width of the text area of a cell over these columns.
func (t *table) room(columns []int) int {
	n := t.between() * (len(columns) - 1)
	for _, w := range columns {
		n += w
	}
	return n
}

// narrow takes from the widest column, one by one, until the table is no wider than
// limit.
func (t *table) narrow(columns []int, limit int) {
	if limit <= 0 || len(columns) == 0 {
		return
	}
	edges := 2
	if t.boxed {
		edges = 4
	}
	for t.room(columns)+edges > limit {
		widest := 0
		for i, w := range columns {
			if w > columns[widest] {
				widest = i
			}
		}
		if columns[widest] <= narrowest {
			return
		}
		columns[widest]--
	}
}

// rule draws the line between two lines of cells; crosses stand where either
// of them has a border.
func (t *table) rule(out *bufio.Writer, columns []int, above, below []cell) {
	if !t.boxed {
		_, _ = out.WriteString(strings.Repeat("-", t.room(columns)+2) + "\n")
		return
	}
	borders := make([]bool, len(columns))
	for _, line := range [][]cell{above, below} {
		at := 0
		for _, c := range line {
			at += t.span(c, len(columns))
			borders[at-1] = true
		}
	}
	_ = out.WriteByte('+')
	for i, w := range columns {
		_, _ = out.WriteString(strings.Repeat("-", w+2))
		if borders[i] || i == len(columns)-1 {
			_ = out.WriteByte('+')
		} else {
			_ = out.WriteByte('-')
		}
	}
	_ = out.WriteByte('\n')
}

// draw writes a line of cells, which may take several lines of text.
func (t *table) draw(out *bufio.Writer, columns []int, line []cell) {
	var texts [][]string
	var rooms []int
	at, high := 0, 1
	for _, c := range line {
		s := t.span(c, len(columns))
		room := t.room(columns[at : at+s])
		broken := breakText(c.text, room)
		texts, rooms, high = append(texts, broken), append(rooms, room), max(high, len(broken))
		at += s
	}
	for y := range high {
		if t.boxed {
			_ = out.WriteByte('|')
		}
		for i := range line {
			text := ""
			if y < len(texts[i]) {
				text = texts[i][y]
			}
			_, _ = out.WriteString(" " + pad(text, rooms[i], line[i].align) + " ")
			if t.boxed {
				_ = out.WriteByte('|')
			}
		}
		_ = out.WriteByte('\n')
	}
}

// blanks fill up cells; no text of a cell is wider.
var blanks = strings.Repeat(" ", widestCell)

// drawPacked is draw for a packed row, which has one line where it fits.
func (t *table) drawPacked(out *bufio.Writer, columns []int, texts []string) {
	edge := ""
	if t.boxed {
		edge = "|"
	}
	for i, text := range texts {
		if textWidth(text) > columns[i] {
			t.drawBroken(out, columns, texts)
			return
		}
	}
	_, _ = out.WriteString(edge)
	for i, text := range texts {
		_ = out.WriteByte(' ')
		_, _ = out.WriteString(text)
		for free := columns[i] - textWidth(text) + 1; free > 0; free -= len(blanks) {
			_, _ = out.WriteString(blanks[:min(free, len(blanks))])
		}
		_, _ = out.WriteString(edge)
	}
	_ = out.WriteByte('\n')
}

// drawBroken draws one that does not fit into one line.
func (t *table) drawBroken(out *bufio.Writer, columns []int, texts []string) {
	line := make([]cell, len(texts))
	for i, text := range texts {
		line[i].text = text
	}
	t.draw(out, columns, line)
}

// pad fills a text up to the width of its cell. What does not divide evenly goes to
// the left of a centred one, as in the reference.
func pad(text string, room int, a align) string {
	free := max(room-textWidth(text), 0)
	switch a {
	case right:
		return strings.Repeat(" ", free) + text
	case center:
		return strings.Repeat(" ", free-free/2) + text + strings.Repeat(" ", free/2)
	}
	return text + strings.Repeat(" ", free)
}

// breakText cuts a text into lines that are at most so wide, at blanks where
// that is possible.
func breakText(text string, room int) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		for textWidth(line) > room && room > 0 {
			cut := cutAt(line, room)
			out = append(out, strings.TrimRight(line[:cut], " "))
			line = strings.TrimLeft(line[cut:], " ")
		}
		out = append(out, line)
	}
	return out
}

// cutAt is the byte at which a line that is too wide is cut. At least one
// character stays, so that breaking comes to an end.
func cutAt(line string, room int) int {
	wide, blank := 0, 0
	for i, r := range line {
		wide += runeWidth(r)
		if wide > room && i > 0 {
			if blank > 0 {
				return blank
			}
			return i
		}
		if r == ' ' {
			blank = i
		}
	}
	return len(line)
}

// textWidth is the width of the widest line in columns of a terminal. It is
// what terminals show of it, not bytes or characters.
func textWidth(s string) int {
	widest, n := 0, 0
	for _, r := range s {
		if r == '\n' {
			n = 0
			continue
		}
		n += runeWidth(r)
		widest = max(widest, n)
	}
	return widest
}

// runeWidth is 0 for marks that join what is before them, 2 for the wide characters
// of East Asia and signs of that width, else 1. A variation selector joins, so a sign
// in colour has the width of the plain one: that is what the golden files have.
func runeWidth(r rune) int {
	if r < 0x7f {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
