package openapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"lapid/transport/openapi"
	"lapid/transport/openapi/openapitest"
)

// mostWritten is how long openapi.yaml may be, mostMade openapi.json, in which what the other names once is written out.
const mostWritten, mostMade = 150 << 10, 164 << 10

// read is the description as a tree.
func read(t *testing.T) map[string]any {
	t.Helper()
	d, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapi.JSON()))
	if err != nil {
		t.Fatal(err)
	}
	return d.(map[string]any)
}

// walk visits every value with its JSON pointer, in order.
func walk(at string, v any, visit func(at string, v any)) {
	visit(at, v)
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			walk(at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), v[name], visit)
		}
	case []any:
		for i := range v {
			walk(fmt.Sprint(at, "/", i), v[i], visit)
		}
	}
}

// TestValid holds the description to the schema of OpenAPI 3.1 and every schema in it to JSON Schema 2020-12.
func TestValid(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/oas-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d := read(t)
	c := jsonschema.NewCompiler()
	const oas, home = "https://spec.openapis.org/oas/3.1/schema/2022-10-07", "file:///openapi.json"
	if err := c.AddResource(oas, rules); err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource(home, any(d)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(oas)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(any(d)); err != nil {
		t.Error(err)
	}
	for name := range d["components"].(map[string]any)["schemas"].(map[string]any) {
		if _, err := c.Compile(home + "#/components/schemas/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w, m := len(openapi.YAML()), len(openapi.JSON()); w > mostWritten || m > mostMade {
		t.Errorf("%d bytes written and %d made: more than %d and %d", w, m, mostWritten, mostMade)
	}
}

// TestReferences: each leads somewhere, and no component is there for nothing.
func TestReferences(t *testing.T) {
	t.Parallel()
	d, used, there := read(t), map[string]bool{}, map[string]bool{}
	for kind, list := range d["components"].(map[string]any) {
		for name := range list.(map[string]any) {
			there["#/components/"+kind+"/"+name] = true
		}
	}
	walk("", d, func(at string, v any) {
		o, _ := v.(map[string]any)
		if ref, ok := o["$ref"].(string); ok {
			if used[ref] = true; !there[ref] {
				t.Errorf("%s: %s is not there", at, ref)
			}
		}
		if list, ok := o["security"].([]any); ok {
			for _, one := range list {
				for name := range one.(map[string]any) {
					ref := "#/components/securitySchemes/" + name
					if used[ref] = true; !there[ref] {
						t.Errorf("%s: %s is not there", at, ref)
					}
				}
			}
		}
	})
	for _, ref := range slices.Sorted(maps.Keys(there)) {
		if !used[ref] {
			t.Errorf("%s is not used", ref)
		}
	}
}

// TestOperations: what every operation must have.
func TestOperations(t *testing.T) {
	t.Parallel()
	d, ids, tags := read(t), map[string]string{}, map[string]bool{}
	for _, tag := range d["tags"].([]any) {
		tags[tag.(map[string]any)["name"].(string)] = true
	}
	for _, o := range openapitest.New(t).Operations() {
		said := d["paths"].(map[string]any)[o.Path].(map[string]any)[strings.ToLower(o.Method)].(map[string]any)
		id, _ := said["operationId"].(string)
		if ids[id] != "" || id == "" {
			t.Errorf("%s: the operationId %q is that of %s too", o, id, ids[id])
		}
		ids[id] = o.String()
		if list := said["tags"].([]any); len(list) != 1 || !tags[list[0].(string)] {
			t.Errorf("%s: tags %v: want one of those that are described", o, list)
		}
		if summary, _ := said["summary"].(string); summary == "" || strings.HasSuffix(summary, ".") {
			t.Errorf("%s: the summary %q is no sentence without its end", o, summary)
		}
		if _, ok := said["security"]; !ok && !strings.HasPrefix(o.Path, "/admin/v1/") {
			t.Errorf("%s: it does not say whom it lets in", o)
		}
	}
}

// TestTypes: generators of clients need a type beside the values of a schema.
func TestTypes(t *testing.T) {
	t.Parallel()
	walk("", read(t), func(at string, v any) {
		o, _ := v.(map[string]any)
		_, enum := o["enum"].([]any)
		if constant, ok := o["const"]; (enum || ok && constant != nil) && o["type"] == nil {
			t.Errorf("%s has values and no type", at)
		}
	})
}

// TestExamples: each is as its schema says, and each answer and body of JSON that is described has one.
func TestExamples(t *testing.T) {
	t.Parallel()
	d, c := read(t), openapitest.New(t)
	walk("", d, func(at string, v any) {
		o, _ := v.(map[string]any)
		if list, ok := o["examples"].([]any); ok && o["type"] != nil {
			for _, one := range list {
				if err := c.Fits(at, one); err != nil {
					t.Errorf("%s: %v", at, err)
				}
			}
		}
		schema, isMedia := o["schema"]
		if !isMedia || o["in"] != nil || !strings.Contains(at, "/content/") {
			return
		}
		if one, ok := o["example"]; ok {
			if err := c.Fits(at+"/schema", one); err != nil {
				t.Errorf("%s: %v", at, err)
			}
		} else if (strings.HasSuffix(at, "~1json") || strings.HasSuffix(at, "+json")) && !hasExample(d, schema) {
			t.Errorf("%s has no example", at)
		}
	})
}

// hasExample reports whether a schema has an example, or what it names, or the entries of a list.
func hasExample(d map[string]any, v any) bool {
	s, _ := v.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		return hasExample(d, d["components"].(map[string]any)["schemas"].(map[string]any)[ref[strings.LastIndexByte(ref, '/')+1:]])
	}
	return s["examples"] != nil || s["items"] != nil && hasExample(d, s["items"])
}

// TestAnswersAreClosed: an object in an answer says that it has no other fields, so that a field which is
// not described is found; one in a request of the Local API says nothing, for others are ignored.
func TestAnswersAreClosed(t *testing.T) {
	t.Parallel()
	d := read(t)
	var open, closed []string // schemas that both sides use
	seen := map[string]bool{}
	var look func(at string, v any, answer bool)
	look = func(at string, v any, answer bool) {
		walk(at, v, func(at string, v any) {
			o, _ := v.(map[string]any)
			if ref, ok := o["$ref"].(string); ok {
				if key := fmt.Sprint(ref, answer); !seen[key] && strings.HasPrefix(ref, "#/components/schemas/") {
					seen[key] = true
					look(ref, d["components"].(map[string]any)["schemas"].(map[string]any)[ref[strings.LastIndexByte(ref, '/')+1:]], answer)
				}
				return
			}
			if o["properties"] == nil || o["type"] == nil {
				return
			}
			if isClosed := o["additionalProperties"] == false; answer && !isClosed {
				open = append(open, at)
			} else if !answer && isClosed && !strings.Contains(at, "/admin/") {
				closed = append(closed, at)
			}
		})
	}
	for path, item := range d["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			if o, ok := o.(map[string]any); ok && !strings.HasPrefix(path, "/admin/") {
				look(path+" "+method, o["requestBody"], false)
			}
		}
	}
	for name, body := range d["components"].(map[string]any)["requestBodies"].(map[string]any) {
		look(name, body, false)
	}
	for name, r := range d["components"].(map[string]any)["responses"].(map[string]any) {
		look(name, r, true)
	}
	for path, item := range d["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			if o, ok := o.(map[string]any); ok {
				look(path+" "+method, o["responses"], true)
			}
		}
	}
	for _, at := range open {
		t.Errorf("%s: an answer's object must say additionalProperties: false", at)
	}
	for _, at := range closed {
		t.Errorf("%s: the Local API ignores fields that it does not know, so its requests are open", at)
	}
}

// TestFiles: what a listener sends is complete, and packed it is the same.
func TestFiles(t *testing.T) {
	t.Parallel()
	for i, f := range openapi.Files() {
		if f.Path != openapi.Paths[i] || openapi.Of(f.Path) != f || f.Type == "" || f.Tag == f.PackedTag || len(f.Gzip) >= len(f.Body)/2 {
			t.Errorf("%s: type %s, tags %s %s, %d and %d bytes", f.Path, f.Type, f.Tag, f.PackedTag, len(f.Body), len(f.Gzip))
		}
	}
	if openapi.Of("/") != nil {
		t.Error("there is a file at /")
	}
	var v any
	if err := json.Unmarshal(openapi.JSON(), &v); err != nil {
		t.Error(err)
	}
}
