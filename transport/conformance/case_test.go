package conformance

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestLoadRecordedCases(t *testing.T) {
	t.Parallel()
	cases, err := Load(os.DirFS("testdata/cases"))
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 125 {
		t.Errorf("%d cases, want 125 at least", len(cases))
	}
	for _, c := range cases {
		if c.Title == "" || c.Area == "" || len(c.Tags) == 0 {
			t.Errorf("case %s has no title, area or tags", c.ID)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	const step = `"steps":[{"request":{"method":"GET","path":"/"}}]`
	for text, want := range map[string]string{
		`{`:                                   "unexpected EOF",
		`{"id":"x"}`:                          "needs an id and steps",
		`{` + step + `}`:                      "needs an id and steps",
		`{"id":"x","titel":"t",` + step + `}`: "titel",
		`{"id":"x","config":"other",` + step + `}`:                                                "unknown configuration",
		`{"id":"x","steps":[{"select":"yours"}]}`:                                                 "unknown selection",
		`{"id":"x","steps":[{"expect":{"stats":200}}]}`:                                           "stats",
		`{"id":"x","steps":[{"request":{"method":"GET","path":"/","headers":{"A":1}}}]}`:          "header A",
		`{"id":"x","steps":[{"request":{"method":"GET","path":"/","headers":["A"]}}]}`:            "want an object",
		`{"id":"x","steps":[{"request":{"method":"GET","path":"/","headers":{"A":["b",null]}}}]}`: "header A",
		`{"id":"twin",` + step + `}`:                                                              "another case",
	} {
		_, err := Load(fstest.MapFS{
			"a.json": {Data: []byte(`{"id":"twin",` + step + `}`)},
			"b.json": {Data: []byte(text)},
		})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "b.json") {
			t.Errorf("Load(%s): error %v, want %q and the file's name", text, err, want)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	cases := []*Case{{ID: "stream-a", Config: "main"}, {ID: "stream-b", Config: "tls"}, {ID: "alert-a", Config: "main"}}
	for _, c := range []struct{ config, pattern, want string }{
		{"main", "", "stream-a alert-a"},
		{"main", "stream-*", "stream-a"},
		{"tls", "*-[ab]", "stream-b"},
		{"locked", "", ""},
	} {
		chosen, err := Choose(cases, c.config, c.pattern)
		var ids []string
		for _, x := range chosen {
			ids = append(ids, x.ID)
		}
		if got := strings.Join(ids, " "); err != nil || got != c.want {
			t.Errorf("Choose(%s, %q) = %q, %v; want %q", c.config, c.pattern, got, err, c.want)
		}
	}
	if _, err := Choose(cases, "main", "["); err == nil {
		t.Error("a broken pattern is taken")
	}
}
