package wire

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func wantError(t *testing.T, name string, err error, kind Kind, text string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind || e.Text != text {
		t.Errorf("%.100s: error %v, want %q of kind %d", name, err, text, kind)
	}
}

func TestParseLogin(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Login{
		`{"machine_id":"m","password":"p"}`:                                       {MachineID: "m", Password: "p"},
		`{"MACHINE_ID":"m","Password":"p","scenarios":null}`:                      {MachineID: "m", Password: "p"},
		`{"machine_id":"","password":"","scenarios":[]} x`:                        {},
		`{"machine_id":"m","password":"p","scenarios":["a/b",null,"c"],"x":[{}]}`: {"m", "p", []string{"a/b", "", "c"}},
		`{"machine_id":"a","machine_id":"b","password":"p"}`:                      {MachineID: "b", Password: "p"},
	} {
		if got, err := ParseLogin([]byte(body)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, error %v", body, got, err)
		}
	}
	_, err := ParseLogin([]byte(`{"scenarios":["a/b"],"password":null}`))
	wantError(t, "no id", err, KindMissing, "validation failure list:\nmachine_id in body is required\npassword in body is required")
	got, err := ParseLogin([]byte(`{"machine_id":"m","password":7}`))
	wantError(t, "number", err, KindSyntax, "json: cannot unmarshal number into Go struct field WatcherAuthRequest.password of type string")
	if !reflect.DeepEqual(got, Login{}) {
		t.Errorf("a broken login is %+v", got)
	}
	_, err = ParseLogin([]byte(`{"scenarios":"a"}`))
	wantError(t, "text", err, KindSyntax, "json: cannot unmarshal string into Go struct field WatcherAuthRequest.scenarios of type []string")
	_, err = ParseLogin([]byte(`null`))
	wantError(t, "null", err, KindMissing, "validation failure list:\nmachine_id in body is required\npassword in body is required")
}

func TestParseScenarios(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`null`: nil, `{}`: nil, `{"scenarios":null}`: nil, `{"scenarios":[]} x`: nil,
		`{"machine_id":7,"password":[{}],"Scenarios":["a/b",null]}`: {"a/b", ""},
	} {
		if got, err := ParseScenarios([]byte(body)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, error %v", body, got, err)
		}
	}
	_, err := ParseScenarios([]byte(`{"scenarios":"a"}`))
	wantError(t, "text", err, KindSyntax, "json: cannot unmarshal string into Go struct field WatcherAuthRequest.scenarios of type []string")
	_, err = ParseScenarios(nil)
	wantError(t, "nothing", err, KindSyntax, "EOF")
}

func TestParseRegistration(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("é", 32)
	for body, want := range map[string]Registration{
		`{"machine_id":"m","password":"p"}`:                                      {"m", "p", ""},
		`{"machine_id":"m","password":"p","registration_token":null}`:            {"m", "p", ""},
		`{"machine_id":"m","password":"p","registration_token":""}`:              {"m", "p", ""},
		`{"machine_id":"m","password":"p","registration_token":"` + token + `"}`: {"m", "p", token},
	} {
		if got, err := ParseRegistration([]byte(body)); err != nil || got != want {
			t.Errorf("%s: %+v, error %v", body, got, err)
		}
	}
	const header = "validation failure list:\n"
	for body, want := range map[string]string{
		`{}`: header + "machine_id in body is required\npassword in body is required",
		`{"machine_id":"m","password":"p","registration_token":"` + strings.Repeat("t", 31) + `"}`: header +
			"registration_token in body should be at least 32 chars long",
		`{"machine_id":"m","registration_token":"` + strings.Repeat("t", 256) + `"}`: header +
			"password in body is required\nregistration_token in body should be at most 255 chars long",
	} {
		_, err := ParseRegistration([]byte(body))
		wantError(t, body, err, KindMissing, want)
	}
}

func TestParseTargets(t *testing.T) {
	t.Parallel()
	got, err := ParseTargets([]byte(`{"Targets":["192.0.2.7",null,"2001:db8::/32"],"x":1}`))
	if want := []string{"192.0.2.7", "", "2001:db8::/32"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, error %v", got, err)
	}
	for _, body := range []string{`{}`, `{"targets":[]}`, `{"targets":null}`, `null`, `{"targets":["a"],"targets":[]}`} {
		_, err := ParseTargets([]byte(body))
		wantError(t, body, err, KindEmptyTargets, "targets list cannot be empty")
	}
	_, err = ParseTargets([]byte(`{"targets":{}}`))
	wantError(t, "object", err, KindSyntax, "json: cannot unmarshal object into Go struct field BulkCheckAllowlistRequest.targets of type []string")
}

// FuzzCredentials holds the readers of logins, registrations and targets
// against the standard library.
func FuzzCredentials(f *testing.F) {
	for _, b := range load[recordedBody](f, "bodies.json") {
		if b.Path != "/v1/alerts" && b.Path != "/v1/usage-metrics" {
			f.Add([]byte(b.Body))
		}
	}
	f.Add([]byte(`{"machine_id":"\ud800","Password":"` + "\xff" + `","SCENARIOS":[null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var want struct {
			MachineID *string          `json:"machine_id"`
			Password  *string          `json:"password"`
			Scenarios slowList[string] `json:"scenarios"`
		}
		slowErr := json.NewDecoder(strings.NewReader(string(body))).Decode(&want)
		got, err := ParseLogin(body)
		if deep(err) {
			return
		}
		if (kindOf(err) == KindSyntax) != (slowErr != nil) {
			t.Fatalf("error %v, want %v\n%q", err, slowErr, body)
		}
		if (kindOf(err) == KindMissing) != (slowErr == nil && (want.MachineID == nil || want.Password == nil)) {
			t.Fatalf("error %v for %+v\n%q", err, want, body)
		}
		if err == nil && (got.MachineID != *want.MachineID || got.Password != *want.Password ||
			len(got.Scenarios)+len(want.Scenarios) > 0 && !reflect.DeepEqual(got.Scenarios, []string(want.Scenarios))) {
			t.Fatalf("%+v, want %+v\n%q", got, want, body)
		}
		if r, err := ParseRegistration(body); err == nil && (got.MachineID != r.MachineID || got.Password != r.Password) {
			t.Fatalf("registration %+v, login %+v\n%q", r, got, body)
		}
		if targets, err := ParseTargets(body); err == nil && len(targets) == 0 {
			t.Fatalf("no targets and no error\n%q", body)
		}
	})
}
