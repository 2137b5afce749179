package console

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"lapid/engine"
)

// happenings are the entries of a page of the activity, in short.
func (b *bench) happenings(token string, query url.Values) (lines []string, next string) {
	b.t.Helper()
	status, text, _ := b.ask("GET", "/admin/v1/activity?"+query.Encode(), token, "")
	var out activityAnswer
	if err := json.Unmarshal([]byte(text), &out); err != nil || status != 200 {
		b.t.Fatalf("%v: %d %s", query, status, text)
	}
	for _, e := range out.Items {
		lines = append(lines, fmt.Sprintf("%s %s by %s %s", e.What, e.Target, e.ActorKind, e.Actor))
	}
	return lines, out.Next
}

// The activity has alerts, decisions and what the audit tells, each once, however it is cut into pages; who decided by hand
// is named to those who may see the audit.
func TestActivity(t *testing.T) {
	t.Parallel()
	b := newAudited(t)
	b.is(201, "POST", "/admin/v1/allowlists", `{"name":"office"}`)
	for i := range 3 {
		b.is(201, "POST", "/admin/v1/decisions", fmt.Sprintf(`{"value":"192.0.2.%d"}`, i+1))
	}
	b.is(201, "POST", "/admin/v1/decisions/import", `{"batch":"x","items":[{"value":"203.0.113.1"},{"value":"203.0.113.2"}]}`)
	b.is(200, "DELETE", "/admin/v1/decisions/2", "")
	b.is(201, "POST", "/admin/v1/bouncers", `{"name":"edge-fw"}`)
	whole, next := b.happenings(b.tokens[admins], url.Values{"limit": {"500"}})
	if next != "" {
		t.Errorf("there is more: %s", next)
	}
	for _, want := range []string{"bouncer.add edge-fw by named-operator alice", "decision.ended Ip:192.0.2.2 by named-operator alice", "decision.begun Ip:192.0.2.1 by named-operator alice",
		"alert.raised Ip:192.0.2.1 by named-operator alice", "allowlist.create office by named-operator alice"} {
		if n := len(slices.DeleteFunc(slices.Clone(whole), func(line string) bool { return line != want })); n != 1 {
			t.Errorf("%d times %q in %q", n, want, whole)
		}
	}
	if whole[0] != "bouncer.add edge-fw by named-operator alice" {
		t.Errorf("the newest is %q", whole[0])
	}
	for _, limit := range []string{"1", "2", "3"} {
		var pages []string
		for query := (url.Values{"limit": {limit}}); ; {
			page, next := b.happenings(b.tokens[admins], query)
			pages = append(pages, page...)
			if next == "" {
				break
			}
			query.Set("cursor", next)
		}
		for _, line := range whole { // at a page's end the name of who decided may stand alone
			if what, _, _ := strings.Cut(line, " by"); !slices.ContainsFunc(pages, func(p string) bool { return strings.HasPrefix(p, what+" ") }) {
				t.Errorf("in pages of %s %q is not there: %q", limit, line, pages)
			}
		}
	}
	for query, want := range map[string]int{"kind=bouncer": 1, "kind=bouncer,allowlist": 2, "address=192.0.2.2&kind=decision": 2, "address=198.51.100.0/24": 0, "actor=nobody": 0, "kind=alert&address=192.0.2.0/24": 3, "kind=failure": 0} {
		values, _ := url.ParseQuery(query)
		if lines, _ := b.happenings(b.tokens[admins], values); len(lines) != want {
			t.Errorf("%s: %q, want %d", query, lines, want)
		}
	}
	for _, query := range []string{"kind=x", "cursor=x", "cursor=YWN0aXZpdHk6MS4y", "address=x", "revision=0", "revision=x", "limit=501", "since=soon", "colour=red"} {
		b.is(400, "GET", "/admin/v1/activity?"+query, "")
	}
	if lines, _ := b.happenings(b.tokens[admins], url.Values{"revision": {"1"}}); slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "192.0.2") }) {
		t.Errorf("up to revision 1: %q", lines)
	}
}

// Where no audit is kept the history is told; an operator without the role of an admin sees of the audit what is his.
func TestActivityForRoles(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.is(201, "POST", "/admin/v1/decisions", `{"value":"192.0.2.7"}`)
	if lines, _ := b.happenings(b.tokens[viewer], nil); !slices.Equal(lines, []string{"decision.begun Ip:192.0.2.7 by operator ", "alert.raised Ip:192.0.2.7 by operator "}) {
		t.Errorf("without an audit: %q", lines)
	}
	kept := newAudited(t)
	e := kept.server.options.Engine
	if err := e.AddOperator(t.Context(), &engine.Operator{Name: "vera", Role: viewer}); err != nil {
		t.Fatal(err)
	}
	kept.is(201, "POST", "/admin/v1/decisions", `{"value":"192.0.2.7"}`)
	secret := kept.is(201, "POST", "/admin/v1/operators/vera/tokens", `{}`)["token"].(string)
	lines, _ := kept.happenings(secret, nil)
	if !slices.Equal(lines, []string{"decision.begun Ip:192.0.2.7 by operator ", "alert.raised Ip:192.0.2.7 by operator "}) {
		t.Errorf("a viewer sees %q", lines)
	}
}

// The page says in words what happened, and where to see more of it.
func TestActivityPage(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	v := b.visitor().enter(admins)
	for _, value := range []string{"192.0.2.7", "192.0.2.8"} {
		v.send("/decisions/add", "value", value, "type", "ban", "duration", "4h", "reason", hostile[0])
	}
	b.is(200, "DELETE", "/admin/v1/decisions?all=true", "")
	page := v.get("/activity")
	has(t, "the page", page, "2 decisions ended", "Decision added", "Alert raised", "named-operator", `href="/why?target=192.0.2.7"`, `href="/decisions/1"`, `id="pause"`)
	if strings.Contains(page, hostile[0]) {
		t.Error("what a reason says is more than text")
	}
	has(t, "a filter", v.get("/activity?kind=alert&address=192.0.2.8"), "Alert raised", "Take this filter away", `value="192.0.2.8"`)
	has(t, "no filter", v.read("GET", "/activity?address=nonsense", nil, 400), `value="nonsense"`)
	has(t, "nothing", v.get("/activity?actor=nobody"), "Nothing matches")
	has(t, "pages", v.get("/activity?limit=1"), `rel="next"`)
}

// Who has imported a list is named, whatever kinds are asked for and whoever may see that.
func TestActivityNamesImporters(t *testing.T) {
	t.Parallel()
	b := newAudited(t)
	b.is(201, "POST", "/admin/v1/decisions/import/list?batch=feed", "203.0.113.3\n203.0.113.4")
	for kinds, entries := range map[string]int{"": 2, "alert,decision": 2, "decision": 1, "alert": 1} {
		list := b.is(200, "GET", "/admin/v1/activity?limit=2&kind="+kinds, "")["items"].([]any)
		if len(list) < entries {
			t.Fatalf("kinds %q: %v", kinds, list)
		}
		for _, item := range list[:entries] {
			if e := item.(map[string]any); e["actor"] != "alice" || e["actor_kind"] != "named-operator" || e["kind"] == "operator" {
				t.Errorf("kinds %q: %v", kinds, e)
			}
		}
	}
}
