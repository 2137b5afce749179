package console

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// attacked is a bench with alerts of two machines and a pulled list.
func attacked(t *testing.T) *bench {
	b := newBench(t, nil)
	for _, id := range []string{"web1", "web2"} {
		if err := b.rig.AddMachine(t.Context(), &engine.Machine{ID: id}, false); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		now := b.rig.Now()
		value, origin, country := fmt.Sprintf("192.0.2.%d", i/2), "crowdsec", []string{"FR", "DE"}[i%2]
		if i%10 == 9 {
			origin = engine.OriginCAPI
		}
		a := &engine.Alert{Scenario: fmt.Sprintf("crowdsecurity/s%d", i%3), Message: fmt.Sprintf("message %d", i), StartAt: engine.StampOf(now), StopAt: engine.StampOf(now), Simulated: i == 7,
			Source: engine.Source{Scope: engine.ScopeIP, Value: value, Cn: country, AsNumber: "64500", AsName: "Example"}}
		a.Decisions = []engine.NewDecision{{Duration: fmt.Sprintf("%dh", 1+i), Scope: engine.ScopeIP, Value: value, Type: "ban", Origin: origin, Scenario: a.Scenario}}
		if _, err := b.rig.AddAlerts(t.Context(), []string{"web1", "web2"}[i/20], []*engine.Alert{a}, now.UnixNano()); err != nil {
			t.Fatal(err)
		}
		b.rig.Step(time.Minute)
	}
	return b
}

// listed asks for a list and gives its ids.
func (b *bench) listed(path string, query url.Values) (ids []int, out map[string]any) {
	b.t.Helper()
	out = b.is(200, "GET", path+"?"+query.Encode(), "")
	for _, item := range out["items"].([]any) {
		ids = append(ids, int(item.(map[string]any)["id"].(float64)))
	}
	return ids, out
}

// What a search or filters by name let through is the same, on pages that lead to one another.
func TestBrowse(t *testing.T) {
	t.Parallel()
	b := attacked(t)
	for query, want := range map[string]int{
		"": 30, "community=false": 27, "q=community:no": 27, "origin=CAPI": 3, "q=-origin:capi": 27, "country=FR": 15, "q=country:fr+machine:web2": 5, "machine=web1": 20,
		"as=64500": 30, "q=as:example": 30, "simulated=true": 1, "q=simulated:no": 29, "ip=192.0.2.3": 2, "range=192.0.2.0/30": 8, "q=192.0.2.0/30": 8, "q=-192.0.2.0/30": 22,
		"alert=5": 1, "q=-alert:5": 29, "since=10m": 10, "until=10m": 21, "q=since:10m+until:5m": 6, "q=s1": 10, "q=WEB2": 10, "q=-web2": 20, "q=%22192.0.2.1%22+-s1": 9, "scenario=crowdsecurity/s1": 10,
		"scenario=*s1": 10, "value=192.0.2.3": 2, "state=all": 30, "state=ended": 0, "q=state:ended": 0, "type=captcha": 0, "scope=ip&type=ban": 30, "grouped=true": 15,
	} {
		values, _ := url.ParseQuery(query)
		values.Set("limit", "4")
		var all []int
		ids, out := b.listed("/admin/v1/decisions", values)
		if total := out["total"].(float64); int(total) != want {
			t.Errorf("%s: %v in all, want %d", query, total, want)
		}
		for all = ids; out["next"] != nil; all = append(all, ids...) {
			values.Set("cursor", out["next"].(string))
			if ids, out = b.listed("/admin/v1/decisions", values); len(ids) == 0 || out["previous"] == nil {
				t.Errorf("%s: a page is empty, or leads nowhere", query)
			}
		}
		if slices.Reverse(all); len(all) != want || !slices.IsSorted(all) {
			t.Errorf("%s: %v is listed, want %d", query, all, want)
		}
	}
	for query, want := range map[string]int{
		"": 27, "community=true": 30, "origin=CAPI": 3, "decision_type=ban": 27, "type=ban&community=true": 30, "kind=x": 0, "active=true": 27, "hide_simulated=true": 26, "ip=192.0.2.3": 2,
		"ip=192.0.2.0/30&contains_only=true": 8, "q=message": 27, "q=%22message+12%22": 1, "q=-message": 0, "since=10m": 9, "alert=10": 1, "machine=web2&country=DE": 4, "batch=none": 0, "list=none": 0, "value=192.0.2.3": 2,
	} {
		values, _ := url.ParseQuery(query)
		ids, out := b.listed("/admin/v1/alerts", values)
		if total := out["total"].(float64); int(total) != want || len(ids) != want {
			t.Errorf("alerts, %s: %v, %v in all, want %d", query, ids, total, want)
		}
	}
}

// Facets count what could be chosen instead; a row stands for its target.
func TestBrowseFacets(t *testing.T) {
	t.Parallel()
	b := attacked(t)
	for _, path := range []string{"/admin/v1/decisions", "/admin/v1/alerts"} {
		_, out := b.listed(path, url.Values{"q": {"country:DE machine:web1"}, "facets": {"country,machine,as,scenario"}, "facet_limit": {"1"}, "community": {"true"}})
		got := fmt.Sprint(out["facets"])
		want := "[map[field:country more:0 values:[map[count:10 value:DE]]] map[field:machine more:1 values:[map[count:10 value:web1]]]" +
			" map[field:as more:0 values:[map[count:10 label:Example value:64500]]] map[field:scenario more:2 values:[map[count:4 value:crowdsecurity/s1]]]]"
		if want = strings.Replace(want, "field:country more:0", "field:country more:1", 1); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	_, out := b.listed("/admin/v1/decisions", url.Values{"grouped": {"true"}, "sort": {"value"}, "limit": {"1"}})
	first := out["items"].([]any)[0].(map[string]any)
	if first["count"] != 2.0 || first["id"] != 2.0 || first["country"] != "DE" || first["machine"] != "web1" || first["as_name"] != "Example" || out["total"] != 15.0 || out["matches"] != 30.0 {
		t.Errorf("grouped: %v of %v", first, out)
	}
}

// Sorted lists have the highest first with -, and last=true is their end.
func TestBrowseOrder(t *testing.T) {
	t.Parallel()
	b := attacked(t)
	for _, sort := range []string{"id", "started", "until", "value", "scope", "origin", "type", "scenario", "country", "as", "machine"} {
		up, _ := b.listed("/admin/v1/decisions", url.Values{"sort": {sort}})
		down, _ := b.listed("/admin/v1/decisions", url.Values{"sort": {"-" + sort}})
		end, out := b.listed("/admin/v1/decisions", url.Values{"sort": {sort}, "last": {"true"}, "limit": {"7"}})
		if slices.Reverse(down); len(up) != 30 || !slices.Equal(up, down) || !slices.Equal(end, up[23:]) || out["next"] != nil {
			t.Errorf("%s: %v, the other way %v, at the end %v", sort, up, down, end)
		}
	}
	for _, sort := range []string{"id", "started", "value", "scope", "scenario", "country", "as", "machine", "decisions"} {
		up, _ := b.listed("/admin/v1/alerts", url.Values{"sort": {sort}})
		down, _ := b.listed("/admin/v1/alerts", url.Values{"sort": {"-" + sort}})
		if slices.Reverse(down); len(up) != 27 || !slices.Equal(up, down) {
			t.Errorf("alerts by %s: %v, the other way %v", sort, up, down)
		}
	}
}

// What cannot be asked is told by name, and where.
func TestBrowseFaults(t *testing.T) {
	t.Parallel()
	b := attacked(t)
	for query, want := range map[string]string{
		"q=ssh+color:red": "position 5", "q=%22": "does not end", "sort=size": "sort is", "sort=decisions": "no such order", "facets=size": "facets are", "facets=as,as": "each once", "facet_limit=0": "facet_limit",
		"cursor=AAAA": "cursor", "cursor=" + strings.Repeat("A", 10_000): "cursor", "alert=x": "alert is", "simulated=maybe": "simulated is", "since=soon": "since:", "ip=x": "", "range=x": "",
		"q=origin:a&origin=b": "origin is asked for twice", "q=state:all&state=ended": "state is asked for twice", "community=x": "community", "last=true&cursor=x": "cursor", "grouped=x": "grouped",
		"q=simulated:yes&simulated=false": "differs",
	} {
		out := b.is(400, "GET", "/admin/v1/decisions?"+query, "")
		if detail, _ := out["detail"].(string); !strings.Contains(detail, want) {
			t.Errorf("%.50s: %v, want %q", query, out, want)
		}
	}
	b.is(400, "GET", "/admin/v1/alerts?sort=until", "")
	b.is(400, "GET", "/admin/v1/alerts?type=ban&decision_type=captcha", "")
	_, out := b.listed("/admin/v1/decisions", url.Values{"limit": {"2"}})
	next := out["next"].(string)
	for _, other := range []string{"origin=CAPI", "sort=value", "grouped=true"} {
		if out := b.is(400, "GET", "/admin/v1/decisions?"+other+"&cursor="+next, ""); !strings.Contains(fmt.Sprint(out["detail"]), "other filters") {
			t.Errorf("%s: %v", other, out)
		}
	}
	b.is(400, "GET", "/admin/v1/alerts?cursor="+next, "")
	if out := newBench(t, nil).is(410, "GET", "/admin/v1/decisions?cursor="+next, ""); !strings.Contains(fmt.Sprint(out["detail"]), "begin anew") {
		t.Errorf("a cursor of a revision that is not there: %v", out)
	}
}

// A list that is under way stays as it was, whatever is added to it or ends, also where its moments are relative.
func TestBrowseStays(t *testing.T) {
	t.Parallel()
	b := attacked(t)
	query := url.Values{"limit": {"10"}, "q": {"since:2h"}}
	all, out := b.listed("/admin/v1/decisions", query)
	for out["next"] != nil {
		b.is(201, "POST", "/admin/v1/decisions", `{"value":"198.51.100.1"}`)
		b.is(200, "DELETE", fmt.Sprintf("/admin/v1/decisions/%d", all[len(all)-1]-1), "")
		b.rig.Advance(20 * time.Minute)
		query.Set("cursor", out["next"].(string))
		var ids []int
		ids, out = b.listed("/admin/v1/decisions", query)
		all = append(all, ids...)
	}
	if slices.Reverse(all); len(all) != 30 || all[0] != 1 || all[29] != 30 {
		t.Errorf("the list is %v", all)
	}
}
