package openapi

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestPage looks at what the page promises: every operation and schema is on it, all it leads to is there, and
// nothing runs or comes from elsewhere.
func TestPage(t *testing.T) {
	t.Parallel()
	text, policy := page()
	d, err := parse(made)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllSubmatch(text, -1) {
		if ids[string(m[1])] {
			t.Errorf("the id %s stands twice", m[1])
		}
		ids[string(m[1])] = true
	}
	for i := range d.Paths {
		for _, o := range d.Paths[i].Value.operations() {
			if !ids[o.Value.OperationID] {
				t.Errorf("%s is not on the page", o.Value.OperationID)
			}
		}
	}
	for _, s := range d.Components.Schemas {
		if !ids[anchor(s.Name)] {
			t.Errorf("the schema %s is not on the page", s.Name)
		}
	}
	for _, m := range regexp.MustCompile(` href="([^"]*)"`).FindAllSubmatch(text, -1) {
		switch to := string(m[1]); {
		case to == "openapi.json", to == "openapi.yaml":
		case !strings.HasPrefix(to, "#") || !ids[to[1:]]:
			t.Errorf("a link leads to %s", to)
		}
	}
	for _, not := range []string{"<script", "style=\"", "<img", "<link", "@import", "url(", "%!"} {
		if at := bytes.Index(bytes.ToLower(text), []byte(not)); at >= 0 {
			t.Errorf("the page has %q: %.100q", not, text[at:])
		}
	}
	if regexp.MustCompile(`<[^>]* on[a-z]+=`).Match(text) {
		t.Error("the page has a handler of events")
	}
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	if file := os.Getenv("LAPID_TEST_PAGE"); file != "" { // to be looked at
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
