package conformance

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// noon is the moment at which the tests of this package take place.
var noon = time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC)

// value reads JSON that the test itself wrote.
func value(t *testing.T, text string) any {
	t.Helper()
	v, err := decodeValue([]byte(text))
	if err != nil {
		t.Fatalf("value %s: %v", text, err)
	}
	return v
}

func TestMatchers(t *testing.T) {
	t.Parallel()
	const uuid = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
	for _, c := range []struct {
		matcher     string
		fits, fails []string // JSON
	}{
		{"$$any", []string{`null`, `1`, `""`, `[]`, `{}`, `true`}, nil},
		{"$$str", []string{`""`, `"x"`}, []string{`null`, `1`, `[]`}},
		{"$$int", []string{`0`, `-5`, `99999999999999999999`}, []string{`1.0`, `1e3`, `"1"`, `true`, `null`}},
		{"$$intvar:5", []string{`5`, `5.0`}, []string{`6`, `"5"`, `true`, `null`}},
		{"$$intvar:x", nil, []string{`5`, `"x"`}},
		{"$$id", []string{`"1"`, `"120"`}, []string{`1`, `"0"`, `"01"`, `"-1"`, `""`, `"1\n"`}},
		{"$$uuid", []string{`"` + uuid + `"`}, []string{`"` + strings.ToUpper(uuid) + `"`, `"` + uuid[1:] + `"`,
			`"6fa459ea-ee8a-1ca4-894e-db77e160355e"`}},
		{"$$jwt", []string{`"a_-.b.c"`}, []string{`"a.b"`, `"a.b.c.d"`, `"a.b."`, `""`}},
		{"$$ts", []string{`"2031-05-06T12:00:00Z"`, `"2031-05-06T12:00:00.123456789+05:30"`, `"0001-01-01T00:00:00Z"`},
			[]string{`"2031-02-31T00:00:00Z"`, `"2031-05-06 12:00:00Z"`, `"2031-05-06T12:00:00z"`, `"2031-05-06T12:00:00"`, `1`}},
		{"$$now", []string{`"2031-05-06T12:00:59Z"`, `"2031-05-06T11:59:01Z"`},
			[]string{`"2031-05-06T12:01:00Z"`, `"2031-05-06T11:59:00Z"`, `"2031-05-06T12:00:00.5Z"`, `"2031-05-06T12:00:00+00:00"`}},
		{"$$ago:3h0m0s", []string{`"2031-05-06T09:00:59Z"`, `"2031-05-06T08:59:01Z"`},
			[]string{`"2031-05-06T12:00:00Z"`, `"2031-05-06T09:01:00Z"`}},
		{"$$ms", []string{`"2031-05-06T12:00:00.123Z"`}, []string{`"2031-05-06T12:00:00Z"`, `"2031-05-06T12:00:00.12Z"`,
			`"2031-05-06T12:00:00.1234Z"`, `"2031-05-06T12:00:00.123+00:00"`}},
		{"$$dur:4h0m0s", []string{`"4h0m0s"`, `"3h59m48s"`, `"4h0m1s"`},
			[]string{`"3h59m47s"`, `"4h0m2s"`, `"4h"`, `"240m0s"`, `"3h59m59.5s"`, `"x"`, `14400`}},
		{"$$dur:1m~0", []string{`"1m0s"`}, []string{`"59s"`, `"1m1s"`, `"60s"`}},
		{"$$negdur", []string{`"0s"`, `"-5s"`, `"-1h0m0s"`}, []string{`"5s"`, `"-0s"`, `"-60s"`, `""`, `"-"`}},
		{"$$tpl:id <<uuid>> of <<int>>", []string{`"id ` + uuid + ` of 12"`}, []string{`"id x of 12"`, `"id ` + uuid + ` of 12 "`}},
		{"$$tpl:(a.b) <<any>>", []string{`"(a.b) "`, `"(a.b) line\nbreak"`}, []string{`"(a-b) x"`}},
		{"$$tpl:<<other>>", []string{`"<<other>>"`}, []string{`"x"`}},
		{"$$tpl:at <<gotime>>", []string{`"at 2031-05-06 12:00:00.5 +0000 UTC"`}, []string{`"at 2031-05-06T12:00:00Z"`}},
		{"$$re:a+|b", []string{`"aa"`, `"b"`}, []string{`"ab"`, `""`}},
		{"$$re:(", nil, []string{`"("`}},
		{"$$rle:a*5|x", []string{`"aaaaax"`}, []string{`"a*5|x"`, `"aaaax"`}},
		{"$$lib:some text", []string{`"any text"`}, []string{`""`, `1`}},
		{"$$unheard", nil, []string{`"$$unheard"`, `1`}},
	} {
		m := matcher{now: noon}
		for _, text := range c.fits {
			if err := m.match(c.matcher, value(t, text)); err != nil {
				t.Errorf("%s does not take %s: %v", c.matcher, text, err)
			}
		}
		for _, text := range c.fails {
			if m.match(c.matcher, value(t, text)) == nil {
				t.Errorf("%s takes %s", c.matcher, text)
			}
		}
	}
}

func TestStrictWording(t *testing.T) {
	t.Parallel()
	m := matcher{now: noon, strict: true}
	if err := m.match("$$lib:line <<int>>", "line 12"); err != nil {
		t.Error(err)
	}
	if m.match("$$lib:line <<int>>", "other words") == nil {
		t.Error("strict comparison takes other words")
	}
}

// TestEveryMatcherIsKnown walks the recorded expectations, so that none waits for an answer that nothing can fit.
func TestEveryMatcherIsKnown(t *testing.T) {
	t.Parallel()
	cases, err := Load(os.DirFS("testdata/cases"))
	if err != nil {
		t.Fatal(err)
	}
	m := matcher{now: noon}
	var walk func(id string, v any)
	walk = func(id string, v any) {
		switch v := v.(type) {
		case string:
			if !strings.HasPrefix(v, "$$") {
				return
			}
			if err := m.match(v, ""); err != nil && strings.Contains(err.Error(), "unknown matcher") {
				t.Errorf("%s: %s: %v", id, v, err)
			}
		case []any:
			for _, x := range v {
				walk(id, x)
			}
		case *object:
			for _, k := range v.keys {
				walk(id, v.values[k])
			}
		}
	}
	for _, c := range cases {
		for _, s := range c.Steps {
			bodies := s.Also
			if s.Expect != nil && s.Expect.JSON != nil {
				bodies = append([]json.RawMessage{s.Expect.JSON}, bodies...)
			}
			for _, text := range bodies {
				walk(c.ID, value(t, string(text)))
			}
		}
	}
}
