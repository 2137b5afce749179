package transport

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestARequestIsAValue: no handler knows the HTTP library, and in package conn only the
// files that stand between it and a request name what it has read.
func TestARequestIsAValue(t *testing.T) {
	t.Parallel()
	between := []string{"front.go", "library.go", "table.go", "request.go", "answer.go", "passed.go"}
	naming := func(pattern, what string) (files []string) {
		all, err := filepath.Glob(pattern)
		if err != nil || len(all) == 0 {
			t.Fatalf("no files fit %s: %v", pattern, err)
		}
		for _, f := range all {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(f, "_test.go") && strings.Contains(string(text), what) {
				files = append(files, filepath.Base(f))
			}
		}
		return files
	}
	if files := naming("*.go", "fasthttp"); len(files) > 0 {
		t.Errorf("the HTTP library is named in %q: a handler has conn.Request and conn.Answer", files)
	}
	for _, f := range naming("conn/*.go", "fasthttp.RequestCtx") {
		if !slices.Contains(between, f) {
			t.Errorf("conn/%s reads what the HTTP library has read: that is for %q", f, between)
		}
	}
}
