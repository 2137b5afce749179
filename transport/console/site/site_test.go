package site

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"
)

// vendored are the files of others, as they were published: what changes one changes its hash. The last line, which
// names a map for debuggers, is cut off of scripts.
var vendored = map[string]string{
	"htmx-4.0.1.min.js":    "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
	"htmx.LICENSE":         "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
	"uplot-1.6.32.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
	"uplot-1.6.32.min.js":  "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
	"uplot.LICENSE":        "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}

func TestVendoredFiles(t *testing.T) {
	t.Parallel()
	files, err := assets.ReadDir("assets/vendor")
	if err != nil || len(files) != len(vendored) {
		t.Errorf("%d files, %v", len(files), err)
	}
	for name, want := range vendored {
		body, err := assets.ReadFile("assets/vendor/" + name)
		sum := sha256.Sum256(body)
		if err != nil || hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s is another: %x, %v", name, sum, err)
		}
	}
}

// What scripts and styles may weigh, packed as they are sent: all scripts, our own, and everything. Packed they are the same.
const mostScripts, mostOwn, mostAssets = 60 << 10, 20 << 10, 80 << 10

func TestWeight(t *testing.T) {
	t.Parallel()
	scripts, own, every := 0, 0, 0
	for name, a := range allAssets().byName {
		z, err := gzip.NewReader(bytes.NewReader(a.Gzip))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := io.ReadAll(z); err != nil || !bytes.Equal(plain, a.Body) {
			t.Errorf("%s is another when it is packed: %v", name, err)
		}
		every += len(a.Gzip)
		if strings.HasSuffix(name, ".js") {
			scripts += len(a.Gzip)
		}
		if strings.HasPrefix(name, "app.") {
			own += len(a.Gzip)
		}
	}
	if scripts > mostScripts || own > mostOwn || own == 0 || every > mostAssets {
		t.Errorf("scripts weigh %d bytes, %d of them our own, and all assets %d: at most %d, %d and %d", scripts, own, every, mostScripts, mostOwn, mostAssets)
	}
}

// Nothing in a page is a script or a style of its own, and nothing is fetched from elsewhere: the policy would refuse it.
func TestTemplatesFitThePolicy(t *testing.T) {
	t.Parallel()
	for _, name := range append([]string{"layout", "parts"}, pageNames...) {
		body, err := templates.ReadFile("templates/" + name + ".html")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ToLower(string(body))
		for _, bad := range []string{"<style", " style=", " onclick=", " onsubmit=", "javascript:", "hx-on", "//cdn", "http://", "https://", "<script>"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s.html has %q in it", name, bad)
			}
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	p := &Page{Now: time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC), Zone: time.UTC}
	at := func(d time.Duration) time.Time { return p.Now.Add(d) }
	for got, want := range map[string]string{
		Count(7): "7", Count(1234): "1234", Count(12345): "12\u202f345", Count(-1234567): "−1\u202f234\u202f567", Count("x"): "x",
		Bytes(17): "17 bytes", Bytes(2048): "2.0 KiB", Bytes(int64(5) << 30): "5.0 GiB",
		ago(p, at(-90*time.Second)): "1 min 30 s ago", ago(p, at(0)): "now", ago(p, at(26*time.Hour)): "in 1 d 2 h", ago(p, int64(0)): "never",
		left(p, at(4*time.Hour)): "4 h", left(p, at(-time.Hour)): "over", left(p, nil): "no end",
		lasts("4h0m0s"): "4 h", lasts("-1s"): "over", lasts("1h2m3s"): "1 h 2 min", lasts("forever"): "forever",
		stamp(p, p.Now): "2026-07-01 10:00:00", stamp(p, "nonsense"): "nonsense", clip(4, "abcdef"): "abc…", clip(4, "abcd"): "abcd",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What turns the order of letters round is told, and what a form sends back is not changed.
func TestUnseenIsShown(t *testing.T) {
	t.Parallel()
	text, err := New("/x", "").Render(&Page{Name: "secret", Title: "a\u202eb\x1b", Who: "w", Data: map[string]string{"What": "\u2028", "Name": "n", "Label": "l", "Secret": "s", "Hint": "h", "Back": "/"},
		Notices: []Notice{{Text: "t", Undo: &Form{Action: "/a", Label: "u", Fields: [][2]string{{"k", "v\u202e"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`a\u202eb\u001b`, "<h1>\\u2028</h1>", "value=\"v\u202e\"", `action="/x/a"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
}

// What cannot be seen is shown, in time that goes by the length of a page; a field keeps it.
func TestVisible(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"<p>a\u200bb</p>":                       `<p>a\u200bb</p>`,
		"<input value=\"a\u200bb\"> \u202e":     "<input value=\"a\u200bb\"> " + `\u202e`,
		"<i title=\"\u200b\"><b value=\"\u200b": `<i title="\u200b"><b value="` + "\u200b",
		"\tplain\n":                             "\tplain\n",
	} {
		if got := string(visible([]byte(text))); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	many := "<pre tabindex=\"0\">" + strings.Repeat("\u200b", 300_000)
	if got := string(visible([]byte(many))); len(got) != len("<pre tabindex=\"0\">")+6*300_000 {
		t.Errorf("%d bytes", len(got))
	}
}
