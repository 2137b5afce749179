package openapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/goccy/go-yaml"
)

var rewrite = flag.Bool("rewrite", false, "make openapi.json from openapi.yaml")

// TestJSONIsTheYAML holds the two files to each other.
func TestJSONIsTheYAML(t *testing.T) {
	t.Parallel()
	text, err := yaml.YAMLToJSON(written)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, text); err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile("openapi.json", out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(out.Bytes(), bytes.TrimSpace(made)) {
		t.Error("openapi.json is not what openapi.yaml says: go test ./transport/openapi -args -rewrite")
	}
}
