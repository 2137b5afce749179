package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// document is of the description what the page shows.
type document struct {
	Info struct {
		Title, Summary, Description string
	}
	Tags       []tag
	Paths      list[pathItem]
	Components struct {
		Parameters      map[string]*parameter
		RequestBodies   map[string]*body
		Responses       map[string]*response
		Schemas         list[*schema]
		SecuritySchemes list[*securityScheme]
	}
}

type tag struct{ Name, Description string }

// pathItem is what one path has.
type pathItem struct {
	Parameters                     []*parameter
	Servers                        []struct{ URL string }
	Get, Head, Post, Patch, Delete *operation
}

// operations are those that it has, with their methods.
func (p *pathItem) operations() (list list[*operation]) {
	for _, o := range [...]entry[*operation]{{"GET", p.Get}, {"HEAD", p.Head}, {"POST", p.Post}, {"PATCH", p.Patch}, {"DELETE", p.Delete}} {
		if o.Value != nil {
			list = append(list, o)
		}
	}
	return list
}

type operation struct {
	OperationID, Summary, Description string
	Tags                              []string
	Quirk                             string `json:"x-crowdsec-quirk"`
	Lapid                             bool   `json:"x-lapid"`
	Role                              string `json:"x-role"` // the least; "": viewer, or it says by security whom it lets in
	Parameters                        []*parameter
	RequestBody                       *body
	Responses                         list[*response]
	Security                          *[]map[string][]string // nil: as the document says
}

type parameter struct {
	Ref                   string `json:"$ref"`
	Name, In, Description string
	Required              bool
	Lapid                 bool `json:"x-lapid"`
	Schema                *schema
}

type body struct {
	Ref     string `json:"$ref"`
	Content list[media]
}

type media struct {
	Schema  *schema
	Example json.RawMessage
}

type response struct {
	Ref         string `json:"$ref"`
	Description string
	Content     list[media]
}

type securityScheme struct{ Type, Name, In, Scheme, Description string }

// schema is a JSON Schema as far as this description uses it.
type schema struct {
	Ref                  string `json:"$ref"`
	Type                 words
	Description          string
	Required             []string
	Properties           list[*schema]
	Items                *schema
	OneOf                []*schema
	Enum                 []any
	Const                any
	Pattern              string
	AdditionalProperties json.RawMessage
	Examples             []json.RawMessage
}

// words are one word or several.
type words []string

// UnmarshalJSON implements json.Unmarshaler.
func (w *words) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		*w = make(words, 1)
		return json.Unmarshal(text, &(*w)[0])
	}
	return json.Unmarshal(text, (*[]string)(w))
}

// list is an object whose order counts.
type list[T any] []entry[T]

type entry[T any] struct {
	Name  string
	Value T
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *list[T]) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("want an object, not %.40q", text)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		one := entry[T]{Name: name.(string)}
		if err := d.Decode(&one.Value); err != nil {
			return fmt.Errorf("%s: %w", one.Name, err)
		}
		*l = append(*l, one)
	}
	return nil
}

// get is the entry of a name; the zero value: there is none.
func (l list[T]) get(name string) (v T) {
	for i := range l {
		if l[i].Name == name {
			return l[i].Value
		}
	}
	return v
}

// last is what a reference names.
func last(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// parse reads the description, which is our own: that it can be read a test says.
func parse(text []byte) (*document, error) {
	d := &document{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("openapi.json: %w", err)
	}
	for i := range d.Paths {
		p := &d.Paths[i].Value
		for _, o := range p.operations() {
			o.Value.Parameters = append(append([]*parameter{}, p.Parameters...), o.Value.Parameters...)
			for j, one := range o.Value.Parameters {
				if one.Ref != "" {
					o.Value.Parameters[j] = d.Components.Parameters[last(one.Ref)]
				}
			}
			if b := o.Value.RequestBody; b != nil && b.Ref != "" {
				o.Value.RequestBody = d.Components.RequestBodies[last(b.Ref)]
			}
			for j, one := range o.Value.Responses {
				if one.Value.Ref != "" {
					o.Value.Responses[j].Value = d.Components.Responses[last(one.Value.Ref)]
				}
			}
		}
	}
	return d, nil
}
