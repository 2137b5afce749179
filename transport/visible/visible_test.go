package visible

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                          "",
		"plain text, é, 日本, \\x":    "plain text, é, 日本, \\x",
		"🚫 ✔️ ⚠️ 1️⃣ e\u0301":       "🚫 ✔️ ⚠️ 1️⃣ e\u0301",
		"a\ufe0f\u2714\ufe0f\ufe0f": `a\ufe0f` + "✔️" + `\ufe0f`,
		"\x1b[31mred\x07":           `\x1b[31mred\a`,
		"a\nb\tc\rd\x00\x7f":        `a\nb\tc\rd\x00\x7f`,
		"\u009b31m\u0085":           `\u009b31m\u0085`,
		"\xff\xc3":                  `\xff\xc3`,
		"\u202eabc\u2066\u2069":     `\u202eabc\u2066\u2069`,
		"\u200e\u200f\u061c":        `\u200e\u200f\u061c`,
		"a\u200bb\u200d\ufeff":      `a\u200bb\u200d\ufeff`,
		"\u00ad\u2028\u3164\u115f":  `\u00ad\u2028\u3164\u115f`,
		"\U000e0041\u2800\u00a0":    `\U000e0041\u2800\u00a0`,
		"\ue000":                    `\ue000`,
		"\ufffd":                    "\ufffd",
	} {
		if got := Text(in); got != want {
			t.Errorf("%+q is shown as %q, want %q", in, got, want)
		}
		if got := string(AppendText([]byte("x"), []byte(in))); got != "x"+want {
			t.Errorf("%+q is appended as %q, want %q", in, got, want)
		}
	}
	if got, want := Lines("a\n\tb\r\x1b"), "a\n\tb"+`\r\x1b`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestWriterForms: what leaves means the same in JSON, and is unchanged where
// no more was asked for, however the bytes are cut into writes.
func TestWriterForms(t *testing.T) {
	t.Parallel()
	text := "a\u009b\u202e\U000e0041é\x7f\u200b日"
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1; size <= 5; size++ {
		if got := through(ForJSON, b, size); !json.Valid([]byte(got)) || !clean(got) {
			t.Errorf("in steps of %d: %q", size, got)
		} else {
			var back string
			if err := json.Unmarshal([]byte(got), &back); err != nil || back != text {
				t.Errorf("in steps of %d: %q comes back as %+q", size, got, back)
			}
		}
		if got := through(AsIs, []byte(text), size); got != text {
			t.Errorf("in steps of %d: %+q", size, got)
		}
		if got := through(ForPeople, []byte(text+"\xe6\x97"), size); got != Text(text+"\xe6\x97") {
			t.Errorf("in steps of %d: %+q", size, got)
		}
	}
}

func through(form Form, text []byte, size int) string {
	var out bytes.Buffer
	w := NewWriter(&out, As(form))
	for len(text) > 0 {
		n := min(size, len(text))
		_, _ = w.Write(text[:n])
		text = text[n:]
	}
	_ = w.Flush()
	return out.String()
}

func clean(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !Shown(r) && r != '\n' && r != '\t' }) < 0
}

// FuzzText: nothing that is not seen is left, and what is seen stays.
func FuzzText(f *testing.F) {
	f.Add("a\x1b\u202e\xff\ufe0f✔️")
	f.Fuzz(func(t *testing.T, s string) {
		got := Text(s)
		if !clean(got) || strings.ContainsAny(got, "\n\t") {
			t.Fatalf("%+q gives %+q", s, got)
		}
		if again := Text(got); again != got {
			t.Fatalf("%+q gives %+q, and that %+q", s, got, again)
		}
		if through(ForPeople, []byte(s), 3) != Lines(s) {
			t.Fatalf("%+q: in pieces %+q, at once %+q", s, through(ForPeople, []byte(s), 3), Lines(s))
		}
	})
}

// Two texts never have the same label, and what is plain stays as it is.
func TestLabel(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "fw@10.0.0.1": "fw@10.0.0.1", `DOMAIN\host`: `DOMAIN\host`, `ends\`: `ends\`, "é": "é",
		"a\nb": `a\nb`, `a\nb`: `a\\nb`, "a\\\nb": `a\\\nb`, "\x1b[31m": `\x1b[31m`, `\x1b[31m`: `\\x1b[31m`, "\xff": `\xff`,
	} {
		if got := Label(in); got != want {
			t.Errorf("%+q: %q, want %q", in, got, want)
		}
	}
	seen := map[string]string{"": ""}
	texts := []string{""}
	for range 5 {
		var longer []string
		for _, text := range texts {
			for _, c := range []string{`\`, "n", "x", "01", "\n", "\x01", "é", "\xff", "\u200b"} {
				longer = append(longer, text+c)
			}
		}
		for _, text := range longer {
			l := Label(text)
			if other, there := seen[l]; there && other != text {
				t.Fatalf("%+q and %+q are both %q", text, other, l)
			}
			seen[l] = text
		}
		texts = longer
	}
}
