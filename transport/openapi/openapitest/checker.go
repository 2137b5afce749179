package openapitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"lapid/transport/openapi"
)

// Checker checks exchanges against the description. Any goroutine may use it.
type Checker struct {
	document map[string]any
	paths    []path
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema // compiled, by their places
	met     map[string]bool               // "METHOD path status"
}

// path is one path of the description.
type path struct {
	template string
	parts    []string // between slashes; "{…}" stands for any, at the end for the rest where it may have slashes
	item     map[string]any
}

// Exchange is a request with its answer. Target is as it was sent, with its query.
type Exchange struct {
	Method, Target string
	RequestHeader  http.Header
	Request        []byte // inflated
	Status         int
	Header         http.Header
	Body           []byte
}

// home is where the description is for the compiler.
const home = "file:///openapi.json"

// New reads the description, without the operations of some tags, which are of other listeners. What is
// wrong with it ends the test.
func New(t testing.TB, without ...string) *Checker {
	t.Helper()
	d, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapi.JSON()))
	if err != nil {
		t.Fatal(err)
	}
	c := &Checker{document: d.(map[string]any), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, met: map[string]bool{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(home, d); err != nil {
		t.Fatal(err)
	}
	for template, item := range c.document["paths"].(map[string]any) {
		c.paths = append(c.paths, path{template, strings.Split(template, "/"), item.(map[string]any)})
	}
	c.paths = slices.DeleteFunc(c.paths, func(p path) bool {
		return slices.ContainsFunc(methods, func(m string) bool {
			return p.item[strings.ToLower(m)] != nil && slices.Contains(without, c.Tag(Operation{m, p.template}))
		})
	})
	// What is written out goes before what is a parameter.
	slices.SortFunc(c.paths, func(a, b path) int {
		return strings.Compare(strings.ReplaceAll(a.template, "{", "\x7f"), strings.ReplaceAll(b.template, "{", "\x7f"))
	})
	return c
}

// Operation is one method of one path.
type Operation struct{ Method, Path string }

func (o Operation) String() string { return o.Method + " " + o.Path }

// Operations are all of the description, in order.
func (c *Checker) Operations() (list []Operation) {
	for i := range c.paths {
		for _, method := range methods {
			if c.paths[i].item[strings.ToLower(method)] != nil {
				list = append(list, Operation{method, c.paths[i].template})
			}
		}
	}
	return list
}

// methods are those that a path may have.
var methods = []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"}

// Find is the operation that a request is for; ok is false where none is described.
func (c *Checker) Find(method, target string) (o Operation, ok bool) {
	at, _, _ := strings.Cut(target, "?")
	for i := range c.paths {
		if p := &c.paths[i]; slices.Contains(methods, method) && p.item[strings.ToLower(method)] != nil && p.fits(at) {
			return Operation{method, p.template}, true
		}
	}
	return Operation{}, false
}

// fits compares a path, as it was sent, with the template.
func (p *path) fits(at string) bool {
	parts := strings.Split(at, "/")
	for i, part := range p.parts {
		switch {
		case i >= len(parts):
			return false
		case part == "{verb}":
			return parts[i] != ""
		case strings.HasPrefix(part, "{"):
			if parts[i] == "" {
				return false
			}
		default:
			if parts[i] != part {
				return false
			}
		}
	}
	return len(parts) == len(p.parts)
}

// operation is what the description says of one.
func (c *Checker) operation(o Operation) (at string, said map[string]any, item map[string]any) {
	item = c.document["paths"].(map[string]any)[o.Path].(map[string]any)
	method := strings.ToLower(o.Method)
	return "/paths/" + escaped(o.Path) + "/" + method, item[method].(map[string]any), item
}

// escaped is a name within a JSON pointer.
func escaped(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// follow leads to what a reference names.
func (c *Checker) follow(at string, v any) (string, map[string]any) {
	for {
		o, _ := v.(map[string]any)
		ref, ok := o["$ref"].(string)
		if !ok {
			return at, o
		}
		at = strings.TrimPrefix(ref, "#")
		v = any(c.document)
		for name := range strings.SplitSeq(at[1:], "/") {
			v = v.(map[string]any)[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
		}
	}
}

// Answer checks an answer, and notes that it was met. Nothing is said of requests for which no operation
// is described.
func (c *Checker) Answer(x *Exchange) (problems []string) {
	o, ok := c.Find(x.Method, x.Target)
	if !ok {
		return nil
	}
	at, said, _ := c.operation(o)
	status := fmt.Sprint(x.Status)
	responses := said["responses"].(map[string]any)
	which := status
	if responses[which] == nil {
		which = "default"
	}
	if everywhere, _ := c.document["x-everywhere"].(map[string]any); everywhere[status] != nil && len(x.Body) == 0 && x.Header.Get("Content-Type") == "" && c.Tag(o) != "admin" {
		return nil
	}
	if responses[which] == nil {
		return []string{fmt.Sprintf("%s: status %s is not described; the body is %.200q", o, status, x.Body)}
	}
	c.mu.Lock()
	c.met[o.String()+" "+which] = true
	c.mu.Unlock()
	at, response := c.follow(at+"/responses/"+which, responses[which])
	for _, p := range append(c.headers(at, response, x), c.body(at, response, x)...) {
		problems = append(problems, o.String()+" "+status+": "+p)
	}
	return problems
}

// headers looks for those that must be there, and at the values of those that are described.
func (c *Checker) headers(at string, response map[string]any, x *Exchange) (problems []string) {
	headers, _ := response["headers"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at, header := c.follow(at+"/headers/"+escaped(name), headers[name])
		value, ok := x.Header[http.CanonicalHeaderKey(name)]
		if !ok {
			if header["required"] == true {
				problems = append(problems, "the header "+name+" is missing")
			}
			continue
		}
		if err := c.validate(at+"/schema", value[0]); err != nil {
			problems = append(problems, fmt.Sprintf("the header %s: %v", name, err))
		}
	}
	return problems
}

// body checks what came as the body.
func (c *Checker) body(at string, response map[string]any, x *Exchange) []string {
	content, _ := response["content"].(map[string]any)
	if x.Method == http.MethodHead || x.Status == http.StatusNotModified {
		if len(x.Body) > 0 {
			return []string{fmt.Sprintf("there is a body: %.200q", x.Body)}
		}
		return nil
	}
	if content == nil {
		if len(x.Body) > 0 {
			return []string{fmt.Sprintf("a body is not described, and there is one: %.200q", x.Body)}
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(x.Header.Get("Content-Type"))
	media, ok := content[kind].(map[string]any)
	if err != nil || !ok {
		return []string{fmt.Sprintf("Content-Type %q is not described; the body is %.200q", x.Header.Get("Content-Type"), x.Body)}
	}
	if media["schema"] == nil || !isJSON(kind) {
		return nil
	}
	if err := c.json(at+"/content/"+escaped(kind)+"/schema", x.Body); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// Request checks the parameters and the body of a request, as one that is right in all.
func (c *Checker) Request(x *Exchange) (problems []string) {
	o, ok := c.Find(x.Method, x.Target)
	if !ok {
		return nil
	}
	at, said, item := c.operation(o)
	known, err := c.parameters(at, o, said, item)
	if err != nil {
		return []string{err.Error()}
	}
	_, query, _ := strings.Cut(x.Target, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return []string{o.String() + ": the query cannot be read"}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p, ok := known["query "+name]
		if !ok {
			problems = append(problems, fmt.Sprintf("%s: the parameter %s is not described", o, name))
			continue
		}
		if err := c.value(p, values[name]); err != nil {
			problems = append(problems, fmt.Sprintf("%s: the parameter %s: %v", o, name, err))
		}
	}
	for name, p := range known {
		if in, name, _ := strings.Cut(name, " "); in == "query" && p.required && !values.Has(name) {
			problems = append(problems, fmt.Sprintf("%s: the parameter %s is missing", o, name))
		}
	}
	if said["requestBody"] == nil {
		return problems
	}
	at, body := c.follow(at+"/requestBody", said["requestBody"])
	if media, _ := body["content"].(map[string]any)["application/json"].(map[string]any); media["schema"] == nil {
		return problems // or it is no JSON
	}
	if err := c.json(at+"/content/"+escaped("application/json")+"/schema", x.Request); err != nil {
		problems = append(problems, fmt.Sprintf("%s: the request's body: %v", o, err))
	}
	return problems
}

// parameter is one that an operation takes.
type parameter struct {
	at       string
	kind     any // of its schema
	required bool
}

// parameters are those of an operation by "in name". Security schemes in the query are among them.
func (c *Checker) parameters(at string, o Operation, said, item map[string]any) (map[string]parameter, error) {
	known := map[string]parameter{}
	lists := []struct {
		at   string
		list any
	}{{at, said["parameters"]}, {"/paths/" + escaped(o.Path), item["parameters"]}}
	for _, l := range lists {
		list, _ := l.list.([]any)
		for i := range list {
			at, p := c.follow(fmt.Sprintf("%s/parameters/%d", l.at, i), list[i])
			_, schema := c.follow(at+"/schema", p["schema"])
			name := fmt.Sprint(p["in"], " ", p["name"])
			if _, twice := known[name]; twice {
				return nil, fmt.Errorf("%s: the parameter %s is described twice", o, name)
			}
			known[name] = parameter{at + "/schema", schema["type"], p["required"] == true}
		}
	}
	schemes := c.document["components"].(map[string]any)["securitySchemes"].(map[string]any)
	for _, s := range schemes {
		if s := s.(map[string]any); s["in"] == "query" && strings.HasPrefix(o.Path, "/exports/") {
			known[fmt.Sprint("query ", s["name"])] = parameter{}
		}
	}
	return known, nil
}

// value checks the values of a parameter. Texts that stand for numbers and truths are taken as these.
func (c *Checker) value(p parameter, values []string) error {
	if p.at == "" {
		return nil
	}
	var v any = values[0]
	switch p.kind {
	case "array":
		list := []any{}
		for _, one := range values {
			list = append(list, one)
		}
		v = list
	case "integer", "number", "boolean":
		if n, err := jsonschema.UnmarshalJSON(strings.NewReader(values[0])); err == nil {
			v = n
		}
	}
	return c.validate(p.at, v)
}

// json checks a text of JSON by the schema at a place.
func (c *Checker) json(at string, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("it is no JSON (%w): %.200q", err, text)
	}
	return c.validate(at, v)
}

// validate checks a value by the schema at a place.
func (c *Checker) validate(at string, v any) error {
	c.mu.Lock()
	s := c.schemas[at]
	if s == nil {
		var err error
		if s, err = c.compiler.Compile(home + "#" + pointer(at)); err != nil {
			c.mu.Unlock()
			return err
		}
		c.schemas[at] = s
	}
	c.mu.Unlock()
	err := s.Validate(v)
	if err == nil {
		return nil
	}
	text, _ := json.Marshal(v)
	return fmt.Errorf("%w\n      of %.300s", err, text)
}

// pointer is a JSON pointer within an address.
func pointer(at string) string { return (&url.URL{Fragment: at}).EscapedFragment() }

// Met reports whether an answer of the operation was seen with the status, "default" for all that are not
// named.
func (c *Checker) Met(o Operation, status string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.met[o.String()+" "+status]
}

// Statuses are those that the description has for an operation, in order; "default" is left out.
func (c *Checker) Statuses(o Operation) []string {
	_, said, _ := c.operation(o)
	all := slices.Sorted(maps.Keys(said["responses"].(map[string]any)))
	return slices.DeleteFunc(all, func(s string) bool { return s == "default" })
}

// Tag is what the operation belongs to.
func (c *Checker) Tag(o Operation) string {
	_, said, _ := c.operation(o)
	return said["tags"].([]any)[0].(string)
}

// Role is the least role that an operation of the operators' API is described with.
func (c *Checker) Role(o Operation) string {
	_, said, _ := c.operation(o)
	if role, ok := said["x-role"].(string); ok {
		return role
	}
	return "viewer"
}

// Fits checks a value, as package jsonschema reads it, by the schema at a place of the description, which is
// a JSON pointer.
func (c *Checker) Fits(at string, v any) error { return c.validate(at, v) }

// isJSON reports whether bodies of a type are one value of JSON.
func isJSON(kind string) bool {
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}
