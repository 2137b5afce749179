package movein

import (
	"cmp"
	"errors"
	"slices"
)

// Tally is what became of the rows of a source, table by table.
type Tally struct {
	Source   string         `json:"source"`  // without a password
	Version  string         `json:"version"` // of the reference, by its tables: that one or a later one
	Tables   []*TableTally  `json:"tables"`
	Running  []OriginTally  `json:"running_decisions"` // of those taken over, by origin
	Counters Counters       `json:"counters"`
	origins  map[string]int // by origin, its place in Running

	// Unread is what is there and could not be read or stored, by table: it is no reason to
	// remove what was taken over of it before.
	Unread map[string]*Unread `json:"-"`
}

// Unread are things of one table. All: of some it is not known which they are.
type Unread struct {
	Names []string // alerts: their UUIDs
	All   bool
}

// mostUnread bounds the names of one table. With more nothing of it is known.
const mostUnread = 10_000

// spare notes one that could not be read, "" if not even what it is.
func (t *Tally) spare(of *relation, name string) {
	if t.Unread == nil {
		t.Unread = map[string]*Unread{}
	}
	u := t.Unread[of.name]
	if u == nil {
		u = &Unread{}
		t.Unread[of.name] = u
	}
	if u.All = u.All || name == "" || len(u.Names) >= mostUnread; !u.All {
		u.Names = append(u.Names, name)
	}
}

// unread is what could not be read of a table.
func (t *Tally) unread(of *relation) (names []string, all bool) {
	if u := t.Unread[of.name]; u != nil {
		return u.Names, u.All
	}
	return nil, false
}

// TableTally counts the rows of one table. Rows is what the database itself says before
// anything is read; Read is Taken and all of Left together.
type TableTally struct {
	Table   string   `json:"table"`
	Rows    int64    `json:"rows"`
	Read    int64    `json:"read"`
	Taken   int64    `json:"taken_over"`
	Left    []Reason `json:"left_out,omitempty"`
	Remarks []Reason `json:"remarks,omitempty"` // on rows that were taken over
}

// Reason is why rows were left out, or what there is to be said of them, with how many
// there were. Damaged rows could not be read as what they should be.
type Reason struct {
	Text    string `json:"reason"`
	Rows    int64  `json:"rows"`
	Damaged bool   `json:"damaged,omitempty"`
	Example int64  `json:"example,omitempty"` // the id of the first of them
}

// OriginTally counts decisions of one origin that run. Simulated ones are among them.
type OriginTally struct {
	Origin    string `json:"origin"`
	Decisions int64  `json:"decisions"`
}

// Counters are the highest numbers that the source has given to alerts and decisions.
type Counters struct {
	Alert    int64 `json:"alert"`
	Decision int64 `json:"decision"`
}

// mostReasons bounds the reasons of one table; those beyond are counted together.
const mostReasons = 64

func newTally(s *Source) *Tally {
	t := &Tally{Source: s.Place.String(), Version: s.Version, origins: map[string]int{}}
	for _, r := range relations {
		if s.has[r.name] != nil {
			t.Tables = append(t.Tables, &TableTally{Table: r.name})
		}
	}
	return t
}

// table is the tally of a relation. One that the source does not have is not shown.
func (t *Tally) table(r *relation) *TableTally {
	for _, one := range t.Tables {
		if one.Table == r.name {
			return one
		}
	}
	return &TableTally{Table: r.name}
}

// Table is the tally of the table of that name, nil where the source has none.
func (t *Tally) Table(name string) *TableTally {
	for _, one := range t.Tables {
		if one.Table == name {
			return one
		}
	}
	return nil
}

// LeftOut is how many rows were left out.
func (t *TableTally) LeftOut() (n int64) {
	for _, r := range t.Left {
		n += r.Rows
	}
	return n
}

// Damaged is how many rows could not be taken over because of what is in them.
func (t *Tally) Damaged() (n int64) {
	for _, table := range t.Tables {
		for _, r := range table.Left {
			if r.Damaged {
				n += r.Rows
			}
		}
	}
	return n
}

// Balance names the tables in which the rows that the database counts are not those that
// were read, or these not those taken over and left out.
func (t *Tally) Balance() (wrong []string) {
	for _, table := range t.Tables {
		if table.Rows != table.Read || table.Read != table.Taken+table.LeftOut() {
			wrong = append(wrong, table.Table)
		}
	}
	return wrong
}

func (t *TableTally) took() { t.Taken++ }

// refuse counts a row as left out that was counted as taken.
func (t *Tally) refuse(of *relation, id int64, why string) {
	table := t.table(of)
	table.Taken--
	table.damage(id, why)
}

// refuseOr counts one by its error as left out that was counted as taken, and tells whether
// the error was about that.
func (t *Tally) refuseOr(of *relation, id int64, err error) bool {
	var refused Refusal
	var leave Leave
	switch {
	case errors.As(err, &refused):
		t.refuse(of, id, string(refused))
	case errors.As(err, &leave):
		table := t.table(of)
		table.Taken--
		table.leave(id, string(leave))
	default:
		return false
	}
	return true
}

// leave counts a row that is left out as a matter of course.
func (t *TableTally) leave(id int64, why string) { add(&t.Left, id, why, false) }

// damage counts one that is left out because it is not what it should be.
func (t *TableTally) damage(id int64, why string) { add(&t.Left, id, why, true) }

func (t *TableTally) remark(id int64, what string) { add(&t.Remarks, id, what, false) }

func add(list *[]Reason, id int64, text string, damaged bool) {
	if len(*list) >= mostReasons {
		text = "other reasons"
	}
	i := slices.IndexFunc(*list, func(r Reason) bool { return r.Text == text && r.Damaged == damaged })
	if i < 0 {
		*list, i = append(*list, Reason{Text: text, Damaged: damaged, Example: id}), len(*list)
	}
	(*list)[i].Rows++
}

func (t *Tally) running(origin string) {
	i, ok := t.origins[origin]
	if !ok {
		if len(t.Running) >= mostReasons {
			origin = "others"
			if i, ok = t.origins[origin]; ok {
				t.Running[i].Decisions++
				return
			}
		}
		i = len(t.Running)
		t.origins[origin] = i
		t.Running = append(t.Running, OriginTally{Origin: origin})
	}
	t.Running[i].Decisions++
}

// settle puts what was counted into an order that does not depend on the rows'.
func (t *Tally) settle() {
	slices.SortFunc(t.Running, func(a, b OriginTally) int { return cmp.Compare(a.Origin, b.Origin) })
	t.origins = nil
}
