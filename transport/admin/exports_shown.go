package admin

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"lapid/engine"
	"lapid/transport/export"
)

// What an export looks like to people and programs, wherever they ask: the command line and the API
// over HTTP show the same object.

// exportQuiet is after how long without a pull a list is marked.
const exportQuiet = 24 * time.Hour

// Attention is what an operator should look at, in words; "" for nothing. now is in Unix nanoseconds.
func (x *Export) Attention(now int64) string {
	var marks []string
	if x.Held {
		marks = append(marks, "held back: lost more than half")
	}
	if last := max(x.LastPull, x.CreatedAt); now-last > int64(exportQuiet) {
		marks = append(marks, "no pull for a day")
	}
	if x.LastEmpty != 0 {
		marks = append(marks, "last pull was empty")
	}
	if x.Omitted > 0 {
		marks = append(marks, fmt.Sprintf("%d left out", x.Omitted))
	}
	if len(x.Secrets) > 1 {
		marks = append(marks, "two secrets are valid")
	}
	return strings.Join(marks, ", ")
}

// Object is an export in JSON. Its keys are promised. With pulls it has the last ones too.
func (x *Export) Object(now int64, pulls bool) map[string]any {
	list := func(words []string) []string { return append([]string{}, words...) }
	last := ""
	if x.LastPull != 0 {
		last = time.Unix(0, x.LastPull).UTC().Format(time.RFC3339)
	}
	o := map[string]any{
		"name": x.Name, "path": "/exports/" + x.Name, "other_path": x.Path, "format": x.Format, "options": list(x.Options), "types": list(x.Types), "origins": list(x.Origins),
		"scenarios_containing": list(x.Containing), "family": x.Family, "aggregate": x.Aggregate, "limit": x.Limit, "order": x.Order, "allowlists": list(x.Allowlists),
		"no_allowlists": x.NoAllowlists, "refuse_empty": x.RefuseEmpty, "may_shrink": x.MayShrink, "auth": x.Auth, "user": x.User, "allow_from": list(x.AllowFrom),
		"allowed_ou": list(x.OUs), "secrets": len(x.Secrets), "declared": x.Declared, "created_at": thousandth(x.CreatedAt), "updated_at": thousandth(x.UpdatedAt),
		"last_pull": last, "entries": x.Entries, "served": x.Served, "unchanged": x.Unchanged, "refused": x.Refused, "bytes": x.Bytes, "attention": x.Attention(now),
	}
	if pulls {
		list := []map[string]any{}
		for _, p := range x.Pulls {
			list = append(list, map[string]any{"at": thousandth(p.At), "address": p.Address.String(), "agent": p.Agent, "status": p.Status, "entries": p.Entries, "bytes": p.Bytes})
		}
		o["pulls"] = list
	}
	return o
}

// ExportFormats are the names of the formats that an export may have.
func ExportFormats() (names []string) {
	for _, f := range export.Formats() {
		names = append(names, f.Name)
	}
	return names
}

// thousandth is a moment in milliseconds, UTC.
func thousandth(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z")
}

// ShownExport is an export whose secret is shown, this once.
type ShownExport struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Auth   string `json:"auth"`
	User   string `json:"user"`
	Secret string `json:"secret"`
}

// Begin completes what is asked of a new export: without an auth it has user NAME and a password.
// password is taken for the secret, "" has one made. What is to be shown is returned.
func (q *ExportEdit) Begin(password string) (*ShownExport, error) {
	if q.Auth == nil || *q.Auth == "" {
		auth := engine.ExportBasic.String()
		if q.Auth = &auth; q.User == nil {
			q.User = &q.Name
		}
	}
	return q.Keyed(password)
}

// Keyed gives an edit a secret where its auth may need one, or password has one; else what is returned has
// none. One that is made up counts where the auth becomes another alone (Edited.Rekeyed).
func (q *ExportEdit) Keyed(password string) (*ShownExport, error) {
	out := &ShownExport{Name: q.Name, Path: "/exports/" + q.Name}
	if q.Auth != nil {
		out.Auth = *q.Auth
	}
	needs := out.Auth == engine.ExportBasic.String() || out.Auth == engine.ExportToken.String()
	if q.User != nil && out.Auth == engine.ExportBasic.String() {
		out.User = *q.User
	}
	if !needs && password == "" {
		return out, nil
	}
	if out.Secret = password; password == "" {
		out.Secret, q.Spare = NewExportSecret(), true
	} else if err := export.SecretFits(password); err != nil {
		return nil, fmt.Errorf("%w; leave it out, and one is generated", err)
	}
	sum := sha512.Sum512([]byte(out.Secret))
	q.Secret = sum[:]
	return out, nil
}

// NewExportSecret is 40 letters and digits, 200 bits of chance: devices take them in URLs.
func NewExportSecret() string {
	b := make([]byte, 25)
	_, _ = rand.Read(b) // never fails, see its documentation
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}
