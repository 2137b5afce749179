package wire

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

func word(text string) engine.Word { return engine.Word{Given: true, Text: text} }

func list(texts ...string) engine.Words { return engine.Words{Given: true, List: texts} }

// asked is a question with the defaults of its endpoint and a change.
func asked(change func(*engine.Query)) *engine.Query {
	q := &engine.Query{}
	q.Reset()
	q.Now = testNow.UnixNano()
	if change != nil {
		change(q)
	}
	return q
}

type queryCase struct {
	raw    string
	change func(*engine.Query) // of the defaults
	err    string
}

func TestParseQuery(t *testing.T) {
	t.Parallel()
	ip := func(v string) func(*engine.Query) {
		return func(q *engine.Query) { q.Address = netip.MustParsePrefix(v) }
	}
	defaults := func(change func(*engine.Query)) *engine.Query {
		q := asked(change)
		q.Entries = true
		return q
	}
	testQueries(t, ParseQuery, defaults, []queryCase{
		{"", nil, ""},
		{"ip=192.0.2.7", ip("192.0.2.7/32"), ""},
		{"range=192.0.2.7/24", ip("192.0.2.0/24"), ""},
		{"ip=2001:DB8::7", ip("2001:db8::7/128"), ""},
		{"ip=2001%3Adb8%3a%3A7", ip("2001:db8::7/128"), ""},
		{"ip=::ffff:192.0.2.7", ip("192.0.2.7/32"), ""},
		{"ip=192.0.2.7&ip=zz", ip("192.0.2.7/32"), ""},
		{"ip=192.0.2.7&range=192.0.2.0/24", ip("192.0.2.7/32"), ""},
		{"i%70=192.0.2.7", ip("192.0.2.7/32"), ""},
		{"ip=%zz&ip=192.0.2.7", ip("192.0.2.7/32"), ""},
		{"ip=zz;&ip=192.0.2.7&&", ip("192.0.2.7/32"), ""},
		{"IP=zz&banned=true&origin=x&scenario=x&uuid=x&startup=true&dedup=false", nil, ""},
		{"contains=false", func(q *engine.Query) { q.Inside = true }, ""},
		{"contains=T", nil, ""},
		{"contains=0&contains=x", func(q *engine.Query) { q.Inside = true }, ""},
		{"scopes=ip,RANGE,As,cOUNTRY,Session,+ip", func(q *engine.Query) {
			q.Scopes = list("Ip", "Range", "AS", "Country", "Session", " ip")
		}, ""},
		{"scope=ip&scopes=", func(q *engine.Query) { q.Scope, q.Scopes = list("Ip"), list("") }, ""},
		{"value=a+b%2Bc&type", func(q *engine.Query) { q.Value, q.Type = word("a b+c"), word("") }, ""},
		{"origins=CAPI,lists", func(q *engine.Query) { q.Origins = list("CAPI", "lists") }, ""},
		{"origins=", func(q *engine.Query) { q.Origins = list("") }, ""},
		{"scenarios_containing=ssh,&scenarios_not_containing=x", func(q *engine.Query) {
			q.Containing, q.NotContaining = list("ssh", ""), list("x")
		}, ""},
		{"simulated=false", nil, ""},
		{"simulated=", func(q *engine.Query) { q.Simulated = true }, ""},
		{"simulated=False", func(q *engine.Query) { q.Simulated = true }, ""},
		{"limit=0", func(q *engine.Query) { q.Limit = 0 }, ""},
		{"limit=-7&offset=-3&id_gt=-1", func(q *engine.Query) { q.HasAfterID = true }, ""},
		{"limit=%2B10&offset=3&id_gt=99", func(q *engine.Query) {
			q.Limit, q.Offset, q.AfterID, q.HasAfterID = 10, 3, 99, true
		}, ""},
		{"ip=", nil, "unable to convert '' to int: invalid ip address '': invalid ip address / range"},
		{"ip", nil, "unable to convert '' to int: invalid ip address '': invalid ip address / range"},
		{"ip=+192.0.2.7", nil, "unable to convert ' 192.0.2.7' to int: invalid ip address ' 192.0.2.7': invalid ip address / range"},
		{"ip=fe80::1%25eth0", nil, "unable to convert 'fe80::1%eth0' to int: invalid ip address 'fe80::1%eth0': invalid ip address / range"},
		{"range=1.2.3.4/99", nil, "unable to convert '1.2.3.4/99' to int: invalid ip range '1.2.3.4/99': invalid CIDR address: 1.2.3.4/99: invalid ip address / range"},
		{"contains=maybe", nil, `invalid contains value: strconv.ParseBool: parsing "maybe": invalid syntax: invalid filter`},
		{"contains=", nil, `invalid contains value: strconv.ParseBool: parsing "": invalid syntax: invalid filter`},
		{"limit=x", nil, `invalid limit value: strconv.Atoi: parsing "x": invalid syntax: invalid filter`},
		{"offset=", nil, `invalid offset value: strconv.Atoi: parsing "": invalid syntax: invalid filter`},
		{"id_gt=1.5", nil, `invalid id_gt value: strconv.Atoi: parsing "1.5": invalid syntax: invalid filter`},
		{"limit=99999999999999999999", nil, `invalid limit value: strconv.Atoi: parsing "99999999999999999999": value out of range: invalid filter`},
	})
}

func TestParseStreamQuery(t *testing.T) {
	t.Parallel()
	polled := func(change func(*engine.Query)) *engine.Query {
		return asked(func(q *engine.Query) {
			q.Dedup, q.Entries, q.Scopes = true, true, list("Ip", "Range")
			if change != nil {
				change(q)
			}
		})
	}
	testQueries(t, ParseStreamQuery, polled, []queryCase{
		{"", nil, ""},
		{"startup=true", func(q *engine.Query) { q.Startup = true }, ""},
		{"startup=false", nil, ""},
		{"startup=True", nil, ""},
		{"startup=1&startup=true", nil, ""},
		{"additional_pull=false&community_pull=false&startup=true", func(q *engine.Query) { q.Startup = true }, ""},
		{"dedup=false", func(q *engine.Query) { q.Dedup = false }, ""},
		{"dedup=0", nil, ""},
		{"scopes=ip,country", func(q *engine.Query) { q.Scopes = list("Ip", "Country") }, ""},
		{"scopes=", func(q *engine.Query) { q.Scopes = list("") }, ""},
		{"scope=ip,range", func(q *engine.Query) { q.Scope = list("Ip", "Range") }, ""},
		{"limit=x&id_gt=x&limit=3", nil, ""},
		{"offset=5", nil, ""},
		{"simulated=true&origins=a", func(q *engine.Query) { q.Simulated, q.Origins = true, list("a") }, ""},
		{"offset=x", nil, `invalid offset value: strconv.Atoi: parsing "x": invalid syntax: invalid filter`},
		{"contains=x", nil, `invalid contains value: strconv.ParseBool: parsing "x": invalid syntax: invalid filter`},
		{"ip=zz", nil, "unable to convert 'zz' to int: invalid ip address 'zz': invalid ip address / range"},
	})
}

func TestParseDeletion(t *testing.T) {
	t.Parallel()
	ended := func(change func(*engine.Query)) *engine.Query {
		return asked(func(q *engine.Query) {
			q.Simulated = true
			if change != nil {
				change(q)
			}
		})
	}
	testQueries(t, ParseDeletion, ended, []queryCase{
		{"", nil, ""},
		{"range=192.0.2.0/24&contains=false", func(q *engine.Query) {
			q.Address, q.Inside = netip.MustParsePrefix("192.0.2.0/24"), true
		}, ""},
		{"scopes=Ip,session", func(q *engine.Query) { q.Scopes = list("Ip,session") }, ""},
		{"scopes=ip", func(q *engine.Query) { q.Scopes = list("ip") }, ""},
		{"scenario=a,b&origin=cscli&type=ban&value=v", func(q *engine.Query) {
			q.Scenario, q.Origin, q.Type, q.Value = word("a,b"), word("cscli"), word("ban"), word("v")
		}, ""},
		{"uuid=a&uuid=b,c", func(q *engine.Query) { q.UUIDs = list("a", "b,c") }, ""},
		{"scope=ip", nil, "'scope' doesn't exist: invalid filter"},
		{"origins=a", nil, "'origins' doesn't exist: invalid filter"},
		{"simulated=true", nil, "'simulated' doesn't exist: invalid filter"},
		{"limit=1", nil, "'limit' doesn't exist: invalid filter"},
		{"a%20b=1", nil, "'a b' doesn't exist: invalid filter"},
		{"contains=x", nil, `invalid contains value: strconv.ParseBool: parsing "x": invalid syntax: invalid filter`},
		{"ip=", nil, "unable to convert '' to int: invalid ip address '': invalid ip address / range"},
	})
}

// testQueries asks everything of one query that is used again and again, so a
// Parse that left something of the question before would be seen.
func testQueries(t *testing.T, parse func(*engine.Query, []byte) error, defaults func(func(*engine.Query)) *engine.Query, cases []queryCase) {
	t.Helper()
	reused := &engine.Query{}
	for _, c := range cases {
		reused.Now = testNow.UnixNano()
		err := parse(reused, []byte(c.raw))
		if c.err != "" {
			var e *Error
			if !errors.As(err, &e) || e.Kind != KindFilter || e.Text != c.err {
				t.Errorf("%s: error %v, want %s", c.raw, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.raw, err)
			continue
		}
		got, want := exported(*reused), exported(*defaults(c.change))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.raw, got, want)
		}
	}
}

// exported gives the fields of a query that a Parse fills, with empty lists
// made equal.
func exported(q engine.Query) map[string]any {
	fields := map[string]any{}
	v := reflect.ValueOf(q)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			value := v.Field(i).Interface()
			if w, ok := value.(engine.Words); ok && len(w.List) == 0 {
				value = engine.Words{Given: w.Given}
			}
			fields[f.Name] = value
		}
	}
	return fields
}

func TestParseAlertQuery(t *testing.T) {
	t.Parallel()
	hours := func(n int64) int64 { return testNow.UnixNano() - n*int64(time.Hour) }
	search := func(q engine.AlertQuery) engine.AlertQuery {
		q.Now = testNow.UnixNano()
		if q.Limit == 0 {
			q.Limit = 100
		}
		return q
	}
	testAlertQueries(t, ParseAlertQuery, map[string]engine.AlertQuery{
		"":                                search(engine.AlertQuery{}),
		"limit=7&sort=ASC":                search(engine.AlertQuery{Limit: 7, Ascending: true}),
		"limit=0":                         {Now: testNow.UnixNano()},
		"sort=asc":                        search(engine.AlertQuery{}),
		"scope=IP&scope=zz":               search(engine.AlertQuery{Scope: word("Ip")}),
		"scope=range":                     search(engine.AlertQuery{Scope: word("Range")}),
		"scope=as":                        search(engine.AlertQuery{Scope: word("as")}),
		"value=&scenario=a%2Fb":           search(engine.AlertQuery{Value: word(""), Scenario: word("a/b")}),
		"ip=192.0.2.7&contains=f":         search(engine.AlertQuery{Address: netip.MustParsePrefix("192.0.2.7/32"), Inside: true}),
		"range=2001%3Adb8::/32":           search(engine.AlertQuery{Address: netip.MustParsePrefix("2001:db8::/32")}),
		"since=24h0m0s&until=1d":          search(engine.AlertQuery{StartFrom: hours(24), StartUpTo: hours(24)}),
		"created_before=-2h":              search(engine.AlertQuery{CreatedUpTo: hours(-2)}),
		"since=2562047h&until=-2562047h":  search(engine.AlertQuery{StartFrom: hours(2562047), StartUpTo: engine.Later(testNow.UnixNano(), 2562047*time.Hour)}),
		"simulated=false":                 search(engine.AlertQuery{HideSimulated: true}),
		"simulated=true":                  search(engine.AlertQuery{}),
		"has_active_decision=1":           search(engine.AlertQuery{Activity: engine.HasRunning}),
		"has_active_decision=FALSE":       search(engine.AlertQuery{Activity: engine.HasNone}),
		"decision_type=ban&kind=":         search(engine.AlertQuery{DecisionType: word("ban"), Kind: word("")}),
		"include_capi=false":              search(engine.AlertQuery{HideCommunity: true}),
		"include_capi=0":                  search(engine.AlertQuery{}),
		"include_capi=false&origin=a,b":   search(engine.AlertQuery{Origin: word("a,b")}),
		"origin=CAPI&include_capi=false":  search(engine.AlertQuery{Origin: word("CAPI")}),
		"with_decisions=false":            search(engine.AlertQuery{WithoutDecisions: true}),
		"with_decisions=no":               search(engine.AlertQuery{}),
		"since=%zz&;&value=x;&scenario=s": search(engine.AlertQuery{Scenario: word("s")}),
	}, map[string]Error{
		"test=a":                {KindFilter, "filter parameter 'test' is unknown (=a): invalid filter"},
		"Scope=ip":              {KindFilter, "filter parameter 'Scope' is unknown (=ip): invalid filter"},
		"alert_source=x":        {KindFilter, "filter parameter 'alert_source' is unknown (=x): invalid filter"},
		"ip=gruueq":             {KindFilter, "invalid ip address 'gruueq'"},
		"range=1.2.3.0/33":      {KindFilter, "invalid ip range '1.2.3.0/33': invalid CIDR address: 1.2.3.0/33"},
		"contains=x":            {KindFilter, `invalid contains value: strconv.ParseBool: parsing "x": invalid syntax: invalid filter`},
		"since=1zuzu":           {KindFilter, `while parsing duration: time: unknown unit "zuzu" in duration "1zuzu"`},
		"until=x":               {KindFilter, `while parsing duration: time: invalid duration "x"`},
		"created_before=":       {KindFilter, `while parsing duration: empty duration string`},
		"has_active_decision=x": {KindFilter, `'x' is not a boolean: strconv.ParseBool: parsing "x": invalid syntax: unable to parse type`},
		"limit=x":               {KindFilter, "bad limit in parameters: [x]: unable to query"},
		"limit=-1":              {KindSyntax, "bad limit in parameters: [-1]: unable to query"},
	})
}

func TestParseAlertDeletion(t *testing.T) {
	t.Parallel()
	all := func(q engine.AlertQuery) engine.AlertQuery {
		q.Now = testNow.UnixNano()
		return q
	}
	testAlertQueries(t, ParseAlertDeletion, map[string]engine.AlertQuery{
		"":                         all(engine.AlertQuery{}),
		"limit=0&sort=ASC":         all(engine.AlertQuery{}),
		"limit=x":                  all(engine.AlertQuery{}),
		"limit=-1&scenario=s":      all(engine.AlertQuery{Scenario: word("s")}),
		"ip=192.0.2.7&simulated=x": all(engine.AlertQuery{Address: netip.MustParsePrefix("192.0.2.7/32")}),
	}, map[string]Error{
		"alert_source=cscli": {KindFilter, "filter parameter 'alert_source' is unknown (=cscli): invalid filter"},
		"scopes=ip":          {KindFilter, "filter parameter 'scopes' is unknown (=ip): invalid filter"},
	})
}

func testAlertQueries(t *testing.T, parse func(*engine.AlertQuery, []byte) error, good map[string]engine.AlertQuery, bad map[string]Error) {
	t.Helper()
	for raw, want := range good {
		got := engine.AlertQuery{Now: testNow.UnixNano(), Ascending: true, Limit: 3, Value: word("before")}
		if err := parse(&got, []byte(raw)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: error %v\ngot  %+v\nwant %+v", raw, err, got, want)
		}
	}
	for raw, want := range bad {
		var e *Error
		if err := parse(&engine.AlertQuery{}, []byte(raw)); !errors.As(err, &e) || *e != want {
			t.Errorf("%s: error %v, want %v", raw, err, want)
		}
	}
}

func TestQueryValue(t *testing.T) {
	t.Parallel()
	raw := []byte("a=%zz&with_content=true&with_content=false&b;=1&c=x+%41&d")
	for name, want := range map[string]string{"with_content": "true", "c": "x A", "d": ""} {
		if got, given := QueryValue(raw, name); string(got) != want || !given {
			t.Errorf("%s: %q %v, want %q", name, got, given, want)
		}
	}
	for _, name := range []string{"a", "b", "b;", "With_content", ""} {
		if got, given := QueryValue(raw, name); given {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestQueriesBorrow holds the promise that a query copies nothing that did not
// have to be decoded.
func TestQueriesBorrow(t *testing.T) {
	t.Parallel()
	raw := []byte("value=abc&origins=a%2Cb,c")
	q := asked(nil)
	if err := ParseQuery(q, raw); err != nil {
		t.Fatal(err)
	}
	copy(raw, strings.ToUpper(string(raw)))
	if q.Value.Text != "ABC" || !reflect.DeepEqual(q.Origins, list("a", "b", "c")) {
		t.Errorf("%+v %+v", q.Value, q.Origins)
	}
}
