package console

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
)

// A file has the rows of the list, all of them, whatever narrows it and in whatever format.
func TestFiles(t *testing.T) {
	t.Parallel()
	b := attacked(t)
	for path, queries := range map[string][]string{
		"/admin/v1/decisions": {"", "community=false", "q=country:fr+machine:web2", "ip=192.0.2.3", "range=192.0.2.0/30", "alert=5", "value=192.0.2.3", "state=ended", "q=since:10m+until:5m", "scenario=*s1"},
		"/admin/v1/alerts":    {"", "community=true", "decision_type=ban", "q=%22message+12%22", "kind=x", "ip=192.0.2.0/30&contains_only=true", "active=true"},
	} {
		for _, query := range queries {
			values, _ := url.ParseQuery(query)
			want, out := b.listed(path, values)
			for _, format := range []string{"csv", "json", "ndjson"} {
				status, text, head := b.ask("GET", path+"/export?"+query+"&format="+format, b.tokens[viewer], "")
				if got := idsOf(t, format, text); status != 200 || !slices.Equal(sorted(got), sorted(want)) {
					t.Errorf("%s?%s as %s: %d %v, want %v", path, query, format, status, got, want)
				}
				if rev, err := strconv.ParseFloat(head.Get("Lapid-Revision"), 64); err != nil || rev < out["revision"].(float64) || head.Get("Content-Type") != fileKinds[format] {
					t.Errorf("%s: %v", path, head)
				}
			}
		}
		status, text, head := b.ask("HEAD", path+"/export", b.tokens[viewer], "")
		if status != 200 || text != "" || head.Get("Content-Disposition") == "" {
			t.Errorf("HEAD: %d %q %v", status, text, head)
		}
		for query, want := range map[string]string{"limit=1": "limit", "sort=id": "sort", "format=xls": "format is", "cursor=x": "cursor", "q=nonsense:x": "search"} {
			if out := b.is(400, "GET", path+"/export?"+query, ""); !strings.Contains(fmt.Sprint(out["detail"]), want) {
				t.Errorf("%s: %v", query, out)
			}
		}
	}
	v := b.visitor().enter(viewer)
	has(t, "a page", v.get("/decisions?country=FR&sort=value&limit=50"), `href="/decisions/export?community=false&amp;country=FR&amp;format=csv"`)
	if got := idsOf(t, "csv", v.get("/decisions/export?community=false&country=FR&format=csv")); len(got) != 15 {
		t.Errorf("by the link of a page: %v", got)
	}
	has(t, "what cannot be asked", v.read(http.MethodGet, "/alerts/export?q=nonsense:x", nil, 400), "<title>Bad Request", "of the search")
}

func sorted(ids []int) []int { return slices.Sorted(slices.Values(ids)) }

// idsOf are the ids in a file.
func idsOf(t *testing.T, format, text string) (ids []int) {
	t.Helper()
	type row struct{ ID int }
	switch format {
	case "csv":
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil || len(rows) == 0 {
			t.Fatalf("%v of %.200q", err, text)
		}
		for _, r := range rows[1:] {
			var id int
			_, _ = fmt.Sscan(r[0], &id)
			ids = append(ids, id)
		}
	case "json":
		var rows []row
		if err := json.Unmarshal([]byte(text), &rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			ids = append(ids, r.ID)
		}
	default:
		for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
			var r row
			if err := d.Decode(&r); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// What strangers wrote is in a cell what it was, but nothing that a spreadsheet computes; and no file has a name that
// a system minds.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	texts := append([]string{"=1+1", "+1", "-1", "@x", "\t=1", "\r=1", `"=1"`, "a,\"b\"\r\nc", "=HYPERLINK(\"http://x\")", " =1"}, hostile...)
	for i, text := range texts {
		at := b.rig.Now()
		a := &engine.Alert{Scenario: text, Message: text, StartAt: engine.StampOf(at), StopAt: engine.StampOf(at), Source: engine.Source{Scope: text, Value: text, Cn: text, AsName: text, AsNumber: text}}
		a.Decisions = []engine.NewDecision{{Duration: "4h", Scope: "user", Value: fmt.Sprint(text, i), Type: "ban", Origin: "crowdsec", Scenario: text}}
		if _, err := b.rig.AddAlerts(t.Context(), "", []*engine.Alert{a}, at.UnixNano()); err != nil {
			t.Fatal(err)
		}
	}
	for _, noun := range []string{"decisions", "alerts"} {
		_, text, _ := b.ask("GET", "/admin/v1/"+noun+"/export", b.tokens[viewer], "")
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil || len(rows) != len(texts)+1 {
			t.Fatalf("%s: %d rows, %v", noun, len(rows), err)
		}
		slices.Reverse(rows[1:])
		for i, r := range rows[1:] {
			for j, cell := range r {
				if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
					t.Errorf("%s has a cell %q", noun, cell)
				}
				want := strings.ReplaceAll(texts[i], "\r\n", "\n") // as encoding/csv reads
				if name := rows[0][j]; (name == "scenario" || name == "message") && strings.TrimPrefix(cell, "'") != strings.TrimPrefix(want, "'") {
					t.Errorf("%s, %s: %q, want %q", noun, name, cell, want)
				}
			}
		}
	}
	named := regexp.MustCompile(`^attachment; filename="[A-Za-z0-9._-]+\.csv"$`)
	for _, text := range texts {
		word, _ := json.Marshal(text)
		_, _, head := b.ask("GET", "/admin/v1/decisions/export?scenario=../../x&q="+url.QueryEscape(string(word)), b.tokens[viewer], "")
		if name := head.Get("Content-Disposition"); name != "" && !named.MatchString(name) || strings.Contains(name, "..") || len(name) > 200 {
			t.Errorf("%q has the name %q", text, name)
		}
	}
}

// held is an answer to somebody who takes nothing until he is let.
type held struct {
	*httptest.ResponseRecorder
	begun, on         chan struct{} // the first piece has come; go on
	deadlines, writes int
	within            time.Duration // the longest deadline
}

func (w *held) SetWriteDeadline(at time.Time) error {
	w.deadlines++
	w.within = max(w.within, time.Until(at))
	return nil
}

func (w *held) Write(b []byte) (int, error) {
	if w.writes++; w.writes == 1 {
		close(w.begun)
		<-w.on
	}
	return w.ResponseRecorder.Write(b)
}

// asksFor begins a request as a viewer, which is under way when it returns; ended is closed behind it.
func (b *bench) asksFor(ctx context.Context, target string) (w *held, ended chan struct{}) {
	w, ended = &held{ResponseRecorder: httptest.NewRecorder(), begun: make(chan struct{}), on: make(chan struct{})}, make(chan struct{})
	r := httptest.NewRequestWithContext(ctx, "GET", b.url+target, http.NoBody)
	r.Header.Set("Authorization", "Bearer "+b.tokens[viewer])
	go func() {
		defer close(ended)
		defer func() { _ = recover() }() // an answer that is cut off
		b.server.ServeHTTP(w, r)
	}()
	<-w.begun
	return w, ended
}

// A long file is as of one revision and holds nobody up: neither writers nor short requests of the same operator. Each
// piece of it must be taken in time, and for who has gone nothing is looked at.
func TestLongFiles(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	const many = 12_000
	a := &engine.Alert{StartAt: engine.StampOf(b.rig.Now()), StopAt: engine.StampOf(b.rig.Now()), Source: engine.Source{Scope: "user", Value: "x"}}
	for i := range many {
		a.Decisions = append(a.Decisions, engine.NewDecision{Duration: "4h", Scope: engine.ScopeIP, Value: fmt.Sprintf("10.0.%d.%d", i/256, i%256), Type: "ban", Origin: "crowdsec", Scenario: "s"})
	}
	if _, err := b.rig.AddAlerts(t.Context(), "", []*engine.Alert{a}, b.rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	gone, goes := context.WithCancel(t.Context())
	first, firstEnded := b.asksFor(gone, "/admin/v1/decisions/export?format=json")
	second, secondEnded := b.asksFor(t.Context(), "/admin/v1/decisions/export?format=ndjson")
	if status, text, _ := b.ask("GET", "/admin/v1/alerts/export", b.tokens[viewer], ""); status != 429 {
		t.Errorf("a third one: %d %.200s", status, text)
	}
	for range 2 * maxOfOne {
		if status, text, _ := b.ask("GET", "/admin/v1/decisions?limit=1", b.tokens[viewer], ""); status != 200 {
			t.Errorf("a short request: %d %.200s", status, text)
		}
	}
	b.is(200, "DELETE", "/admin/v1/decisions?all=true", "")
	b.is(201, "POST", "/admin/v1/decisions", `{"value":"192.0.2.7"}`)
	goes()
	close(first.on)
	close(second.on)
	<-firstEnded
	<-secondEnded
	if first.writes > 2 {
		t.Errorf("%d pieces were written for nobody", first.writes)
	}
	text := second.Body.String()
	if ids := idsOf(t, "ndjson", text); len(ids) != many || strings.Contains(text, `"running":false`) {
		t.Errorf("%d rows: want %d, as it was", len(ids), many)
	}
	if second.deadlines < second.writes || second.writes < len(text)/pieceSize {
		t.Errorf("%d deadlines for %d pieces of %d bytes", second.deadlines, second.writes, len(text))
	}
	if n := b.server.longAtWork.count(); n != 0 {
		t.Errorf("%d places are taken", n)
	}
	if got := idsOf(t, "csv", b.visitor().enter(viewer).get("/decisions/export")); len(got) != 1 {
		t.Errorf("afterwards: %v", got)
	}
}

// count is how many requests are under way.
func (p *places) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// Who makes a long file leaves the processor to others now and then.
func TestFilesRest(t *testing.T) {
	t.Parallel()
	var rests atomic.Int64
	b := newBench(t, func(o *Options) {
		o.Rest = func(worked time.Duration) {
			if worked >= 0 {
				rests.Add(1)
			}
		}
	})
	a := &engine.Alert{Scenario: "s", StartAt: engine.StampOf(b.rig.Now()), StopAt: engine.StampOf(b.rig.Now())}
	const rows = 5 * turnsAtOnce / turnsOfDecision
	for i := range rows {
		a.Decisions = append(a.Decisions, engine.NewDecision{Duration: "4h", Scope: engine.ScopeIP, Value: fmt.Sprintf("10.0.%d.%d", i/256, i%256), Type: "ban", Origin: "cscli", Scenario: "s"})
	}
	if _, err := b.rig.AddAlerts(t.Context(), "", []*engine.Alert{a}, b.rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"csv", "ndjson"} {
		rests.Store(0)
		_, text, _ := b.ask("GET", "/admin/v1/decisions/export?format="+format, b.tokens[viewer], "")
		if n := strings.Count(text, "\n"); n < rows || rests.Load() != 5 {
			t.Errorf("%s: %d rests were taken for %d lines", format, rests.Load(), n)
		}
	}
}
