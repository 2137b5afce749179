package console

import (
	"fmt"
	"net/url"
	"strings"

	"lapid/transport/console/site"
)

// secretShown is a page that shows what is shown once.
type secretShown struct {
	What, Name, Label, Secret, Hint string
	Back                            string
	Anew                            bool // what has the secret was there before
}

// secret answers with a page that shows a secret. It is an answer to the form itself: nothing of it is kept to be
// asked for again.
func (s *Server) secret(q *request, at string, d *secretShown) error {
	return s.show(q.w, q.Request, q.who, &site.Page{Name: "secret", At: at, Title: d.What, Data: d})
}

// posted reads a form.
func (q *request) posted() (url.Values, error) {
	if err := q.ParseForm(); err != nil {
		return nil, bad("the form cannot be read: " + err.Error())
	}
	return q.PostForm, nil
}

// peopleShown is a page of bouncers or machines, with what a form held that could not be done.
type peopleShown[T any] struct {
	Rows        []T
	First, Next string
	Shown       string
	Form        url.Values
}

func newPeople[T any](s *Server, q *request, path string) (*peopleShown[T], error) {
	query, _, err := q.filters(nil)
	if err != nil {
		return nil, err
	}
	var list page[T]
	if err := s.call(q, "GET /admin/v1"+path, asked{query: query, into: &list}); err != nil {
		return nil, err
	}
	d := &peopleShown[T]{Rows: list.Items, Shown: "On this page: " + site.Count(len(list.Items)), Form: viewOf(q.Request).form}
	d.First, d.Next = s.around(path, query, list.Next)
	return d, nil
}

func (s *Server) machinesPage(q *request) error {
	d, err := newPeople[machineShown](s, q, "/machines")
	if err != nil {
		return err
	}
	return s.page(q, "machines", "Machines", d)
}

// addMachineForm adds a machine and shows its password, this once.
func (s *Server) addMachineForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	var out struct{ Name, Password string }
	if err := s.call(q, "POST /admin/v1/machines", asked{body: &newMachine{Name: strings.TrimSpace(f.Get("name"))}, into: &out}); err != nil {
		return s.again(q, err, (*Server).machinesPage)
	}
	return s.secret(q, "machines", &secretShown{
		"A new machine", out.Name, "Its password", out.Password, "It belongs, with the name, into local_api_credentials.yaml of the log processor. It cannot be shown again: only its hash is kept.", "/machines", false,
	})
}

func (s *Server) validateMachineForm(q *request) error {
	return s.onMachine(q, "POST /admin/v1/machines/{name}/validate", "%s is validated: it may push alerts.")
}

func (s *Server) deleteMachineForm(q *request) error {
	return s.onMachine(q, "DELETE /admin/v1/machines/{name}", "%s is deleted: it has to register again.")
}

func (s *Server) onMachine(q *request, line, said string) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	if err := s.call(q, line, asked{path: map[string]string{"name": f.Get("name")}}); err != nil {
		return s.again(q, err, (*Server).machinesPage)
	}
	return s.done(q, "/machines", site.Notice{Text: fmt.Sprintf(said, f.Get("name"))})
}

// allowlistsShown is all allowlists.
type allowlistsShown struct {
	Rows []allowlistShown
	Form url.Values
}

func (s *Server) allowlistsPage(q *request) error {
	var list page[allowlistShown]
	if err := s.call(q, "GET /admin/v1/allowlists", asked{into: &list}); err != nil {
		return err
	}
	return s.page(q, "allowlists", "Allowlists", &allowlistsShown{list.Items, viewOf(q.Request).form})
}

func (s *Server) createAllowlistForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	var out warned
	name := strings.TrimSpace(f.Get("name"))
	if err := s.call(q, "POST /admin/v1/allowlists", asked{body: map[string]string{"name": name, "description": f.Get("description")}, into: &out}); err != nil {
		return s.again(q, err, (*Server).allowlistsPage)
	}
	return s.done(q, "/allowlists/"+url.PathEscape(name), site.Notice{Text: strings.Join(append([]string{name + " is created, and empty yet."}, out.Warnings...), " Note: ")})
}

func (s *Server) deleteAllowlistForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	if err := s.call(q, "DELETE /admin/v1/allowlists/{name}", asked{path: map[string]string{"name": f.Get("name")}}); err != nil {
		return s.again(q, err, (*Server).allowlistsPage)
	}
	return s.done(q, "/allowlists", site.Notice{Text: f.Get("name") + " is deleted. Decisions that it had ended stay ended."})
}

// itemsShown is one allowlist, with what adding would do where that was asked.
type itemsShown struct {
	allowlistShown
	Form    url.Values
	Outlook *itemsOutlook
}

// itemsOutlook is what becomes of items that are added.
type itemsOutlook struct {
	Count   int      `json:"count"`
	Ended   int      `json:"ended"`
	Present []string `json:"present"`
	Refused []string `json:"refused"`
	Dry     bool     `json:"dry_run"`
}

func (s *Server) allowlistPage(q *request) error { return s.itemsOf(q, q.PathValue("name"), nil) }

func (s *Server) itemsOf(q *request, name string, out *itemsOutlook) error {
	d := itemsShown{Form: viewOf(q.Request).form, Outlook: out}
	if err := s.call(q, "GET /admin/v1/allowlists/{name}", asked{path: map[string]string{"name": name}, into: &d.allowlistShown}); err != nil {
		return err
	}
	return s.show(q.w, q.Request, q.who, &site.Page{Name: "allowlist", At: "allowlists", Title: d.Name, Data: &d})
}

// addItemsForm adds values, one a line, or says what that would do.
func (s *Server) addItemsForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	name := f.Get("name")
	n := newItems{Dry: f.Get("do") == "try"}
	for value := range strings.FieldsSeq(f.Get("values")) {
		n.Items = append(n.Items, newItem{Value: value, Comment: f.Get("comment"), Expires: strings.TrimSpace(f.Get("expires"))})
	}
	var out itemsOutlook
	err = s.call(q, "POST /admin/v1/allowlists/{name}/items", asked{path: map[string]string{"name": name}, body: &n, into: &out})
	if err != nil {
		return s.again(q, err, func(s *Server, q *request) error { return s.itemsOf(q, name, nil) })
	}
	if n.Dry || len(out.Refused) > 0 {
		viewOf(q.Request).form = f
		return s.itemsOf(q, name, &out)
	}
	said := site.Notice{Text: fmt.Sprintf("%d added to %s, %d decisions have ended.", out.Count, name, out.Ended)}
	if len(out.Present) > 0 {
		said.Text += fmt.Sprintf(" %d were there already.", len(out.Present))
	}
	if out.Count > 0 && len(n.Items) == out.Count && out.Count <= 100 {
		said.Undo = &site.Form{Action: "/allowlists/items/remove", Label: "Undo", Fields: [][2]string{{"name", name}, {"back", "/allowlists/" + url.PathEscape(name)}}}
		for i := range n.Items {
			said.Undo.Fields = append(said.Undo.Fields, [2]string{"value", n.Items[i].Value})
		}
	}
	return s.done(q, "/allowlists/"+url.PathEscape(name), said)
}

func (s *Server) removeItemsForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	name := f.Get("name")
	var out done
	if err := s.call(q, "DELETE /admin/v1/allowlists/{name}/items", asked{path: map[string]string{"name": name}, query: url.Values{"value": f["value"]}, into: &out}); err != nil {
		return s.again(q, err, func(s *Server, q *request) error { return s.itemsOf(q, name, nil) })
	}
	return s.done(q, "/allowlists/"+url.PathEscape(name), site.Notice{Text: fmt.Sprintf("%d taken out of %s: alerts about it count again.", out.Count, name)})
}
