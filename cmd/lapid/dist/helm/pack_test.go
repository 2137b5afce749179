package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"lapid/cmd/lapid/dist/release"
)

// TestMain puts the tests where make chart is run: at the top of the repository.
func TestMain(m *testing.M) {
	if err := os.Chdir("../../../.."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

var before = &release.Release{Version: "0.2.0~20261130.0123456", Commit: "0123456789", Made: time.Unix(1_700_000_000, 0).UTC()}

// TestPack: the archive has the same bytes each time, the release's version, and the very rules and dashboards.
func TestPack(t *testing.T) {
	t.Parallel()
	var one, other bytes.Buffer
	if err := errors.Join(pack(&one, before), pack(&other, before)); err != nil || !bytes.Equal(one.Bytes(), other.Bytes()) {
		t.Fatalf("%v", err)
	}
	z, err := gzip.NewReader(&one)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	first := ""
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		if files[h.Name] = string(text); first == "" {
			first = h.Name
		}
	}
	if first != "lapid/Chart.yaml" || !strings.Contains(files[first], "\nversion: 0.2.0-20261130.g0123456\nappVersion: \"0.2.0-20261130.0123456\"\n") {
		t.Errorf("%s\n%s", first, files[first])
	}
	for _, name := range []string{"lapid.rules.yml", "lapid.json", "lapid-fleet.json"} {
		if text, err := os.ReadFile("cmd/lapid/dist/" + name); err != nil || files["lapid/files/"+name] != string(text) {
			t.Errorf("%s is another (%v)", name, err)
		}
	}
	if (&release.Release{Version: "0.2.0"}).Semantic() != "0.2.0" {
		t.Error("a release has another version")
	}
}

// TestSchemaIsOfValues: the schema has every key of values.yaml and no other, and refuses others wherever keys are ours.
func TestSchemaIsOfValues(t *testing.T) {
	t.Parallel()
	var values map[string]any
	text, err := os.ReadFile(filepath.Join(sources, "values.yaml"))
	if err == nil {
		err = yaml.Unmarshal(text, &values)
	}
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	text, err = os.ReadFile(filepath.Join(sources, "values.schema.json"))
	if err == nil {
		err = json.Unmarshal(text, &schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	compareKeys(t, "", values, schema)
}

func compareKeys(t *testing.T, at string, values, schema map[string]any) {
	t.Helper()
	known, ours := schema["properties"].(map[string]any)
	if !ours {
		return // of Kubernetes
	}
	if schema["additionalProperties"] != false {
		t.Errorf("%q takes keys that nobody knows", at)
	}
	for key, value := range values {
		below, ok := known[key].(map[string]any)
		if !ok {
			t.Errorf("the schema has no %s.%s", at, key)
			continue
		}
		if inner, ok := value.(map[string]any); ok {
			compareKeys(t, at+"."+key, inner, below)
		}
	}
	optional := []string{".global", ".lapi.startupProbe.initialDelaySeconds", ".lapi.livenessProbe.initialDelaySeconds", ".lapi.readinessProbe.initialDelaySeconds",
		".lapi.resources.claims", ".tls.certManager.issuerRef.name", ".tls.certManager.issuerRef.kind", ".tls.certManager.issuerRef.group",
		".tls.certManager.secretTemplate.annotations", ".tls.certManager.secretTemplate.labels"}
	for key := range known {
		if name := at + "." + key; values[key] == nil && !slices.Contains(optional, name) {
			t.Errorf("values.yaml has no %s", name)
		}
	}
}

// TestValuesAreUsed: every value has a place in a template.
func TestValuesAreUsed(t *testing.T) {
	t.Parallel()
	var templates strings.Builder
	files, err := chartFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasPrefix(name, "templates/") {
			text, err := os.ReadFile(filepath.Join(sources, name))
			if err != nil {
				t.Fatal(err)
			}
			templates.Write(text)
		}
	}
	var values map[string]any
	text, err := os.ReadFile(filepath.Join(sources, "values.yaml"))
	if err == nil {
		err = yaml.Unmarshal(text, &values)
	}
	if err != nil {
		t.Fatal(err)
	}
	accepted := []string{"lapi.enabled"} // as in CrowdSec's chart; there is nothing else here
	var look func(at string, values map[string]any)
	look = func(at string, values map[string]any) {
		for key, value := range values {
			path := strings.TrimPrefix(at+"."+key, ".")
			inner, isMap := value.(map[string]any)
			whole := regexp.MustCompile(`\.Values\.` + regexp.QuoteMeta(path) + `([ })]|$)`).MatchString(templates.String())
			if isMap && len(inner) > 0 && !whole {
				look(at+"."+key, inner)
				continue
			}
			if !whole && !slices.Contains(accepted, path) && !regexp.MustCompile(`\.`+regexp.QuoteMeta(key)+`\b|"`+regexp.QuoteMeta(key)+`"`).MatchString(templates.String()) {
				t.Errorf("nothing comes of %s", path)
			}
		}
	}
	look("", values)
	if fmt.Sprint(values["lapi"].(map[string]any)["enabled"]) != "true" {
		t.Error("the only part is off")
	}
}

// TestPageCommands: what the page has one type names what make chart writes, and verbs and values that there are.
func TestPageCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("cmd/lapid/docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	forms := []string{
		`make chart`,
		`helm install lapid dist/chart/lapid-\*\.tgz --namespace crowdsec --create-namespace --set image\.repository=\S+`,
		`helm test lapid --namespace crowdsec`,
		`kubectl -n crowdsec exec lapid-0 -- lapid bouncers add edge-fw`,
	}
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			if !regexp.MustCompile(`^(` + strings.Join(forms, "|") + `)\n$`).MatchString(line) {
				t.Errorf("nobody has looked at %s", line)
			}
		}
	}
}
