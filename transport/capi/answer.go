package capi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"lapid/engine"
)

// Bounds of a pull.
const (
	mostPull   = 256 << 20 // of the answer with the lists, in bytes
	mostEntry  = 1 << 20   // of one entry of it, in bytes
	mostValues = 2 << 20   // of all lists of one pull together
	mostLinks  = 500       // of each kind
	mostName   = 256       // of a link's texts but its address, in bytes
	mostURL    = 8 << 10
)

// pulled is the answer to a pull, read and bounded.
type pulled struct {
	groups     []engine.ListGroup // the community list
	deleted    []engine.ListGroup
	blocklists []blocklistLink
	allowlists []allowlistLink

	values    int
	skipped   int // entries that lack something or are of another kind
	surplus   int // links beyond mostLinks
	last      string
	lastParse time.Duration
}

type blocklistLink struct {
	Name        string `json:"name"`
	URL         string `json:"url"`
	Remediation string `json:"remediation"`
	Scope       string `json:"scope"`
	Duration    string `json:"duration"`
}

func (l *blocklistLink) whole() bool {
	for _, text := range []string{l.Name, l.Remediation, l.Scope, l.Duration} {
		if text == "" || len(text) > mostName {
			return false
		}
	}
	return l.URL != "" && len(l.URL) <= mostURL
}

type allowlistLink struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	URL         string `json:"url"`
}

func (l *allowlistLink) whole() bool {
	return l.ID != "" && l.Name != "" && l.URL != "" && len(l.ID) <= mostName && len(l.Name) <= mostName && len(l.URL) <= mostURL
}

// pieces reads JSON piece by piece, so that an answer takes the memory of what is kept of
// it. No piece is longer than entry, and all of it than most.
type pieces struct {
	*json.Decoder
	in *piecesReader
}

type piecesReader struct {
	from  io.Reader
	most  int64 // left of all
	piece int64 // left of this piece

	all, entry int64 // the bounds
}

func (r *piecesReader) Read(b []byte) (int, error) {
	if r.most <= 0 {
		return 0, fmt.Errorf("it is longer than %d MiB", r.all>>20)
	}
	if r.piece <= 0 {
		return 0, fmt.Errorf("one entry of it is longer than %d bytes", r.entry)
	}
	n, err := r.from.Read(b[:min(int64(len(b)), r.most, r.piece)])
	r.most -= int64(n)
	r.piece -= int64(n)
	return n, err
}

func newPieces(body io.Reader, most, entry int64) *pieces {
	in := &piecesReader{from: body, most: most, piece: entry, all: most, entry: entry}
	return &pieces{json.NewDecoder(in), in}
}

// next begins a piece.
func (p *pieces) next() { p.in.piece = p.in.entry }

// fields calls each for every name of an object, which reads its value. null is an empty
// object.
func (p *pieces) fields(each func(name string) error) error {
	open, err := p.Token()
	if err != nil || open == nil {
		return err
	}
	if open != json.Delim('{') {
		return errors.New("an object was expected")
	}
	for p.More() {
		p.next()
		name, err := p.Token()
		if err != nil {
			return err
		}
		if err := each(name.(string)); err != nil {
			return err
		}
	}
	_, err = p.Token()
	return err
}

// items calls each for every item of a list, which reads it. null is an empty list.
func (p *pieces) items(each func() error) error {
	open, err := p.Token()
	if err != nil || open == nil {
		return err
	}
	if open != json.Delim('[') {
		return errors.New("a list was expected")
	}
	for p.More() {
		p.next()
		if err := each(); err != nil {
			return err
		}
	}
	_, err = p.Token()
	return err
}

// skip reads a value that nobody needs.
func (p *pieces) skip() error {
	var nothing json.RawMessage
	return p.Decode(&nothing)
}

// take reads a value; false when it is of another kind.
func (p *pieces) take(into any) (bool, error) {
	err := p.Decode(into)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return false, nil
	}
	return err == nil, err
}

// readPull reads the answer to a pull.
func (a *pulled) readPull(body io.Reader) error {
	p := newPieces(body, mostPull, mostEntry)
	err := p.fields(func(name string) error {
		switch name {
		case "new":
			return p.items(func() error { return a.readNew(p) })
		case "deleted":
			return p.items(func() error { return a.readDeleted(p) })
		case "links":
			return p.fields(func(name string) error { return a.readLinks(p, name) })
		}
		return p.skip()
	})
	switch {
	case errors.Is(err, io.EOF) && p.InputOffset() == 0:
		return nil // an empty body is an empty answer
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it broke off: nothing of it is used")
	}
	return err
}

func (a *pulled) readNew(p *pieces) error {
	g := engine.ListGroup{Type: "ban"}
	var scope string
	err := p.fields(func(name string) error {
		switch name {
		case "scenario":
			return a.text(p, &g.Scenario)
		case "scope":
			return a.text(p, &scope)
		case "decisions":
			return p.items(func() error {
				var d struct {
					Value    string `json:"value"`
					Duration string `json:"duration"`
				}
				ok, err := p.take(&d)
				if lasts, good := a.duration(d.Duration); ok && good && d.Value != "" {
					g.Values = append(g.Values, engine.ListValue{Value: d.Value, Lasts: lasts})
					return a.count()
				}
				a.skipped++
				return err
			})
		}
		return p.skip()
	})
	return a.enter(&a.groups, g, scope, g.Scenario != "", err)
}

func (a *pulled) readDeleted(p *pieces) error {
	g := engine.ListGroup{Type: "ban"}
	var scope string
	err := p.fields(func(name string) error {
		switch name {
		case "scope":
			return a.text(p, &scope)
		case "decisions":
			return p.items(func() error {
				var value string
				if ok, err := p.take(&value); !ok || value == "" {
					a.skipped++
					return err
				}
				g.Values = append(g.Values, engine.ListValue{Value: value})
				return a.count()
			})
		}
		return p.skip()
	})
	return a.enter(&a.deleted, g, scope, true, err)
}

// enter keeps a group that has all it needs.
func (a *pulled) enter(groups *[]engine.ListGroup, g engine.ListGroup, scope string, whole bool, err error) error {
	if err != nil {
		return err
	}
	if !whole || scope == "" {
		a.skipped += max(len(g.Values), 1)
		return nil
	}
	g.Scope = engine.CanonicalScope(scope)
	if len(g.Values) > 0 {
		*groups = append(*groups, g)
	}
	return nil
}

func (a *pulled) readLinks(p *pieces, name string) error {
	switch name {
	case "blocklists":
		return p.items(func() error {
			var l blocklistLink
			ok, err := p.take(&l)
			return a.link(ok && l.whole(), len(a.blocklists), func() { a.blocklists = append(a.blocklists, l) }, err)
		})
	case "allowlists":
		return p.items(func() error {
			var l allowlistLink
			ok, err := p.take(&l)
			return a.link(ok && l.whole(), len(a.allowlists), func() { a.allowlists = append(a.allowlists, l) }, err)
		})
	}
	return p.skip()
}

// link keeps a link that has all it needs.
func (a *pulled) link(whole bool, have int, keep func(), err error) error {
	switch {
	case err != nil:
		return err
	case !whole:
		a.skipped++
	case have >= mostLinks:
		a.surplus++
	default:
		keep()
	}
	return nil
}

// text reads a text that is bounded as a name is; another kind of value leaves it empty.
func (a *pulled) text(p *pieces, into *string) error {
	var text string
	ok, err := p.take(&text)
	if ok && len(text) <= engine.LongestName {
		*into = text
	}
	return err
}

func (a *pulled) count() error {
	if a.values++; a.values > mostValues {
		return fmt.Errorf("it has more than %d entries", mostValues)
	}
	return nil
}

// duration reads how long an entry holds. Lists repeat themselves.
func (a *pulled) duration(text string) (time.Duration, bool) {
	if text != a.last || text == "" {
		d, err := engine.ParseDuration(text)
		if err != nil || d <= 0 {
			return 0, false
		}
		a.last, a.lastParse = text, d
	}
	return a.lastParse, true
}
