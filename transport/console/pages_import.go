package console

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"lapid/transport/admin"
	"lapid/transport/console/site"
	"lapid/transport/inputs"
)

// importShown is the form of a list, and what its last one would do.
type importShown struct {
	Form                      url.Values
	Formats, Types, Durations []string
	Expected                  map[string]string
	Most                      string
	Prepared                  string // by which the list that was looked at waits; "": there is none
	Outcome                   *importOutcome
	Usable                    bool // something of it can be imported
}

// importPage is the form.
func (s *Server) importPage(q *request) error {
	d := importShown{Form: viewOf(q.Request).form, Formats: []string{inputs.CSV, inputs.JSON, inputs.NDJSON, inputs.Values}, Types: []string{"ban", "captcha"},
		Durations: []string{"4h", "24h", "7d", "30d", "forever"}, Expected: inputs.Expected, Most: fmt.Sprintf("%d MiB, %s decisions", maxImport>>20, site.Count(mostEntries))}
	if d.Form == nil {
		d.Form = url.Values{"type": {"ban"}, "duration": {"24h"}}
	}
	if p := s.prepared.look(q.who.Name, d.Form.Get("prepared")); p != nil {
		d.Prepared, d.Outcome, d.Usable = p.id, p.outlook, p.outlook.Count > 0
	}
	return s.show(q.w, q.Request, q.who, &site.Page{Name: "decisions-import", At: "decisions", Title: "Import decisions", Data: &d})
}

// tryImportForm reads a list and says what would come of it. The list waits for the next form.
func (s *Server) tryImportForm(q *request) error {
	p, err := s.readListForm(q)
	if err == nil && p == nil {
		err = bad("paste a list, or choose a file")
	}
	if err == nil {
		p.outlook, err = s.storeList(q, p, true)
	}
	if err != nil {
		return s.again(q, err, (*Server).importPage)
	}
	v := viewOf(q.Request)
	v.form = q.PostForm
	v.form.Set("prepared", s.prepared.keep(q.who.Name, p))
	return s.importPage(q)
}

// readListForm reads the fields of a form, and the list in one of them, whose fields must have come before. The list is nil when
// there is none.
func (s *Server) readListForm(q *request) (*preparedList, error) {
	parts, err := q.MultipartReader()
	if err != nil { // a form without a file
		q.Body = http.MaxBytesReader(q.w, q.Body, maxBody)
		if err := q.ParseForm(); err != nil {
			return nil, bad("the form cannot be read: " + err.Error())
		}
		return s.listOf(q, "", strings.NewReader(q.PostForm.Get("list")))
	}
	q.PostForm = url.Values{}
	var list *preparedList
	for range mostFormParts {
		part, err := parts.NextPart()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, unreadableForm(err)
		}
		name := part.FormName()
		if name != "list" && name != "file" {
			if list != nil { // which was judged without it
				return nil, bad(fmt.Sprintf("the field %.40q comes behind the list: send it before", name))
			}
			text, err := io.ReadAll(io.LimitReader(part, longestField+1))
			if err != nil {
				return nil, unreadableForm(err)
			}
			if len(text) > longestField {
				return nil, bad(fmt.Sprintf("the field %.40q is too long", name))
			}
			q.PostForm.Set(name, string(text))
			continue
		}
		one, err := s.listOf(q, part.FileName(), part)
		if err != nil {
			return nil, err
		}
		if one != nil && list != nil {
			return nil, bad("paste a list or choose a file, not both")
		}
		if list == nil {
			list = one
		}
	}
	return nil, bad("the form has too many fields")
}

const (
	// mostFormParts is how many fields a form with a file has at most, longestField how long each but the list is, in bytes.
	mostFormParts, longestField = 32, 4096
)

func unreadableForm(err error) error {
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return errLongList
	}
	return bad("the form cannot be read: " + err.Error())
}

// listOf reads a field that may be a list; nil when it is blank.
func (s *Server) listOf(q *request, file string, from io.Reader) (*preparedList, error) {
	in := bufio.NewReader(from)
	if start, err := in.Peek(in.Size()); err == io.EOF && len(bytes.TrimSpace(start)) == 0 {
		return nil, nil
	}
	f := q.PostForm
	w := importWords{Format: f.Get("format"), Source: sourceOf(file), Scope: f.Get("scope"), Type: f.Get("type"), Duration: strings.TrimSpace(f.Get("duration")), Reason: f.Get("reason")}
	if w.Format == "" {
		w.Format = inputs.FormatOf(file)
	}
	return s.prepareList(q.Context(), in, &w)
}

// importForm imports the list that was looked at.
func (s *Server) importForm(q *request) error {
	q.Body = http.MaxBytesReader(q.w, q.Body, maxBody)
	if err := q.ParseForm(); err != nil {
		return bad("the form cannot be read: " + err.Error())
	}
	f := q.PostForm
	p := s.prepared.take(q.who.Name, f.Get("prepared"))
	if p == nil {
		return s.again(q, &fault{http.StatusGone, "this list is not kept any more, or was imported: give it again"}, (*Server).importPage)
	}
	p.skip = f.Get("skip") != ""
	if p.head.Batch = strings.TrimSpace(f.Get("batch")); p.head.Batch != "" {
		if err := admin.UsableBatchName("the batch's name", p.head.Batch); err != nil {
			f.Set("prepared", s.prepared.keep(q.who.Name, p))
			return s.again(q, err, (*Server).importPage)
		}
	}
	out, err := s.storeList(q, p, false)
	if err != nil {
		f.Set("prepared", s.prepared.keep(q.who.Name, p))
		return s.again(q, err, (*Server).importPage)
	}
	n := site.Notice{Text: fmt.Sprintf("%s decisions are imported, as the batch %s.", site.Count(out.Count), out.Batch)}
	if out.Allowlisted > 0 {
		n.Text += fmt.Sprintf(" %s are allowlisted and left out.", site.Count(out.Allowlisted))
	}
	if out.Count > 0 {
		n.Undo = &site.Form{Action: "/decisions/import/undo", Label: "Undo", Fields: [][2]string{{"batch", out.Batch}}}
	}
	return s.done(q, "/decisions", n)
}

// undoImportForm ends all that an import has stored.
func (s *Server) undoImportForm(q *request) error {
	if err := q.ParseForm(); err != nil {
		return bad("the form cannot be read: " + err.Error())
	}
	batch := q.PostForm.Get("batch")
	if batch == "" {
		return bad("say which batch")
	}
	var out ended
	if err := s.call(q, "DELETE /admin/v1/decisions", asked{query: url.Values{"batch": {batch}}, into: &out}); err != nil {
		return err
	}
	return s.done(q, "/decisions", site.Notice{Text: fmt.Sprintf("%s decisions of the batch %s have ended.", site.Count(out.Count), batch)})
}
