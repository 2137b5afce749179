// Package capitest is a Central API on loopback, for tests. It is strict: a request that is
// otherwise than the contract has it is a failure of the test. What it answers is read from
// files at each request, and faults can be put in the place of any answer.
package capitest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fake is the service. What a test changes are files in Dir:
//
//	stream.json    the answer to a pull; missing: nothing
//	claims.json    further claims of a token
//	status.json    {"v3/signals": [500, 200]}: statuses instead, in order, the last one for ever
//	lists/NAME     what is behind the link /lists/NAME; its time is Last-Modified
//	events/*.json  orders, each handed out once and renamed to .done, the last name first
type Fake struct {
	URL string // with a slash at its end
	Dir string

	// Lifetime is that of a token; default an hour. Set before the first request.
	Lifetime time.Duration
	// AnyVersion: paths below v2/, and what servers of that time ask, are taken too, and no
	// request is checked.
	AnyVersion bool

	fail func(format string, args ...any)
	web  *httptest.Server

	mu     sync.Mutex
	asked  map[string]int
	tokens []string
	seen   []Request
	faults map[string][]http.HandlerFunc
	always map[string]http.HandlerFunc
}

// Request is one that came.
type Request struct {
	Method, Path string // Path with its query
	Header       http.Header
	Body         []byte // unpacked
}

// New starts one, which answers from dir until Close. fail is told of each request that is
// otherwise than the contract has it, from any goroutine.
func New(dir string, fail func(format string, args ...any)) *Fake {
	f := &Fake{Dir: dir, Lifetime: time.Hour, fail: fail, asked: map[string]int{}, faults: map[string][]http.HandlerFunc{}, always: map[string]http.HandlerFunc{}}
	for _, name := range []string{"lists", "events"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			fail("%v", err)
		}
	}
	f.web = httptest.NewServer(f)
	f.URL = f.web.URL + "/"
	return f
}

// Close ends it and whatever is being answered.
func (f *Fake) Close() {
	f.web.CloseClientConnections()
	f.web.Close()
}

// Faults answer the next requests of a path (v3/signals, lists/NAME), each one request.
func (f *Fake) Faults(path string, faults ...http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[path] = append(f.faults[path], faults...)
}

// Always answers every request of a path from now on; nil: as usual again.
func (f *Fake) Always(path string, fault http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.always[path] = fault
}

// Requests are those whose path begins so, in order.
func (f *Fake) Requests(path string) (list []Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.seen {
		if strings.HasPrefix(r.Path, path) {
			list = append(list, r)
		}
	}
	return list
}

// ServeHTTP answers as the service does, also for another server of the test.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, packed, err := read(r)
	if err != nil {
		f.fail("%s %s: %v", r.Method, r.URL, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !f.AnyVersion {
		for _, problem := range Check(r, body, packed) {
			f.fail("%s", problem)
		}
	}
	path := strings.Trim(r.URL.Path, "/")
	fault, status := f.note(r, body, path)
	switch {
	case fault != nil:
		fault(w, r)
	case status >= 300:
		answer(w, status, map[string]string{"message": "forced"})
	case strings.HasPrefix(path, "lists/"):
		f.list(w, r, path)
	case strings.HasSuffix(path, "v1/permissions"):
		answer(w, 200, map[string]any{"status": "ok", "plan": "test", "categories": []string{"decision", "alert", "management"}})
	case strings.HasSuffix(path, "stream/poll"):
		f.poll(w, r)
	default:
		f.service(w, r, regexp.MustCompile(`^(.*/)?v[0-9]+/`).ReplaceAllString(path, ""), status, body)
	}
}

func read(r *http.Request) (body []byte, packed bool, err error) {
	in := io.Reader(r.Body)
	if packed = r.Header.Get("Content-Encoding") == "gzip"; packed {
		if in, err = gzip.NewReader(r.Body); err != nil {
			return nil, packed, err
		}
	}
	body, err = io.ReadAll(in)
	return body, packed, err
}

// note writes a request down and finds what is answered instead of the usual.
func (f *Fake) note(r *http.Request, body []byte, path string) (fault http.HandlerFunc, status int) {
	var forced map[string][]int
	f.load("status.json", &forced)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, Request{r.Method, r.URL.RequestURI(), r.Header.Clone(), body})
	if list := f.faults[path]; len(list) > 0 {
		f.faults[path] = list[1:]
		return list[0], 0
	}
	if fault := f.always[path]; fault != nil {
		return fault, 0
	}
	if list := forced[path]; len(list) > 0 {
		f.asked[path]++
		status = list[min(f.asked[path], len(list))-1]
	}
	return nil, status
}

// load reads a file that is JSON; one that is not there leaves into as it is.
func (f *Fake) load(name string, into any) {
	b, err := os.ReadFile(filepath.Join(f.Dir, name))
	if err != nil {
		return
	}
	if err := json.Unmarshal(b, into); err != nil {
		f.fail("%s: %v", name, err)
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the asker has gone
}

func (f *Fake) service(w http.ResponseWriter, r *http.Request, what string, status int, body []byte) {
	usual := status
	if usual == 0 {
		usual = http.StatusOK
	}
	if what == "watchers/login" {
		f.login(w)
		return
	}
	if what != "watchers" && !f.AnyVersion && !f.known(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
		answer(w, http.StatusUnauthorized, map[string]string{"message": "no token of mine"})
		return
	}
	switch what {
	case "watchers/enroll":
		if status == 0 {
			usual = http.StatusCreated
		}
		if bytes.Contains(body, []byte(`"autoenroll":true`)) {
			answer(w, usual, map[string]any{"url": "http://127.0.0.1/accept", "expire_at": time.Now().Add(10 * time.Minute).UnixMilli()})
			return
		}
	case "decisions/stream":
		f.stream(w)
		return
	}
	answer(w, usual, map[string]string{"message": "OK"})
}

// stream is the answer to a pull, piece by piece: it may be large.
func (f *Fake) stream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	file, err := os.Open(filepath.Join(f.Dir, "stream.json"))
	if err != nil {
		_, _ = io.WriteString(w, "{}")
		return
	}
	defer file.Close()
	_, _ = io.Copy(w, file)
}

// known tells whether a token was given out and is not over.
func (f *Fake) known(token string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.tokens, token)
}

// Revoke has all tokens so far be refused.
func (f *Fake) Revoke() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens = nil
}

func (f *Fake) login(w http.ResponseWriter) {
	claims := map[string]any{}
	f.load("claims.json", &claims)
	expires := time.Now().Add(f.Lifetime)
	f.mu.Lock()
	claims["exp"], claims["n"] = expires.Unix(), len(f.seen)
	c, _ := json.Marshal(claims)
	text := base64.RawURLEncoding.EncodeToString
	token := text([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + text(c) + "." + text([]byte("none"))
	f.tokens = append(f.tokens, token)
	f.mu.Unlock()
	answer(w, 200, map[string]any{"code": 200, "token": token, "expire": expires.UTC().Format(time.RFC3339)})
}

func (f *Fake) list(w http.ResponseWriter, r *http.Request, path string) {
	http.ServeFile(w, r, filepath.Join(f.Dir, filepath.Clean("/"+path)))
}

// poll waits for orders.
func (f *Fake) poll(w http.ResponseWriter, r *http.Request) {
	seconds, _ := strconv.Atoi(r.URL.Query().Get("timeout"))
	over := time.After(time.Duration(seconds) * time.Second)
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		if events := f.events(); events != nil {
			answer(w, 200, map[string]any{"events": events, "timestamp": time.Now().UnixMilli()})
			return
		}
		select {
		case <-look.C:
		case <-r.Context().Done():
			return
		case <-over:
			answer(w, 200, map[string]any{"error": "no events before timeout", "timestamp": time.Now().UnixMilli()})
			return
		}
	}
}

func (f *Fake) events() (events []map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	names, _ := filepath.Glob(filepath.Join(f.Dir, "events", "*.json"))
	slices.Sort(names)
	slices.Reverse(names)
	now := time.Now().UnixMilli()
	for i, name := range names {
		order, err := os.ReadFile(name)
		if err != nil || os.Rename(name, strings.TrimSuffix(name, ".json")+".done") != nil {
			continue
		}
		events = append(events, map[string]any{"id": fmt.Sprintf("%08x-0000-4000-8000-%012x", i+1, now), "timestamp": now, "category": "x", "data": string(order)})
	}
	return events
}

// Faults that are ready made.

// Status answers with a number.
func Status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		answer(w, code, map[string]string{"message": "as it was told to"})
	}
}

// Says answers 200 with a text.
func Says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// Cut promises more than it sends.
func Cut(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(text)+100))
		_, _ = io.WriteString(w, text)
	}
}

// Longer sends more than it promised, in raw bytes: what follows is no part of the answer.
func Longer(text, more string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(text), text, more))
	}
}

// Drip sends a text and then one space after the other, for ever: no pause is long, and the
// answer never ends. each is called before each of them.
func Drip(text string, each func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, _ = io.WriteString(w, text); r.Context().Err() == nil; {
			if each(); http.NewResponseController(w).Flush() != nil {
				return
			}
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
		}
	}
}

// Silent takes the request and answers nothing until the asker goes. came is called first.
func Silent(came func()) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		came()
		<-r.Context().Done()
	}
}

// Huge sends a piece of text again and again, until so many bytes are sent or the asker has
// gone; then told is called with how many went out. packed: in gzip, bytes of the text.
func Huge(piece string, bytes int64, packed bool, told func(sent int64)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		out := io.Writer(w)
		if packed {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			out = z
		}
		many := []byte(strings.Repeat(piece, max(1, 64<<10/len(piece))))
		sent := int64(0)
		for sent < bytes {
			n, err := out.Write(many)
			if sent += int64(n); err != nil {
				break
			}
		}
		told(sent)
	}
}

// Redirect leads to another address.
func Redirect(code int, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, code) }
}

// raw answers with these bytes and ends the connection.
func raw(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, text)
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = conn.Close()
}
