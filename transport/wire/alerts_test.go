package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// completeAlert is the body of one alert with the fields that are required,
// and more, which come last and so win.
func completeAlert(more string) string {
	return `[{"capacity":5,"events":[],"events_count":1,"leakspeed":"10s","message":"m","scenario":"s","scenario_hash":"h",` +
		`"scenario_version":"v","simulated":false,"source":{"scope":"Ip","value":"192.0.2.7"},` +
		`"start_at":"2026-07-01T09:00:00Z","stop_at":"2026-07-01T09:30:00Z"` + more + `}]`
}

func parseOne(t *testing.T, body string) *engine.Alert {
	t.Helper()
	alerts, err := ParseAlerts([]byte(body), testNow)
	if err != nil || len(alerts) != 1 {
		t.Fatalf("%d alerts, error %v\n%.300s", len(alerts), err, body)
	}
	return alerts[0]
}

// TestLeniency is the list of what the contract's reading forgives.
func TestLeniency(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]string{
		``:                                       "m",
		`,"message":"last"`:                      "last",
		`,"MESSAGE":"any case"`:                  "any case",
		`,"m\u0065ssage":"escaped name"`:         "escaped name",
		`,"meſſage":"folded"`:                    "folded",
		`,"unknown":{"message":[{}, 1e9, null]}`: "m",
		",\n\t\r \"message\" : \"blanks\" ":      "blanks",
		",\"message\":\"a\xffb\xe2\x82c\"":       "a\ufffdb\ufffd\ufffdc",
		`,"message":"\ud83d\ude00 \ud83d \/"`:    "😀 \ufffd /",
		`,"message":"\ud83d\u0041"`:              "\ufffdA",
		`,"message":null,"message":"again"`:      "again",
	} {
		if a := parseOne(t, completeAlert(more)+` ] trailing`); a.Message != want {
			t.Errorf("%s: %q, want %q", more, a.Message, want)
		}
	}
	for _, none := range []string{`null`, ` [] `, `[]x`, `nullx`} {
		if alerts, err := ParseAlerts([]byte(none), testNow); len(alerts) != 0 || err != nil {
			t.Errorf("%s: %v, error %v", none, alerts, err)
		}
	}
	if a := parseOne(t, completeAlert(`,"kind":"k","kind":null,"remediation":true,"remediation":null`)); a.Kind != "k" || !a.Remediation {
		t.Errorf("null took back what is not required: %+v", a)
	}
}

// TestAlertRefused holds the errors the recorded bodies do not show.
func TestAlertRefused(t *testing.T) {
	t.Parallel()
	const required = "validation failure list:\n"
	for more, want := range map[string]Error{
		`,"message":null`:                      {KindMissing, required + "0.message in body is required"},
		`,"decisions":[{}],"decisions":[null]`: {KindSyntax, "json: cannot unmarshal null into Go struct field Alert.decisions of type models.Decision"},
		`,"source":null`:                       {KindMissing, required + "0.source in body is required"},
		`,"source":{"value":null}`:             {KindMissing, required + required + "0.source.value in body is required"},
		`,"capacity":null,"source":{"scope":null}`: {KindMissing,
			required + "0.capacity in body is required\n" + required + "0.source.scope in body is required"},
		`,"capacity":1.5`:        {KindSyntax, "json: cannot unmarshal number 1.5 into Go struct field Alert.capacity of type int32"},
		`,"capacity":2147483648`: {KindSyntax, "json: cannot unmarshal number 2147483648 into Go struct field Alert.capacity of type int32"},
		`,"id":"7"`:              {KindSyntax, "json: cannot unmarshal string into Go struct field Alert.id of type int64"},
		`,"events":[null]`:       {KindSyntax, "json: cannot unmarshal null into Go struct field Alert.events of type models.Event"},
		`,"meta":[null]`:         {KindSyntax, "json: cannot unmarshal null into Go struct field Alert.meta of type models.MetaItems"},
		`,"labels":[1]`:          {KindSyntax, "json: cannot unmarshal number into Go struct field Alert.labels of type string"},
		`,"source":{"latitude":1e39}`: {KindSyntax,
			"json: cannot unmarshal number 1e39 into Go struct field Source.latitude of type float32"},
		`,"source":{"longitude":-1e400}`: {KindSyntax,
			"json: cannot unmarshal number -1e400 into Go struct field Source.longitude of type float32"},
		",\"message\":\"\n\"":                {KindSyntax, `invalid character '\n' in string literal`},
		`,"message":"\x"`:                    {KindSyntax, `invalid character 'x' in string escape code`},
		`,"message":"\u00g0"`:                {KindSyntax, `invalid character 'g' in \u hexadecimal character escape`},
		`,"x":-`:                             {KindSyntax, `invalid character '}' in numeric literal`},
		`,"x":1.`:                            {KindSyntax, `invalid character '}' after decimal point in numeric literal`},
		`,"x":1e+`:                           {KindSyntax, `invalid character '}' in exponent of numeric literal`},
		`,"x":01`:                            {KindSyntax, `invalid character '1' after object key:value pair`},
		`,"x" 1`:                             {KindSyntax, `invalid character '1' after object key`},
		`,"x":[1 2]`:                         {KindSyntax, `invalid character '2' after array element`},
		`,"x":'`:                             {KindSyntax, `invalid character '\'' looking for beginning of value`},
		`,"x":nul`:                           {KindSyntax, `invalid character '}' in literal null (expecting 'l')`},
		`,`:                                  {KindSyntax, `invalid character '}' looking for beginning of object key string`},
		`,"x":` + strings.Repeat("[", 1<<20): {KindSyntax, "exceeded max depth"},
	} {
		_, err := ParseAlerts([]byte(completeAlert(more)), testNow)
		var e *Error
		if !errors.As(err, &e) || *e != want {
			t.Errorf("%.80s: %v, want %v", more, err, want)
		}
	}
	if body := completeAlert(`,"x":` + strings.Repeat("[", maxDepth-2) + strings.Repeat("]", maxDepth-2)); parseOne(t, body) == nil {
		t.Error("the depth that is allowed is not")
	}
	for cut := range completeAlert(``) {
		_, err := ParseAlerts([]byte(completeAlert(``)[:cut]), testNow)
		want := "unexpected EOF"
		if cut == 0 {
			want = "EOF"
		}
		if err == nil || err.Error() != want {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func TestAlertScopes(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"ip": "Ip", "IP": "Ip", "rANGE": "Range", "as": "AS", "COUNTRY": "Country", "Session": "Session", "": "", " ip": " ip",
	} {
		a := parseOne(t, completeAlert(fmt.Sprintf(`,"source":{"scope":%q},"decisions":[%s,%[2]s]`, sent,
			fmt.Sprintf(`{"duration":"4h","origin":"o","scenario":"s","scope":%q,"type":"ban","value":"v"}`, sent))))
		if a.Source.Scope != want || a.Decisions[0].Scope != want || a.Decisions[1].Scope != want {
			t.Errorf("%q: source %q, decisions %+v", sent, a.Source.Scope, a.Decisions)
		}
	}
}

func TestAlertTimes(t *testing.T) {
	t.Parallel()
	now := engine.StampOf(testNow)
	at := func(year int, offset int16) engine.Stamp {
		return engine.Stamp{At: time.Date(year, 7, 1, 10, 0, 0, 0, time.UTC).UnixNano(), Offset: offset}
	}
	for text, want := range map[string]engine.Stamp{
		"2026-07-01T10:00:00Z": at(2026, 0), "2026-07-01T15:30:00+05:30": at(2026, 330), "2026-07-01T10:00:00.5Z": now,
		"2026-07-01 10:00:00": now, "": now, "tomorrow": now, "2026-07-01T10:00:00": now, "2026-13-01T10:00:00Z": now,
		"0001-01-01T00:00:00Z": engine.StampOf(time.Time{}), "9999-12-31T23:59:59Z": engine.StampOf(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)),
	} {
		a := parseOne(t, completeAlert(fmt.Sprintf(`,"start_at":%q,"stop_at":%[1]q,"events":[{"timestamp":%[1]q,"meta":[]}]`, text)))
		if a.StartAt != want || a.StopAt != want || a.Events[0].Timestamp != want {
			t.Errorf("%s: %v %v %v, want %v", text, a.StartAt, a.StopAt, a.Events[0].Timestamp, want)
		}
		if a.StartText != text || a.StopText != text || a.Events[0].Text != text {
			t.Errorf("%s: texts %q %q %q", text, a.StartText, a.StopText, a.Events[0].Text)
		}
	}
}

// TestMetaLimits cuts what is too long, in events and in alerts.
func TestMetaLimits(t *testing.T) {
	t.Parallel()
	entry := func(key, value string) string { return fmt.Sprintf(`{"key":%q,"value":%q}`, key, value) }
	long := func(n int) string { return strings.Repeat("a", n) }
	fits := mostEventMeta - len(`[{"key":"k","value":""}]`)
	for name, c := range map[string]struct {
		list string
		want []engine.Meta // nil: dropped
	}{
		"just fits":      {entry("k", long(fits)), []engine.Meta{{Key: "k", Value: long(fits)}}},
		"one too many":   {entry("k", long(fits+1)), []engine.Meta{{Key: "k", Value: long(2048) + stripped}}},
		"escapes count":  {entry("k", strings.Repeat("<", 1400)), []engine.Meta{{Key: "k", Value: strings.Repeat("<", 512) + stripped}}},
		"the long first": {entry("a", long(5000)) + "," + entry("b", long(4096)), []engine.Meta{{Key: "a", Value: long(2048) + stripped}, {Key: "b", Value: long(4096)}}},
		"a cut letter":   {entry("k", "a"+strings.Repeat("é", 5000)), []engine.Meta{{Key: "k", Value: "a" + strings.Repeat("é", 1023) + "\ufffd" + stripped}}},
		"key too long":   {entry(long(8192), "v"), nil},
		"too many":       {strings.Repeat(`{},`, 2730) + `{}`, nil},
		"many":           {strings.Repeat(`{},`, 2729) + `{}`, make([]engine.Meta, 2730)},
		"none":           {``, nil},
	} {
		e := parseOne(t, completeAlert(`,"events":[{"timestamp":"","meta":[`+c.list+`]}]`)).Events[0]
		if !reflect.DeepEqual(e.Meta, c.want) || e.NoMeta != (c.want == nil && c.list != "") {
			t.Errorf("%s: dropped %v, %d entries: %.200v", name, e.NoMeta, len(e.Meta), e.Meta)
		}
	}
	a := parseOne(t, completeAlert(`,"meta":[`+entry(long(254)+"éz", long(4094)+"日z")+`,{}]`))
	want := []engine.Meta{{Key: long(254) + "\ufffd", Value: long(4094) + "\ufffd"}, {}}
	if !reflect.DeepEqual(a.Meta, want) {
		t.Errorf("alert meta: %q", a.Meta)
	}
}

// TestAlertsAreCopies reads a body, ruins it, and reads the alerts.
func TestAlertsAreCopies(t *testing.T) {
	t.Parallel()
	body := []byte(completeAlert(`,"labels":["l","` + strings.Repeat("x", textPiece) + `"],"meta":[{"key":"k","value":"v"}],` +
		`"events":[{"timestamp":"t","meta":[{"key":"a","value":"b"}]},{"timestamp":"t","meta":[{"key":"a","value":"c"}]}],` +
		`"decisions":[{"duration":"4h","origin":"o","scenario":"s","scope":"other","type":"ban","value":"v"}]`))
	got, err := ParseAlerts(body, testNow)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := slowParseAlerts(bytes.Clone(body), testNow)
	for i := range body {
		body[i] = '!'
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got[0], want[0])
	}
}

// TestAlertMemory holds that no body costs more than a small multiple of
// itself, garbage included.
func TestAlertMemory(t *testing.T) {
	const size = 1 << 20
	fill := func(head, unit, tail string) string {
		return head + strings.Repeat(unit+",", size/len(unit)) + unit + tail
	}
	decision := `{"duration":"4h","origin":"o","scenario":"s","scope":"ip","type":"ban","value":"192.0.2.7"}`
	event := `{"timestamp":"","meta":[]}`
	before := completeAlert(``)
	before = before[:len(before)-2]
	for name, c := range map[string]struct {
		body string
		most int // times the body
	}{
		"empty alerts":      {fill(`[`, `{}`, `]`), 1},
		"alerts":            {fill(`[`, strings.Trim(completeAlert(``), "[]"), `]`), 8},
		"empty decisions":   {fill(`[{"decisions":[`, `{}`, `]}]`), 1},
		"decisions":         {fill(before+`,"decisions":[`, decision, `]}]`), 6},
		"empty events":      {fill(`[{"events":[`, `{}`, `]}]`), 1},
		"events":            {fill(before+`,"events":[`, event, `]}]`), 16},
		"empty meta":        {fill(before+`,"meta":[`, `{}`, `]}]`), 50},
		"empty event meta":  {fill(before+`,"events":[{"timestamp":"","meta":[`, `{}`, `]}]}]`), 2},
		"labels":            {fill(before+`,"labels":[`, `""`, `]}]`), 30},
		"escapes":           {fill(before+`,"message":"`, `\n`, `"}]`), 6},
		"not UTF-8":         {fill(before+`,"message":"`, "\xff", `"}]`), 14},
		"unknown":           {fill(before+`,"x":[`, `{"a":[]}`, `]}]`), 1},
		"same field, again": {fill(before+`,"x":1,`, `"message":"abcdefgh"`, `}]`), 2},
	} {
		body := []byte(c.body)
		var from, to runtime.MemStats
		runtime.ReadMemStats(&from)
		_, err := ParseAlerts(body, testNow)
		runtime.ReadMemStats(&to)
		if times := float64(to.TotalAlloc-from.TotalAlloc) / float64(len(body)); times > float64(c.most) {
			t.Errorf("%s: %.1f times the body, error %v", name, times, err)
		} else {
			t.Logf("%s: %.1f times the body", name, times)
		}
	}
}
