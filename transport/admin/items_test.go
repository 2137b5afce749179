package admin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// readAs reads a line as encoding/json does, with unknown fields refused.
func readAs(text string) (*itemLine, error) {
	into := new(itemLine)
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	return into, err
}

// sameLine fails when a line is not read as encoding/json reads it.
func sameLine(t *testing.T, text string) {
	t.Helper()
	want, failed := readAs(text)
	got := new(itemLine)
	_, err := newItemLines(strings.NewReader(text), func(int) {}).read(got)
	if (err == nil) != (failed == nil) {
		t.Errorf("%s: %v, want %v", text, err, failed)
	}
	if len(want.Items) == 0 && len(got.Items) == 0 {
		want.Items, got.Items = nil, nil
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, want %+v", text, got, want)
	}
}

// linesOfItems are lines in all forms.
var linesOfItems = []string{
	`null`, `{}`, `{"Items":null}`, `{"Items":[]}`, ` { "items" : [ { "v" : "1.2.3.4" } ] , "end" : true } `,
	`{"Items":[{"v":"1.2.3.4","s":"ip","t":"t","d":"1h","r":"q","a":true},{"v":"2001:db8::"}]}`, `{"End":true,"Count":7}`,
	`{"Items":[{"v":"\u00fc\n"}]}`, `{"Items":[{"v":"ü"}]}`, `{"Items":[{"V":"1"}]}`, `{"Items":[{"v":"1","v":"2","a":true,"a":true}]}`,
	`{"Items":[{"v":1}]}`, `{"Items":[{"x":"1"}]}`, `{"Items":{}}`, `{"Items":[{"v":"1"}`, `{"Items":[{"v":"1"}]`, `{"Items":[1]}`,
	`{"Item":[]}`, `{"Count":"1"}`, `[]`, `7`, `"a"`, `{`, `{"End":"yes"}`, `{"Items":[{"v":"1"},]}`, `{"a`, `}`,
	`{"Items":[}`, `{"Items":[}]}`, `{"Items":[{}]}`, `{"Items":[{}`, `{"Items":[{"v":"1"{"t":"2"}]}`, `{"Items":[{"v":"1","t":"2"]}`, `{"Items":[{"v":"1"},{"t":"2"}]}`,
	`{"Items":[{"a":true}]}`, `{"Items":[{"a":true`, `{"Items":[{"a":false}]}`, `{"Items":[{"a":truer}]}`, `{"Items":[{"v":"1\"}]}`,
	`{"Items":[{"v":"1"};{"v":"2"}]}`, `{"Items":[{,"v":"1"}]}`, `{"Items":[{"v":"1",}]}`, `{"Items":[{"v":"`, `{"Items":[{"v":"1"`, `{"Items":[{"v":`, `{"Items":[{"`, `{"Items":[{"v":"1"},`,
}

// A line is what encoding/json makes of it.
func TestItemsAreReadAsJSON(t *testing.T) {
	t.Parallel()
	for _, text := range linesOfItems {
		sameLine(t, text)
	}
}

// FuzzItems: any line is what encoding/json makes of it; what follows the value is looked at by neither.
func FuzzItems(f *testing.F) {
	for _, text := range linesOfItems {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text, _, _ = strings.Cut(text, "\n"); strings.TrimSpace(text) == "" || strings.Count(text, `"Items"`) > 1 {
			return
		}
		sameLine(t, strings.TrimSuffix(text, "\r"))
	})
}

// What is written is read again, whatever texts it has, and in lines of a bounded length.
func TestValuesAreWritten(t *testing.T) {
	t.Parallel()
	var sent []Item
	for i, text := range []string{"192.0.2.1", "", "ü", "\"", "a\\b", "<&>", "\x7f\x01\n", "\u2028", strings.Repeat("x", 300)} {
		sent = append(sent, Item{Value: text, Again: i%2 == 0}, Item{Value: text, Scope: text, Type: text, Duration: text, Reason: text})
	}
	for i := range 2*ListItems + 1 {
		sent = append(sent, Item{Value: fmt.Sprint(i)})
	}
	var out bytes.Buffer
	v := &Values{out: bufio.NewWriter(&out)}
	for i := range sent {
		if err := v.Add(&sent[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.end(); err != nil || v.out.Flush() != nil {
		t.Fatal(err)
	}
	var got itemLine
	paced := 0
	lines := newItemLines(&out, func(i int) {
		if paced++; i >= ListItems {
			t.Fatalf("value %d of a line", i)
		}
	})
	for !got.End {
		if size, err := lines.read(&got); err != nil || size > 2*lineAtLeast {
			t.Fatal(size, err)
		}
	}
	if got.Count != len(sent) || !reflect.DeepEqual(got.Items, sent) || paced < len(sent) {
		t.Errorf("%d of %d values, %d of them paced", len(got.Items), len(sent), paced)
	}
	if _, err := lines.read(&got); err != io.EOF {
		t.Error(err)
	}
}

// A line is read in stretches of one value, also by encoding/json.
func TestItemsAreReadInStretches(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"1", "ü"} {
		sent := itemLine{Items: make([]Item, 20_000)}
		for i := range sent.Items {
			sent.Items[i].Value = value
		}
		body, err := json.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		paced, tried := 0, 0
		if _, err := newItemLines(bytes.NewReader(body), func(i int) {
			if i == 0 && paced > 0 {
				paced, tried = 0, tried+1 // it was not plain
			}
			if i != paced {
				t.Fatalf("value %d follows %d", i, paced-1)
			}
			paced++
		}).read(new(itemLine)); err != nil || paced != len(sent.Items) || tried > 1 {
			t.Errorf("%d stretches for %d values: %v", paced, len(sent.Items), err)
		}
	}
}

// Reading plain values allocates nothing but the text of the line.
func TestItemsAreReadInPlace(t *testing.T) {
	var line []byte
	for i := range 500 {
		line = appendItem(append(line, ','), &Item{Value: fmt.Sprint("192.0.2.", i), Type: "ban", Duration: "24h"})
	}
	text := itemsBegin + string(line[1:]) + itemsEnd
	room := make([]Item, 0, 500)
	if n := testing.AllocsPerRun(10, func() {
		if items, ok := plainItems(room, text, func(int) {}); !ok || len(items) != 500 {
			t.Fatal("it was not read")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkReadItems(b *testing.B) {
	var out bytes.Buffer
	v := &Values{out: bufio.NewWriter(&out)}
	const n = 10_000
	for i := range n {
		if err := v.Add(&Item{Value: fmt.Sprintf("192.0.2.%d", i%256), Type: "captcha", Duration: "30h36m0s", Reason: "crowdsecurity/http-bf"}); err != nil {
			b.Fatal(err)
		}
	}
	if err := v.end(); err != nil || v.out.Flush() != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		into := itemLine{Items: make([]Item, 0, n)}
		for lines := newItemLines(bytes.NewReader(out.Bytes()), func(int) {}); !into.End; {
			if _, err := lines.read(&into); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/value")
}
