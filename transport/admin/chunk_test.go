package admin

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// A chunk that is read value by value is what encoding/json makes of it.
func TestChunkIsReadAsJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `null`, `{}`, `{"Items":null}`, `{"Items":[]}`, ` { "items" : [ { "v" : "1.2.3.4" } ] , "dry" : true } `,
		`{"Machine":"m","Source":"s","Scope":"ip","Type":"ban","Duration":"4h","Reason":"r","Items":[{"v":"1.2.3.4","s":"ip","t":"t","d":"1h","r":"q","a":true},{"v":"2001:db8::"}],"Batch":"b","First":true,"Dry":true}`,
		`{"Items":[{"v":"\u00fc\n"}],"Items":[{"v":"2"}]}`,
		`{"Items":[{"v":1}]}`, `{"Items":[{"x":"1"}]}`, `{"Items":{}}`, `{"Items":[{"v":"1"}`, `{"Items":[{"v":"1"}]`, `{"Items":[1]}`,
		`{"Item":[]}`, `{"Machine":1}`, `[]`, `7`, `"a"`, `{`, `{"Dry":"yes"}`, `{"Items":[{"v":"1"},]}`, `{"a`, `}`,
	} {
		want, got := new(Chunk), new(Chunk)
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		failed := d.Decode(want)
		if text == "" {
			failed = nil
		}
		err := readChunk(strings.NewReader(text), got, func(int) {})
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
}

// Every field of a chunk has its place.
func TestChunkHasAllFields(t *testing.T) {
	t.Parallel()
	kind := reflect.TypeFor[Chunk]()
	q := new(Chunk)
	for i := range kind.NumField() {
		name := kind.Field(i).Name
		if name != "Items" && q.field(name) != reflect.ValueOf(q).Elem().Field(i).Addr().Interface() {
			t.Errorf("%s is not read", name)
		}
	}
}

// A chunk is read in stretches of one value.
func TestChunkIsReadInStretches(t *testing.T) {
	t.Parallel()
	sent := Chunk{Items: make([]Item, 20_000)}
	body, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	paced := 0
	if err := readChunk(strings.NewReader(string(body)), new(Chunk), func(i int) {
		if i != paced {
			t.Fatalf("value %d follows %d", i, paced-1)
		}
		paced++
	}); err != nil || paced != len(sent.Items) {
		t.Errorf("%d stretches for %d values: %v", paced, len(sent.Items), err)
	}
}

func BenchmarkReadChunk(b *testing.B) {
	q := Chunk{Source: "list.csv", Scope: "ip", Type: "ban", Duration: "24h", Items: make([]Item, 10_000)}
	for i := range q.Items {
		q.Items[i].Value = "192.0.2." + string(rune('0'+i%10))
	}
	body, err := json.Marshal(q)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("at once", func(b *testing.B) {
		for b.Loop() {
			d := json.NewDecoder(strings.NewReader(string(body)))
			d.DisallowUnknownFields()
			if err := d.Decode(new(Chunk)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one by one", func(b *testing.B) {
		for b.Loop() {
			if err := readChunk(strings.NewReader(string(body)), new(Chunk), func(int) {}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
