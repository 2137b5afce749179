package verbs

import (
	"regexp"
	"strings"
)

// pageWidth is how wide a page is set where no terminal says how wide it is, and at most.
const pageWidth = 100

// page sets Markdown for a terminal: as much of it as the pages use.
type page struct {
	out       strings.Builder
	width     int
	paragraph []string // lines that wait to be filled up
	hang      string   // what the second line of the paragraph begins with
	table     [][]string
}

// plainPage sets a page for a terminal of so many columns (0: not known). Tables and
// paragraphs are filled to its width; code stays as it is. What links lead to stands behind
// their words.
func plainPage(text string, columns int) string {
	p := &page{width: pageWidth}
	if columns > 0 {
		p.width = max(min(columns, pageWidth), 40)
	}
	code := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "```") {
			p.flush()
			code = !code
			continue
		}
		if code || strings.HasPrefix(line, "    ") && len(p.paragraph) == 0 {
			p.code(line, code)
			continue
		}
		p.line(line)
	}
	p.flush()
	return p.out.String()
}

// code writes a line of code, set in by four blanks.
func (p *page) code(line string, fenced bool) {
	p.flush()
	if fenced && line != "" {
		line = "    " + line
	}
	p.out.WriteString(line + "\n")
}

var item = regexp.MustCompile(`^( *)([*-]|\d+\.) +`)

// line takes a line of anything but code.
func (p *page) line(line string) {
	switch heading := strings.TrimLeft(line, "#"); {
	case strings.TrimSpace(line) == "":
		p.flush()
		p.out.WriteByte('\n')
	case len(heading) < len(line) && strings.HasPrefix(heading, " "):
		p.flush()
		p.heading(strings.TrimSpace(heading), len(line)-len(heading))
	case strings.HasPrefix(line, "|"):
		if len(p.paragraph) > 0 {
			p.flush()
		}
		p.row(line)
	case item.MatchString(line):
		p.flush()
		p.hang = strings.Repeat(" ", len(item.FindString(line)))
		p.paragraph = []string{line}
	default:
		if len(p.table) > 0 {
			p.flush()
		}
		p.paragraph = append(p.paragraph, line)
	}
}

// heading writes a title in capitals, and one below it underlined.
func (p *page) heading(text string, level int) {
	text = spoken(text)
	switch level {
	case 1:
		text = strings.ToUpper(text)
	case 2:
		text += "\n" + strings.Repeat("-", textWidth(text))
	}
	p.out.WriteString(text + "\n")
}

// row takes a line of a table, but for the rule below its head. A stroke within a cell is written \|.
func (p *page) row(line string) {
	if strings.Trim(line, "|-: ") == "" {
		return
	}
	const stroke = "\x00"
	cells := strings.Split(strings.Trim(strings.ReplaceAll(strings.TrimSpace(line), `\|`, stroke), "|"), "|")
	for i := range cells {
		cells[i] = spoken(strings.TrimSpace(strings.ReplaceAll(cells[i], stroke, "|")))
	}
	p.table = append(p.table, cells)
}

// flush writes the paragraph or the table that waits.
func (p *page) flush() {
	if len(p.paragraph) > 0 {
		words := make([]string, len(p.paragraph))
		for i, line := range p.paragraph {
			words[i] = strings.TrimSpace(line)
		}
		text := p.paragraph[0][:len(p.paragraph[0])-len(strings.TrimLeft(p.paragraph[0], " "))] + spoken(strings.Join(words, " "))
		first := breakText(text, p.width)[0]
		p.out.WriteString(first + "\n")
		if rest := strings.TrimLeft(strings.TrimPrefix(text, first), " "); rest != "" {
			for _, line := range breakText(rest, p.width-len(p.hang)) {
				p.out.WriteString(p.hang + line + "\n")
			}
		}
	}
	if len(p.table) > 0 {
		drawn := lightTable()
		drawn.whole = true // it is read, and broken into lines of the page
		drawn.head(left, p.table[0]...)
		drawn.body()
		for _, row := range p.table[1:] {
			drawn.row(row...)
		}
		_ = drawn.write(&p.out, p.width) // a builder takes everything
	}
	p.paragraph, p.hang, p.table = nil, "", nil
}

var (
	link  = regexp.MustCompile(`\[([^\]]+)\]\(([^)]+)\)`)
	topic = regexp.MustCompile(`^([a-z-]+)\.md(?:#.*)?$`)
)

// spoken is a text without the marks that only a browser needs.
func spoken(text string) string {
	text = link.ReplaceAllStringFunc(text, func(all string) string {
		m := link.FindStringSubmatch(all)
		switch page := topic.FindStringSubmatch(m[2]); {
		case page != nil:
			return m[1] + " (lapid docs " + page[1] + ")"
		case strings.HasPrefix(m[2], "#"):
			return m[1]
		}
		return m[1] + " (" + m[2] + ")"
	})
	return strings.ReplaceAll(text, "**", "")
}
