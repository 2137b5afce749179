package transport

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lapid/transport/openapi"
	"lapid/transport/openapi/openapitest"
)

// TestRoutesAreDescribed holds the table and the description to each other, both ways.
func TestRoutesAreDescribed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	described := map[string]bool{}
	for _, o := range openapitest.New(t, "admin", "metrics").Operations() {
		described[o.String()] = true
	}
	for i := range h.server.routes.lines {
		line := &h.server.routes.lines[i]
		if line.path == "" || line.method == anyMethod {
			continue // of what matches none; and of what is said of all methods where GET is described
		}
		name := line.method + " " + line.path
		if !described[name] {
			t.Errorf("%s is not in transport/openapi/openapi.yaml: describe it there", name)
		}
		delete(described, name)
	}
	for name := range described {
		t.Errorf("%s is described, and there is no such route", name)
	}
}

// TestDescription: who gets the description of the API, how often it is sent, and under which head.
func TestDescription(t *testing.T) {
	t.Parallel()
	bothWays(t, testDescription)
}

// plain has Go's client ask for nothing packed.
const plain = "Accept-Encoding: identity"

func testDescription(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	c := openapitest.New(t, "admin", "metrics")
	for _, f := range openapi.Files() {
		got := h.ask("GET", f.Path, "", plain)
		if got.status != http.StatusOK || got.header.Get("Content-Type") != f.Type || got.header.Get("ETag") != f.Tag || got.body != string(f.Body) {
			t.Errorf("%s: %d %v, %d bytes of %d", f.Path, got.status, got.header, len(got.body), len(f.Body))
		}
		if got.header.Get("Content-Security-Policy") != f.Policy || got.header.Get("Access-Control-Allow-Origin") != map[bool]string{true: "*"}[f.Shared] {
			t.Errorf("%s: %v", f.Path, got.header)
		}
		packed := h.ask("GET", f.Path, "", "Accept-Encoding: gzip")
		r, err := gzip.NewReader(strings.NewReader(packed.body))
		if err != nil || packed.header.Get("Content-Encoding") != "gzip" || packed.header.Get("ETag") != f.PackedTag || packed.header.Get("Vary") != "Accept-Encoding" {
			t.Fatalf("%s packed: %v %v", f.Path, err, packed.header)
		}
		if text, err := io.ReadAll(r); err != nil || !bytes.Equal(text, f.Body) {
			t.Errorf("%s packed: %v, %d bytes of %d", f.Path, err, len(text), len(f.Body))
		}
		for _, tag := range []string{f.Tag, f.PackedTag, "W/" + f.Tag, `"x", ` + f.Tag} {
			if got := h.ask("GET", f.Path, "", plain, "If-None-Match: "+tag); got.status != http.StatusNotModified || len(got.body) > 0 || got.header.Get("ETag") == "" {
				t.Errorf("%s with the tag %s: %d, %d bytes", f.Path, tag, got.status, len(got.body))
			}
		}
		for _, x := range []reply{got, h.ask("GET", f.Path, "", plain, "If-None-Match: "+f.Tag)} {
			for _, problem := range c.Answer(&openapitest.Exchange{Method: "GET", Target: f.Path, Status: x.status, Header: x.header, Body: []byte(x.body)}) {
				t.Error(problem)
			}
		}
		if got := h.ask("POST", f.Path, ""); got.status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", f.Path, got.status)
		}
	}
}

// TestDescriptionForFew: with credentials, and not at all.
func TestDescriptionForFew(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.Description = openapi.Authenticated })
	off := newHouse(t, func(b *build) { b.server.Description = openapi.Off })
	for _, path := range openapi.Paths {
		if got := h.ask("GET", path, ""); got.status != http.StatusForbidden {
			t.Errorf("%s without a key: %d", path, got.status)
		}
		if got := h.asBouncer("GET", path); got.status != http.StatusOK || got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s with a key: %d %v", path, got.status, got.header)
		}
		if got := off.ask("GET", path, ""); got.status != http.StatusNotFound || len(got.body) > 0 {
			t.Errorf("%s where it is off: %d %q", path, got.status, got.body)
		}
	}
	if off.server.routes.line("GET", healthPath) == nil || slices.ContainsFunc(off.server.routes.lines, func(l tableLine) bool { return strings.HasPrefix(l.path, "/openapi") }) {
		t.Error("the table of a server whose description is off has its lines")
	}
}

// TestStreamIsDescribed: what recorded cases cannot ask for, since they keep nothing of a head: the
// delta behind an ETag, and none.
func TestStreamIsDescribed(t *testing.T) {
	t.Parallel()
	h, c := newHouse(t, nil), openapitest.New(t)
	const path = "/v1/decisions/stream"
	tag := ""
	for i, want := range []int{http.StatusOK, http.StatusNotModified, http.StatusOK} {
		if i == 2 {
			h.ban("192.0.2.7")
		}
		var headers []string
		if tag != "" {
			headers = append(headers, "If-None-Match: "+tag)
		}
		got := h.asBouncer("GET", path, headers...)
		if tag = got.header.Get("ETag"); got.status != want || tag == "" {
			t.Errorf("poll %d: %d %v, want %d", i, got.status, got.header, want)
		}
		for _, problem := range c.Answer(&openapitest.Exchange{Method: "GET", Target: path, Status: got.status, Header: got.header, Body: []byte(got.body)}) {
			t.Error(problem)
		}
	}
}
