package conformance

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// standIn is a small server that holds nothing: what it answers is in the request.
//
//	POST /v1/watchers/login   a token, for the password "right"
//	POST /echo                the body it got, unpacked, as the reference's text or JSON
//	GET  /say?status=&body=   that status and body, with a few headers
func standIn(t *testing.T) (*httptest.Server, *[]string) {
	var mu sync.Mutex
	var asked []string // guarded by mu until the server is closed
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/watchers/login", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"password":"right"`) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"code":200,"token":"a.b.c"}`)
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(body)
		}
		_, _ = io.Copy(w, body)
	})
	mux.HandleFunc("/say", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "Application/JSON; charset=utf-8")
		w.Header().Set("Allow", "POST,GET, HEAD")
		if r.FormValue("status") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
		fmt.Fprint(w, r.FormValue("body"))
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+r.Header.Get("X-Api-Key")+" "+r.UserAgent())
		mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server, &asked
}

func testSession(url string) *Session {
	return NewSession(Target{
		URL: url, MachineID: "m1", Password: "right", MachineID2: "m2", Password2: "wrong", BouncerKey: "k1",
	}, 1)
}

// play runs the steps, written as JSON, as one case.
func play(t *testing.T, s *Session, steps string) []Failure {
	t.Helper()
	c, err := parseCase([]byte(`{"id":"test","steps":` + steps + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return s.Run(t.Context(), c)
}

func TestPassingCases(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string]string{
		"json": `[{"request":{"method":"POST","path":"/echo","json":{"v":"{{net}}.1","n":[1,2]}},
			"expect":{"status":200,"json":{"n":["$$int",2],"v":"{{net}}.1"}}}]`,
		"gzip and chunks": `[{"request":{"method":"POST","path":"/echo","body":"\"{{u}}\"","gzip":1,"chunked":true},
			"expect":{"status":200,"json":"{{u}}"}}]`,
		"fill": `[{"request":{"method":"POST","path":"/echo","fill":{"head":"\"","unit":"ab","times":500000,"tail":"\""}},
			"expect":{"json":"$$re:(ab){500}.*"}}]`,
		"headers": `[{"request":{"method":"GET","path":"/say"},
			"expect":{"headers":{"Content-Type":"application/json;charset=utf-8","Allow":"GET, HEAD, POST","WWW-Authenticate":null},"empty":true}}]`,
		"raw": `[{"request":{"method":"POST","path":"/echo","body":"{\"id\": 12, \"u\": \"{{u}}\"}"},
			"expect":{"raw":"{\"id\": <<int>>, \"u\": \"{{u}}\"}"}}]`,
		"mine": `[{"request":{"method":"POST","path":"/echo","json":["{{net}}.1","199.1.2.3"]},
			"select":"mine","expect":{"json":["{{net}}.1"]}}]`,
		"unordered": `[{"request":{"method":"POST","path":"/echo","json":[1,2]},"unordered":true,"expect":{"json":[2,1]}}]`,
		"also": `[{"request":{"method":"POST","path":"/echo","json":[1]},
			"expect":{"json":[3]},"also":[[2],["$$int"]]}]`,
		"capture": `[{"request":{"method":"POST","path":"/echo","json":{"new":[{"id":77,"s":"x"}]}},
				"capture":{"d":"new.0.id","s":"new.0.s","all":"new"}},
			{"request":{"method":"POST","path":"/echo","json":{"{{s}}":"{{int:d}}"}},"expect":{"json":{"x":"$$intvar:{{d}}"}}}]`,
		"null":       `[{"request":{"method":"POST","path":"/echo","body":"null"},"expect":{"json":null,"raw":"null"}}]`,
		"only waits": `[{"sleep":0.001},{"note":"nothing"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _ := standIn(t)
			for _, f := range play(t, testSession(server.URL), steps) {
				t.Error(f)
			}
		})
	}
}

func TestFailingCases(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		steps string
		want  []string // in the failures, in turn
	}{
		"status and headers": {`[{"note":"hm","request":{"method":"GET","path":"/say?status=418"},
			"expect":{"status":200,"headers":{"Allow":"GET","Content-Type":null,"Location":"/x"}}}]`,
			[]string{"step 1 (hm): GET /say?status=418", "status: want 200, got 418", `header Allow: want "GET", got "POST,GET, HEAD"`,
				"header Content-Type: want none", `header Location: want "/x", got none`}},
		"body": {`[{"request":{"method":"GET","path":"/say?body=hi"},"expect":{"empty":true,"raw":"hi!","json":1}}]`,
			[]string{`body: want none, got "hi"`, "body (exact text)", "body: not JSON"}},
		"the first alternative is shown": {`[{"request":{"method":"POST","path":"/echo","json":[1]},"expect":{"json":[3]},"also":[[4]]}]`,
			[]string{"$[0]: want 3, got 1"}},
		"later steps go on": {`[{"request":{"method":"GET","path":"/say"},"expect":{"status":201}},
			{"request":{"method":"GET","path":"/say"},"expect":{"status":202}}]`,
			[]string{"step 1", "want 201", "step 2", "want 202"}},
		"capture ends the case": {`[{"request":{"method":"GET","path":"/say?body=[]"},"capture":{"a":"0"}},
			{"request":{"method":"GET","path":"/say"},"expect":{"status":202}}]`,
			[]string{`cannot capture a from "0": no element "0" in a list of 0`}},
		"no such key":         {`[{"request":{"method":"GET","path":"/say?body={}"},"capture":{"a":"b"}}]`, []string{`no key "b"`}},
		"nothing to look at":  {`[{"request":{"method":"GET","path":"/say?body=1"},"capture":{"a":"b"}}]`, []string{"nothing to look into"}},
		"login":               {`[{"request":{"method":"GET","path":"/say","auth":"machine2"}}]`, []string{"log in m2: status 403"}},
		"unknown auth":        {`[{"request":{"method":"GET","path":"/say","auth":"root"}}]`, []string{`unknown auth "root"`}},
		"missing credential":  {`[{"request":{"method":"GET","path":"/say","auth":"bouncer2"}}]`, []string{"no value for {{bouncer_key2}}"}},
		"broken expectation":  {`[{"request":{"method":"GET","path":"/say?body=1"},"expect":{"json":"{{nothing}}"}}]`, []string{"not understood"}},
		"broken header value": {`[{"request":{"method":"GET","path":"/say","headers":{"A":"{{nothing}}"}}}]`, []string{"not made"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _ := standIn(t)
			var report strings.Builder
			for _, f := range play(t, testSession(server.URL), c.steps) {
				report.WriteString(f.String() + "\n")
			}
			rest := report.String()
			for _, w := range c.want {
				_, after, ok := strings.Cut(rest, w)
				if !ok {
					t.Fatalf("no %q in the rest of the report:\n%s", w, report.String())
				}
				rest = after
			}
			if c.want[0][:4] == "cann" && strings.Contains(rest, "step 2") {
				t.Errorf("the case went on:\n%s", report.String())
			}
		})
	}
}

// TestCredentials says who asks, and that a login is made once.
func TestCredentials(t *testing.T) {
	t.Parallel()
	server, asked := standIn(t)
	s := testSession(server.URL)
	var traced int
	s.Trace = func(string) { traced++ }
	steps := `[{"request":{"method":"GET","path":"/say","auth":"none"}},
		{"request":{"method":"GET","path":"/say","auth":"machine"}},
		{"request":{"method":"GET","path":"/say","auth":"machine","headers":{"authorization":"Other"}}},
		{"request":{"method":"GET","path":"/say","auth":"bouncer","headers":{"User-Agent":null}}},
		{"request":{"method":"GET","path":"/say","headers":{"Authorization":"Bearer {{token}}","User-Agent":["a","b"]}}}]`
	for _, f := range play(t, s, steps) {
		t.Error(f)
	}
	server.Close()
	want := []string{
		"GET /say  contract-replay/1.0",
		"POST /v1/watchers/login  contract-replay/1.0",
		"GET /say Bearer a.b.c contract-replay/1.0",
		"GET /say Other contract-replay/1.0",
		"GET /say k1 ",
		"GET /say Bearer a.b.c a",
	}
	if got := strings.Join(*asked, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("asked:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	if traced != 5 {
		t.Errorf("told of %d exchanges, want 5", traced)
	}
}

// TestSeed says that a seed repeats the names of a run, and that cases share no network.
func TestSeed(t *testing.T) {
	t.Parallel()
	one, two := NewSession(Target{}, 7), NewSession(Target{}, 7)
	seen := map[string]bool{}
	for range 300 {
		a, b := one.names(t.Context()).vars, two.names(t.Context()).vars
		if a["net"] != b["net"] || a["net6"] != b["net6"] || a["u"] != b["u"] {
			t.Fatalf("one seed, two names: %v, %v", a, b)
		}
		if seen[a["net"]] {
			t.Fatalf("network %s given twice", a["net"])
		}
		seen[a["net"]] = true
	}
}

// TestRunEnds says that a cancelled run does not wait a case out.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failures := NewSession(Target{}, 1).Run(ctx, &Case{ID: "x", Steps: []Step{{Sleep: time.Hour.Seconds()}, {Sleep: 1}}})
	if len(failures) != 1 || !strings.Contains(failures[0].String(), context.Canceled.Error()) {
		t.Errorf("failures %v", failures)
	}
}

func TestHeaderValues(t *testing.T) {
	t.Parallel()
	var h headers
	if err := json.Unmarshal([]byte(`{"B":"1","a":null,"C":["2","3"]}`), &h); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(h); got != "[{B [1]} {a []} {C [2 3]}]" {
		t.Errorf("got %s", got)
	}
}
