package verbs

import (
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/transport/admin"
)

// TestEarlyEnd: what is said of an import that ended early agrees with itself.
func TestEarlyEnd(t *testing.T) {
	t.Parallel()
	full := &engine.Error{Kind: engine.ErrDisk, Text: "the disk is full"}
	for _, c := range []struct {
		alerts []uint64
		cause  error
		want   string
	}{
		{nil, full, "API error: the disk is full: none of 30 decisions was stored"},
		{[]uint64{41, 42, 43, 45}, full, `API error: the disk is full: 20 of 30 decisions are stored, as alerts 41-43,45; "lapid -c F alerts delete --id 41-43,45" takes them back`},
		{[]uint64{7}, errors.New("broken pipe"), `broken pipe: 20 of 30 decisions at least are stored, as alerts 7; "lapid -c F alerts delete --id 7" takes them back`},
		{[]uint64{7}, ErrInterrupted, `interrupted: 20 of 30 decisions are stored, as alerts 7; "lapid -c F alerts delete --id 7" takes them back`},
	} {
		i := importing{alerts: c.alerts, stored: 20}
		err := i.endedEarly(c.cause, 30, "lapid -c F")
		if err.Error() != c.want || !errors.Is(err, c.cause) {
			t.Errorf("%v\nwant %s", err, c.want)
		}
	}
	file := write(t, t.TempDir(), "config.yaml", "config_paths: {data_dir: /x}\n")
	term := &Terminal{File: file, Env: func(string) (string, bool) { return "", false }}
	early := (&importing{alerts: []uint64{1}}).endedEarly(full, 3, "lapid")
	if text := term.Advice(early); !strings.HasPrefix(text, "Make room in ") {
		t.Error(text)
	}
	if text := term.Advice(full); !strings.HasPrefix(text, "Nothing was stored. Make room in ") {
		t.Error(text)
	}
}

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

func TestRanges(t *testing.T) {
	t.Parallel()
	for text, ids := range map[string][]uint64{"1": {1}, "1-3": {1, 2, 3}, "1,3": {1, 3}, "1-2,4,6-8": {1, 2, 4, 6, 7, 8}} {
		if got := ranges(ids); got != text {
			t.Errorf("%v: %s", ids, got)
		}
		if got, err := parseRanges(text); err != nil || !slices.Equal(got, ids) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "x", "3-1", "1-", "-1", "1,,2", "1-9999999", "0-5"} {
		if got, err := parseRanges(text); err == nil {
			t.Errorf("%q: %v", text, got)
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
		read, ok := formats[format]
		if !ok {
			return
		}
		places, complaints := 0, 0
		_ = read(strings.NewReader(text), &sink{
			entry: func(where place, e *listed) error {
				places++
				if where.n == 0 || e == nil {
					t.Error("an entry without a place")
				}
				return nil
			},
			complain: func(place, error) { complaints++ },
			strange:  func(string) {},
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
	long := strings.Repeat("x", maxLine-100)
	for text, bad := range map[string]bool{
		"value\n" + long + "\n" + long + "\n": false, "value\n" + long + long + "\n": true, "value\n\"" + long + "\"\n" + long: false,
		"value\n\"" + long + long + "\"\n": true, "value\n\"" + strings.Repeat("x\n", maxLine) + "\"\n": true,
	} {
		n := 0
		err := readCSV(strings.NewReader(text), &sink{entry: func(place, *listed) error { n++; return nil }, complain: func(where place, err error) { t.Error(where, err) }})
		if bad != errors.Is(err, errTooLong) || !bad && err != nil {
			t.Errorf("%d bytes: %d entries, %v", len(text), n, err)
		}
	}
	if err := readValues(strings.NewReader(long+long), &sink{entry: func(place, *listed) error { return nil }}); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
}

// TestBriefEntries: whatever flags and entries say, an entry without the words that it has
// in common with the first means what it meant.
func TestBriefEntries(t *testing.T) {
	t.Parallel()
	words := []string{"", "a", "b"}
	for _, flag := range words {
		for _, first := range words {
			for _, own := range words {
				i := importing{head: admin.ImportHead{Duration: flag, Reason: flag, Scope: flag, Type: flag}}
				i.first = i.whole(&listed{Item: admin.Item{Duration: first, Reason: first, Scope: first, Type: first, Value: "v"}})
				e := &listed{Item: admin.Item{Duration: own, Reason: own, Scope: own, Type: own, Value: "v", Again: true}}
				common := i.common()
				got := importing{head: admin.ImportHead{Duration: common.Duration, Reason: common.Reason, Scope: common.Scope, Type: common.Type}}
				if got, want := got.whole(&listed{Item: i.brief(e, &common)}), i.whole(e); got != want {
					t.Errorf("flag %q, first %q, entry %q: %+v, want %+v", flag, first, own, got, want)
				}
			}
		}
	}
}
