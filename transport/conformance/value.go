package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A JSON value is nil, bool, json.Number, string, []any or *object.

// object is a JSON object that remembers the order of its keys: requests are sent in the order in
// which they were written down, since a server may complain about the first bad field only. When a
// key stands there twice, the last value counts, in the first one's place.
type object struct {
	keys   []string
	values map[string]any
}

// newObject is empty.
func newObject() *object {
	return &object{values: map[string]any{}}
}

// get is the value of a key, and whether it is there: null is a value.
func (o *object) get(key string) (any, bool) {
	v, ok := o.values[key]
	return v, ok
}

// set gives a key a value; a new key goes to the end.
func (o *object) set(key string, v any) {
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = v
}

// remove takes a key out; one that is not there is no fault.
func (o *object) remove(key string) {
	if _, ok := o.values[key]; !ok {
		return
	}
	delete(o.values, key)
	for i, k := range o.keys {
		if k == key {
			o.keys = append(o.keys[:i:i], o.keys[i+1:]...)
			return
		}
	}
}

// clone copies the object one level deep.
func (o *object) clone() *object {
	c := newObject()
	for _, k := range o.keys {
		c.set(k, o.values[k])
	}
	return c
}

// maxDepth bounds how deep lists and objects may lie in each other; a deeper text is an error.
const maxDepth = 1000

var errTooDeep = errors.New("JSON nested too deeply")

// decodeValue reads text as exactly one JSON value.
func decodeValue(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := readValue(d, 0)
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

// readValue reads the next value, at most maxDepth deep.
func readValue(d *json.Decoder, depth int) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, errTooDeep
	}
	switch tok {
	case json.Delim('['):
		return readList(d, depth+1)
	case json.Delim('{'):
		return readObject(d, depth+1)
	}
	return tok, nil
}

// readList reads up to the bracket that closes.
func readList(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		v, err := readValue(d, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.Token()
	return list, err
}

// readObject does the same with keys and values.
func readObject(d *json.Decoder, depth int) (any, error) {
	o := newObject()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := readValue(d, depth)
		if err != nil {
			return nil, err
		}
		o.set(key.(string), v)
	}
	_, err := d.Token()
	return o, err
}

// appendValue writes v as compact JSON, characters outside ASCII and HTML's own left as they are.
func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case []any:
		dst = append(dst, '[')
		for i, x := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, x)
		}
		return append(dst, ']')
	case *object:
		dst = append(dst, '{')
		for i, k := range v.keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendValue(dst, k), ':')
			dst = appendValue(dst, v.values[k])
		}
		return append(dst, '}')
	}
	return appendScalar(dst, v)
}

// appendScalar writes what is no list and no object.
func appendScalar(dst []byte, v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("BUG: %T is not a JSON value: %v", v, err))
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// short shows a value in a report: as JSON, or as bare text when it is long, cut after limit bytes.
func short(v any, limit int) string {
	text, isText := v.(string)
	if !isText || len(text) <= limit {
		text = string(appendValue(nil, v))
	}
	if len(text) <= limit {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", text[:limit], len(text))
}
