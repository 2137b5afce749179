package inputs

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestEachKey(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`: "", `{"a":1}`: "a", `{"a" : "b", "c":{"d":"e"},"f":["g:",{"h":1}],"i\"j":": \"k\":"}`: `a c f i\"j`, `"a"`: "", `["a",{"b":1}]`: "", `{"a":":"}`: "a",
	} {
		var got []string
		eachKey([]byte(text), func(key []byte) { got = append(got, string(key)) })
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// FuzzImport: no input makes a reader panic or go on for ever, and every item
// it yields has a place.
func FuzzImport(f *testing.F) {
	f.Add("csv", "value,duration\n1.1.1.1,1h\n\"a,b\n")
	f.Add("json", `[{"value":"1.1.1.1"},{"value":7}]`)
	f.Add("values", "1.1.1.1\n\n2.2.2.2")
	f.Add("ndjson", "{\"value\":\"1.1.1.1\"}\n# c\n{\"decisions\":[{\"value\":\"2.2.2.2\"}]}\nx")
	f.Add("csv", "# c\nvalue\n1.1.1.1 # x\n#\n")
	f.Add("json", "# c\n[\n# d\n{\"value\":\"1.1.1.1\"}] x")
	f.Fuzz(func(t *testing.T, format, text string) {
		read, ok := Formats[format]
		if !ok {
			return
		}
		places, complaints := 0, 0
		_ = read(strings.NewReader(text), &Sink{
			Entry: func(where Place, e *Entry) error {
				places++
				if where.n == 0 || e == nil {
					t.Error("an entry without a place")
				}
				return nil
			},
			Complain: func(Place, error) { complaints++ },
			Strange:  func(string) {},
		})
		if places+complaints > len(text)+1 {
			t.Errorf("%d items and %d complaints about %d bytes", places, complaints, len(text))
		}
	})
}

// FuzzCSV: records without quotes, which are cut by commas, are those of encoding/csv, and so is what comes
// behind the first quote, with the same lines and the same errors.
func FuzzCSV(f *testing.F) {
	for _, text := range []string{
		"", "a,b\n1,2\n", "a\r\n\r\n# c\n #d\n1\r", "\n\na , b,\n,,\n", "a\n\"b\nc\",d\ne\n", "a\nb\"c\nd\n", "#\"\na\n\"b\"\"\n,\"c\"\r\n\"", "a\n\n \"b\" \n\"c", "\r", "\r\r\n", "a\rb\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want := csv.NewReader(strings.NewReader(text))
		want.TrimLeadingSpace, want.FieldsPerRecord, want.Comment = true, -1, '#'
		got := newCSVReader(strings.NewReader(text))
		for {
			record, err := want.Read()
			mine, failed := got.next()
			if fmt.Sprint(trimmed(mine)) != fmt.Sprint(trimmed(record)) && err == nil {
				t.Fatalf("%q, want %q", mine, record)
			}
			var wrong, mineWrong *csv.ParseError
			switch {
			case errors.As(err, &wrong):
				if !errors.As(failed, &mineWrong) || wrong.Err != mineWrong.Err || got.line != wrong.Line {
					t.Fatalf("line %d: %v, want %v", got.line, failed, err)
				}
				continue
			case err != nil || failed != nil:
				if !errors.Is(err, failed) {
					t.Fatalf("%v, want %v", failed, err)
				}
				return
			}
			if line, _ := want.FieldPos(0); line != got.line {
				t.Fatalf("%q: line %d, want %d", mine, got.line, line)
			}
		}
	})
}

func trimmed(record []string) (out []string) {
	for _, field := range record {
		out = append(out, fmt.Sprintf("%q", strings.TrimSpace(field)))
	}
	return out
}

// TestLongLines: a line may be so long and no longer, also behind one with a quote.
func TestLongLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxLine-100)
	for text, bad := range map[string]bool{
		"value\n" + long + "\n" + long + "\n": false, "value\n" + long + long + "\n": true, "value\n\"" + long + "\"\n" + long: false,
		"value\n\"" + long + long + "\"\n": true, "value\n\"" + strings.Repeat("x\n", MaxLine) + "\"\n": true,
	} {
		n := 0
		err := readCSV(strings.NewReader(text), &Sink{Entry: func(Place, *Entry) error { n++; return nil }, Complain: func(where Place, err error) { t.Error(where, err) }})
		if bad != errors.Is(err, ErrTooLong) || !bad && err != nil {
			t.Errorf("%d bytes: %d entries, %v", len(text), n, err)
		}
	}
	if err := readValues(strings.NewReader(long+long), &Sink{Entry: func(Place, *Entry) error { return nil }}); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
}

// TestSuggestions: a suggestion is close, and nothing far is suggested.
func TestSuggestions(t *testing.T) {
	t.Parallel()
	words := []string{"listen_uri", "listen_socket", "log_level", "tls"}
	for word, want := range map[string]string{"listen_url": "listen_uri", "lisetn_uri": "listen_uri", "tsl": "tls",
		"loglevel": "log_level", "LISTEN_URI": "listen_uri", "database": "", "x": ""} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}
