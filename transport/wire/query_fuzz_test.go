package wire

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"lapid/engine"
)

// FuzzQueries reads query strings in every way, and holds the pairs that are
// found against the standard library's.
func FuzzQueries(f *testing.F) {
	for _, seed := range []string{
		"", "ip=192.0.2.7", "a=1&a=2&b", "%41=%zz&a=+%20&;=&==", "range=2001%3Adb8%3A%3A%2F32&contains=false",
		"startup=true&scopes=ip,range&origins=", "limit=0&offset=x&id_gt=9", "since=1d2h&until=-&has_active_decision=t",
		"uuid=a&uuid=b&scope=", "&&&", "%", "a%3=1", "a=%e", "+=%26",
	} {
		f.Add([]byte(seed))
	}
	for _, seed := range recordedQueries(f) {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		want, _ := url.ParseQuery(string(raw))
		seen := map[string]int{}
		for pairs := (form{rest: raw}); pairs.next(); {
			name := string(pairs.name)
			values := want[name]
			if n := seen[name]; n >= len(values) || string(pairs.value()) != values[n] {
				t.Fatalf("value %d of %q is %q, want %q", n, name, pairs.value(), values)
			}
			seen[name]++
		}
		for name, values := range want {
			if seen[name] != len(values) {
				t.Fatalf("%d values of %q, want %q", seen[name], name, values)
			}
			if got, given := QueryValue(raw, name); !given || string(got) != values[0] {
				t.Fatalf("first value of %q is %q, want %q", name, got, values)
			}
		}
		for _, parse := range []func(*engine.Query, []byte) error{ParseQuery, ParseStreamQuery, ParseDeletion} {
			q := asked(nil)
			checkFilterError(t, parse(q, raw))
		}
		for _, parse := range []func(*engine.AlertQuery, []byte) error{ParseAlertQuery, ParseAlertDeletion} {
			checkFilterError(t, parse(&engine.AlertQuery{Now: testNow.UnixNano()}, raw))
		}
	})
}

func checkFilterError(t *testing.T, err error) {
	if kind := kindOf(err); kind != 0 && kind != KindFilter && kind != KindSyntax {
		t.Fatalf("error of kind %d: %v", kind, err)
	}
	if err != nil && !utf8.Valid(AppendMessage(nil, err.Error())) {
		t.Fatalf("unreadable message: %q", err)
	}
}

// recordedQueries are the query strings of the recorded cases, as they stand
// there.
func recordedQueries(f *testing.F) (all []string) {
	files, err := filepath.Glob("../conformance/testdata/*/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no recorded cases: %v", err)
	}
	asked := regexp.MustCompile(`"path": *"[^"?]*\?([^"]+)"`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, found := range asked.FindAllSubmatch(text, -1) {
			all = append(all, strings.ReplaceAll(string(found[1]), "{{net}}", "192.0.2"))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
