package wire

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lapid/engine"
)

func TestAppendDuration(t *testing.T) {
	t.Parallel()
	const s = int64(time.Second)
	for ns, want := range map[int64]string{
		4 * 3600 * s: "4h0m0s", 3599 * s: "59m59s", 60 * s: "1m0s", 5 * s: "5s", 0: "0s", -3 * s: "-3s",
		-26 * 3600 * s: "-26h0m0s", 3600*s - 1: "1h0m0s", s/2 - 1: "0s", s / 2: "1s", -s / 2: "-1s", -s/2 + 1: "0s",
		2399999*3600*s + 3599*s: "2399999h59m59s", math.MaxInt64: "2562047h47m17s", math.MinInt64: "-2562047h47m17s",
		90 * 60 * s: "1h30m0s", 59*60*s + 59*s + s/2: "1h0m0s",
	} {
		if got := string(AppendDuration(nil, ns)); got != want {
			t.Errorf("%d: %s, want %s", ns, got, want)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 1))
	for range 10000 {
		ns := int64(chance.Uint64()) >> chance.IntN(63)
		if ns > math.MaxInt64-s || ns < math.MinInt64+s {
			continue // the standard library does not round these
		}
		if got, want := string(AppendDuration(nil, ns)), time.Duration(ns).Round(time.Second).String(); got != want {
			t.Fatalf("%d: %s, want %s", ns, got, want)
		}
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": `""`, "192.0.2.7": `"192.0.2.7"`, `a"b\c`: `"a\"b\\c"`, "<&>": `"\u003c\u0026\u003e"`,
		"\u2028\u2029": `"\u2028\u2029"`, "é日😀": `"é日😀"`, "\n\r\t\b\f\x00\x1f": `"\n\r\t\b\f\u0000\u001f"`,
		"a\xffb\xe2\x82": `"a\ufffdb\ufffd\ufffd"`, "\x7f'": "\"\x7f'\"", "\ufffd": "\"\ufffd\"",
	} {
		if got := string(AppendString(nil, in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// FuzzAppendString holds the escaping against the standard library's, and the
// length that was foretold against what was written.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "<\u2028\xff\"", "日本", strings.Repeat("é\x80", 20)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, _ := json.Marshal(s)
		got := AppendString([]byte("kept"), s)[4:]
		if string(got) != string(want) {
			t.Fatalf("%q: %s, want %s", s, got, want)
		}
		if n := escapedLen(s); n != len(got)-2 {
			t.Fatalf("%q: length %d, want %d", s, n, len(got)-2)
		}
		raw := append([]byte("kept"), s...)
		if moved := escapeFrom(raw, 4); string(moved) != "kept"+string(want[1:len(want)-1]) {
			t.Fatalf("%q in place: %s", s, moved)
		}
	})
}

func TestReplies(t *testing.T) {
	t.Parallel()
	expire := time.Date(2026, 7, 1, 11, 0, 0, 999, time.FixedZone("", 7200))
	for want, got := range map[string][]byte{
		`[]`:                                   AppendIDs(nil, nil),
		`["1","18446744073709551615"]`:         AppendIDs(nil, []engine.AlertID{1, math.MaxUint64}),
		`{"message":"a\nb \u003c\"é\""}`:       AppendMessage(nil, "a\nb <\"é\""),
		`{"code":401,"message":"x"}`:           AppendCoded(nil, 401, "x"),
		`{"nbDeleted":"0"}`:                    AppendDeleted(nil, 0),
		`{"nbDeleted":"31000"}`:                AppendDeleted(nil, 31000),
		`null`:                                 AppendDecisions(nil, nil, 0, nil),
		`{"new": [], "deleted": []}`:           AppendDelta(nil, &engine.Delta{}, 0, nil),
		`01020304-0506-0708-090a-0b0c0d0e0fff`: appendUUID(nil, engine.UUID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}),
		`{"code":200,"expire":"2026-07-01T11:00:00+02:00","token":"a.b"}`: AppendToken(nil, expire, "a.b"),
	} {
		if string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestAppendAllowlist(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 7, 1, 10, 0, 0, 123_999_999, time.UTC).UnixNano()
	l := &engine.Allowlist{
		Name: "a<b", Description: "net", CreatedAt: at, UpdatedAt: at + 1e9,
		Items: []engine.AllowlistItem{
			{Value: "198.18.1.0/24", Comment: `the "net"`, CreatedAt: at},
			{Value: "198.18.3.3", CreatedAt: at, ExpiresAt: at + 1},
			{Value: "198.18.4.4", CreatedAt: at, ExpiresAt: at + 2e9},
		},
	}
	const (
		head  = `{"created_at":"2026-07-01T10:00:00.123Z","description":"net","items":[`
		items = `{"created_at":"2026-07-01T10:00:00.123Z","description":"the \"net\"","expiration":"0001-01-01T00:00:00.000Z","value":"198.18.1.0/24"},` +
			`{"created_at":"2026-07-01T10:00:00.123Z","expiration":"2026-07-01T10:00:02.123Z","value":"198.18.4.4"}`
		tail = `],"name":"a\u003cb","updated_at":"2026-07-01T10:00:01.123Z"}`
	)
	console := &engine.Allowlist{Name: "a<b", Description: "net", CreatedAt: at, UpdatedAt: at + 1e9, ConsoleID: `7"`, FromConsole: true}
	matches := []engine.AllowlistMatch{{List: "a<b", Item: &l.Items[0]}, {List: "z", Item: &l.Items[1]}}
	for want, got := range map[string][]byte{
		head + items + tail: appendAllowlist(nil, l, true, at+1),
		head + tail:         appendAllowlist(nil, l, false, at),
		`{"allowlist_id":"7\"","console_managed":true,` + head[1:] + tail: appendAllowlist(nil, console, true, at),
		`[]`: appendAllowlists(nil, nil, true, at),
		`[` + head + tail + `,` + head + tail + `]`: appendAllowlists(nil, []*engine.Allowlist{l, l}, false, at),
		`{}`:             AppendCheck(nil, nil),
		`{"results":[]}`: appendBulkCheck(nil, []string{"x"}, make([][]engine.AllowlistMatch, 1)),
		`{"allowlisted":true,"reason":"198.18.1.0/24 from a\u003cb (the \"net\"), 198.18.3.3 from z"}`: AppendCheck(nil, matches),
		`{"results":[{"allowlists":["198.18.1.0/24 from a\u003cb (the \"net\")","198.18.3.3 from z"],"target":"b"},` +
			`{"allowlists":["198.18.3.3 from z"],"target":"b"}]}`: appendBulkCheck(nil, []string{"a", "b", "b"},
			[][]engine.AllowlistMatch{nil, matches, matches[1:]}),
	} {
		if string(got) != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	for _, m := range matches {
		if got, want := string(appendReason(nil, m)), string(appendEscaped(nil, m.Reason())); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestAppendAlert writes an alert that has everything, and one that has
// nothing, without decisions.
func TestAppendAlert(t *testing.T) {
	t.Parallel()
	east := func(at time.Time) engine.Stamp { return engine.Stamp{At: at.UnixNano(), Offset: 330} }
	full := &engine.Alert{
		ID: 7, UUID: engine.UUID{0xab}, MachineID: "m", CreatedAt: testNow.UnixNano(), Scenario: "s", ScenarioHash: "h",
		ScenarioVersion: "v", Message: "a & b", Kind: "k", Leakspeed: "10s", Capacity: -1, EventsCount: 2,
		Simulated: true, Remediation: true, StartAt: engine.StampOf(testNow), StopAt: east(testNow),
		Source: engine.Source{
			Scope: "Ip", Value: "v", IP: "i", Range: "r", AsName: "n", AsNumber: "64500", Cn: "FR", Latitude: 48.8566, Longitude: -1e-7,
		},
		Meta: []engine.Meta{{Key: "k", Value: "v"}, {}, {Key: "k"}, {Value: "v"}},
		Events: []engine.Event{
			{Timestamp: engine.StampOf(testNow), Meta: []engine.Meta{}},
			{Timestamp: east(testNow), NoMeta: true},
		},
	}
	const uuid, none = `"ab000000-0000-0000-0000-000000000000"`, `"00000000-0000-0000-0000-000000000000"`
	for want, a := range map[string]*engine.Alert{
		`{"capacity":-1,"created_at":"2026-07-01T10:00:00Z","decisions":null,` +
			`"events":[{"meta":[],"timestamp":"2026-07-01 10:00:00.5 +0000 UTC"},{"meta":null,"timestamp":"2026-07-01 15:30:00.5 +0530 +0530"}],` +
			`"events_count":2,"id":7,"kind":"k","labels":null,"leakspeed":"10s","machine_id":"m","message":"a \u0026 b",` +
			`"meta":[{"key":"k","value":"v"},{},{"key":"k"},{"value":"v"}],"remediation":true,"scenario":"s","scenario_hash":"h",` +
			`"scenario_version":"v","simulated":true,"source":{"as_name":"n","as_number":"64500","cn":"FR","ip":"i",` +
			`"latitude":48.8566,"longitude":-1e-7,"range":"r","scope":"Ip","value":"v"},"start_at":"2026-07-01T10:00:00Z",` +
			`"stop_at":"2026-07-01T15:30:00+05:30","uuid":` + uuid + `}`: full,
		`{"capacity":0,"created_at":"1970-01-01T00:00:00Z","decisions":null,"events":null,"events_count":0,"id":0,"labels":null,` +
			`"leakspeed":"","machine_id":"N/A","message":"","scenario":"","scenario_hash":"","scenario_version":"","simulated":false,` +
			`"source":{"scope":"","value":""},"start_at":"1970-01-01T00:00:00Z","stop_at":"1970-01-01T00:00:00Z","uuid":` + none + `}`: {},
	} {
		got := appendAlert(nil, a, nil, true, 0)
		if string(got) != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if !json.Valid(got) || !utf8.Valid(got) {
			t.Errorf("not JSON: %s", got)
		}
	}
}

func TestAppendUUID(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	for range 1000 {
		var u engine.UUID
		_, _ = chance.Read(u[:])
		if got := string(appendUUID(nil, u)); got != u.String() {
			t.Fatalf("%s, want %s", got, u)
		}
	}
}

func TestAppendDegrees(t *testing.T) {
	t.Parallel()
	for _, f := range []float32{1, -0.5, 48.8566, 1e-6, 1e-7, -3.4e-9, 1e20, 1e21, 3.4e38, 1e-45, 180} {
		want, _ := json.Marshal(f)
		if got := string(appendDegrees(nil, "", f)); got != string(want) {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
	for _, f := range []float64{0, math.Inf(1), math.Inf(-1), math.NaN()} {
		if got := appendDegrees(nil, `"latitude":`, float32(f)); len(got) > 0 {
			t.Errorf("%v: %s", f, got)
		}
	}
}
