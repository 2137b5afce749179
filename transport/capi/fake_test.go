package capi

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/capi/capitest"
)

// fake is a strict Central API: what a client does otherwise than the contract says is an
// error of the test. Faults are given by path, each for one request.
type fake struct {
	t   *testing.T
	web *httptest.Server
	rig *enginetest.Rig
	log safeLog

	loose bool // what is asked is made up by the test

	mu       sync.Mutex
	stream   string
	lists    map[string]string // by path
	changed  map[string]time.Time
	faults   map[string][]http.HandlerFunc
	seen     []seen
	token    string // the one that is good
	logins   int
	lifetime time.Duration
	extra    map[string]any // claims
	waited   []time.Duration
}

type seen struct {
	method, path string
	since        string
	body         []byte
}

type safeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *safeLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, rig: enginetest.NewRig(t, nil), stream: "{}", lists: map[string]string{}, changed: map[string]time.Time{},
		faults: map[string][]http.HandlerFunc{}, lifetime: time.Hour}
	f.web = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.web.Close)
	return f
}

// client is a new one, as after a start. Its pauses are over at once and noted.
func (f *fake) client(change func(*Options)) *Client {
	f.t.Helper()
	o := &Options{
		Engine: f.rig.Engine, Credentials: Credentials{URL: f.web.URL + "/", Orders: f.web.URL + "/", Login: "l0gin", Password: "passw0rd"},
		Logger: slog.New(slog.NewTextHandler(&f.log, nil)), Version: "1", Now: f.rig.Now, Console: UsualConsole,
		Jitter: func(d time.Duration) time.Duration { return d / 2 },
		After: func(d time.Duration) <-chan time.Time {
			f.mu.Lock()
			f.waited = append(f.waited, d)
			f.mu.Unlock()
			over := make(chan time.Time)
			close(over)
			return over
		},
	}
	if change != nil {
		change(o)
	}
	c, err := New(o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.session.http.CloseIdleConnections(); c.links.CloseIdleConnections() })
	return c
}

// fails has the next requests of a path be answered otherwise.
func (f *fake) fails(path string, faults ...http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[path] = append(f.faults[path], faults...)
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"message":"as it was told to"}`)
	}
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// cut promises more than it sends.
func cut(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)+100))
		_, _ = io.WriteString(w, body)
	}
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, zerr := gzip.NewReader(bytes.NewReader(body))
		if zerr != nil {
			f.t.Errorf("%s: %v", r.URL, zerr)
			return
		}
		if body, err = io.ReadAll(z); len(body) <= gzipFrom {
			f.t.Errorf("%s: %d bytes are packed", r.URL, len(body))
		}
	} else if len(body) > gzipFrom && r.URL.Path != "/v3/watchers/login" {
		f.t.Errorf("%s: %d bytes are not packed", r.URL, len(body))
	}
	if err != nil {
		f.t.Errorf("%s: %v", r.URL, err)
		return
	}
	if !f.loose {
		for _, problem := range capitest.Check(r, body, r.Header.Get("Content-Encoding") == "gzip") {
			f.t.Error(problem)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, seen{r.Method, r.URL.RequestURI(), r.Header.Get("If-Modified-Since"), body})
	if faults := f.faults[r.URL.Path]; len(faults) > 0 {
		f.faults[r.URL.Path] = faults[1:]
		func() {
			f.mu.Unlock()
			defer f.mu.Lock() // also after a panic, by which an answer breaks off
			faults[0](w, r)
		}()
		return
	}
	if content, ok := f.lists[r.URL.Path]; ok {
		f.serveList(w, r, content)
		return
	}
	f.serveAPI(w, r, body)
}

func (f *fake) serveList(w http.ResponseWriter, r *http.Request, content string) {
	if r.Header.Get("Authorization") != "" || strings.HasPrefix(r.UserAgent(), "crowdsec") {
		f.t.Errorf("%s was asked for with credentials", r.URL)
	}
	if since, err := http.ParseTime(r.Header.Get("If-Modified-Since")); err == nil && !f.changed[r.URL.Path].After(since) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = io.WriteString(w, content)
}

func (f *fake) serveAPI(w http.ResponseWriter, r *http.Request, body []byte) {
	if !strings.HasPrefix(r.UserAgent(), "crowdsec/") || r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("%s: headers %v", r.URL, r.Header)
	}
	if r.Method == http.MethodPost && !json.Valid(body) {
		f.t.Errorf("%s: no JSON: %s", r.URL, body)
	}
	if r.URL.Path == "/v3/watchers/login" {
		f.login(w, r, body)
		return
	}
	if f.token == "" || r.Header.Get("Authorization") != "Bearer "+f.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /v3/decisions/stream":
		_, _ = io.WriteString(w, f.stream)
	case "POST /v3/signals", "POST /v3/metrics/", "POST /v3/usage-metrics", "POST /v3/decisions/delete":
		_, _ = io.WriteString(w, `{"message":"OK"}`)
	case "GET " + pollPath:
		_, _ = io.WriteString(w, `{"error":"no events before timeout","timestamp":1}`)
	case "GET /v1/permissions":
		_, _ = io.WriteString(w, `{"status":"ok","plan":"enterprise","categories":["decision","alert"]}`)
	default:
		f.t.Errorf("nobody asks for %s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusNotFound)
	}
}

func (f *fake) login(w http.ResponseWriter, r *http.Request, body []byte) {
	var said map[string]any
	if json.Unmarshal(body, &said) != nil || len(said) != 3 || said["machine_id"] != "l0gin" || said["password"] != "passw0rd" || said["scenarios"] == nil {
		f.t.Errorf("login: %s", body)
	}
	if r.Header["Authorization"] != nil {
		f.t.Error("login with a token")
	}
	f.logins++
	expires := f.rig.Now().Add(f.lifetime)
	claims := map[string]any{"exp": expires.Unix(), "n": f.logins}
	for k, v := range f.extra {
		claims[k] = v
	}
	c, _ := json.Marshal(claims)
	f.token = strings.Join([]string{base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)), base64.RawURLEncoding.EncodeToString(c), "sig"}, ".")
	fmt.Fprintf(w, `{"code":200,"expire":%q,"token":%q}`, expires.Format(time.RFC3339), f.token)
}

// asked are the requests of a path, and forgets them.
func (f *fake) asked(path string) (list []seen) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if s.path == path || strings.HasPrefix(s.path, path+"?") {
			list = append(list, s)
		}
	}
	return list
}

// running are the values that run, by origin and scenario.
func (f *fake) running(origin, scenario string) (values []string) {
	q := f.rig.Ask()
	q.Limit = -1
	q.Origin = engine.Word{Given: true, Text: origin}
	if scenario != "" {
		q.Scenario = engine.Word{Given: true, Text: scenario}
	}
	for _, d := range f.rig.View().Find(nil, q) {
		values = append(values, d.Value())
	}
	return values
}

func cancelled(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}
