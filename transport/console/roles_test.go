package console

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lapid/engine"
)

// standIns are values for what a path of a route takes.
var standIns = strings.NewReplacer("{id}", "4711", "{name}", "nobody", "{verb...}", "machines/list", "{$}", "")

// Every path, with every method that it has not: nobody is let in, whoever asks, and Allow names what there is.
func TestNoOtherMethods(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	methods := map[string][]string{"/events": {"GET"}, "/assets/nobody": {"GET"}}
	for _, table := range [][]route{routes, b.server.described(), sitePages} {
		for i := range table {
			path := standIns.Replace(table[i].path)
			methods[path] = append(methods[path], table[i].method)
		}
	}
	for path, known := range methods {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			named := path[:strings.LastIndexByte(path, '/')+1] // this path's last word is a name to a sibling's methods
			if slices.Contains(known, method) || slices.Contains(methods[named+"nobody"], method) || slices.Contains(methods[named+"4711"], method) {
				continue
			}
			for _, role := range []engine.Role{engine.RoleNone, viewer, admins} {
				r := httptest.NewRequestWithContext(t.Context(), method, b.url+path, http.NoBody)
				if role != engine.RoleNone {
					r.Header.Set("Authorization", "Bearer "+b.tokens[role])
				}
				w := httptest.NewRecorder()
				b.server.ServeHTTP(w, r)
				if w.Code != http.StatusMethodNotAllowed || !strings.Contains(w.Header().Get("Allow"), known[0]) {
					t.Errorf("%s %s as %q: %d, Allow %q; it has %v", method, path, role, w.Code, w.Header().Get("Allow"), known)
				}
			}
		}
	}
}

// What is served beside routes: files of the console, which are everybody's, and the stream of news, for whoever is logged in.
func TestBesideRoutes(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	_, login, _ := b.ask("GET", "/login", "", "", "Accept", "text/html")
	files := regexp.MustCompile(`/assets/[^"]+`).FindAllString(login, -1)
	if len(files) < 2 {
		t.Fatalf("the page of the login has the files %v", files)
	}
	for _, role := range []engine.Role{engine.RoleNone, viewer, operator, admins} {
		for _, file := range append(files, "/assets/nobody", "/assets/..%2fsite.go", "/assets/app.js") {
			want := http.StatusNotFound
			if slices.Contains(files, file) {
				want = http.StatusOK
			}
			status, _, head := b.ask("GET", file, b.tokens[role], "")
			if status != want || status == http.StatusOK && !strings.Contains(head.Get("Cache-Control"), "immutable") {
				t.Errorf("%s as %q: %d %v, want %d", file, role, status, head, want)
			}
		}
		status, kind := b.listens("/events?kinds=decision", role)
		if role == engine.RoleNone && status != http.StatusUnauthorized || role != engine.RoleNone && (status != http.StatusOK || kind != "text/event-stream") {
			t.Errorf("/events as %q: %d %s", role, status, kind)
		}
		if status, _ := b.listens("/events?kinds=nonsense", role); status < 400 {
			t.Errorf("/events of nonsense as %q: %d", role, status)
		}
	}
}

// listens begins to listen, and leaves when the head of the answer is there.
func (b *bench) listens(path string, role engine.Role) (status int, kind string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+path, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	if role != engine.RoleNone {
		r.Header.Set("Authorization", "Bearer "+b.tokens[role])
	}
	w, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Body.Close()
	return w.StatusCode, w.Header.Get("Content-Type")
}
