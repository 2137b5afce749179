package openapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// page is the description as people read it: one page, which needs no script and nothing from
// elsewhere, and the policy that holds it to that.
func page() (text []byte, policy string) {
	d, err := parse(made)
	if err != nil {
		panic("BUG: " + err.Error()) // it is embedded, and a test reads it
	}
	var out bytes.Buffer
	t := template.Must(template.New("page").Funcs(template.FuncMap{"prose": prose, "anchor": anchor}).Parse(pageText))
	if err := t.Execute(&out, shownOf(d)); err != nil {
		panic("BUG: " + err.Error())
	}
	style := sha256.Sum256([]byte(pageStyle))
	return out.Bytes(), "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// shown is what the page is made of.
type shown struct {
	Title, Summary, Description string
	Style                       template.CSS
	Groups                      []group
	Security                    list[*securityScheme]
	Schemas                     []shownSchema
}

// group is a tag with its operations.
type group struct {
	Name, Description string
	Operations        []shownOperation
}

// shownOperation is an operation with all references followed.
type shownOperation struct {
	ID, Method, Path, Server    string
	Summary, Description, Quirk string
	Lapid                       bool
	Role                        string
	Credentials                 string
	Parameters                  []shownParameter
	Body                        *shownMedia
	Curl                        string
	Answers                     []shownAnswer
}

type shownParameter struct {
	Name, In, Description string
	Required, Lapid       bool
	Kind                  kind
}

type shownAnswer struct {
	Status, Description string
	Media               []shownMedia
}

type shownMedia struct {
	Type, Example string
	Kind          kind
}

// kind is the type of a value in words, with the schemas that it names.
type kind []word

// word is one, and the schema that it leads to; "": none.
type word struct{ Text, Schema string }

// shownSchema is a schema as a table of its fields, which have those of objects within it below
// them.
type shownSchema struct {
	Name, Description string
	Kind              kind // of what is no object
	Fields            []shownField
	Example           string
}

type shownField struct {
	Name, Description string
	Required          bool
	Kind              kind
}

func shownOf(d *document) *shown {
	s := &shown{Title: d.Info.Title, Summary: d.Info.Summary, Description: d.Info.Description, Style: template.CSS(pageStyle), Security: d.Components.SecuritySchemes}
	for _, t := range d.Tags {
		g := group{Name: t.Name, Description: t.Description}
		for i := range d.Paths {
			p := &d.Paths[i]
			for _, o := range p.Value.operations() {
				if slices.Contains(o.Value.Tags, t.Name) {
					g.Operations = append(g.Operations, operationOf(d, o.Name, p, o.Value))
				}
			}
		}
		s.Groups = append(s.Groups, g)
	}
	for _, one := range d.Components.Schemas {
		s.Schemas = append(s.Schemas, schemaOf(one.Name, one.Value))
	}
	return s
}

func operationOf(d *document, method string, p *entry[pathItem], o *operation) shownOperation {
	out := shownOperation{
		ID: o.OperationID, Method: method, Path: p.Name, Summary: o.Summary, Description: o.Description, Quirk: o.Quirk, Lapid: o.Lapid, Role: o.Role,
		Credentials: credentialsOf(o), Server: "http://127.0.0.1:8080",
	}
	if len(p.Value.Servers) > 0 {
		out.Server = p.Value.Servers[0].URL
	}
	for _, one := range o.Parameters {
		out.Parameters = append(out.Parameters, shownParameter{one.Name, one.In, one.Description, one.Required, one.Lapid, kindOf(one.Schema)})
	}
	if o.RequestBody != nil {
		if list := mediaOf(d, o.RequestBody.Content); len(list) > 0 {
			out.Body = &list[0]
		}
	}
	for _, one := range o.Responses {
		out.Answers = append(out.Answers, shownAnswer{one.Name, one.Value.Description, mediaOf(d, one.Value.Content)})
	}
	out.Curl = curlOf(d, &out, o)
	return out
}

// mediaOf are the forms of a body, each with an example where one is known.
func mediaOf(d *document, content list[media]) (out []shownMedia) {
	for _, m := range content {
		example := m.Value.Example
		if example == nil {
			example = exampleOf(d, m.Value.Schema)
		}
		out = append(out, shownMedia{m.Name, indented(example), kindOf(m.Value.Schema)})
	}
	return out
}

// exampleOf is what a schema has as an example, or the one that it names; of a list one entry. nil: none.
func exampleOf(d *document, s *schema) json.RawMessage {
	switch {
	case s == nil:
		return nil
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Ref != "":
		return exampleOf(d, d.Components.Schemas.get(last(s.Ref)))
	case s.Items != nil:
		if one := exampleOf(d, s.Items); one != nil {
			return slices.Concat([]byte{'['}, one, []byte{']'})
		}
	}
	return nil
}

// indented is an example as it is shown: a text as it stands, else JSON in lines.
func indented(example json.RawMessage) string {
	var text string
	if example == nil || json.Unmarshal(example, &text) == nil {
		return text
	}
	var out bytes.Buffer
	_ = json.Indent(&out, example, "", "  ") // it was read before
	return out.String()
}

// credentialsOf names the schemes of which one is needed.
func credentialsOf(o *operation) string {
	if o.Security == nil {
		return "operatorToken, operatorSession or clientCertificate"
	}
	var names []string
	optional := len(*o.Security) == 0
	for _, one := range *o.Security {
		optional = optional || len(one) == 0
		for name := range one {
			names = append(names, name)
		}
	}
	switch n := len(names); {
	case n == 0:
		return "none"
	case optional:
		return "none, or " + strings.Join(names, ", ")
	case n == 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
}

// curlOf is a line to paste.
func curlOf(d *document, s *shownOperation, o *operation) string {
	line := "curl"
	switch s.Method {
	case "GET":
	case "HEAD":
		line += " -I"
	default:
		line += " -X " + s.Method
	}
	first := "operatorToken"
	if o.Security != nil {
		first = ""
		if list := *o.Security; len(list) > 0 {
			for name := range list[0] {
				first = name
			}
		}
	}
	switch first {
	case "bouncerKey":
		line += " -H 'X-Api-Key: KEY'"
	case "machineToken", "operatorToken":
		line += " -H 'Authorization: Bearer TOKEN'"
	}
	at := s.Path
	for _, p := range o.Parameters {
		if p.In == "path" {
			example := strings.Trim(strings.Trim(string(exampleOf(d, p.Schema)), `"`), " ")
			if example == "" {
				example = "4711"
			}
			at = strings.ReplaceAll(at, "{"+p.Name+"}", example)
		}
	}
	if s.Body != nil && s.Body.Example != "" {
		var packed bytes.Buffer
		_ = json.Compact(&packed, []byte(s.Body.Example))
		line += " -d '" + strings.ReplaceAll(packed.String(), "'", `'\''`) + "'"
	}
	return line + " " + s.Server + at
}

// kindOf says what a schema is.
func kindOf(s *schema) (k kind) {
	switch {
	case s == nil:
		return kind{{"anything", ""}}
	case s.Ref != "":
		return kind{{last(s.Ref), last(s.Ref)}}
	case s.OneOf != nil:
		for i, one := range s.OneOf {
			if i > 0 {
				k = append(k, word{" or ", ""})
			}
			k = append(k, kindOf(one)...)
		}
		return k
	case s.Const != nil:
		return kind{{fmt.Sprintf("always %v", s.Const), ""}}
	case s.Enum != nil:
		return kind{{"one of " + strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Enum...), " ", ", "), "[]"), ""}}
	}
	for i, one := range s.Type {
		if i > 0 {
			k = append(k, word{" or ", ""})
		}
		k = append(k, word{one, ""})
		if one == "array" && s.Items != nil {
			k[len(k)-1].Text = "array of "
			k = append(k, kindOf(s.Items)...)
		}
	}
	if k == nil {
		k = kind{{"anything", ""}}
	}
	return k
}

func schemaOf(name string, s *schema) shownSchema {
	out := shownSchema{Name: name, Description: s.Description}
	if len(s.Examples) > 0 {
		out.Example = indented(s.Examples[0])
	}
	if out.Fields = fieldsOf("", s); out.Fields == nil {
		out.Kind = kindOf(s)
	}
	return out
}

// fieldsOf are the fields of an object, those within it by their paths.
func fieldsOf(within string, s *schema) (out []shownField) {
	for _, p := range s.Properties {
		v := p.Value
		out = append(out, shownField{within + p.Name, v.Description, slices.Contains(s.Required, p.Name), kindOf(v)})
		if v.Properties != nil {
			out = append(out, fieldsOf(within+p.Name+".", v)...)
		}
		if v.Items != nil && v.Items.Properties != nil {
			out = append(out, fieldsOf(within+p.Name+"[].", v.Items)...)
		}
	}
	return out
}

// prose writes a description: paragraphs, code between backticks and strong words between two stars.
func prose(text string) template.HTML {
	var out strings.Builder
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		out.WriteString("<p>")
		for i, one := range strings.Split(part, "`") {
			one = template.HTMLEscapeString(one)
			if i%2 == 1 {
				out.WriteString("<code>" + one + "</code>")
				continue
			}
			for j, word := range strings.Split(one, "**") {
				if j%2 == 1 {
					word = "<strong>" + word + "</strong>"
				}
				out.WriteString(word)
			}
		}
		out.WriteString("</p>")
	}
	return template.HTML(out.String())
}

// anchor is the place of a schema on the page.
func anchor(name string) string { return "schema-" + name }
