package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lapid/engine"
	"lapid/transport/export"
)

// Export is a list for devices as the operator sees it. Times are Unix nanoseconds. Of its
// secrets only the moments are told.
type Export struct {
	Name, Path, Format                              string
	Options                                         []string
	Types, Origins, Containing, Allowlists          []string
	Family, Order, Auth, User                       string
	Aggregate, NoAllowlists, RefuseEmpty, MayShrink bool
	Limit                                           int
	AllowFrom, OUs                                  []string
	Secrets                                         []int64 // since when each is valid, the newest first
	Declared                                        bool    // it stands in lapid.yaml
	CreatedAt, UpdatedAt                            int64
	Served, Unchanged, Refused, Bytes               uint64 // since the start of the server
	LastPull                                        int64
	Entries, Omitted                                int64         // of the last list that was given
	Held                                            bool          // a list that lost too much is held back
	LastEmpty                                       int64         // the last list was empty
	Pulls                                           []export.Pull `json:",omitempty"` // the last ones with a body, or refused; left out of lists
	Tag                                             string        // of what an edit changes, for ExportEdit.If
}

// Exports is a list of exports by name.
type Exports struct {
	Now     int64
	Exports []Export
}

// ExportEdit asks for an export, or for another form of it. What is nil, or not in Words, stays.
type ExportEdit struct {
	Name                                            string
	Format, Path, Family, Order, Auth, User         *string
	Words                                           map[string][]string // lists, by the names of the verbs' flags
	Aggregate, NoAllowlists, RefuseEmpty, MayShrink *bool
	Limit                                           *int
	Secret                                          []byte // SHA-512 of the one secret that is valid from now on
	Spare                                           bool   // only where the auth becomes another; else those that are valid stay

	If []string `json:",omitempty"` // tags: nothing is done to an export that has none of them; none: whatever it has
}

// ExportRotation asks for a new secret. The one before stays valid until End is asked for.
type ExportRotation struct {
	Name   string
	Secret []byte // SHA-512; nil: no new one
	End    bool   // of all but the newest
}

// ExportRequest asks for a list as it is now.
type ExportRequest struct {
	Name  string
	Query string // as devices say it
}

// RenderedExport is a list, written.
type RenderedExport struct {
	Body     []byte
	Revision engine.Revision
	Tag      string
	Count    int
	Total    int
	Left     export.Left
	Warnings []string
}

func (h *Handler) exportOf(x *engine.Export) Export {
	o := Export{
		Name: x.Name, Path: x.Path, Format: x.Format, Options: x.Options, Types: x.Types, Origins: x.Origins, Containing: x.Containing, Allowlists: x.Allowlists,
		Family: x.Family.String(), Order: x.Order.String(), Auth: x.Auth.String(), User: x.User, Aggregate: x.Aggregate, NoAllowlists: x.NoAllowlists,
		RefuseEmpty: x.RefuseEmpty, MayShrink: x.MayShrink, Limit: x.Limit, OUs: x.OUs, Declared: x.Declared, CreatedAt: x.CreatedAt, UpdatedAt: x.UpdatedAt,
		Tag: exportTag(x),
	}
	for _, p := range x.AllowFrom {
		o.AllowFrom = append(o.AllowFrom, p.String())
	}
	for i := range x.Secrets {
		o.Secrets = append(o.Secrets, x.Secrets[i].At)
	}
	if h.Exports != nil {
		p := h.Exports.Of(x.Name)
		o.Served, o.Unchanged, o.Refused, o.Bytes = p.Served.Load(), p.Unchanged.Load(), p.Turned.Load(), p.Bytes.Load()
		o.LastPull, o.LastEmpty, o.Entries, o.Omitted, o.Held = p.LastPull.Load(), p.LastEmpty.Load(), p.Count.Load(), p.Omitted.Load(), p.Held.Load()
	}
	return o
}

// exportTag is the tag of an export's definition, with its secrets, of whose hashes it tells nothing.
func exportTag(x *engine.Export) string {
	definition := *x
	definition.CreatedAt, definition.UpdatedAt = 0, 0
	return tagOf(&definition)
}

func (h *Handler) listExports(context.Context, *struct{}) (*Exports, error) {
	out := &Exports{Now: h.engine.Now(), Exports: []Export{}}
	for _, x := range h.engine.View().Exports() {
		out.Exports = append(out.Exports, h.exportOf(x))
	}
	return out, nil
}

// getExport gives one; engine.ErrNotFound when there is none.
func (h *Handler) getExport(_ context.Context, q *Name) (*Export, error) {
	x := h.engine.View().Export(q.Name)
	if x == nil {
		return nil, &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounExport, Name: q.Name}
	}
	o := h.exportOf(x)
	if h.Exports != nil {
		o.Pulls = h.Exports.Of(x.Name).Last()
		for i := range o.Pulls {
			o.Pulls[i].Agent = shown(o.Pulls[i].Agent)
		}
	}
	return &o, nil
}

func (h *Handler) addExport(ctx context.Context, q *ExportEdit) (*Edited, error) {
	now := h.engine.Now()
	x := &engine.Export{Name: q.Name, CreatedAt: now, UpdatedAt: now}
	if err := q.apply(x, now); err != nil {
		return nil, err
	}
	if x.Format == "" {
		return nil, &engine.Error{Kind: engine.ErrInvalid, Text: "an export needs a format"}
	}
	if _, err := export.Check(x); err != nil {
		return nil, err
	}
	if err := h.engine.AddExport(ctx, x); err != nil {
		return nil, err
	}
	h.logChange(ctx, "added an export", "export", q.Name)
	return &Edited{Warnings: h.exportWarnings(x)}, nil
}

func (h *Handler) editExport(ctx context.Context, q *ExportEdit) (*Edited, error) {
	var after engine.Export
	now := h.engine.Now()
	err := h.engine.ChangeExport(ctx, q.Name, func(x *engine.Export) error {
		if err := holds(q.If, exportTag(x)); err != nil {
			return err
		}
		if err := q.apply(x, now); err != nil {
			return err
		}
		x.UpdatedAt = now
		_, err := export.Check(x)
		after = *x
		return err
	})
	switch {
	case errors.Is(err, errStale):
		return &Edited{Stale: true}, nil
	case err != nil:
		return nil, err
	}
	h.logChange(ctx, "edited an export", "export", q.Name)
	rekeyed := len(after.Secrets) > 0 && bytes.Equal(after.Secrets[0].Hash[:], q.Secret)
	return &Edited{Warnings: h.exportWarnings(&after), Rekeyed: rekeyed}, nil
}

// acceptExport has lists that are held back served as they are now, and says how many there were. It
// changes no definition, so it is for those of lapid.yaml too.
func (h *Handler) acceptExport(ctx context.Context, q *Name) (*Done, error) {
	if h.engine.View().Export(q.Name) == nil {
		return nil, &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounExport, Name: q.Name}
	}
	if h.Exports == nil {
		return &Done{}, nil // nobody pulls, so nothing is held
	}
	n, err := h.Exports.Accept(q.Name, ctx.Done())
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "accepted that an export has shrunk", "export", q.Name, "held", n)
	return &Done{n}, nil
}

// exportWarnings says what is likely not meant.
func (h *Handler) exportWarnings(x *engine.Export) (list []string) {
	for _, name := range export.Missing(h.engine.View(), x) {
		list = append(list, fmt.Sprintf("there is no allowlist '%s': nothing is left out for it", name))
	}
	if x.Auth == engine.ExportNone && len(x.AllowFrom) == 0 {
		list = append(list, "anybody who reaches this server may have the export: say from which addresses alone (allow-from), or choose another auth")
	}
	if slices.ContainsFunc(x.Types, func(kind string) bool { return kind != "ban" }) {
		list = append(list, "devices drop whatever is on their list: other types than ban become drops")
	}
	return list
}

// apply changes what is asked for.
func (q *ExportEdit) apply(x *engine.Export, now int64) (err error) {
	was := x.Auth
	text := func(to, from *string) {
		if from != nil {
			*to = *from
		}
	}
	text(&x.Path, q.Path)
	text(&x.User, q.User)
	if q.Format != nil {
		f, err := export.FormatOf(*q.Format)
		if err != nil {
			return err
		}
		x.Format = f.Name
	}
	for name, words := range q.Words {
		if err := setExportWords(x, name, words); err != nil {
			return err
		}
	}
	if q.Family != nil {
		if x.Family, err = engine.ParseFamily(*q.Family); err != nil {
			return err
		}
	}
	if q.Order != nil {
		if x.Order, err = engine.ParsePriority(*q.Order); err != nil {
			return err
		}
	}
	if q.Auth != nil {
		if x.Auth, err = engine.ParseExportAuth(*q.Auth); err != nil {
			return err
		}
	}
	for to, from := range map[*bool]*bool{&x.Aggregate: q.Aggregate, &x.NoAllowlists: q.NoAllowlists, &x.RefuseEmpty: q.RefuseEmpty, &x.MayShrink: q.MayShrink} {
		if from != nil {
			*to = *from
		}
	}
	if q.Limit != nil {
		x.Limit = *q.Limit
	}
	if q.Secret != nil && !(q.Spare && x.Auth == was && len(x.Secrets) > 0) {
		s, err := exportSecret(q.Secret, now)
		if err != nil {
			return err
		}
		x.Secrets = []engine.ExportSecret{s}
	}
	if !x.Auth.HasSecret() {
		x.Secrets = nil
	} else if len(x.Secrets) == 0 {
		return &engine.Error{Kind: engine.ErrInvalid, Text: "auth " + x.Auth.String() + " needs a secret"}
	}
	return nil
}

func exportSecret(hash []byte, now int64) (s engine.ExportSecret, err error) {
	if s.At = now; copy(s.Hash[:], hash) != len(s.Hash) || len(hash) != len(s.Hash) {
		err = &engine.Error{Kind: engine.ErrInvalid, Text: "a secret's hash has 64 bytes"}
	}
	return s, err
}

// setExportWords changes a list, by the name of its flag.
func setExportWords(x *engine.Export, name string, words []string) error {
	switch name {
	case "types":
		x.Types = words
	case "origins":
		x.Origins = words
	case "scenarios-containing":
		x.Containing = words
	case "allowlists":
		x.Allowlists = words
	case "option":
		x.Options = words
	case "allowed-ou":
		x.OUs = words
	case "allow-from":
		prefixes, err := export.ParsePrefixes(words)
		x.AllowFrom = prefixes
		return err
	default:
		return &engine.Error{Kind: engine.ErrInvalid, Text: fmt.Sprintf("an export has no list '%.40s'", name)}
	}
	return nil
}

func (h *Handler) deleteExport(ctx context.Context, q *Name) (*Done, error) {
	if err := h.engine.DeleteExport(ctx, q.Name); err != nil {
		return nil, err
	}
	h.logChange(ctx, "deleted an export", "export", q.Name)
	return &Done{1}, nil
}

// rotateExport puts a new secret in front of the one that is valid, or ends the older one.
func (h *Handler) rotateExport(ctx context.Context, q *ExportRotation) (*Done, error) {
	now := h.engine.Now()
	err := h.engine.ChangeExport(ctx, q.Name, func(x *engine.Export) error {
		if !x.Auth.HasSecret() {
			return &engine.Error{Kind: engine.ErrRefused, Text: fmt.Sprintf("export '%s' has no secret: its auth is %s", q.Name, x.Auth)}
		}
		if q.Secret != nil {
			s, err := exportSecret(q.Secret, now)
			if err != nil {
				return err
			}
			x.Secrets = append([]engine.ExportSecret{s}, x.Secrets[:min(len(x.Secrets), 1)]...)
		}
		if q.End {
			x.Secrets = x.Secrets[:1]
		}
		x.UpdatedAt = now
		return nil
	})
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "rotated the secret of an export", "export", q.Name)
	return &Done{1}, nil
}

// renderExport writes a list as a device would get it now.
func (h *Handler) renderExport(_ context.Context, q *ExportRequest) (*RenderedExport, error) {
	view := h.engine.View()
	x := view.Export(q.Name)
	if x == nil {
		return nil, &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounExport, Name: q.Name}
	}
	asked, err := export.ParseAsked(strings.TrimPrefix(q.Query, "?"))
	if err != nil {
		return nil, err
	}
	write := export.Write
	if h.Exports != nil {
		write = h.Exports.Write
	}
	b, err := write(view, x, asked, h.engine.Now())
	if err != nil {
		return nil, err
	}
	return &RenderedExport{b.Plain, b.Revision, string(b.Tag), b.Count, b.Total, b.Left, h.exportWarnings(x)}, nil
}

// Exports lists all exports by name.
func (c *Client) Exports(ctx context.Context) (*Exports, error) {
	return ask[Exports](ctx, c, "/exports/list", struct{}{})
}

// Export gives one export; engine.ErrNotFound.
func (c *Client) Export(ctx context.Context, name string) (*Export, error) {
	return ask[Export](ctx, c, "/exports/get", Name{name})
}

// AddExport makes an export; engine.ErrExists.
func (c *Client) AddExport(ctx context.Context, q *ExportEdit) (*Edited, error) {
	return ask[Edited](ctx, c, "/exports/add", q)
}

// EditExport changes one; engine.ErrNotFound, engine.ErrRefused.
func (c *Client) EditExport(ctx context.Context, q *ExportEdit) (*Edited, error) {
	return ask[Edited](ctx, c, "/exports/edit", q)
}

// AcceptExport has the lists of an export that are held back served as they are now, and says how many
// there were; engine.ErrNotFound.
func (c *Client) AcceptExport(ctx context.Context, name string) (int, error) {
	done, err := ask[Done](ctx, c, "/exports/accept", Name{name})
	if err != nil {
		return 0, err
	}
	return done.N, nil
}

// DeleteExport removes one; engine.ErrNotFound, engine.ErrRefused.
func (c *Client) DeleteExport(ctx context.Context, name string) error {
	_, err := ask[Done](ctx, c, "/exports/delete", Name{name})
	return err
}

// RotateExport gives one a new secret, or ends the old one.
func (c *Client) RotateExport(ctx context.Context, q *ExportRotation) error {
	_, err := ask[Done](ctx, c, "/exports/rotate", q)
	return err
}

// RenderExport writes one as it is now.
func (c *Client) RenderExport(ctx context.Context, q *ExportRequest) (*RenderedExport, error) {
	return ask[RenderedExport](ctx, c, "/exports/render", q)
}
