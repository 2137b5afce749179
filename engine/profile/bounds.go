package profile

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/vm/runtime"
)

// The machine bounds the number of list elements an expression makes, and
// nothing else: not the length of texts, not values that contain each other
// many times over, not time. The binder closes the gaps while an expression is
// compiled. Wherever a value is made that could be large, or a loop turns
// (which weighs sixteen bytes),
//
//	value   becomes   let (value) = value; (charge)((evaluation), (value)); (value)
//
// and charge stops the expression once it is too late or too much was made.
// Comparisons, fields and methods of the alert are left alone, so an ordinary
// filter pays nothing.

// Errors of an expression that ran into a bound.
var (
	errLate   = errors.New("the expression takes too long")
	errMemory = errors.New("the expression takes too many turns, or makes too much text or too long lists")
	errLong   = fmt.Errorf("the alert has more than %d bytes of text, which its filters do not read", documentLimit)
	errPair   = errors.New("the texts are too long for one another")
	errNested = fmt.Errorf("the expression nests lists deeper than %d", nestingLimit)
)

// pairLimit bounds the product of the lengths of two texts where the time is
// that of the product, patternLimit where one of them is a regular expression,
// in which a few bytes can stand for a thousand.
const (
	pairLimit    = 1 << 28
	patternLimit = 1 << 20
)

const (
	// Names of what the binder weaves in; the brackets keep rules from using them.
	matchName  = "(matches)"
	chargeName = "(charge)"
	valueName  = "(value)"
)

// charge counts a value that was made against what the expression may make.
// The error ends the expression.
func (e *evaluation) charge(value any) error {
	if e.late != nil && e.late.Load() {
		return errLate
	}
	left, err := weigh(value, e.room, 0)
	e.room = left
	return err
}

// weigh takes the bytes a value holds, everything inside counted as often as
// it is reachable, off room. It gives up as soon as nothing is left. So it
// takes no longer than the bound allows, whatever the value is.
func weigh(value any, room, depth int) (int, error) {
	const word = 16
	if room < 0 {
		return room, errMemory
	}
	if depth > nestingLimit {
		return room, errNested
	}
	var err error
	switch v := value.(type) {
	case nil, bool, int, float64:
		room -= word
	case string:
		room -= word + len(v)
	case []string:
		for i := 0; i < len(v) && room >= 0; i++ {
			room -= word + len(v[i])
		}
	case []any:
		room -= word
		for i := 0; i < len(v) && err == nil; i++ {
			room, err = weigh(v[i], room, depth+1)
		}
	case map[string]any:
		room -= word
		for k, x := range v {
			if room, err = weigh(x, room-word-len(k), depth+1); err != nil {
				break
			}
		}
	default:
		room, err = weighOther(reflect.ValueOf(value), room-word, depth)
	}
	if err == nil && room < 0 {
		err = errMemory
	}
	return room, err
}

// weighOther counts lists and maps of other types. Structs and pointers are
// the alert's own and not made by the expression.
func weighOther(v reflect.Value, room, depth int) (int, error) {
	var err error
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := 0; i < v.Len() && err == nil; i++ {
			room, err = weigh(v.Index(i).Interface(), room, depth+1)
		}
	case reflect.Map:
		for it := v.MapRange(); err == nil && it.Next(); {
			if room, err = weigh(it.Key().Interface(), room, depth+1); err == nil {
				room, err = weigh(it.Value().Interface(), room, depth+1)
			}
		}
	}
	return room, err
}

// boundFunctions are charge, and those of expr's own functions whose result
// grows with the product of its arguments or whose time with the square: they
// must say no before they start.
func boundFunctions() []function {
	return []function{
		{name: chargeName, types: []any{(func(*evaluation, any) bool)(nil)}, plain: func(a ...any) (any, error) {
			return true, a[0].(*evaluation).charge(a[1])
		}},
		{name: matchName, types: []any{(func(string, string) bool)(nil), (func(any, any) bool)(nil)}, plain: matchLater},
		guarded("split", func(a []any) int { return piecesSize(a[0].(string), a[1].(string)) },
			(func(string, string) []string)(nil), (func(string, string, int) []string)(nil)),
		guarded("repeat", func(a []any) int { return len(a[0].(string)) * min(max(runtime.ToInt(a[1]), 0), materialLimit) },
			(func(string, int) string)(nil)),
		guarded("replace", func(a []any) int { return replacedSize(a) },
			(func(string, string, string) string)(nil), (func(string, string, string, int) string)(nil)),
		guarded("join", joinedSize,
			(func([]string) string)(nil), (func([]string, string) string)(nil),
			(func([]any) string)(nil), (func([]any, string) string)(nil)),
		guarded("uniq", func(a []any) int {
			if n := reflect.ValueOf(a[0]); n.Kind() == reflect.Slice && n.Len() > uniqLimit {
				return materialLimit + 1
			}
			return 0
		}, (func([]any) []any)(nil), (func([]string) []any)(nil), (func([]int) []any)(nil), (func(any) []any)(nil)),
	}
}

// matchLater is the operator matches for a pattern that the alert may have
// brought along. Texts that are nil match nothing, as with the operator.
func matchLater(a ...any) (any, error) {
	if a[0] == nil || a[1] == nil {
		return false, nil
	}
	text, pattern := a[0].(string), a[1].(string)
	if len(text)*len(pattern) > patternLimit {
		return nil, errPair
	}
	return regexp.MatchString(pattern, text)
}

// piecesSize is what a text takes that is split. In bytes: the heads of the
// texts, which share their bytes with the whole.
func piecesSize(text, between string) int { return 16 * (strings.Count(text, between) + 1) }

// paired is a function of two texts whose time is the product of their lengths.
func paired[R any](name string, f func(a, b string) R) function {
	return function{name: name, types: []any{f}, plain: func(a ...any) (any, error) {
		x, y := a[0].(string), a[1].(string)
		if len(x)*len(y) > pairLimit {
			return nil, errPair
		}
		return f(x, y), nil
	}}
}

// pieces is a function that splits a text.
func pieces(name string, f func(text, between string) []string) function {
	return function{name: name, types: []any{f}, plain: func(a ...any) (any, error) {
		text, between := a[0].(string), a[1].(string)
		if piecesSize(text, between) > materialLimit {
			return nil, errMemory
		}
		return f(text, between), nil
	}}
}

// guarded is one of expr's own functions behind a look at the size of what it
// would make.
func guarded(name string, size func(args []any) int, types ...any) function {
	own := builtin.Builtins[builtin.Index[name]]
	return function{name: name, types: types, plain: func(a ...any) (any, error) {
		if size(a) > materialLimit {
			return nil, errMemory
		}
		if own.Safe != nil {
			out, _, err := own.Safe(a...)
			return out, err
		}
		return own.Func(a...)
	}}
}

// replacedSize is the most a replace(text, old, new[, n]) can make. In
// bytes; it need not be reached.
func replacedSize(a []any) int {
	text, old, fresh := a[0].(string), a[1].(string), a[2].(string)
	times := strings.Count(text, old)
	if len(a) == 4 {
		if n := runtime.ToInt(a[3]); n >= 0 {
			times = min(times, n)
		}
	}
	return len(text) + times*len(fresh)
}

// joinedSize is what a join(list[, glue]) makes. In bytes.
func joinedSize(a []any) int {
	glue := 0
	if len(a) == 2 {
		glue = len(a[1].(string))
	}
	size := 0
	switch list := a[0].(type) {
	case []string:
		for _, s := range list {
			size += len(s) + glue
		}
	case []any:
		for _, s := range list {
			size += len(s.(string)) + glue
		}
	}
	return size
}
