package openapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"lapid/transport/openapi"
)

var release = flag.Bool("release", false, "keep the description as that of a release, which later ones are compared with")

// kept is the description of the last release; before the first, as it was once served.
const kept = "testdata/released.json"

// contract is what clients may rely on, and what they have to send.
type contract struct{ promises, demands map[string]bool }

// contractOf is a description as facts, one a line.
func contractOf(d map[string]any) *contract {
	c := &contract{map[string]bool{}, map[string]bool{}}
	for path, item := range d["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			said, ok := o.(map[string]any)
			if !ok || said["operationId"] == nil {
				continue
			}
			name := strings.ToUpper(method) + " " + path
			c.promises[name] = true
			c.promises[fmt.Sprint(name, " is ", said["operationId"])] = true
			c.parameters(d, name, said["parameters"])
			c.parameters(d, name, item.(map[string]any)["parameters"])
			for _, media := range contents(d, said["requestBody"]) {
				walkFields(d, media["schema"], "", 0, func(field string, required bool) {
					c.promises[name+" takes "+field] = true
					if required {
						c.demands[name+" needs "+field] = true
					}
				})
			}
			for status, r := range said["responses"].(map[string]any) {
				c.promises[name+" "+status] = true
				for kind, media := range contents(d, r) {
					c.promises[name+" "+status+" "+kind] = true
					walkFields(d, media["schema"], "", 0, func(field string, _ bool) { c.promises[name+" "+status+" has "+field] = true })
				}
			}
		}
	}
	return c
}

func (c *contract) parameters(d map[string]any, name string, list any) {
	all, _ := list.([]any)
	for _, p := range all {
		one := resolved(d, p)
		at := fmt.Sprint(name, " takes ", one["in"], " ", one["name"])
		if c.promises[at] = true; one["required"] == true {
			c.demands[strings.Replace(at, " takes ", " needs ", 1)] = true
		}
	}
}

// contents are the forms of a body or an answer.
func contents(d map[string]any, v any) map[string]map[string]any {
	out := map[string]map[string]any{}
	content, _ := resolved(d, v)["content"].(map[string]any)
	for kind, media := range content {
		out[kind] = media.(map[string]any)
	}
	return out
}

// resolved follows references.
func resolved(d map[string]any, v any) map[string]any {
	o, _ := v.(map[string]any)
	for o["$ref"] != nil {
		v = any(d)
		for name := range strings.SplitSeq(o["$ref"].(string)[2:], "/") {
			v = v.(map[string]any)[name]
		}
		o, _ = v.(map[string]any)
	}
	return o
}

// deepest is how far fields lie within each other.
const deepest = 8

// walkFields visits the fields of a schema by their paths.
func walkFields(d map[string]any, v any, within string, depth int, visit func(field string, required bool)) {
	s := resolved(d, v)
	if depth > deepest {
		return
	}
	required, _ := s["required"].([]any)
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		visit(within+name, slices.Contains(required, any(name)))
		walkFields(d, p, within+name+".", depth+1, visit)
	}
	if s["items"] != nil {
		walkFields(d, s["items"], within+"[].", depth+1, visit)
	}
	alternatives, _ := s["oneOf"].([]any)
	for _, one := range alternatives {
		walkFields(d, one, within, depth+1, visit)
	}
}

// broken are the differences that break clients, in order: promises that are gone, and demands that are
// new where the operation is not.
func broken(before, after *contract) (list []string) {
	for p := range before.promises {
		if !after.promises[p] {
			list = append(list, "gone: "+p)
		}
	}
	for p := range after.demands {
		method, rest, _ := strings.Cut(p, " ")
		path, _, _ := strings.Cut(rest, " ")
		if !before.demands[p] && before.promises[method+" "+path] {
			list = append(list, "new: "+p)
		}
	}
	slices.Sort(list)
	return list
}

// TestNothingIsTakenBack compares with the last release. What breaks clients is allowed where CHANGELOG.md says so
// below Unreleased, in backquotes, as the failure does.
func TestNothingIsTakenBack(t *testing.T) {
	t.Parallel()
	if *release {
		if err := os.WriteFile(kept, openapi.JSON(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	var before, after map[string]any
	for into, text := range map[*map[string]any][]byte{&before: text, &after: openapi.JSON()} {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	changes, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	_, changes, _ = bytes.Cut(changes, []byte("\n## Unreleased\n"))
	changes, _, _ = bytes.Cut(changes, []byte("\n## "))
	for _, one := range broken(contractOf(before), contractOf(after)) {
		if !bytes.Contains(changes, []byte("`"+one+"`")) {
			t.Errorf("clients of the last release break: `%s`; take it back, or name it so in CHANGELOG.md", one)
		}
	}
}

// TestBroken: what the guard finds.
func TestBroken(t *testing.T) {
	t.Parallel()
	read := func(change func(d map[string]any)) *contract {
		var d map[string]any
		if err := json.Unmarshal(openapi.JSON(), &d); err != nil {
			t.Fatal(err)
		}
		change(d)
		return contractOf(d)
	}
	in := func(d map[string]any, path ...string) map[string]any {
		for _, name := range path {
			d = d[name].(map[string]any)
		}
		return d
	}
	before := read(func(map[string]any) {})
	for what, c := range map[string]struct {
		change func(d map[string]any)
		want   string
	}{
		"nothing":          {func(map[string]any) {}, ""},
		"another text":     {func(d map[string]any) { in(d, "info")["title"] = "x" }, ""},
		"a new operation":  {func(d map[string]any) { in(d, "paths")["/new"] = in(d, "paths", "/v1/alerts") }, ""},
		"an operation":     {func(d map[string]any) { delete(in(d, "paths", "/health"), "get") }, "gone: GET /health"},
		"its name":         {func(d map[string]any) { in(d, "paths", "/health", "get")["operationId"] = "x" }, "gone: GET /health is getHealth"},
		"a status":         {func(d map[string]any) { delete(in(d, "paths", "/v1/alerts/{alert_id}", "get", "responses"), "404") }, "gone: GET /v1/alerts/{alert_id} 404"},
		"a field within":   {func(d map[string]any) { delete(in(d, "components", "schemas", "Source", "properties"), "cn") }, "gone: GET /v1/alerts 200 has [].source.cn"},
		"a parameter":      {func(d map[string]any) { in(d, "paths", "/v1/allowlists", "get")["parameters"] = []any{} }, "gone: GET /v1/allowlists takes query with_content"},
		"a required field": {func(d map[string]any) { in(d, "components", "schemas", "Login")["required"] = []any{"machine_id"} }, "new: POST /v1/watchers/login needs machine_id"},
		"a required parameter": {func(d map[string]any) { in(d, "components", "parameters", "withContent")["required"] = true },
			"new: GET /v1/allowlists needs query with_content"},
	} {
		got := broken(before, read(c.change))
		if c.want == "" && got != nil || c.want != "" && !slices.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
	if n := len(slices.Collect(maps.Keys(before.promises))); n < 1000 {
		t.Errorf("the description has %d facts", n)
	}
}
