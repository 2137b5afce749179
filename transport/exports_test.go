package transport

import (
	"compress/gzip"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
)

const exportSecret = "a-secret-of-an-export"

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// addExport adds a plain list, as change has it.
func (h *house) addExport(name string, change func(*engine.Export)) {
	h.t.Helper()
	x := &engine.Export{Name: name, Format: "plain_text", User: "edge", Secrets: []engine.ExportSecret{{Hash: sha512.Sum512([]byte(exportSecret))}}}
	if change != nil {
		change(x)
	}
	if !x.Auth.HasSecret() {
		x.Secrets = nil
	}
	h.must(h.AddExport(h.t.Context(), x))
}

// Who may have an export: 401 and 403 are for wrong secrets and foreign addresses alone.
func TestExportAuth(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		h := newHouse(t, nil)
		h.ban("192.0.2.1")
		auth := func(a engine.ExportAuth, from ...string) func(*engine.Export) {
			return func(x *engine.Export) {
				x.Auth = a
				for _, f := range from {
					x.AllowFrom = append(x.AllowFrom, netip.MustParsePrefix(f))
				}
			}
		}
		h.addExport("basic", auth(engine.ExportBasic))
		h.addExport("token", auth(engine.ExportToken))
		h.addExport("key", auth(engine.ExportKey))
		h.addExport("certificate", auth(engine.ExportCertificate))
		h.addExport("near", auth(engine.ExportAddress, "127.0.0.0/8"))
		h.addExport("far", auth(engine.ExportAddress, "192.0.2.0/24"))
		h.addExport("open", auth(engine.ExportNone))
		for _, c := range []struct {
			path   string
			header []string
			status int
		}{
			{"basic", []string{"Authorization", basic("edge", exportSecret)}, 200},
			{"basic", []string{"Authorization", basic("other", exportSecret)}, 401},
			{"basic", []string{"Authorization", basic("edge", "")}, 401},
			{"basic", []string{"Authorization", "Basic %%%"}, 401},
			{"basic", []string{"Authorization", "Basic " + strings.Repeat("A", 5000)}, 401},
			{"basic", []string{"Authorization", "Bearer " + exportSecret}, 401},
			{"basic?token=" + exportSecret, nil, 401}, {"basic", nil, 401},
			{"token", []string{"Authorization", "Bearer " + exportSecret}, 200},
			{"token", []string{"Authorization", basic("any", exportSecret)}, 200},
			{"token?token=" + exportSecret + "&page=%zz", nil, 400}, {"token?page=x;y&token=" + exportSecret, nil, 400}, {"token?token=" + exportSecret + "&page=x", nil, 400},
			{"token?token=" + exportSecret, nil, 200}, {"token?token=", nil, 401}, {"token?token=%zz", nil, 401},
			{"key", []string{"X-Api-Key", testKey}, 200}, {"key", []string{"X-Api-Key", "nobody's"}, 401}, {"key", nil, 401},
			{"certificate", []string{"X-Api-Key", testKey}, 401},
			{"near", nil, 200}, {"far", nil, 403}, {"far", []string{"X-Forwarded-For", "192.0.2.1"}, 403}, {"open", nil, 200},
			{"nothing", nil, 404}, {"no%00thing", nil, 400}, {"", nil, 404}, {"basic/more", nil, 404},
		} {
			got := h.ask("GET", "/exports/"+c.path, "", lines(c.header)...)
			if got.status != c.status || c.status == 200 && got.body != "192.0.2.1\n" || c.status == 401 && strings.Contains(got.body, exportSecret) {
				t.Errorf("%s %v: %d %q", c.path, c.header, got.status, got.body)
			}
			if challenge := got.header.Get("Www-Authenticate"); c.status == 401 && strings.HasPrefix(c.path, "basic") != strings.HasPrefix(challenge, "Basic ") {
				t.Errorf("%s: challenged by %q", c.path, challenge)
			}
		}
		for _, method := range []string{"POST", "DELETE", "PUT"} {
			if got := h.ask(method, "/exports/open", ""); got.status != 405 {
				t.Errorf("%s: %d", method, got.status)
			}
		}
	})
}

// What has not changed is 304, and what has is another tag; HEAD says what GET does.
func TestExportConditions(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		h := newHouse(t, nil)
		ask := func(method, path string, header ...string) reply {
			return h.ask(method, path, "", append(header, "Accept-Encoding: identity")...)
		}
		h.ban("192.0.2.1", "2001:db8::1")
		open := func(x *engine.Export) { x.Auth = engine.ExportNone }
		h.addExport("edge.txt", func(x *engine.Export) { x.Path = "/security/blocklist"; open(x) })
		h.addExport("six", func(x *engine.Export) { x.Family = engine.IPv6; open(x) })
		h.addExport("empty", func(x *engine.Export) { x.Types = []string{"none"}; x.RefuseEmpty = true; open(x) })
		first, six := ask("GET", "/exports/edge.txt"), ask("GET", "/exports/six")
		tag, moment := first.header.Get("Etag"), first.header.Get("Last-Modified")
		if first.status != 200 || first.body != "192.0.2.1\n2001:db8::1\n" || tag == "" || moment == "" || first.header.Get("Vary") != "Accept-Encoding" ||
			first.header.Get("Content-Length") != fmt.Sprint(len(first.body)) || first.header.Get("X-Content-Type-Options") != "nosniff" || first.header.Get("Cache-Control") != "no-cache" {
			t.Fatalf("%d %q %v", first.status, first.body, first.header)
		}
		head := ask("HEAD", "/exports/edge.txt")
		for name := range first.header {
			if name != "Date" && head.header.Get(name) != first.header.Get(name) {
				t.Errorf("HEAD: %s is %q, not %q", name, head.header.Get(name), first.header.Get(name))
			}
		}
		for _, header := range [][]string{{"If-None-Match", tag}, {"If-None-Match", `"other", W/` + tag}, {"If-None-Match", "*"}, {"If-Modified-Since", moment}, {"If-None-Match", tag, "If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"}} {
			for _, path := range []string{"/exports/edge.txt", "/security/blocklist"} {
				if got := ask("GET", path, lines(header)...); got.status != 304 || got.body != "" || got.header.Get("Etag") != tag || got.header.Get("Vary") == "" {
					t.Errorf("%s %v: %d %v", path, header, got.status, got.header)
				}
			}
		}
		for _, header := range [][]string{{"If-None-Match", `"other"`, "If-Modified-Since", moment}, {"If-Modified-Since", "yesterday"}, {"If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"}} {
			if got := ask("GET", "/exports/edge.txt", lines(header)...); got.status != 200 {
				t.Errorf("%v: %d", header, got.status)
			}
		}
		h.ban("192.0.2.2") // within the same second
		h.Advance(time.Minute)
		again := ask("GET", "/exports/edge.txt", "If-None-Match: "+tag)
		if again.status != 200 || again.header.Get("Etag") == tag || !strings.Contains(again.body, "192.0.2.2\n") || again.header.Get("Last-Modified") == moment {
			t.Errorf("after a ban: %d %q %v", again.status, again.body, again.header)
		}
		if got := ask("GET", "/exports/six", "If-None-Match: "+six.header.Get("Etag")); got.status != 304 {
			t.Errorf("a ban that is not on it changes the tag: %d", got.status)
		}
		if got := ask("GET", "/exports/edge.txt?ipv6only"); got.body != "2001:db8::1\n" {
			t.Errorf("narrowed: %q", got.body)
		}
		if got := ask("GET", "/exports/edge.txt?page=x"); got.status != 400 {
			t.Errorf("a page that is none: %d", got.status)
		}
		if got := ask("GET", "/exports/empty"); got.status != 503 || got.header.Get("Retry-After") == "" {
			t.Errorf("empty: %d", got.status)
		}
	})
}

// gzip is for those who ask for it, and has a tag of its own.
func TestExportGzip(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.banMany(3000)
	h.addExport("x", func(x *engine.Export) { x.Auth = engine.ExportNone })
	for words, want := range map[string]bool{
		"gzip": true, "br, GZIP ; Q=0.001": true, "gzip;q=1.000": true, "gzip; x=\"a,b;q=0\"; q=0.1": true, "gzip;q=1, gzip;q=0": true,
		"gzip;Q=0": false, "gzip;q=0.": false, "gzip; q=0.000": false, "gzip;q=": false, "gzip;q=nan": false, "gzip;q=-1": false, "gzip;q=2": false, "gzip;q=0.0001": false,
		"*": false, "x-gzip": false, "gzipped": false, "": false, ",;,": false, "identity": false,
	} {
		if got := h.ask("GET", "/exports/x", "", "Accept-Encoding: "+words); (got.header.Get("Content-Encoding") == "gzip") != want {
			t.Errorf("Accept-Encoding: %s gives %q", words, got.header.Get("Content-Encoding"))
		}
	}
	plain := h.ask("GET", "/exports/x", "", "Accept-Encoding: gzip;q=0, identity")
	packed := h.ask("GET", "/exports/x", "", "Accept-Encoding: br, GZIP;q=0.5")
	if plain.header.Get("Content-Encoding") != "" || packed.header.Get("Content-Encoding") != "gzip" || packed.header.Get("Etag") == plain.header.Get("Etag") {
		t.Fatal(plain.header, packed.header)
	}
	r, err := gzip.NewReader(strings.NewReader(packed.body))
	h.must(err)
	if body, err := io.ReadAll(r); err != nil || string(body) != plain.body || len(packed.body) >= len(plain.body) {
		t.Fatal(err, len(body), len(plain.body))
	}
	if got := h.ask("GET", "/exports/x", "", "Accept-Encoding: gzip", "If-None-Match: "+packed.header.Get("Etag")); got.status != 304 {
		t.Fatal(got.status)
	}
}

// A hundred devices at once share one rendering, and a definition may go meanwhile: who comes before
// that has the whole list, and who comes later is told that there is none.
func TestExportIsShared(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.banMany(2000)
	open := func(x *engine.Export) { x.Auth = engine.ExportNone }
	h.addExport("x", open)
	h.addExport("other", func(x *engine.Export) { x.Limit = 10; open(x) })
	pull := func(from <-chan struct{}, name string, may ...int) (ends func() []reply) {
		var all sync.WaitGroup
		got := make([]reply, 100)
		for i := range got {
			all.Go(func() {
				<-from
				r, err := http.Get(h.url + "/exports/" + name)
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Body.Close()
				body, err := io.ReadAll(r.Body)
				if got[i] = (reply{r.StatusCode, string(body), r.Header}); err != nil || !slices.Contains(may, r.StatusCode) {
					t.Error(r.StatusCode, err)
				}
			})
		}
		return func() []reply { all.Wait(); return got }
	}
	begin := make(chan struct{})
	ends := pull(begin, "x", 200)
	close(begin)
	first := ends()
	for _, got := range first {
		if got.body != first[0].body || strings.Count(got.body, "\n") != 2000 || got.header.Get("Etag") != first[0].header.Get("Etag") {
			t.Fatalf("%d bytes, and %d", len(got.body), len(first[0].body))
		}
	}
	if p := h.server.exports.Of("x"); p.Served.Load() != 100 || p.Written.Load() != 1 || p.Count.Load() != 2000 || len(p.Last()) == 0 {
		t.Errorf("%d served of %d that were written, %d entries", p.Served.Load(), p.Written.Load(), p.Count.Load())
	}
	h.decide("ban", "198.51.100.1") // so that it has to be written once more
	h.Advance(time.Minute)
	begin = make(chan struct{})
	ends = pull(begin, "x", 200, 404)
	others := pull(begin, "other", 200)
	close(begin)
	h.must(h.DeleteExport(t.Context(), "x"))
	for _, got := range ends() {
		if got.status == 200 && strings.Count(got.body, "\n") != 2001 {
			t.Errorf("a list of %d bytes while its definition goes", len(got.body))
		}
	}
	others()
	if got := h.ask("GET", "/exports/x", ""); got.status != 404 {
		t.Error(got.status)
	}
	h.server.exports.Forget(h.View(), h.Engine.Now())
	if p := h.server.exports.Of("x"); p.Served.Load() != 0 {
		t.Error("of one that has gone is kept how it was pulled")
	}
	h.addExport("x", func(x *engine.Export) { x.Limit = 7; open(x) })
	if got := h.ask("GET", "/exports/x", ""); strings.Count(got.body, "\n") != 7 {
		t.Errorf("one of its name has %d bytes", len(got.body))
	}
}

// A list that lost more than half without a reason is held back, until an operator edits it.
func TestExportShrinks(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.banMany(3000)
	h.addExport("x", func(x *engine.Export) { x.Auth = engine.ExportNone })
	first := h.ask("GET", "/exports/x", "")
	for _, words := range []string{"?ipv4only", "?page=1&page_size=2000"} {
		if got := h.ask("GET", "/exports/x"+words, ""); got.body == "" {
			t.Fatalf("%s: nothing", words)
		}
	}
	end := func(as engine.Actor) {
		q := &engine.Query{}
		q.Reset()
		q.Now = h.Engine.Now()
		_, err := h.EndDecisions(engine.As(t.Context(), as), q)
		h.must(err)
		h.Advance(time.Minute)
	}
	end(engine.Actor{Kind: engine.ActorMachine, Name: testMachine})
	if held := h.ask("GET", "/exports/x", ""); held.body != first.body || !h.server.exports.Of("x").Held.Load() {
		t.Fatalf("a list of %d bytes after one of %d", len(held.body), len(first.body))
	}
	for _, words := range []string{"?ipv4only", "?page=1&page_size=2000"} {
		if got := h.ask("GET", "/exports/x"+words, ""); got.body == "" {
			t.Errorf("%s: an empty list is served instead of the one that is held", words)
		}
	}
	h.must(h.ChangeExport(t.Context(), "x", func(x *engine.Export) error {
		x.UpdatedAt, x.Secrets = x.UpdatedAt+1, []engine.ExportSecret{{Hash: sha512.Sum512([]byte("another secret of this list")), At: 1}}
		return nil
	}))
	if held := h.ask("GET", "/exports/x", ""); held.body != first.body {
		t.Fatalf("another secret lets a list of %d bytes go", len(held.body))
	}
	h.must(h.ChangeExport(t.Context(), "x", func(x *engine.Export) error { x.UpdatedAt++; return nil }))
	if got := h.ask("GET", "/exports/x", ""); got.body != "" || got.status != 200 {
		t.Fatalf("after an edit: %d, %d bytes", got.status, len(got.body))
	}
	h.banMany(3000)
	h.Advance(time.Minute)
	if got := h.ask("GET", "/exports/x", ""); got.body == "" {
		t.Fatal("nothing is banned")
	}
	end(engine.Actor{Kind: engine.ActorOperator, Name: "root"})
	if got := h.ask("GET", "/exports/x", ""); got.body != "" {
		t.Fatalf("an operator's deletion is held back: %d bytes", len(got.body))
	}
}

// Beside each list are its digests, for devices that look at them before they pull.
func TestExportSums(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		h := newHouse(t, nil)
		h.ban("192.0.2.1", "2001:db8::1")
		open := func(x *engine.Export) { x.Auth = engine.ExportNone }
		h.addExport("edge.txt", func(x *engine.Export) { x.Path = "/lists/edge"; open(x) })
		h.addExport("other", open)
		h.addExport("other.md5", func(x *engine.Export) { x.Family = engine.IPv6; open(x) })
		h.addExport("shut", nil)
		for _, c := range []struct{ list, sum string }{
			{"/exports/edge.txt", "/exports/edge.txt.md5"}, {"/exports/edge.txt", "/exports/edge.txt.sha256"}, {"/exports/edge.txt?ipv4only", "/exports/edge.txt.md5?ipv4only"},
			{"/lists/edge", "/lists/edge.sha256"}, {"/exports/other", "/exports/other.sha256"}, {"/exports/other.md5", "/exports/other.md5.md5"},
		} {
			list, sum := h.ask("GET", c.list, "", "Accept-Encoding: gzip"), h.ask("GET", c.sum, "", "Accept-Encoding: gzip", "If-None-Match: *")
			r, err := gzip.NewReader(strings.NewReader(list.body))
			h.must(err)
			body, err := io.ReadAll(r)
			h.must(err)
			want := fmt.Sprintf("%x\n", md5.Sum(body))
			if strings.Contains(c.sum, "sha256") {
				want = fmt.Sprintf("%x\n", sha256.Sum256(body))
			}
			h.wants(sum, 200, want)
		}
		h.wants(h.ask("GET", "/exports/other.md5", ""), 200, "2001:db8::1\n")
		for path, status := range map[string]int{"/exports/shut.md5": 401, "/exports/.md5": 404, "/exports/nothing.md5": 404, "/exports/edge.txt.md5.md5": 404, "/lists/edge.sha1": 404, "/.md5": 404} {
			if got := h.ask("GET", path, ""); got.status != status {
				t.Errorf("%s: %d", path, got.status)
			}
		}
	})
}

// TestNothingIsAllocatedByUnchangedLists: a device that has the list costs no allocation on a loop.
func TestNothingIsAllocatedByUnchangedLists(t *testing.T) {
	h := newHouse(t, nil)
	h.banMany(2000)
	h.addExport("open", func(x *engine.Export) { x.Auth = engine.ExportNone })
	h.addExport("basic", nil)
	h.addExport("timed", func(x *engine.Export) { x.Auth, x.Format = engine.ExportNone, "ipset" })
	for name, header := range map[string]string{"open": "", "basic": "Authorization: " + basic("edge", exportSecret) + "\r\n", "timed": ""} {
		first := h.ask("GET", "/exports/"+name, "", "Accept-Encoding: gzip", "Authorization: "+basic("edge", exportSecret))
		if first.status != 200 {
			t.Fatalf("%s: %d", name, first.status)
		}
		answer := h.onLoop("GET /exports/" + name + " HTTP/1.1\r\nHost: x\r\nUser-Agent: device/1.0\r\nAccept-Encoding: gzip\r\n" + header + "If-None-Match: " + first.header.Get("Etag") + "\r\n\r\n")
		if out, done := answer(); !done || !strings.HasPrefix(string(out), "HTTP/1.1 304 Not Modified\r\nDate: ") || !strings.Contains(string(out), "\r\nEtag: ") || !strings.HasSuffix(string(out), "no-cache\r\n\r\n") {
			t.Errorf("%s on a loop: %v %s", name, done, out)
		}
		if n := testing.AllocsPerRun(200, func() { answer() }); n != 0 && !raced {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// lines are names and values as lines of a head.
func lines(header []string) (list []string) {
	for i := 0; i+1 < len(header); i += 2 {
		list = append(list, header[i]+": "+header[i+1])
	}
	return list
}
