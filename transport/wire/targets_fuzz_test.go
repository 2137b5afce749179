package wire

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// FuzzTargets reads lists of addresses as the obvious decoder does.
func FuzzTargets(f *testing.F) {
	for _, b := range load[recordedBody](f, "bodies.json") {
		f.Add([]byte(b.Body))
	}
	for _, s := range []string{
		`{"targets":["192.0.2.1","2001:db8::/32"]}`, `{"Targets":[null,""],"targets":["a"]}`, `{"targets":null}`, `{"targets":{}}`,
		`{"targets":["\ud800","` + "\xff" + `"]} x`, `null`, `{"targets":[` + strings.Repeat(`"",`, 50) + `""]}`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want struct {
			Targets slowList[string] `json:"targets"`
		}
		slowErr := json.NewDecoder(strings.NewReader(string(body))).Decode(&want)
		got, err := ParseTargets(body)
		if deep(err) {
			return
		}
		if (kindOf(err) == KindSyntax) != (slowErr != nil) {
			t.Fatalf("error %v, want %v\n%q", err, slowErr, body)
		}
		if slowErr == nil && (len(want.Targets) == 0) != (kindOf(err) == KindEmptyTargets) {
			t.Fatalf("error %v for %q\n%q", err, want.Targets, body)
		}
		if err == nil && !slices.Equal(got, []string(want.Targets)) {
			t.Fatalf("%q, want %q\n%q", got, want.Targets, body)
		}
	})
}
