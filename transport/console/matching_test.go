package console

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"lapid/engine"
)

// What a list has ends, or is deleted, by any filter; what came since is told and stays.
func TestListedIsWhatWasShown(t *testing.T) {
	t.Parallel()
	b := attacked(t)
	for _, c := range []struct {
		path, listed, query string
		count, newer        int
	}{
		{"/admin/v1/decisions", "listed=true&", "q=country:fr+machine:web2", 5, 0},
		{"/admin/v1/decisions", "listed=true&", "range=198.51.100.0/24", 0, 1},
		{"/admin/v1/alerts", "", "q=s1&machine=web1", 6, 0},
		{"/admin/v1/alerts", "", "value=198.51.100.1", 1, 1},
	} {
		target := c.path + "?" + c.listed + c.query
		dry := b.is(200, "DELETE", target+"&dry_run=true", "")
		again := b.is(200, "DELETE", target+"&dry_run=true", "")
		value := []string{"198.18.0.1", "198.51.100.1"}[c.newer]
		b.is(201, "POST", "/admin/v1/decisions", `{"value":"`+value+`","reason":"since"}`)
		out := b.is(200, "DELETE", target+"&as_of="+dry["as_of"].(string), "")
		if dry["count"] != float64(c.count) || again["count"] != dry["count"] || out["count"] != dry["count"] || out["newer"] != float64(c.newer) || out["dry_run"] != nil {
			t.Errorf("%s: %v, then %v: want %d, and %d newer", target, dry, out, c.count, c.newer)
		}
		if left := b.is(200, "DELETE", target+"&dry_run=true", ""); left["count"] != float64(c.newer) {
			t.Errorf("%s: left are %v, want %d", target, left, c.newer)
		}
	}
	for target, want := range map[string]string{
		"decisions?listed=true": "one parameter", "decisions?listed=true&state=ended": "one parameter", "decisions?listed=true&q=x&state=all": "decisions that run", "decisions?listed=true&limit=1&q=x": "limit",
		"alerts": "one parameter", "alerts?q=x&all=true": "one parameter", "alerts?nonsense=x": "nonsense", "decisions?listed=true&q=x&as_of=1": "as_of", "alerts?q=x&as_of=-1.1": "as_of", "alerts?q=nonsense:x": "search",
	} {
		if out := b.is(400, "DELETE", "/admin/v1/"+target, ""); !strings.Contains(fmt.Sprint(out["detail"]), want) {
			t.Errorf("%s: %v, want %q", target, out, want)
		}
	}
	if out := b.is(200, "DELETE", "/admin/v1/alerts?all=true", ""); out["count"].(float64) < 15 {
		t.Errorf("all: %v", out)
	}
}

// hiddenFields are those of the form of a page, and what more is sent.
func hiddenFields(page string, more ...string) (fields []string) {
	form := page[strings.Index(page, `class="card stack"`):]
	for _, m := range regexp.MustCompile(`type="hidden" name="([a-z_]+)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) {
		fields = append(fields, m[1], html.UnescapeString(m[2]))
	}
	return append(fields, more...)
}

// A page asks before all that match end: it names number, filter and some of them, and what is many, or all there is, is
// typed. It works without scripts.
func TestAllThatMatch(t *testing.T) {
	t.Parallel()
	b := attacked(t)
	v := b.visitor().enter(operator)
	link := regexp.MustCompile(`href="(/decisions/end-matching\?[^"]*)"`).FindStringSubmatch(v.get("/decisions?country=FR"))
	if link == nil {
		t.Fatal("no link")
	}
	page := v.get(html.UnescapeString(link[1]))
	has(t, "the question", page, "15 decisions match", "<dt>country</dt><dd>FR</dd>", "<dt>without</dt>", "192.0.2.", "End all 15", "/decisions/export?")
	if strings.Contains(page, `name="typed"`) || strings.Count(page, `class="mono"`) != matchingExamples {
		t.Errorf("it asks for too much, or names too many: %s", page)
	}
	v.send("/decisions/end", "id", "1")
	now := b.rig.Now()
	a := &engine.Alert{Scenario: "later", StartAt: engine.StampOf(now), StopAt: engine.StampOf(now), Source: engine.Source{Scope: "Ip", Value: "203.0.113.1", Cn: "FR"}}
	a.Decisions = []engine.NewDecision{{Duration: "4h", Scope: "Ip", Value: "203.0.113.1", Type: "ban", Origin: "crowdsec", Scenario: "later"}}
	if _, err := b.rig.AddAlerts(t.Context(), "", []*engine.Alert{a}, now.UnixNano()); err != nil {
		t.Fatal(err)
	}
	has(t, "the end", v.send("/decisions/end-matching", hiddenFields(page)...), "14 decisions have ended, as revision", "1 of those that you were shown", "1 that match came after", "203.0.113.1", ">Undo<")
	has(t, "nothing", v.get("/decisions/end-matching?country=XX"), "0 decisions match")

	for _, name := range notOfFilter { // a link does nothing
		for _, path := range []string{"/decisions/end-matching", "/alerts/delete-matching"} {
			has(t, name, v.read(http.MethodGet, path+"?country=DE&"+name+"=false", nil, 400), "there is no parameter")
			v.read(http.MethodPost, path, form([]string{"filter", "country=DE&" + name + "=true", "count", "1", "as_of", "1.1"}), 400)
		}
	}
	page = v.get("/alerts/delete-matching")
	has(t, "all alerts", page, "no filter narrows them", `name="typed"`, "Delete all 28")
	for _, typed := range []string{"", "27", "all"} {
		has(t, typed, v.read(http.MethodPost, "/alerts/delete-matching", form(hiddenFields(page, "typed", typed)), 400), "type that number")
	}
	has(t, "their end", v.send("/alerts/delete-matching", hiddenFields(page, "typed", "2 8")...), "28 alerts are deleted")
	v.read(http.MethodPost, "/alerts/delete-matching", form([]string{"filter", "q=x", "as_of", "x", "count", "0"}), 400)
	for _, fields := range [][]string{nil, {"filter", "%"}, {"filter", "q=x", "count", "1"}, {"filter", "q=x", "count", "-", "as_of", "1.1"}, {"filter", "q=x&limit=1", "count", "1", "as_of", "1.1"}} {
		v.read(http.MethodPost, "/decisions/end-matching", form(fields), 400)
	}
	many := &engine.Alert{Scenario: "many", StartAt: engine.StampOf(now), StopAt: engine.StampOf(now), Source: engine.Source{Scope: "Ip", Value: "203.0.113.1"}}
	for i := range typedAbove + 1 {
		many.Decisions = append(many.Decisions, engine.NewDecision{Duration: "4h", Scope: "Ip", Value: fmt.Sprintf("10.1.%d.%d", i/256, i%256), Type: "ban", Origin: "crowdsec", Scenario: "many"})
	}
	if _, err := b.rig.AddAlerts(t.Context(), "", []*engine.Alert{many}, now.UnixNano()); err != nil {
		t.Fatal(err)
	}
	page = v.get("/decisions/end-matching?scenario=many")
	has(t, "more than a thousand", page, "1001 decisions match.", `name="typed"`)
	v.read(http.MethodPost, "/decisions/end-matching", form(hiddenFields(page)), 400)
	has(t, "their end", v.send("/decisions/end-matching", hiddenFields(page, "typed", "1,001")...), "1001 decisions have ended")
	for _, text := range hostile {
		query := url.Values{"scenario": {text}}.Encode()
		if page := v.get("/decisions/end-matching?" + query); strings.Contains(page, "<script>window") || strings.Contains(page, "<img") {
			t.Errorf("%q is more than text", text)
		}
	}
}
