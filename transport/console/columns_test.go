package console

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"lapid/engine"
)

// heads are the titles of a table's columns, as a page has them.
func heads(page string) string {
	var titles []string
	_, head, _ := strings.Cut(page, "<thead>")
	head, _, _ = strings.Cut(head, "</thead>")
	for _, m := range regexp.MustCompile(`<th [^>]*>(?:<a [^>]*>)?([^<]*)`).FindAllStringSubmatch(head, -1) {
		if m[1] != "" {
			titles = append(titles, strings.TrimSpace(m[1]))
		}
	}
	return strings.Join(titles, " ")
}

// Columns are chosen, put in order and remembered without scripts, for each table and each browser by itself; an address
// that names some shows those, and keeps nothing.
func TestColumns(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	v := b.visitor().enter(viewer)
	b.is(201, "POST", "/admin/v1/decisions", `{"value":"192.0.2.7"}`)
	const usual = "Value Type Scenario Origin From Started Remaining Alert"
	for _, step := range []struct {
		does   string
		fields []string
		want   string
	}{
		{"as usual", nil, usual},
		{"two are ticked", []string{"column", "origin", "column", "machine"}, "Value Origin Machine"},
		{"and stay", nil, "Value Origin Machine"},
		{"one goes later", []string{"column", "origin", "column", "machine", "column", "id", "later", "origin"}, "Value Machine Origin Decision"},
		{"one that is the first cannot go earlier", []string{"column", "machine", "column", "origin", "earlier", "machine"}, "Value Machine Origin"},
		{"one goes earlier", []string{"column", "machine", "column", "origin", "earlier", "origin"}, "Value Origin Machine"},
		{"none is all as usual", []string{"earlier", "origin"}, usual},
		{"who has it", []string{"column", "enforced"}, "Value Enforced by"},
		{"twice is once", []string{"column", "type", "column", "type"}, "Value Type"},
		{"as usual again", []string{"column", "type", "usual", "yes"}, usual},
	} {
		page := ""
		if step.fields == nil {
			page = v.get("/decisions")
		} else {
			page = v.send("/looks/columns", append(step.fields, "table", "decisions", "back", "/decisions?columns=alert&type=ban")...)
			has(t, step.does, page, `name="type" value="ban"`, "192.0.2.7")
		}
		if got := heads(page); got != step.want {
			t.Errorf("%s: %q, want %q", step.does, got, step.want)
		}
	}
	v.send("/looks/columns", "table", "decisions", "column", "id")
	if got := heads(v.get("/decisions?columns=until,scope&sort=until")); got != "Value Until Scope" {
		t.Errorf("an address has %q", got)
	}
	if got := heads(v.get("/decisions")); got != "Value Decision" {
		t.Errorf("what is kept became %q", got)
	}
	if got := heads(b.visitor().enter(viewer).get("/decisions")); got != usual {
		t.Errorf("another browser has %q", got)
	}
	has(t, "no such column", v.read(http.MethodGet, "/decisions?columns=type,%3Cb%3E", nil, 400), "there is no column &#34;&lt;b&gt;&#34;: those of decisions are type, ")
	for _, fields := range [][]string{{"table", "decisions", "column", "nonsense"}, {"table", "nonsense"}, {}} {
		v.read(http.MethodPost, "/looks/columns", form(fields), 400)
	}
	// What a browser keeps may be of another version, or anything.
	address, _ := url.Parse(b.url + "/")
	for value, want := range map[string]string{"gone.type": "Value Type", "gone": usual, "....": usual, strings.Repeat("x", 3000): usual} {
		v.client.Jar.SetCookies(address, []*http.Cookie{{Name: "lapid-columns-decisions", Value: value, Path: "/"}})
		if got := heads(v.get("/decisions")); got != want {
			t.Errorf("with %.20q kept: %q", value, got)
		}
	}
}

// A long list says where in it a page is, to people and to who hears it read, from the first page to the last and back.
func TestPlaceInList(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	var bans strings.Builder
	for i := range 130 {
		if i > 0 {
			bans.WriteString(",")
		}
		bans.WriteString(`{"value":"198.51.100.` + strconv.Itoa(i) + `","duration":"4h"}`)
	}
	b.is(201, "POST", "/admin/v1/decisions/import", `{"items":[`+bans.String()+`]}`)
	v := b.visitor().enter(engine.RoleViewer)
	follow := func(page, rel string) string {
		t.Helper()
		m := regexp.MustCompile(`rel="` + rel + `" href="([^"]+)"`).FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("there is no way %s in %.2000s", rel, page)
		}
		return v.get(strings.ReplaceAll(m[1], "&amp;", "&"))
	}
	first := v.get("/decisions?limit=50")
	has(t, "the first page", first, "Rows 1 to 50, 130 in all", `aria-rowcount="131"`, `aria-rowindex="2"`, `aria-rowindex="51"`)
	second := follow(first, "next")
	has(t, "the second", second, "Rows 51 to 100, 130 in all", `aria-rowindex="52"`, `aria-rowindex="101"`)
	third := follow(second, "next")
	has(t, "the third", third, "Rows 101 to 130, 130 in all", `aria-rowindex="131"`)
	has(t, "the second again", follow(third, "prev"), "Rows 51 to 100, 130 in all")
	has(t, "the last", follow(first, "last"), "to 130, 130 in all", `aria-rowindex="131"`)
	has(t, "the first again", follow(third, "first"), "Rows 1 to 50, 130 in all")
	has(t, "with a place that cannot be", v.get("/decisions?limit=50&before=99999"), "Rows 1 to 50, 130 in all")
	b.is(201, "POST", "/admin/v1/decisions", `{"value":"198.51.100.7","duration":"8h"}`)
	has(t, "a row for each target", v.get("/decisions?grouped=true&limit=50"), "130 in all, of 131 decisions", "2 decisions</a>", "A row for each decision")
}
