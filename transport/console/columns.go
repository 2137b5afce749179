package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The columns of a long table are chosen and put in order by who looks at it. The browser keeps the choice in a
// cookie; an address that names columns (columns=type,origin) shows those instead, and changes nothing that is kept: it may
// have come from somebody else.

// column is one that a table may have, besides the first, which says what the row is and always stands there.
type column struct {
	Name, Title string
	Sort        string // what the list is ordered by when its head is followed; "": by nothing
	Number      bool   // set to the right
	Usual       bool   // shown where nobody has chosen
	Main        bool   // of a usual choice: kept where there is room for three
}

// table is a list whose columns may be chosen.
type table struct {
	Name    string
	columns []column // as usual, from left to right
}

// mainColumns are how many are shown where there is no room for a table.
const mainColumns = 3

var tables = []*table{
	{"decisions", []column{
		{Name: "type", Title: "Type", Sort: "type", Usual: true, Main: true},
		{Name: "scenario", Title: "Scenario", Sort: "scenario", Usual: true, Main: true},
		{Name: "origin", Title: "Origin", Sort: "origin", Usual: true},
		{Name: "from", Title: "From", Sort: "country", Usual: true},
		{Name: "started", Title: "Started", Sort: "started", Usual: true},
		{Name: "remaining", Title: "Remaining", Sort: "until", Usual: true, Main: true},
		{Name: "alert", Title: "Alert", Number: true, Usual: true},
		{Name: "until", Title: "Until", Sort: "until"},
		{Name: "scope", Title: "Scope", Sort: "scope"},
		{Name: "network", Title: "Network", Sort: "as"},
		{Name: "machine", Title: "Machine", Sort: "machine"},
		{Name: "enforced", Title: "Enforced by"},
		{Name: "id", Title: "Decision", Sort: "id", Number: true},
	}},
	{"alerts", []column{
		{Name: "source", Title: "Source", Usual: true, Main: true},
		{Name: "from", Title: "From", Sort: "country", Usual: true},
		{Name: "events", Title: "Events", Number: true, Usual: true},
		{Name: "decisions", Title: "Decisions", Sort: "decisions", Number: true, Usual: true, Main: true},
		{Name: "machine", Title: "Machine", Sort: "machine", Usual: true},
		{Name: "came", Title: "Came", Sort: "started", Usual: true, Main: true},
		{Name: "alert", Title: "Alert", Sort: "id", Number: true, Usual: true},
		{Name: "message", Title: "Message"},
		{Name: "network", Title: "Network", Sort: "as"},
		{Name: "kind", Title: "Kind"},
	}},
}

func tableNamed(name string) *table {
	for _, t := range tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// cookie is where a browser keeps its choice.
func (t *table) cookie() string { return "lapid-columns-" + t.Name }

// column finds one by its name; nil: there is none.
func (t *table) column(name string) *column {
	for i := range t.columns {
		if t.columns[i].Name == name {
			return &t.columns[i]
		}
	}
	return nil
}

// usual are the columns that are shown where nobody has chosen.
func (t *table) usual() (list []column) {
	for _, c := range t.columns {
		if c.Usual {
			list = append(list, c)
		}
	}
	return list
}

// named are columns by their names, without repetition; unknown is the first name that is none's. The first mainColumns of
// them are the main ones.
func (t *table) named(names []string) (list []column, unknown string) {
	for _, name := range names {
		c := t.column(name)
		switch {
		case c == nil:
			if unknown == "" {
				unknown = name
			}
		case !slices.ContainsFunc(list, func(o column) bool { return o.Name == name }):
			list = append(list, *c)
		}
	}
	for i := range list {
		list[i].Main = i < mainColumns
	}
	return list, unknown
}

// chosen are the columns that a request is shown: those of its address, else those that its browser keeps, else the usual
// ones. What a browser keeps of columns that are not there any more is passed over.
func (t *table) chosen(q *request) ([]column, error) {
	if text := q.URL.Query().Get("columns"); text != "" {
		list, unknown := t.named(strings.Split(text, ","))
		if unknown != "" {
			return t.usual(), bad(fmt.Sprintf("there is no column %.100q: those of %s are %s", unknown, t.Name, strings.Join(columnNames(t.columns), ", ")))
		}
		return list, nil
	}
	if c, err := q.Cookie(t.cookie()); err == nil {
		if list, _ := t.named(strings.Split(c.Value, ".")); len(list) > 0 {
			return list, nil
		}
	}
	return t.usual(), nil
}

func columnNames(list []column) []string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	return names
}

// columnChoice is a column as the form that chooses has it.
type columnChoice struct {
	column
	On          bool
	First, Last bool // of those that are on
}

// choices are all columns: those that are shown as they stand, then the others.
func (t *table) choices(shown []column) (list []columnChoice) {
	for i, c := range shown {
		list = append(list, columnChoice{c, true, i == 0, i == len(shown)-1})
	}
	for _, c := range t.columns {
		if !slices.ContainsFunc(shown, func(o column) bool { return o.Name == c.Name }) {
			list = append(list, columnChoice{column: c})
		}
	}
	return list
}

// columnsForm keeps in the browser which columns a table has: those that are ticked, in the order of the form, one of
// them a place earlier or later if its button was used. None, or the button for it, is as usual.
func (s *Server) columnsForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	t := tableNamed(f.Get("table"))
	if t == nil {
		return bad(fmt.Sprintf("there is no table %.100q whose columns are chosen", f.Get("table")))
	}
	list, unknown := t.named(f["column"])
	if unknown != "" {
		return bad(fmt.Sprintf("there is no column %.100q", unknown))
	}
	names := columnNames(list)
	moveName(names, f.Get("earlier"), -1)
	moveName(names, f.Get("later"), 1)
	value := strings.Join(names, ".")
	if f.Get("usual") != "" || slices.Equal(names, columnNames(t.usual())) {
		value = ""
	}
	s.keepLook(q, t.cookie(), value)
	to, err := url.Parse(within(f.Get("back"), "/"+t.Name))
	if err != nil {
		return bad("the page to go back to cannot be read: " + err.Error())
	}
	parameters := to.Query()
	parameters.Del("columns") // what was chosen is shown
	to.RawQuery, to.Fragment = parameters.Encode(), "columns"
	http.Redirect(q.w, q.Request, s.options.BasePath+to.String(), http.StatusSeeOther)
	return nil
}

// moveName moves a name by one place, where there is one.
func moveName(names []string, name string, by int) {
	if i := slices.Index(names, name); i >= 0 && i+by >= 0 && i+by < len(names) {
		names[i], names[i+by] = names[i+by], names[i]
	}
}
