package console

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// exportsShown is all lists for devices, with the form of a new one.
type exportsShown struct {
	Rows    []admin.Export
	Form    url.Values
	Formats []string
	Auths   []string
}

// exportAuths are the ways in which a device says who it is.
var exportAuths = []string{"basic", "token", "key", "certificate", "ip", "none"}

func (s *Server) exportsPage(q *request) error {
	list, err := q.admin.Exports(q.Context())
	if err != nil {
		return err
	}
	return s.page(q, "exports", "Exports", &exportsShown{list.Exports, viewOf(q.Request).form, admin.ExportFormats(), exportAuths})
}

// exportShown is one of them, with the form that changes it, and the beginning of the list where that was asked for.
type exportShown struct {
	admin.Export
	Attention string
	Fields    []formField
	Ticks     []formField
	Preview   *exportPreview
}

// formField is a line of a form. Value is what is in force, or what was sent and could not be done.
type formField struct {
	Name, Label, Value string
	Choices            []string // nil: a text
	On                 bool     // of a tick
	Hint               string   // "": none is needed
}

// exportPreview is the beginning of a list.
type exportPreview struct {
	Text         string
	Count, Total int
	Cut          bool
	Warnings     []string
}

// previewed bounds the text of a preview in bytes.
const previewed = 2 << 10

func (s *Server) exportPage(q *request) error { return s.exportOf(q, q.PathValue("name")) }

func (s *Server) exportOf(q *request, name string) error {
	x, err := q.admin.Export(q.Context(), name)
	if err != nil {
		return err
	}
	d := &exportShown{Export: *x, Attention: x.Attention(s.options.Engine.Now())}
	d.Fields, d.Ticks = fieldsOf(x, viewOf(q.Request).form)
	if q.URL.Query().Get("preview") != "" {
		r, err := q.admin.RenderExport(q.Context(), &admin.ExportRequest{Name: name})
		if err != nil {
			return err
		}
		d.Preview = &exportPreview{string(r.Body), r.Count, r.Total, len(r.Body) > previewed, r.Warnings}
		if d.Preview.Cut {
			d.Preview.Text = d.Preview.Text[:strings.LastIndexByte(d.Preview.Text[:previewed], '\n')+1]
		}
	}
	return s.show(q.w, q.Request, q.who, &site.Page{Name: "export", At: "exports", Title: name, Data: d})
}

// fieldsOf are the lines of the form.
func fieldsOf(x *admin.Export, sent url.Values) (fields, ticks []formField) {
	words := func(list []string) string { return strings.Join(list, " ") }
	limit := ""
	if x.Limit != 0 {
		limit = strconv.Itoa(x.Limit)
	}
	fields = []formField{
		{Name: "format", Label: "Format", Value: x.Format, Choices: admin.ExportFormats()}, {Name: "types", Label: "Types", Value: words(x.Types)},
		{Name: "origins", Label: "Origins", Value: words(x.Origins)}, {Name: "scenarios_containing", Label: "Scenarios with", Value: words(x.Containing)},
		{Name: "family", Label: "Addresses of", Value: x.Family, Choices: []string{"both", "ipv4", "ipv6"}}, {Name: "limit", Label: "Entries at most", Value: limit},
		{Name: "order", Label: "What is kept of more", Value: x.Order, Choices: []string{"local-first", "newest", "longest"}}, {Name: "allowlists", Label: "Allowlists that free", Hint: "all if none", Value: words(x.Allowlists)},
		{Name: "options", Label: "Options of format", Value: words(x.Options)}, {Name: "path", Label: "Another path", Value: x.Path},
		{Name: "auth", Label: "Who devices are", Value: x.Auth, Choices: exportAuths}, {Name: "user", Label: "User of basic", Value: x.User},
		{Name: "allow_from", Label: "Only from addresses", Value: words(x.AllowFrom)}, {Name: "allowed_ou", Label: "Units of certificates", Value: words(x.OUs)},
	}
	ticks = []formField{
		{Name: "aggregate", Label: "neighbours become ranges, exactly", On: x.Aggregate}, {Name: "no_allowlists", Label: "allowlists free nothing here", On: x.NoAllowlists},
		{Name: "refuse_empty", Label: "an empty list is not given", On: x.RefuseEmpty}, {Name: "may_shrink", Label: "a list may lose more than half at once", On: x.MayShrink},
	}
	if sent == nil {
		return fields, ticks
	}
	for i := range fields {
		fields[i].Value = sent.Get(fields[i].Name)
	}
	for i := range ticks {
		ticks[i].On = sent.Has(ticks[i].Name)
	}
	return fields, ticks
}

// addExportForm makes one, and shows its secret, this once.
func (s *Server) addExportForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	format, auth := f.Get("format"), f.Get("auth")
	n := exportAsked{Name: strings.TrimSpace(f.Get("name")), Format: &format, Auth: &auth}
	if user := n.Name; auth == "basic" {
		n.User = &user
	}
	from, err := listed(f.Get("allow_from"))
	if err != nil {
		return s.again(q, bad("allow_from: "+err.Error()), (*Server).exportsPage)
	}
	if len(from) > 0 {
		n.AllowFrom = &from
	}
	var out exportDone
	if err := s.call(q, "POST /admin/v1/exports", asked{body: &n, into: &out}); err != nil {
		return s.again(q, err, (*Server).exportsPage)
	}
	return s.exportSecret(q, "A new export", &out)
}

// editExportForm changes what differs from what is in force, if that is what the form was made of.
func (s *Server) editExportForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	name, tag := f.Get("name"), f.Get("tag")
	show := func(s *Server, q *request) error { return s.exportOf(q, name) }
	x, err := q.admin.Export(q.Context(), name)
	if err != nil {
		return err
	}
	if tag != "" && tag != x.Tag {
		return s.staleForm(q, name, show)
	}
	body, err := exportChanges(x, f)
	if err != nil {
		return s.again(q, err, show)
	}
	var out exportDone
	err = s.call(q, "PATCH /admin/v1/exports/{name}", asked{path: map[string]string{"name": name}, match: tag, body: body, into: &out})
	if errors.Is(err, errStale) {
		return s.staleForm(q, name, show)
	}
	if err != nil {
		return s.again(q, err, show)
	}
	if out.Secret != "" {
		return s.exportSecret(q, "Another way in", &out)
	}
	n := site.Notice{Text: name + " is changed: the next pull gets it so."}
	for _, w := range out.Warnings {
		n.Text += " " + w + "."
	}
	return s.done(q, "/exports/"+url.PathEscape(name), n)
}

// exportChanges are the fields of a form that differ from an export, as the API takes them.
func exportChanges(x *admin.Export, f url.Values) (map[string]any, error) {
	fields, ticks := fieldsOf(x, nil)
	lists := []string{"types", "origins", "scenarios_containing", "allowlists", "options", "allow_from", "allowed_ou"}
	out := map[string]any{}
	for i := range fields {
		field := &fields[i]
		sent := strings.TrimSpace(f.Get(field.Name))
		if field.Name == "limit" {
			sent = ungrouped(sent)
		}
		switch {
		case !f.Has(field.Name) || sent == field.Value:
		case field.Name == "limit":
			n, err := strconv.Atoi(sent)
			if err != nil && sent != "" {
				return nil, bad(fmt.Sprintf("%q is no number of entries", sent))
			}
			out["limit"] = n
		case slices.Contains(lists, field.Name):
			list, err := listed(sent)
			if err != nil {
				return nil, bad(field.Name + ": " + err.Error())
			}
			out[field.Name] = list
		default:
			out[field.Name] = sent
		}
	}
	for i := range ticks {
		if on := f.Has(ticks[i].Name); on != ticks[i].On {
			out[ticks[i].Name] = on
		}
	}
	if f.Get("accept") != "" {
		out = map[string]any{"accept_shrunken": true}
	}
	return out, nil
}

// listed are the words of a field, parted by blanks or commas, with nothing empty between two commas.
func listed(text string) ([]string, error) {
	list, err := admin.Words(text)
	return append([]string{}, strings.Fields(strings.Join(list, " "))...), err
}

// rotateExportForm makes another secret, shown this once, or ends those before.
func (s *Server) rotateExportForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	name, ends := f.Get("name"), f.Get("end") != ""
	var out exportDone
	if err := s.call(q, "POST /admin/v1/exports/{name}/rotate", asked{path: map[string]string{"name": name}, body: map[string]bool{"end": ends}, into: &out}); err != nil {
		return s.again(q, err, func(s *Server, q *request) error { return s.exportOf(q, name) })
	}
	if ends {
		return s.done(q, "/exports/"+url.PathEscape(name), site.Notice{Text: "Only the newest secret is good from now on."})
	}
	return s.exportSecret(q, "Another secret", &out)
}

// exportSecret shows what a device needs; an export without a secret has none to show.
func (s *Server) exportSecret(q *request, what string, x *exportDone) error {
	back := "/exports/" + url.PathEscape(x.Name)
	if x.Secret == "" {
		return s.done(q, back, site.Notice{Text: fmt.Sprintf("%s is there, at %s of the Local API.", x.Name, x.Path)})
	}
	hint := fmt.Sprintf("The list is at %s of the Local API. It cannot be shown again: only its hash is kept.", x.Path)
	if x.User != "" {
		hint = fmt.Sprintf("Its user is %s. ", x.User) + hint
	}
	if what == "Another secret" {
		hint += " The one before stays good until it is ended."
	}
	return s.secret(q, "exports", &secretShown{what, x.Name, "Its secret", x.Secret, hint, back, what != "A new export"})
}

func (s *Server) deleteExportForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	if err := s.call(q, "DELETE /admin/v1/exports/{name}", asked{path: map[string]string{"name": f.Get("name")}}); err != nil {
		return s.again(q, err, (*Server).exportsPage)
	}
	return s.done(q, "/exports", site.Notice{Text: f.Get("name") + " is deleted: devices that pull it get 404."})
}
