package verbs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
)

// TestGoldenWhy: an answer with all that there can be, for people and as JSON, which reads back as it was.
func TestGoldenWhy(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "why", "why.json"))
	if err != nil {
		t.Fatal(err)
	}
	var a engine.Why
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	same(t, "why.json", drawn(t, jsonWords, func(term *Terminal) error { return term.json(&a, "  ") }), string(text))
	want, err := os.ReadFile(filepath.Join("testdata", "why", "why.txt"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "why.txt", drawn(t, human, func(term *Terminal) error { showWhy(term, &a); return nil }), string(want))
}

// TestWhyMoment: what --at takes, and what it does not.
func TestWhyMoment(t *testing.T) {
	t.Parallel()
	hour := int64(time.Hour)
	for text, want := range map[string]admin.WhyRequest{
		"2026-07-01T12:00:00Z": {At: 1782907200e9}, "2026-07-01T14:00:00+02:00": {At: 1782907200e9}, "1782907200": {At: 1782907200e9},
		"2h": {Ago: 2 * hour}, "3d": {Ago: 72 * hour}, "+2h": {Ago: -2 * hour}, " 2h ": {Ago: 2 * hour},
	} {
		var q admin.WhyRequest
		if err := whyMoment(&q, text, true); err != nil || q != want {
			t.Errorf("%q: %+v, %v", text, q, err)
		}
	}
	for _, text := range []string{"", "yesterday", "2x", "-2h", "0s", "0", "-5", "99999999999", "1969-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "99999999999999999999d"} {
		if err := whyMoment(&admin.WhyRequest{}, text, true); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
