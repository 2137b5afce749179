package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestDocsVerb: every page is listed with a line and shown, set for a terminal; what is asked for
// and is not there is answered with what is near.
func TestDocsVerb(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	var listed []struct{ Topic, Title, About string }
	if r := s.do("", "docs", "-o", "json"); json.Unmarshal([]byte(r.out), &listed) != nil || r.exit != exitGood {
		t.Fatalf("%+v", r)
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(listed) != len(pages) {
		t.Errorf("%d pages, %d are listed (%v)", len(pages), len(listed), err)
	}
	list := s.do("", "docs").out
	for _, p := range listed {
		if p.Title == "" || p.About == "" || strings.ContainsAny(p.Title, "\n#|`[") || strings.ContainsAny(p.About, "\n#|") {
			t.Errorf("%+v", p)
		}
		if !strings.Contains(list, p.Topic+" ") || !strings.Contains(list, " "+p.Title+"\n") {
			t.Errorf("%s is not in\n%s", p.Topic, list)
		}
		text := fileOf(t, "docs/"+p.Topic+".md")
		if r := s.do("", "docs", p.Topic, "-o", "raw"); r.out != text {
			t.Errorf("%s -o raw: %+v", p.Topic, r)
		}
		r := s.do("", "docs", p.Topic)
		if r.exit != exitGood || r.err != "" || !strings.HasPrefix(r.out, strings.ToUpper(p.Title)+"\n") {
			t.Errorf("%s: %+v", p.Topic, r)
		}
		for line := range strings.Lines(r.out) {
			if wide := utf8.RuneCountInString(line) - 1; wide > 100 && !strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "```") || strings.Contains(line, "](") {
				t.Errorf("%s: %q", p.Topic, line)
			}
		}
	}
	s.steps([]step{
		{"docs push.md", exitGood, "~BOUNCERS THAT HEAR AT ONCE\n", ""},
		{"docs exprts", exitFails, "", "Error: lapid docs: there is no topic \"exprts\"; did you mean exports?\n"},
		{"docs bouncer", exitFails, "", "~write-a-bouncer"},
		{"docs _", exitFails, "", "~there are "},
		{"docs zzzz", exitFails, "", "~moving-in, "},
	})
}

// TestHealth: the verb asks what clients ask, over what they use, and believes no other.
func TestHealth(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	h.expect(h.do("", "health"), exitFails, "", "~nothing answers on http://127.0.0.1:")
	a := newAuthority(t, h.dir)
	tls := fmt.Sprintf("cert_file: %s, key_file: %s", a.cert, a.key)
	write(t, h.dir, "config.yaml.local", "api: {server: {tls: {"+tls+", client_verification: RequireAndVerifyClientCert}}}\n")
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	url := fmt.Sprintf("https://127.0.0.1:%d/health", h.port)
	for _, c := range []struct {
		local     string
		exit      int
		out, said string
	}{
		{"api: {server: {tls: {" + tls + ", client_verification: RequireAndVerifyClientCert}}}", exitGood, "up: " + h.dir + "/api.sock\n", ""},
		{"api: {server: {listen_uri: ''}}", exitGood, "up: " + h.dir + "/api.sock\n", ""},
		{"api: {server: {listen_socket: '', tls: {" + tls + "}}}", exitFails, "", "~certificate required"},
		{"api: {server: {tls: {cert_file: " + a.expired + ", key_file: " + a.key + "}}}", exitFails, "", "~another certificate than " + a.expired + " has"},
		{"api: {server: {tls: {cert_file: " + a.key + ", key_file: " + a.key + "}}}", exitFails, "", "~no certificate in it"},
		{"api: {server: {tls: {cert_file: /nowhere, key_file: " + a.key + "}}}", exitFails, "", "~/nowhere"},
		{"", exitFails, "", "~is no server of lapid's, or not well: status 4"},
		{fmt.Sprintf("api: {server: {listen_uri: '127.0.0.1:%d'}}", h.metrics), exitFails, "", "~is no server of lapid's, or not well: status 404"},
		{"api: {server: {listen_uri: '', listen_socket: ''}}", exitFails, "", "~no Local API to ask"},
	} {
		write(t, h.dir, "config.yaml.local", c.local)
		h.expect(h.do("", "health"), c.exit, c.out, c.said)
	}
	write(t, h.dir, "config.yaml.local", "api: {server: {listen_socket: "+filepath.Join(h.dir, "none.sock")+", listen_uri: ''}}")
	var said struct {
		Healthy      bool
		Asked, Error string
	}
	if r := h.do("", "health", "-o", "json"); r.exit != exitFails || json.Unmarshal([]byte(r.out), &said) != nil || said.Healthy || said.Error == "" {
		t.Errorf("%+v", r)
	}
	// With a certificate of a client in the credentials, over TLS.
	write(t, h.dir, "credentials.yaml", fmt.Sprintf("url: %s\nlogin: m\ncert_path: %s\nkey_path: %s\n", url, a.cert, a.key))
	write(t, h.dir, "config.yaml.local", "api: {server: {tls: {"+tls+", client_verification: RequireAndVerifyClientCert}}}\n")
	if r := h.do("", "health", "-o", "json"); json.Unmarshal([]byte(r.out), &said) != nil || said.Asked != url {
		t.Errorf("%+v", r)
	}
	if err := os.Remove(filepath.Join(h.dir, "config.yaml.local")); err != nil {
		t.Fatal(err)
	}
}
