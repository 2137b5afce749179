package shadow

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// knows is what a test says was written.
type knows struct{ ownValue, endedValue, zoneValue, ownKey, endedKey string }

func (k knows) own(d *decision) bool        { return d.Value == k.ownValue }
func (k knows) endedThere(d *decision) bool { return d.Value == k.endedValue }
func (k knows) zoned(value string) bool     { return value == k.zoneValue }
func (k knows) halved(value string) bool    { return value == "half" }
func (k knows) ownAlert(key string) bool    { return k.ownKey != "" && strings.Contains(key, k.ownKey) }
func (k knows) alertEndedThere(key string) bool {
	return k.endedKey != "" && strings.Contains(key, k.endedKey)
}
func (k knows) pair(string, int64, int64) {}
func (k knows) show(Side, []alert)        {}

// found are the differences in short: their reasons, or "?" and the kind.
func found(list []difference, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var words []string
	for _, d := range list {
		if d.reason == "" {
			words = append(words, "? "+d.kind)
		} else {
			words = append(words, d.reason)
		}
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), "; ")
}

func textOf(text string) func() io.Reader {
	return func() io.Reader { return strings.NewReader(text) }
}

// ban is a decision in JSON.
func ban(value, origin, duration string) string {
	return fmt.Sprintf(`{"id":7,"duration":%q,"origin":%q,"scenario":"s","scope":"Ip","type":"ban","value":%q}`, duration, origin, value)
}

func list(of ...string) string { return "[" + strings.Join(of, ",") + "]" }

// TestCompareSets has the rules for lists of decisions.
func TestCompareSets(t *testing.T) {
	t.Parallel()
	k := knows{ownValue: "own", endedValue: "ended", zoneValue: "zone"}
	const theirsOnly, oursOnly = "? a decision that only the old server has", "? a decision that only lapid has"
	for i, c := range []struct {
		theirs, ours string
		lag          time.Duration
		q            question
		want         string
	}{
		{"null", "null", 0, question{}, ""},
		{list(ban("a", "o", "4h"), ban("b", "o", "1h")), list(ban("b", "o", "59m58.4s"), ban("a", "o", "4h0m0s")), 0, question{}, ""},
		{list(ban("a", "o", "4h")), list(ban("a", "o", "3h59m50s")), 0, question{}, "? a decision runs for another time"},
		{list(ban("a", "o", "4h")), list(ban("a", "o", "3h59m50s")), 8 * time.Second, question{}, ""},
		{list(ban("a", "o", "4h")), "null", 0, question{}, theirsOnly},
		{"null", list(ban("a", "o", "4h")), 0, question{}, oursOnly},
		{list(ban("a", "o", "4h")), list(ban("a", "p", "4h")), 0, question{}, oursOnly + "; " + theirsOnly},
		{list(ban("a", "o", "4h")), list(ban("a", "p", "4h")), 0, question{stream: true}, whyDoubles},
		{list(ban("a", "o", "1.5s")), "null", 0, question{}, whyEnding},
		{list(ban("a", "o", "8s")), "null", 7 * time.Second, question{}, whyEnding},
		{list(ban("own", "cscli", "4h")), "null", 0, question{}, whyOwn},
		{"null", list(ban("own", "cscli", "4h")), 0, question{}, oursOnly},
		{"null", list(ban("ended", "cscli", "4h")), 0, question{}, whyEndedThere},
		{list(ban("ended", "cscli", "4h")), "null", 0, question{}, theirsOnly},
		{list(ban("half", "crowdsec", "4h")), "null", 0, question{}, whyHalf},
		{list(ban("zone", "o", "4h")), "null", 0, question{}, whyZone},
		{list(ban("a", "o", "4h")), list(ban("b", "o", "4h")), 0, question{cut: true}, whyLimit},
		{list(ban("a", "o", "4h"), ban("c", "o", "4h")), list(ban("b", "o", "4h")), 0, question{cut: true}, oursOnly + "; " + theirsOnly},
		{list(ban("a", "o", "4h"), ban("a", "o", "2h")), list(ban("a", "o", "4h")), 0, question{}, ""},
		{`{"a":1}`, "null", 0, question{}, "error: the answer of the server that is theirs: " + errForm.Error()},
	} {
		if got := found(compareSets(listOf(textOf(c.theirs)), listOf(textOf(c.ours)), c.lag, 100, c.q, k)); got != c.want {
			t.Errorf("%d: %s, not %s", i, got, c.want)
		}
	}
	many := list(slices.Repeat([]string{ban("a", "o", "4h")}, 101)...)
	if got := found(compareSets(listOf(textOf(many)), listOf(textOf(many)), 0, 100, question{}, k)); !strings.Contains(got, errMany.Error()) {
		t.Errorf("too many: %s", got)
	}
}

// alertJSON is an alert of an old server; changes are pairs of what is replaced.
func alertJSON(changes ...string) string {
	return strings.NewReplacer(changes...).Replace(`{"capacity":5,"created_at":"2026-11-29T15:13:18Z","decisions":[{"duration":"3h","id":2,"origin":"crowdsec","scenario":"s","scope":"Ip","simulated":false,"type":"ban","value":"v"}],
"events":[{"meta":[{"key":"k","value":"v"},{"key":"l","value":"w"}],"timestamp":"2026-11-29 15:00:01 +0000 UTC"}],"events_count":2,"id":2,"labels":null,"leakspeed":"1s","machine_id":"m","message":"m","meta":[{"key":"a","value":"b"}],
"scenario":"s","scenario_hash":"","scenario_version":"1","simulated":false,"source":{"ip":"v","latitude":1.5,"scope":"Ip","value":"v"},"start_at":"2026-11-29 15:00:00 +0000 UTC","stop_at":"2026-11-29 15:00:10.5 +0000 UTC"}`)
}

// TestCompareAlerts has the rules for alerts.
func TestCompareAlerts(t *testing.T) {
	t.Parallel()
	k := knows{ownKey: "own", endedKey: "ended"}
	newer := alertJSON("2026-11-29 15:00:00 +0000 UTC", "2026-11-29T16:00:00+01:00", "2026-11-29 15:00:10.5 +0000 UTC", "2026-11-29T15:00:10Z", `"id":2`, `"id":9`,
		`"timestamp":"2026-11-29 15:00:01 +0000 UTC"`, `"timestamp":"2026-11-29T15:00:01.5Z"`, `15:13:18Z`, `15:13:20Z`, `"3h"`, `"2h59m58s"`,
		`[{"key":"k","value":"v"},{"key":"l","value":"w"}]`, `[{"key":"l","value":"w"},{"key":"k","value":"v"}]`, `"message":`, `"remediation":true,"uuid":"u","message":`)
	other := func(changes ...string) string { return alertJSON(append(changes, `"id":2`, `"id":3`)...) }
	for i, c := range []struct{ theirs, ours, query, want string }{
		{"null", "[]", "", ""},
		{list(alertJSON()), list(newer), "", whyOlderField},
		{alertJSON(), alertJSON(`"uuid":"u"`, ""), "", ""},
		{list(alertJSON()), list(alertJSON(`"events_count":2`, `"events_count":3`)), "", "? field events_count of an alert"},
		{list(alertJSON()), list(alertJSON(`"latitude":1.5`, `"latitude":1.6`)), "", "? field source of an alert"},
		{list(alertJSON()), list(alertJSON(`"key":"l"`, `"key":"x"`)), "", "? field events of an alert"},
		{list(alertJSON()), list(alertJSON(`"15:13:18Z"`, `"15:13:18Z"`, `15:13:18Z`, `15:14:18Z`)), "", whyLater},
		{list(alertJSON()), list(alertJSON(`"type":"ban"`, `"type":"captcha"`)), "", "? a decision of an alert that only lapid has; ? a decision of an alert that only the old server has"},
		{list(alertJSON()), list(alertJSON(`"3h"`, `"2h"`)), "", "? a decision of an alert runs for another time"},
		{list(alertJSON(`"3h"`, `"-1s"`)), list(alertJSON(`"3h"`, `"-5m"`)), "", ""},
		{list(alertJSON()), "null", "", "? an alert that only the old server has"},
		{"null", list(alertJSON()), "", "? an alert that only lapid has"},
		{list(alertJSON(), other(`"scenario":"s"`, `"scenario":"own"`)), list(alertJSON()), "", whyOwn},
		{list(alertJSON()), list(alertJSON(), other(`"scenario":"s"`, `"scenario":"ended"`)), "", whyEndedThere},
		{list(alertJSON()), list(alertJSON(), other()), "", whyAgain},
		{list(alertJSON(), other()), list(alertJSON()), "", "? an alert that only the old server has"},
		{list(alertJSON(), other(`"scenario":"s"`, `"scenario":"x"`)), list(alertJSON()), "ip=v", whySpread},
		{list(alertJSON()), list(other(`"scenario":"s"`, `"scenario":"x"`)), "limit=1", whyLimit},
		{list(alertJSON(), other(`"scenario":"s"`, `"scenario":"x"`)), list(alertJSON()), "limit=1", whyLimit},
		{list(alertJSON(), other(`"scenario":"s"`, `"scenario":"x"`)), list(alertJSON()), "limit=2", "? an alert that only the old server has"},
	} {
		q, _ := url.ParseQuery(c.query)
		if got := found(compareAlerts([]byte(c.theirs), []byte(c.ours), 0, q, k)); got != c.want {
			t.Errorf("%d: %s, not %s", i, got, c.want)
		}
	}
}

// answered is an exchange with two answers.
func answered(method, target string, theirs, ours int, theirBody, ourBody string, headers ...string) *exchange {
	x := &exchange{method: method, target: target, route: routeOf(method, target), header: http.Header{}}
	for side, status := range []int{theirs, ours} {
		body := []byte([]string{theirBody, ourBody}[side])
		x.answers[side] = answer{status: status, header: http.Header{}, body: &capture{room: &room{most: 1 << 20}, memory: 1 << 20, most: 1 << 20}}
		_, _ = x.answers[side].body.Write(body)
		if side < len(headers) {
			x.answers[side].header.Set("Content-Type", headers[side])
		}
	}
	return x
}

// keyed is an exchange of a bouncer's.
func keyed(x *exchange) *exchange {
	x.header.Set("X-Api-Key", "key")
	return x
}

// TestCompareHeads has the rules for statuses, headers and errors.
func TestCompareHeads(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		x    *exchange
		want string
	}{
		{answered("GET", "/v1/allowlists", 404, 200, "", "[]"), whyOlderRoute},
		{answered("GET", "/v1/alerts", 404, 200, "", "[]"), "? status 404 and 200"},
		{answered("POST", "/v1/usage-metrics", 404, 201, "", ""), whyOlderRoute},
		{answered("POST", "/v1/alerts", 500, 400, "", `{"message":"x"}`), whyCrash},
		{answered("POST", "/v1/alerts", 500, 201, "", `["1"]`), "? status 500 and 201"},
		{answered("GET", "/v1/decisions/stream?ip=x", 500, 200, `{"message":"y"}`, `{"new": [], "deleted": []}`), whyOlderStatus},
		{answered("POST", "/v1/watchers", 500, 422, `{"message":"y"}`, ``), whyOlderStatus},
		{answered("GET", "/v1/heartbeat", 200, 401, "", ""), "? lapid does not know a machine, its password or its token, which the old server knows: run 'lapid movein' again"},
		{keyed(answered("GET", "/v1/decisions", 200, 403, "null", "")), "? lapid does not know a key that the old server knows: run 'lapid movein' again or, if it was rotated here, give the bouncer the new one"},
		{keyed(answered("GET", "/v1/decisions", 403, 200, "", "null")), "? the old server does not know a key that lapid knows: it was made or rotated here ('lapid bouncers add', 'rotate')"},
		{answered("GET", "/v1/alerts", 401, 401, `{"message":"token is expired"}`, `{"message":"Token is not valid"}`), ""},
		{answered("GET", "/v1/alerts", 500, 500, `{"message":"Filter parameter 'x' is unknown (=1): invalid filter"}`, `{"message":"filter parameter 'x' is unknown (=1): invalid filter"}`), ""},
		{answered("GET", "/v1/alerts", 500, 500, `{"message":"a"}`, `{"message":"b"}`), "? errors of another class"},
		{answered("POST", "/v1/alerts", 400, 400, `{"message":"odd text"}`, `{"message":"unexpected EOF"}`), whyWords},
		{answered("POST", "/v1/alerts", 500, 500, `{"message":"access forbidden"}`, `{"message":"ent: alert not found"}`), "? errors of another class"},
	} {
		got, over := compareHeads(c.x)
		if !over && c.x.answers[0].status >= 400 {
			got = append(got, compareErrors(c.x.answers[0].body.head, c.x.answers[1].body.head)...)
		}
		if text := found(got, nil); text != c.want {
			t.Errorf("%d: %s, not %s", i, text, c.want)
		}
	}
}

// FuzzCompare: whatever two servers answer, the comparer says something and stands; and what is the same has no
// difference but in its form.
func FuzzCompare(f *testing.F) {
	for _, text := range []string{"null", "[]", list(ban("a", "o", "4h")), `{"new": [` + ban("a", "o", "4h") + `], "deleted": null}`, list(alertJSON()), alertJSON(), `["1","2"]`, `{"nbDeleted":"1"}`, `{"message":"x"}`, "", "{", "[[", `[{"decisions":[null,1]}]`} {
		f.Add(text, text)
		f.Add(text, "null")
	}
	f.Fuzz(func(t *testing.T, theirs, ours string) {
		for _, target := range []string{"GET /v1/decisions", "GET /v1/decisions/stream?startup=true", "GET /v1/decisions/stream", "GET /v1/alerts", "GET /v1/alerts/1", "POST /v1/alerts", "DELETE /v1/alerts", "GET /health", "POST /v1/watchers/login"} {
			method, path, _ := strings.Cut(target, " ")
			for _, status := range []int{200, 500} {
				s, err := New(&Options{Upstream: "http://127.0.0.1:1", Listen: "x", Dir: "x", Ours: func() string { return "" }, Pairs: 8, Values: 8, Tokens: 2, QueueItems: 1})
				if err != nil {
					t.Fatal(err)
				}
				s.ids = newIDs(8, IDs{})
				x := answered(method, path, status, status, theirs, ours)
				got, err := s.differences(x)
				if theirs == ours && err == nil && open(got) {
					t.Errorf("%s %q: %s", target, theirs, found(got, err))
				}
				_ = redact(theirs)
			}
		}
	})
}

// TestRedact: no secret stands in a report.
func TestRedact(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"machine_id":"m","password":"secret1"}`, `{"token" : "secret1"}`, `"password":"sec\"secret1`, "Bearer eyJhbGciOiJIUzI1NiJ9.eyJpZCI6InNlY3JldDEifQ.secret1"} {
		if got := redact(text); strings.Contains(got, "secret1") || bytes.Contains([]byte(got), []byte("eyJ")) {
			t.Errorf("%s becomes %s", text, got)
		}
	}
}
