package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Override puts fields of a JSON object over those of an alert: what is an object is merged,
// a list takes the place of the other. Names are those of the wire (events_count), or the
// field's without their lines (eventscount). Those that an alert has not are returned, and
// have no effect.
func (a *Alert) Override(text []byte) (unknown []string, err error) {
	var raw any
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("not the JSON of an alert: %w", err)
	}
	object, ok := raw.(map[string]any)
	if !ok {
		return nil, errors.New("not the JSON of an alert: an object is needed, {\"scenario\": …}")
	}
	fixed, unknown := wireNames(object, reflect.TypeFor[Alert](), "")
	whole, err := json.Marshal(fixed)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(whole, a); err != nil {
		return nil, fmt.Errorf("not the JSON of an alert: %w", err)
	}
	return unknown, nil
}

// wireNames spells names as they are on the wire, and leaves out those that a type has not.
func wireNames(v any, of reflect.Type, at string) (fixed any, unknown []string) {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch v := v.(type) {
	case []any:
		if of.Kind() == reflect.Slice {
			for i := range v {
				var more []string
				v[i], more = wireNames(v[i], of.Elem(), at)
				unknown = append(unknown, more...)
			}
		}
	case map[string]any:
		if of.Kind() != reflect.Struct {
			return v, nil // its own error says so
		}
		names := map[string]reflect.StructField{}
		for i := range of.NumField() {
			f := of.Field(i)
			names[plainName(f.Tag.Get("json"))] = f
		}
		out := map[string]any{}
		for key, value := range v {
			f, known := names[plainName(key)]
			if !known {
				unknown = append(unknown, at+key)
				continue
			}
			wire, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			var more []string
			out[wire], more = wireNames(value, f.Type, at+wire+".")
			unknown = append(unknown, more...)
		}
		return out, unknown
	}
	return v, unknown
}

// plainName is a name without what may be spelt otherwise.
func plainName(text string) string {
	text, _, _ = strings.Cut(text, ",")
	return strings.ToLower(strings.ReplaceAll(text, "_", ""))
}
