package profile

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/vm/runtime"
)

// textFunctions work on texts and numbers alone.
func textFunctions() []function {
	return []function{
		of1("Upper", strings.ToUpper),
		of1("Lower", strings.ToLower),
		of1("Fields", strings.Fields),
		pieces("Split", strings.Split),
		pieces("SplitAfter", strings.SplitAfter),
		{name: "SplitN", types: []any{strings.SplitN}, plain: func(a ...any) (any, error) {
			return splitN(strings.SplitN, a)
		}},
		{name: "SplitAfterN", types: []any{strings.SplitAfterN}, plain: func(a ...any) (any, error) {
			return splitN(strings.SplitAfterN, a)
		}},
		{name: "Join", types: []any{strings.Join, (func([]any, string) string)(nil)}, plain: join},
		{name: "Replace", types: []any{strings.Replace}, plain: replace},
		{name: "ReplaceAll", types: []any{strings.ReplaceAll}, plain: replace},
		paired("Trim", strings.Trim),
		paired("TrimLeft", strings.TrimLeft),
		paired("TrimRight", strings.TrimRight),
		of1("TrimSpace", strings.TrimSpace),
		of2("TrimPrefix", strings.TrimPrefix),
		of2("TrimSuffix", strings.TrimSuffix),
		of2("Index", strings.Index),
		paired("IndexAny", strings.IndexAny),
		{name: "Get", types: []any{(func([]string, int) string)(nil), (func([]any, int) any)(nil)}, plain: get},
		of1("ToString", func(v any) string { s, _ := v.(string); return s }),
		paired("Match", glob),
		{name: "Hostname", types: []any{(func() string)(nil)}, plain: func(...any) (any, error) { return os.Hostname() }},
		{name: "Sprintf", types: []any{(func(string, ...any) string)(nil)}, plain: func(a ...any) (any, error) {
			return sprintf(a)
		}},
		{name: "LogInfo", types: []any{(func(string, ...any) bool)(nil)}, asking: func(e *evaluation, a []any) (any, error) {
			text, err := sprintf(a)
			e.log(slog.LevelInfo, clip(text))
			return true, err
		}},
		ask1("Atof", atof),
		of2("FloatApproxEqual", func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }),
		try1("B64Decode", func(s string) (string, error) {
			b, err := base64.StdEncoding.DecodeString(s)
			return string(b), err
		}),
	}
}

// splitN splits into so many pieces at most. A negative number is no limit,
// as in package strings.
func splitN(f func(text, between string, n int) []string, a []any) (any, error) {
	text, between, n := a[0].(string), a[1].(string), runtime.ToInt(a[2])
	if size := piecesSize(text, between); size > materialLimit && (n < 0 || 16*n > materialLimit) {
		return nil, errMemory
	}
	return f(text, between, n), nil
}

// join is strings.Join, also of lists whose elements are known to be texts only when
// it runs.
func join(a ...any) (any, error) {
	if joinedSize(a) > materialLimit {
		return nil, errMemory
	}
	list, ok := a[0].([]string)
	if !ok {
		for _, s := range a[0].([]any) {
			list = append(list, s.(string))
		}
	}
	return strings.Join(list, a[1].(string)), nil
}

// replace is Replace with a count and ReplaceAll without one. What it would
// make is bounded before it begins.
func replace(a ...any) (any, error) {
	if replacedSize(a) > materialLimit {
		return nil, errMemory
	}
	n := -1
	if len(a) == 4 {
		n = runtime.ToInt(a[3])
	}
	return strings.Replace(a[0].(string), a[1].(string), a[2].(string), n), nil
}

// get is the i-th element of a list, "" outside of it. An index below zero
// is outside, too.
func get(a ...any) (any, error) {
	i := runtime.ToInt(a[1])
	switch list := a[0].(type) {
	case []string:
		if i >= 0 && i < len(list) {
			return list[i], nil
		}
	case []any:
		if i >= 0 && i < len(list) {
			return list[i], nil
		}
	default:
		return nil, fmt.Errorf("cannot get an element of %T", a[0])
	}
	return "", nil
}

// atof reads a number; what is none is 0, with a warning.
func atof(e *evaluation, s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		e.log(slog.LevelWarn, "Atof: cannot convert to a number", "text", clip(s))
	}
	return f, nil
}

// widestVerb is the largest width and precision of a verb; a wider one is
// refused, for each would be worth a megabyte.
const widestVerb = 9999

// sprintf formats. A verb may name any argument, so what comes out is
// bounded beforehand by the largest one. The bound is far from what most
// formats give, and cheap to tell.
func sprintf(a []any) (string, error) {
	format := a[0].(string)
	verbs, ok := countVerbs(format)
	if !ok {
		return "", fmt.Errorf("a format with a width beyond %d, or one taken from the arguments", widestVerb)
	}
	largest := 0
	for _, x := range a[1:] {
		left, err := weigh(x, materialLimit, 0)
		if err != nil {
			return "", err
		}
		largest = max(largest, materialLimit-left)
	}
	if len(format)+verbs*(largest+widestVerb) > materialLimit {
		return "", errMemory
	}
	return fmt.Sprintf(format, a[1:]...), nil
}

// countVerbs counts the verbs of a format; ok is false when one is too wide.
// It errs on the side of too many.
func countVerbs(format string) (verbs int, ok bool) {
	for {
		at := strings.IndexByte(format, '%')
		if at < 0 {
			return verbs, true
		}
		verbs++
		number := 0
		for format = format[at+1:]; format != "" && strings.IndexByte("+-# .[]*0123456789", format[0]) >= 0; format = format[1:] {
			switch c := format[0]; {
			case c == '*':
				return verbs, false
			case '0' <= c && c <= '9':
				if number = number*10 + int(c-'0'); number > widestVerb {
					return verbs, false
				}
			default:
				number = 0
			}
		}
		if format != "" {
			format = format[1:] // the verb itself, which may be another %
		}
	}
}

// glob reports whether name matches a pattern of ? (any byte) and * (any
// bytes, none included). It takes time in proportion to the product of both
// lengths at worst, and no memory.
func glob(pattern, name string) bool {
	p, n := 0, 0
	star, resume := -1, 0 // the last * and where the name goes on behind it
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			resume++
			p, n = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
