package wire

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// testNow is the moment at which the recorded bodies were made.
var testNow = time.Date(2026, time.July, 1, 10, 0, 0, 500_000_000, time.UTC)

// recordedBody is a request body of a recorded case, and what the reference
// server said of it as far as reading alone decides.
type recordedBody struct {
	Case   string
	Step   int
	Path   string
	Sender string // bouncer or machine, where it matters
	Body   string
	Error  string // the kind, "" when it was read
	Text   string
}

// TestRecordedBodies reads every body of the recorded cases.
func TestRecordedBodies(t *testing.T) {
	t.Parallel()
	kinds := map[string]Kind{
		"syntax": KindSyntax, "missing": KindMissing, "empty targets": KindEmptyTargets, "wrong usage": KindWrongUsage,
	}
	for _, b := range load[recordedBody](t, "bodies.json") {
		err := b.parse()
		if b.Error == "" {
			if err != nil {
				t.Errorf("%s, step %d: %v\n%s", b.Case, b.Step, err, b.Body)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Kind != kinds[b.Error] || e.Text != b.Text {
			t.Errorf("%s, step %d: error %q, want %s %q\n%s", b.Case, b.Step, err, b.Error, b.Text, b.Body)
		}
	}
}

func (b *recordedBody) parse() (err error) {
	body := []byte(b.Body)
	switch b.Path {
	case "/v1/alerts":
		_, err = ParseAlerts(body, testNow)
	case "/v1/watchers":
		_, err = ParseRegistration(body)
	case "/v1/watchers/login":
		_, err = ParseLogin(body)
	case "/v1/allowlists/check":
		_, err = ParseTargets(body)
	case "/v1/usage-metrics":
		kind := engine.UsageBouncer
		if b.Sender == "machine" {
			kind = engine.UsageMachine
		}
		_, err = ParseUsage(body, kind)
	default:
		err = errors.New("no such path: " + b.Path)
	}
	return err
}

// load reads a list from testdata.
func load[T any](t testing.TB, name string) []T {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	var list []T
	if err := d.Decode(&list); err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
	return list
}
