package conformance

import (
	"errors"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// testNames gives names with known values, at noon in a case that began a minute before.
func testNames() *names {
	return &names{
		vars:   map[string]string{"net": "12.3.4", "net6": "fd00:a:b", "u": "q000000007", "a": "42"},
		flags:  map[string]string{"machine_id": "m1", "password": "", "jwt_secret": "secret", "bouncer_key": "k1"},
		forged: map[string]string{"ok": "x.y.z"},
		token:  func(machine int) (string, error) { return map[int]string{1: "t1", 2: "t2"}[machine], nil },
		now:    func() time.Time { return noon.Add(250 * time.Millisecond) },
		t0:     noon.Add(-time.Minute),
	}
}

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	n := testNames()
	for text, want := range map[string]string{
		"no placeholder {net} {{}}":        "no placeholder {net} {{}}",
		"/v1/x?ip={{net}}.1&s={{u}}/{{a}}": "/v1/x?ip=12.3.4.1&s=q000000007/42",
		"{{token}} {{token2}} {{jwt:ok}}":  "t1 t2 x.y.z",
		"{{machine_id}}":                   "m1",
		"{{now}}":                          "2031-05-06T12:00:00Z",
		"{{nowns}}":                        "2031-05-06T12:00:00.250000Z",
		"{{nowns-500ms}}":                  "2031-05-06T11:59:59.750000Z",
		"{{t0}}":                           "2031-05-06T11:59:00Z",
		"{{t0-1h}}":                        "2031-05-06T10:59:00Z",
		"{{t0+1d}}":                        "2031-05-07T11:59:00Z",
		"{{t0@+05:00}}":                    "2031-05-06T16:59:00+05:00",
		"{{t0ns-1h30m@-03:30}}":            "2031-05-06T06:59:00.000000-03:30",
	} {
		if got, err := n.sub(text); err != nil || got != want {
			t.Errorf("sub(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"{{password}}", "{{nothing}}", "{{jwt:other}}"} {
		if _, err := n.sub(text); !errors.Is(err, errNoValue) {
			t.Errorf("sub(%q): error %v, want %v", text, err, errNoValue)
		}
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	const decision = `{"duration":"4h","origin":"cscli","scenario":"q000000007/manual","scope":"Ip","type":"ban","value":"12.3.4.1"}`
	for _, c := range [][2]string{
		{`{"b":1,"a":[null,true,"{{net}}"]}`, `{"b":1,"a":[null,true,"12.3.4"]}`},
		{`{"{{u}}":1}`, `{"q000000007":1}`},
		{`"{{int:a}}"`, `42`},
		{`"$$rle:a*3|{{net}}|<b>*2|é*2"`, `"aaa12.3.4<b>*2éé"`},
		{`[{"$repeat":3,"item":"{{i}}.{{i/256}}.{{i%256}}"},"end"]`, `["0.0.0","1.0.1","2.0.2","end"]`},
		{`[{"$repeat":0,"item":"x"}]`, `[]`},
		{`{"$decision":{}}`, decision},
		{`{"$decision":{"type":"$omit","value":"{{net}}.9","until":null}}`,
			`{"duration":"4h","origin":"cscli","scenario":"q000000007/manual","scope":"Ip","value":"12.3.4.9","until":null}`},
		{`{"$alert":{}}`, `{"capacity":5,"decisions":null,"events":[],"events_count":1,"labels":null,"leakspeed":"10s",` +
			`"message":"12.3.4.1 did q000000007/scn","scenario":"q000000007/scn","scenario_hash":"hash-1","scenario_version":"0.1",` +
			`"simulated":false,"source":{"scope":"Ip","value":"12.3.4.1"},` +
			`"start_at":"2031-05-06T12:00:00.250000Z","stop_at":"2031-05-06T12:00:00.250000Z"}`},
		{`{"$alert":{"scope":"Range","value":"{{net}}.0/24","scenario":"$omit","labels":"$omit","decisions":[{"$decision":{}}],
			"capacity":"$omit","events":"$omit","events_count":"$omit","leakspeed":"$omit","scenario_hash":"$omit",
			"scenario_version":"$omit","simulated":"$omit","start_at":"$omit","stop_at":"$omit","extra":1}}`,
			`{"decisions":[` + decision + `],"message":"12.3.4.0/24 did x","source":{"scope":"Range","value":"12.3.4.0/24"},"extra":1}`},
	} {
		got, err := testNames().expand(value(t, c[0]))
		if err != nil {
			t.Errorf("expand(%s): %v", c[0], err)
			continue
		}
		if text := string(appendValue(nil, got)); text != c[1] {
			t.Errorf("expand(%s)\n got %s\nwant %s", c[0], text, c[1])
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`"{{nothing}}"`, `{"{{nothing}}":1}`, `"{{int:u}}"`, `"$$rle:a*99999999999999999999"`, `"$$rle:a*999999999"`,
		`[{"$repeat":-1,"item":1}]`, `[{"$repeat":"x","item":1}]`, `[{"$repeat":2,"item":"{{nothing}}"}]`,
		`{"$alert":1}`, `{"$decision":[]}`, `{"$alert":{"message":"{{nothing}}"}}`,
	} {
		if v, err := testNames().expand(value(t, text)); err == nil {
			t.Errorf("expand(%s) = %s, want an error", text, short(v, 200))
		}
	}
}

// TestExpectationsKeepMatchers says that matchers pass through, with the placeholders in them replaced.
func TestExpectationsKeepMatchers(t *testing.T) {
	t.Parallel()
	got, err := testNames().expandExpected(value(t, `{"{{u}}":["$$intvar:{{a}}","$$rle:a*3"],"n":{"$$count":2}}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"q000000007":["$$intvar:42","$$rle:a*3"],"n":{"$$count":2}}`
	if text := string(appendValue(nil, got)); text != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

func TestDrawnNames(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	shapes := map[string]*regexp.Regexp{
		"net":  regexp.MustCompile(`^[1-9]\d\.\d{1,3}\.\d{1,3}$`),
		"net6": regexp.MustCompile(`^fd[0-9a-f]{2}:[1-9a-f][0-9a-f]{0,3}:[1-9a-f][0-9a-f]{0,3}$`),
		"u":    regexp.MustCompile(`^q[fgjkqvwy]{9}$`),
	}
	for range 200 {
		n := drawNames(rng, time.Now)
		for name, shape := range shapes {
			if !shape.MatchString(n.vars[name]) {
				t.Errorf("%s = %q", name, n.vars[name])
			}
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{
		"1h30m": 5400, "-2s": -2, "+2s": 2, "500ms": 0.5, "1d": 86400, "1.5m": 90, "3us": 3e-6, "3µs": 3e-6, "1ns": 1e-9,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-", "5", "h", "1h 2m", "1h2", "x1h", "--1s", ".5s"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v, want an error", text, got)
		}
	}
	for seconds, want := range map[float64]string{
		0: "0s", 5.9: "5s", -5.9: "-5s", 60: "1m0s", 3600: "1h0m0s", -3661: "-1h1m1s", 360000: "100h0m0s",
	} {
		if got := formatDuration(seconds); got != want {
			t.Errorf("formatDuration(%v) = %q, want %q", seconds, got, want)
		}
	}
}

func TestForge(t *testing.T) {
	t.Parallel()
	claims := []byte(`{"id":"{{machine_id}}","exp":"@+600","orig_iat":"@-10"}`)
	other := "{{bouncer_key}}"
	const payload = "eyJpZCI6Im0xIiwiZXhwIjoxOTM1ODM1ODAwLCJvcmlnX2lhdCI6MTkzNTgzNTE5MH0"
	// The signatures were computed by another implementation.
	for name, c := range map[string]struct {
		mint Mint
		want string
	}{
		"own":   {Mint{Claims: claims}, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + payload + ".zrxNJ01DSKJ4uR5F5Tr5i4_6MRTGsYwNFBlcEV4t7eQ"},
		"other": {Mint{Claims: claims, Alg: "HS512", Key: &other}, "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9." + payload + ".6OoVYwtBQyqnnPzFboGCokq07v4eDcxUG29EH77PndDV0ERWIR94rl3f9VwzWD25faRUaV_ftPPzdaTwooqwvw"},
		"none":  {Mint{Claims: claims, Alg: "none"}, "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + payload + "."},
	} {
		got, err := testNames().forge(c.mint)
		if err != nil || got != c.want {
			t.Errorf("%s: forge = %q, %v; want %q", name, got, err, c.want)
		}
	}
	for name, mint := range map[string]Mint{
		"algorithm": {Claims: claims, Alg: "RS256"},
		"claims":    {Claims: []byte(`[]`)},
		"claim":     {Claims: []byte(`{"id":"{{nothing}}"}`)},
		"number":    {Claims: []byte(`{"exp":"@+99999999999999999999"}`)},
	} {
		if got, err := testNames().forge(mint); err == nil {
			t.Errorf("%s: forge = %q, want an error", name, got)
		}
	}
}

// TestEveryRequestCanBeMade builds every recorded request, with the captured values made up.
func TestEveryRequestCanBeMade(t *testing.T) {
	t.Parallel()
	cases, err := Load(os.DirFS("testdata/cases"))
	if err != nil {
		t.Fatal(err)
	}
	target := loadSeed(t).target("http://localhost")
	for _, c := range cases {
		n := testNames()
		n.flags = target.flags()
		for i, s := range c.Steps {
			if s.Request == nil {
				continue
			}
			m, err := n.build(s.Request)
			if err != nil {
				t.Errorf("%s %s: %v", c.ID, s.title(i+1), err)
				continue
			}
			if _, err := m.head("localhost"); err != nil {
				t.Errorf("%s %s: %v", c.ID, s.title(i+1), err)
			}
			if text := m.method + m.path + string(m.body); strings.Contains(text, "{{") {
				t.Errorf("%s %s: a placeholder is left in %s", c.ID, s.title(i+1), short(text, maxShown))
			}
			for name := range s.Capture {
				n.vars[name] = "7"
			}
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{`{"b":1,"a":2,"b":3}`, `{"b":3,"a":2}`},
		{` [1.50, 1e3, -0, "é<&>\u2028\ud83d\ude00"] `, `[1.50,1e3,-0,"é<&>\u2028😀"]`},
		{`{}`, `{}`}, {`[]`, `[]`}, {`null`, `null`}, {`"x"`, `"x"`}, {`true`, `true`},
	} {
		if got := string(appendValue(nil, value(t, c[0]))); got != c[1] {
			t.Errorf("%s: got %s, want %s", c[0], got, c[1])
		}
	}
	for _, text := range []string{``, `{`, `[1`, `1 2`, `{"a"}`, `[1,]`, `nul`, `x`, `{"a":1}}`, strings.Repeat("[", 5000) + strings.Repeat("]", 5000)} {
		if v, err := decodeValue([]byte(text)); err == nil {
			t.Errorf("decodeValue(%s) = %s, want an error", short(text, 40), short(v, 40))
		}
	}
	o := fields("a", "1", "b", "2")
	copied := o.clone()
	copied.remove("a")
	copied.remove("nothing")
	if got := string(appendValue(nil, []any{o, copied})); got != `[{"a":"1","b":"2"},{"b":"2"}]` {
		t.Errorf("got %s", got)
	}
}
