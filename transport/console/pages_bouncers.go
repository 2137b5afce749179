package console

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// bouncerFolded is a bouncer in the list, with the rows of the same page that were made from its key.
type bouncerFolded struct {
	bouncerShown
	Made []bouncerShown
}

func (s *Server) bouncersPage(q *request) error {
	d, err := newPeople[bouncerShown](s, q, "/bouncers")
	if err != nil {
		return err
	}
	folded := peopleShown[*bouncerFolded]{First: d.First, Next: d.Next, Shown: d.Shown, Form: d.Form}
	parents := map[string]*bouncerFolded{}
	for _, b := range d.Rows {
		if parent := parents[engine.BaseName(b.Name)]; parent != nil && b.AutoCreated {
			parent.Made = append(parent.Made, b)
			continue
		}
		row := &bouncerFolded{bouncerShown: b}
		parents[b.Name], folded.Rows = row, append(folded.Rows, row)
	}
	return s.page(q, "bouncers", "Bouncers", &folded)
}

// bouncerPage is one of them, with the form that changes what it sees.
type bouncerPage struct {
	bouncerShown
	Sees          []string // in lines
	AsksFor       string   // the parameters of its last poll
	KeyLines      []string
	Fields, Ticks []formField
	Tag           string // of what it sees now, which the form brings back
	Parent        string // of a row that was made from another's key: that one, where it is edited
	Usage         *usageTable
}

func (s *Server) bouncerPage(q *request) error { return s.bouncerNamed(q, q.PathValue("name")) }

func (s *Server) bouncerNamed(q *request, name string) error {
	b, err := q.admin.Bouncer(q.Context(), name)
	if err != nil {
		return err
	}
	d := &bouncerPage{bouncerShown: inspected(b), Sees: admin.SightLines(b.Sight), AsksFor: b.Asks, KeyLines: b.KeyLines(), Usage: usageOf(b.Usage)}
	if b.AutoCreated {
		d.Parent = engine.BaseName(b.Name)
	}
	d.Fields, d.Ticks = s.sightFields(b, viewOf(q.Request).form)
	d.Tag = admin.SightTag(b.Sight, b.Hold)
	return s.show(q.w, q.Request, q.who, &site.Page{Name: "bouncer", At: "bouncers", Title: name, Data: d})
}

// sightFields are the lines of the form, by the names of the verbs' flags.
func (s *Server) sightFields(b *admin.Bouncer, sent url.Values) (fields, ticks []formField) {
	has := admin.SightObject(b.Sight)
	text := func(name string) string {
		switch v := has[name].(type) {
		case []string:
			return strings.Join(v, ", ")
		case nil:
			return ""
		default:
			return fmt.Sprint(v)
		}
	}
	fields = []formField{
		{Name: "origins", Label: "Origins", Hint: "crowdsec, cscli, cscli-import, lists, CAPI; all if none"}, {Name: "not-origins", Label: "Not these origins"},
		{Name: "scopes", Label: "Scopes", Hint: "ip, range, as, country …"}, {Name: "types", Label: "Types", Hint: "ban, captcha …"},
		{Name: "scenarios-containing", Label: "Scenarios with"}, {Name: "not-containing", Label: "Scenarios without"},
		{Name: "allowlist", Label: "Hidden by allowlists"}, {Name: "max-entries", Label: "Decisions at most"},
		{Name: "priority", Label: "First of more", Choices: []string{"local-first", "newest", "longest"}},
		{Name: "max-duration", Label: "No longer duration than", Hint: "such as 24h; it is told again before it is over"}, {Name: "min-duration", Label: "No shorter duration than"},
		{Name: "hold", Label: "Polls are held for", Value: admin.HoldWord(b.Hold), Hint: "such as 25s, 60s at most; off; none: if it asks. Advised: " + b.HoldAdvice()},
	}
	for i := range fields[:len(fields)-1] {
		fields[i].Value = text(fields[i].Name)
	}
	ticks = []formField{{Name: "canonical", Label: "each address is told in one clean spelling, once", On: text("canonical") == "true"}}
	if sent == nil {
		return fields, ticks
	}
	for i := range fields {
		fields[i].Value = sent.Get(fields[i].Name)
	}
	ticks[0].On = sent.Has(ticks[0].Name)
	return fields, ticks
}

// editBouncerForm changes what differs from what is in force, if that is what the form was made of.
func (s *Server) editBouncerForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	name := f.Get("name")
	show := func(s *Server, q *request) error { return s.bouncerNamed(q, name) }
	b, err := q.admin.Bouncer(q.Context(), name)
	if err != nil {
		return err
	}
	tag := f.Get("tag")
	if tag != "" && tag != admin.SightTag(b.Sight, b.Hold) {
		return s.staleForm(q, name, show)
	}
	body, err := s.bouncerChanges(b, f)
	if err != nil {
		return s.again(q, err, show)
	}
	var out bouncerEdited
	err = s.call(q, "PATCH /admin/v1/bouncers/{name}", asked{path: map[string]string{"name": name}, match: tag, body: body, into: &out})
	if errors.Is(err, errStale) {
		return s.staleForm(q, name, show)
	}
	if err != nil {
		return s.again(q, err, show)
	}
	n := site.Notice{Text: name + " is changed: its next poll tells what left its sight and what came into it."}
	if len(out.Rows) > 0 {
		n.Text += fmt.Sprintf(" So are %d rows made from its key.", len(out.Rows))
	}
	for _, w := range out.Warnings {
		n.Text += " " + w + "."
	}
	return s.done(q, "/bouncers/"+url.PathEscape(name), n)
}

// staleForm shows what a form changes as it is now, where the form was made of what it was before.
func (s *Server) staleForm(q *request, name string, show func(*Server, *request) error) error {
	err := &fault{http.StatusConflict, name + " was changed after you had opened its page, and nothing was done. Its values are shown as they are now: make your change again."}
	return s.again(q, err, func(s *Server, q *request) error {
		viewOf(q.Request).form = nil
		return show(s, q)
	})
}

// bouncerChanges are the fields of a form that differ from a bouncer, as the API takes them.
func (s *Server) bouncerChanges(b *admin.Bouncer, f url.Values) (map[string]any, error) {
	if f.Get("see_all") != "" {
		return map[string]any{"see_all": true}, nil
	}
	fields, ticks := s.sightFields(b, nil)
	sight, out := map[string]any{}, map[string]any{}
	for i := range fields {
		field := &fields[i]
		sent := strings.TrimSpace(f.Get(field.Name))
		switch {
		case !f.Has(field.Name) || sent == field.Value:
		case field.Name == "hold":
			out["hold"] = sent
		case field.Name == "max-entries":
			n, err := strconv.Atoi(cmp.Or(ungrouped(sent), "0"))
			if err != nil {
				return nil, bad(fmt.Sprintf("%.100q is no number of decisions", sent))
			}
			sight["max-entries"] = n
		case field.Name == "priority" && field.Value == "" && sent == fields[i].Choices[0]: // without a bound it orders nothing
		case field.Name == "priority" || strings.HasSuffix(field.Name, "-duration"):
			sight[field.Name] = sent
		default:
			read := listed
			if field.Name == "scenarios-containing" || field.Name == "not-containing" {
				read = admin.Words // they may hold blanks
			}
			list, err := read(sent)
			if err != nil {
				return nil, bad(field.Name + ": " + err.Error())
			}
			sight[field.Name] = list
		}
	}
	if on := f.Has("canonical"); on != ticks[0].On {
		sight["canonical"] = on
	}
	if len(sight) > 0 {
		out["sight"] = sight
	}
	return out, nil
}

// addBouncerForm adds a bouncer and shows its key, this once.
func (s *Server) addBouncerForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	var out struct{ Name, Key string }
	n := newBouncer{Name: strings.TrimSpace(f.Get("name")), Shared: f.Get("shared") != ""}
	if err := s.call(q, "POST /admin/v1/bouncers", asked{body: &n, into: &out}); err != nil {
		return s.again(q, err, (*Server).bouncersPage)
	}
	return s.secret(q, "bouncers", &secretShown{
		"A new bouncer", out.Name, "Its API key", out.Key, "The bouncer sends it as X-Api-Key, to the address of the Local API. It cannot be shown again: only its hash is kept.", "/bouncers", false,
	})
}

// rotateBouncerForm gives a bouncer another key and shows it, this once.
func (s *Server) rotateBouncerForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	name, grace := f.Get("name"), strings.TrimSpace(f.Get("grace"))
	var out struct {
		Key   string
		Grace float64 `json:"grace_seconds"`
	}
	asks := asked{path: map[string]string{"name": name}, body: &keyRotation{Grace: &grace}, into: &out}
	if err := s.call(q, "POST /admin/v1/bouncers/{name}/rotate", asks); err != nil {
		return s.again(q, err, (*Server).bouncersPage)
	}
	hint := "The keys before it open nothing from now on. This one cannot be shown again: only its hash is kept."
	if out.Grace > 0 {
		hint = "The key before it stays good for " + grace + ": give the bouncer this one until then. It cannot be shown again: only its hash is kept."
	}
	return s.secret(q, "bouncers", &secretShown{"Another key", name, "Its new API key", out.Key, hint, "/bouncers", true})
}

func (s *Server) deleteBouncerForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	var out struct{ Names []string }
	if err := s.call(q, "DELETE /admin/v1/bouncers/{name}", asked{path: map[string]string{"name": f.Get("name")}, into: &out}); err != nil {
		return s.again(q, err, (*Server).bouncersPage)
	}
	return s.done(q, "/bouncers", site.Notice{Text: fmt.Sprintf("Deleted: %s. Its key opens nothing any more.", strings.Join(out.Names, ", "))})
}
