package verbs

import (
	"bytes"
	"strings"
	"testing"

	"lapid/cmd/lapid/docs"
	"lapid/transport/visible"
)

// TestTableFits: a table is never wider than the terminal, and no word of it is
// lost.
func TestTableFits(t *testing.T) {
	t.Parallel()
	for _, boxed := range []bool{true, false} {
		for _, limit := range []int{40, 60, 80, 200} {
			table := &table{boxed: boxed}
			table.title("a title that is rather long for a narrow terminal, and goes on")
			table.head(center, "ID", "Reason", "Value")
			table.body()
			reason := "crowdsecurity/some-scenario with a few words behind it"
			table.row("1", reason, "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff")
			var out bytes.Buffer
			table.write(&out, limit)
			for line := range strings.Lines(out.String()) {
				if n := textWidth(strings.TrimSuffix(line, "\n")); n > limit {
					t.Errorf("limit %d: a line of %d: %s", limit, n, line)
				}
			}
			for _, word := range strings.Fields("words behind few") {
				if !strings.Contains(out.String(), word) {
					t.Errorf("limit %d: %q is lost:\n%s", limit, word, out.String())
				}
			}
		}
	}
}

// TestWholePage: of a page nothing is cut, whether its width is known or not.
func TestWholePage(t *testing.T) {
	t.Parallel()
	for _, topic := range docs.Topics() {
		for _, columns := range []int{0, 80, 400} {
			if set := plainPage(topic.Text, columns); strings.Count(set, "…") != strings.Count(topic.Text, "…") {
				t.Errorf("%s, %d columns: a cell is cut", topic.Name, columns)
			}
		}
	}
}

// TestLongCell: one giant does not make every row as wide as it is. It is cut, and
// that is seen; lines of a cell are cut one by one, what fits stays whole.
func TestLongCell(t *testing.T) {
	t.Parallel()
	for _, giant := range []string{strings.Repeat("x", 100_000), strings.Repeat("日", 50_000), strings.Repeat("\x1b", 30_000)} {
		table := boxedTable()
		table.head(center, "ID", "Value")
		table.body()
		table.row("1", giant)
		for range 100 {
			table.row("2", strings.Repeat("y", widestCell))
		}
		var out bytes.Buffer
		table.write(&out, 0)
		if !strings.Contains(out.String(), "…") || strings.Count(out.String(), "…") != 1 || !strings.Contains(out.String(), strings.Repeat("y", widestCell)) {
			t.Errorf("%.300s", out.String())
		}
		for line := range strings.Lines(out.String()) {
			if n := textWidth(strings.TrimSuffix(line, "\n")); n > widestCell+12 {
				t.Errorf("a line of %d columns", n)
			}
		}
	}
}

func TestTextWidth(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "abc": 3, "✔️": 1, "🚫": 2, "⚠️ -": 3, "é": 1, "e\u0301": 1, "日本": 4, "a\nabc\nb": 3} {
		if got := textWidth(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestBreakText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		room int
		want string
	}{
		{"one two three", 20, "one two three"},
		{"one two three", 8, "one two|three"},
		{"abcdefghij", 4, "abcd|efgh|ij"},
		{"a\nb", 10, "a|b"},
		{"日本語", 4, "日本|語"},
	} {
		if got := strings.Join(breakText(c.text, c.room), "|"); got != c.want {
			t.Errorf("%q in %d: %s, want %s", c.text, c.room, got, c.want)
		}
	}
}

// TestNoFormula: what no name can hold is disarmed too.
func TestNoFormula(t *testing.T) {
	t.Parallel()
	if got := visible.Cell("\tx"); got != "'\tx" {
		t.Errorf("%q", got)
	}
}
