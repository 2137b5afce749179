package profile

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/vm/runtime"
)

// The machine bounds the number of list elements an expression makes, and
// nothing else: not the length of texts, not values that contain each other
// many times over, not time. The binder closes the gaps while an expression is
// compiled. Wherever a value is made that could be large, or a loop turns,
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
	errNested = fmt.Errorf("the expression nests lists deeper than %d", nestingLimit)
)

const (
	chargeName = "(charge)"
	valueName  = "(value)"
)

// binder walks the tree of one expression, children first. Besides weaving in
// the bounds it hands functions the evaluation they ask for, reads fields
// instead of calling the alert's plain getters, and notes which parts of the
// alert are looked at.
type binder struct {
	asking map[string]bool

	loops   bool
	needs   need
	alerts  int // mentions of Alert
	members int // … of which followed by a field or method
}

// found gives the parts of the alert the expression looks at. An Alert that is
// handed on as a whole shows all of it.
func (b *binder) found() need {
	if b.alerts > b.members {
		return needAll
	}
	return b.needs
}

// Visit implements ast.Visitor.
func (b *binder) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if n.Value == "Alert" || n.Value == "$env" {
			b.alerts++
		}
	case *ast.MemberNode:
		b.member(n)
	case *ast.CallNode:
		b.call(node, n)
	case *ast.BuiltinNode:
		if makesMuch(n) {
			bound(node)
		}
	case *ast.PredicateNode:
		b.loops = true
		bound(&n.Node)
	case *ast.BinaryNode:
		if n.Operator == "+" && makesMuch(n) {
			bound(node)
		} else if truth := compared(n); truth != nil {
			*node = truth
		}
	case *ast.ArrayNode:
		if !flat(n.Nodes) {
			bound(node)
		}
	case *ast.MapNode:
		bound(node)
	}
}

func (b *binder) member(n *ast.MemberNode) {
	object, ok := n.Node.(*ast.IdentifierNode)
	if !ok || object.Value != "Alert" {
		return
	}
	if name, ok := n.Property.(*ast.StringNode); ok {
		b.members++
		b.needs |= costlyFields[name.Value]
	}
}

func (b *binder) call(node *ast.Node, n *ast.CallNode) {
	switch callee := n.Callee.(type) {
	case *ast.IdentifierNode:
		if callee.Value == "LookupHost" {
			b.loops = true
		}
		large := makesMuch(n)
		if b.asking[callee.Value] {
			hidden := &ast.IdentifierNode{Value: hiddenName}
			hidden.SetLocation(n.Location())
			name := &ast.IdentifierNode{Value: boundName(callee.Value)}
			name.SetLocation(callee.Location())
			ast.Patch(node, &ast.CallNode{Callee: name, Arguments: append([]ast.Node{hidden}, n.Arguments...)})
		}
		if large {
			bound(node)
		}
	case *ast.MemberNode:
		if field := getter(callee, n.Arguments); field != nil {
			ast.Patch(node, field)
		}
	}
}

// getters are methods of Alert that only give a field.
var getters = map[string][]string{
	"GetScope":       {"Source", "Scope"},
	"GetValue":       {"Source", "Value"},
	"GetScenario":    {"Scenario"},
	"GetEventsCount": {"EventsCount"},
}

// getter is the field behind a call such as Alert.GetScope(), nil if it is no
// such call. Reading the field is five times as fast.
func getter(callee *ast.MemberNode, args []ast.Node) ast.Node {
	object, ok := callee.Node.(*ast.IdentifierNode)
	if !ok || object.Value != "Alert" || len(args) > 0 || callee.Optional {
		return nil
	}
	name, ok := callee.Property.(*ast.StringNode)
	if !ok {
		return nil
	}
	path := getters[name.Value]
	if path == nil {
		return nil
	}
	var field ast.Node = object
	for _, step := range path {
		property := &ast.StringNode{Value: step}
		property.SetLocation(name.Location())
		member := &ast.MemberNode{Node: field, Property: property}
		member.SetLocation(callee.Location())
		field = member
	}
	return field
}

// compared is x where n is x == true and x is a boolean, else nil.
func compared(n *ast.BinaryNode) ast.Node {
	if right, ok := n.Right.(*ast.BoolNode); ok && right.Value && n.Operator == "==" && n.Left.Type().Kind() == reflect.Bool {
		return n.Left
	}
	return nil
}

// makesMuch reports whether the value of n, as far as its type is known, may
// take memory worth counting.
func makesMuch(n ast.Node) bool {
	switch n.Type().Kind() {
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64, reflect.Struct:
		return false
	}
	return true
}

// flat reports whether no element can hold others or be long.
func flat(nodes []ast.Node) bool {
	for _, n := range nodes {
		switch n.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NilNode:
		default:
			if makesMuch(n) {
				return false
			}
		}
	}
	return true
}

// bound weaves charge in behind a value, keeping its type.
func bound(node *ast.Node) {
	at := (*node).Location()
	place := func(n ast.Node) ast.Node { n.SetLocation(at); return n }
	charge := place(&ast.CallNode{
		Callee: place(&ast.IdentifierNode{Value: chargeName}),
		Arguments: []ast.Node{
			place(&ast.IdentifierNode{Value: hiddenName}),
			place(&ast.IdentifierNode{Value: valueName}),
		},
	})
	*node = place(&ast.VariableDeclaratorNode{
		Name:  valueName,
		Value: *node,
		Expr:  place(&ast.SequenceNode{Nodes: []ast.Node{charge, place(&ast.IdentifierNode{Value: valueName})}}),
	})
}

// charge counts a value that was made against what the expression may make.
func (e *evaluation) charge(value any) error {
	if e.late != nil && e.late.Load() {
		return errLate
	}
	left, err := weigh(value, e.room, 0)
	e.room = left
	return err
}

// weigh takes the bytes a value holds, everything inside counted as often as
// it is reachable, off room. It gives up as soon as nothing is left.
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

// replacedSize is the most a replace(text, old, new[, n]) can make.
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

// joinedSize is what a join(list[, glue]) makes.
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
