package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// jsonFunctions read and write JSON texts. A path is "a.b[0].c" where one text
// gives it whole, or one text per step; what is not there is "" or nil.
func jsonFunctions() []function {
	return []function{
		ask2("JsonExtract", func(e *evaluation, blob, path string) (string, error) {
			return e.extract(blob, jsonPath(path)), nil
		}),
		{name: "JsonExtractLib", types: []any{(func(string, ...string) string)(nil), (func(string, []string) string)(nil)},
			asking: func(e *evaluation, a []any) (any, error) {
				steps, err := stepsOf(a[1:])
				return e.extract(a[0].(string), steps), err
			}},
		{name: "JsonExtractUnescape", types: []any{(func(string, ...string) string)(nil), (func(string, []string) string)(nil)},
			asking: func(e *evaluation, a []any) (any, error) {
				steps, err := stepsOf(a[1:])
				return e.extractText(a[0].(string), steps), err
			}},
		ask2("JsonExtractSlice", func(e *evaluation, blob, path string) ([]any, error) {
			var list []any
			e.extractInto("JsonExtractSlice", &list, blob, path)
			return list, nil
		}),
		ask2("JsonExtractObject", func(e *evaluation, blob, path string) (map[string]any, error) {
			var object map[string]any
			e.extractInto("JsonExtractObject", &object, blob, path)
			return object, nil
		}),
		ask1("ToJsonString", func(e *evaluation, v any) (string, error) {
			b, err := json.Marshal(v)
			if err != nil {
				e.log(slog.LevelError, "ToJsonString: cannot be written as JSON", "error", clip(err.Error()))
				return "", nil
			}
			return string(b), nil
		}),
		ask3("UnmarshalJSON", func(e *evaluation, blob string, target map[string]any, key string) (any, error) {
			if len(blob) > documentLimit {
				return nil, errDocument
			}
			var v any
			if err := json.Unmarshal([]byte(blob), &v); err != nil {
				e.log(slog.LevelError, "UnmarshalJSON: not JSON", "error", clip(err.Error()))
				return nil, err
			}
			target[key] = v
			return nil, e.charge(v)
		}),
	}
}

// Errors of documents. One that is too long is not parsed at all.
var (
	errDocument = fmt.Errorf("the document is longer than %d bytes", documentLimit)
	errNoValue  = errors.New("there is no such value")
)

// jsonPath cuts "a.b[0].c" into its steps. It does not look whether the
// steps mean anything.
func jsonPath(path string) []string {
	if !strings.HasPrefix(path, "[") {
		path = strings.ReplaceAll(path, "[", ".[")
	}
	return strings.Split(path, ".")
}

// stepsOf takes the steps of a path as separate texts or as one list.
func stepsOf(args []any) ([]string, error) {
	if len(args) == 1 {
		if list, ok := args[0].([]string); ok {
			return list, nil
		}
	}
	steps := make([]string, len(args))
	for i, a := range args {
		s, ok := a.(string)
		if !ok {
			return nil, fmt.Errorf("step %d of the path is not a text but %T", i+1, a)
		}
		steps[i] = s
	}
	return steps, nil
}

// extract gives a value as it is written, without the quotes of a text.
func (e *evaluation) extract(blob string, steps []string) string {
	raw, err := dig(blob, steps)
	if err != nil {
		e.unread("JsonExtract", err)
		return ""
	}
	if len(raw) >= 2 && raw[0] == '"' {
		raw = raw[1 : len(raw)-1]
	}
	return string(raw)
}

// extractText gives a text with its escapes resolved.
func (e *evaluation) extractText(blob string, steps []string) string {
	raw, err := dig(blob, steps)
	var text string
	if err == nil {
		err = json.Unmarshal(raw, &text)
	}
	if err != nil {
		e.unread("JsonExtractUnescape", err)
		return ""
	}
	return text
}

// extractInto decodes a value of the kind of dst; anything else leaves it nil.
func (e *evaluation) extractInto(name string, dst any, blob, path string) {
	raw, err := dig(blob, jsonPath(path))
	if err == nil {
		err = json.Unmarshal(raw, dst)
	}
	if err != nil {
		e.unread(name, err)
	}
}

// unread reports a document that could not be read. A value that is missing
// is not worth a line.
func (e *evaluation) unread(what string, err error) {
	if !errors.Is(err, errNoValue) {
		e.log(slog.LevelError, what+": cannot be read", "error", clip(err.Error()))
	}
}

// dig walks down to a value and gives the bytes it is written with. Only
// what lies on the way is decoded.
func dig(blob string, steps []string) (json.RawMessage, error) {
	if len(blob) > documentLimit {
		return nil, errDocument
	}
	var at json.RawMessage
	if err := json.Unmarshal([]byte(blob), &at); err != nil {
		return nil, err
	}
	for _, step := range steps {
		next, err := into(at, step)
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// into takes one step: "[2]" into a list, anything else into an object.
func into(at json.RawMessage, step string) (json.RawMessage, error) {
	if strings.HasPrefix(step, "[") && strings.HasSuffix(step, "]") {
		var list []json.RawMessage
		i, err := strconv.Atoi(step[1 : len(step)-1])
		if err != nil || json.Unmarshal(at, &list) != nil || i < 0 || i >= len(list) {
			return nil, errNoValue
		}
		return list[i], nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(at, &object) != nil {
		return nil, errNoValue
	}
	next, ok := object[step]
	if !ok {
		return nil, errNoValue
	}
	return next, nil
}
