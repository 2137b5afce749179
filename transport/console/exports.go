package console

import (
	"crypto/sha512"
	"net/http"
	"slices"
	"strconv"

	"lapid/engine"
	"lapid/transport/admin"
)

// listExports gives all exports by name, of which there are engine.MostExports at most.
func (s *Server) listExports(q *request) error {
	w := q.words()
	if err := w.err(); err != nil {
		return err
	}
	list, err := q.admin.Exports(q.Context())
	if err != nil {
		return err
	}
	out := page[map[string]any]{Items: []map[string]any{}}
	for i := range list.Exports {
		out.Items = append(out.Items, list.Exports[i].Object(list.Now, false))
	}
	return q.answer(http.StatusOK, out)
}

// getExport is one export, with the last pulls.
func (s *Server) getExport(q *request) error {
	x, err := q.admin.Export(q.Context(), q.PathValue("name"))
	if err != nil {
		return err
	}
	q.tagged(x.Tag)
	return q.answer(http.StatusOK, x.Object(s.options.Engine.Now(), true))
}

// exportAsked is an export, or what changes of one: what is left away stays.
type exportAsked struct {
	Name         string    `json:"name"`
	Format       *string   `json:"format"`
	Path         *string   `json:"path"`
	Family       *string   `json:"family"`
	Order        *string   `json:"order"`
	Auth         *string   `json:"auth"`
	User         *string   `json:"user"`
	Types        *[]string `json:"types"`
	Origins      *[]string `json:"origins"`
	Containing   *[]string `json:"scenarios_containing"`
	Allowlists   *[]string `json:"allowlists"`
	AllowFrom    *[]string `json:"allow_from"`
	AllowedOU    *[]string `json:"allowed_ou"`
	Options      *[]string `json:"options"`
	Aggregate    *bool     `json:"aggregate"`
	NoAllowlists *bool     `json:"no_allowlists"`
	RefuseEmpty  *bool     `json:"refuse_empty"`
	MayShrink    *bool     `json:"may_shrink"`
	Limit        *int      `json:"limit"`
	Password     string    `json:"password"` // in place of one that is made up
	Accept       bool      `json:"accept_shrunken"`
}

// edit is what is asked for of the definition, and whether that is anything.
func (n *exportAsked) edit(name string) (e *admin.ExportEdit, some bool) {
	e = &admin.ExportEdit{Name: name, Words: map[string][]string{}, Format: n.Format, Path: n.Path, Family: n.Family, Order: n.Order, Auth: n.Auth, User: n.User,
		Aggregate: n.Aggregate, NoAllowlists: n.NoAllowlists, RefuseEmpty: n.RefuseEmpty, MayShrink: n.MayShrink, Limit: n.Limit}
	for flag, list := range map[string]*[]string{"types": n.Types, "origins": n.Origins, "scenarios-containing": n.Containing, "allowlists": n.Allowlists,
		"allow-from": n.AllowFrom, "allowed-ou": n.AllowedOU, "option": n.Options} {
		if list != nil {
			e.Words[flag] = *list
		}
	}
	for _, text := range []*string{n.Format, n.Path, n.Family, n.Order, n.Auth, n.User} {
		some = some || text != nil
	}
	for _, yes := range []*bool{n.Aggregate, n.NoAllowlists, n.RefuseEmpty, n.MayShrink} {
		some = some || yes != nil
	}
	return e, some || len(e.Words) > 0 || n.Limit != nil || n.Password != ""
}

// exportDone is an export that was made or changed; a secret is shown this once.
type exportDone struct {
	admin.ShownExport
	Warnings []string `json:"warnings,omitempty"`
}

// addExport makes one.
func (s *Server) addExport(q *request) error {
	var n exportAsked
	if err := q.read(&n); err != nil {
		return err
	}
	if n.Format == nil || n.Accept {
		return bad("a new export needs name and format, and has no accept_shrunken")
	}
	edit, _ := n.edit(n.Name)
	shown, err := edit.Begin(n.Password)
	if err != nil {
		return err
	}
	done, err := q.admin.AddExport(q.Context(), edit)
	if err != nil {
		return err
	}
	return q.answer(http.StatusCreated, exportDone{*shown, done.Warnings})
}

// editExport changes what is given.
func (s *Server) editExport(q *request) error {
	var n exportAsked
	if err := q.read(&n); err != nil {
		return err
	}
	edit, some := n.edit(q.PathValue("name"))
	if !some && !n.Accept || n.Name != "" {
		return bad("say what is to change; an export's name stays")
	}
	shown, err := edit.Keyed(n.Password)
	if err != nil {
		return err
	}
	if edit.If, err = q.ifMatch(); err != nil {
		return err
	}
	done := &admin.Edited{}
	if some {
		done, err = q.admin.EditExport(q.Context(), edit)
	} else if len(edit.If) > 0 { // the definition stays, and has to be the one that was looked at
		var x *admin.Export
		if x, err = q.admin.Export(q.Context(), edit.Name); err == nil {
			done.Stale = !slices.Contains(edit.If, x.Tag)
		}
	}
	switch {
	case err != nil:
		return err
	case done.Stale:
		return errStale
	}
	if !done.Rekeyed {
		shown.Secret = ""
	}
	if n.Accept {
		if _, err := q.admin.AcceptExport(q.Context(), edit.Name); err != nil {
			return err
		}
	}
	return q.answer(http.StatusOK, exportDone{*shown, done.Warnings})
}

func (s *Server) deleteExport(q *request) error {
	if err := q.admin.DeleteExport(q.Context(), q.PathValue("name")); err != nil {
		return err
	}
	return q.answer(http.StatusOK, done{Count: 1})
}

// rotateExport makes a new secret, which is shown this once; the one before stays valid until end is asked for.
func (s *Server) rotateExport(q *request) error {
	var n struct {
		End bool `json:"end"`
	}
	if err := q.read(&n); err != nil {
		return err
	}
	name := q.PathValue("name")
	if n.End {
		if err := q.admin.RotateExport(q.Context(), &admin.ExportRotation{Name: name, End: true}); err != nil {
			return err
		}
		return q.answer(http.StatusOK, done{Count: 1})
	}
	secret := admin.NewExportSecret()
	sum := sha512.Sum512([]byte(secret))
	if err := q.admin.RotateExport(q.Context(), &admin.ExportRotation{Name: name, Secret: sum[:]}); err != nil {
		return err
	}
	out := exportDone{ShownExport: admin.ShownExport{Name: name, Path: "/exports/" + name, Secret: secret}}
	if x := s.options.Engine.View().Export(name); x != nil {
		if out.Auth = x.Auth.String(); x.Auth == engine.ExportBasic {
			out.User = x.User
		}
	}
	return q.answer(http.StatusCreated, out)
}

// renderExport is the list as a device would get it now; the parameters are a device's.
func (s *Server) renderExport(q *request) error {
	r, err := q.admin.RenderExport(q.Context(), &admin.ExportRequest{Name: q.PathValue("name"), Query: q.URL.RawQuery})
	if err != nil {
		return err
	}
	h := q.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="export.txt"`)
	h.Set("Lapid-Revision", strconv.FormatUint(uint64(r.Revision), 10))
	h.Set("Lapid-Entries", strconv.Itoa(r.Count)+"/"+strconv.Itoa(r.Total))
	_, _ = q.w.Write(r.Body) // it fails when the client has gone away
	return nil
}
