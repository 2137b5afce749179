package profile

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// expression is one compiled filter or duration_expr. It is shared by all
// goroutines and never changes.
type expression struct {
	text    string // as written
	program *vm.Program
	needs   need
	loops   bool // it may run long: put it under the time limit
	reads   bool // it hands texts to something that takes time or memory for each byte
	seen    foreseen
}

// language is what expressions may say: the variable Alert, expr's own
// functions, and those of this package. It is made once for a set; compiling leaves it as it
// is.
type language struct {
	options []expr.Option
	asking  map[string]bool // functions that are handed the evaluation
}

// function is one name of the language. Exactly one of plain and asking is
// set: plain sees its arguments only, asking also what is being judged.
//
// Arguments have been checked against types at load where their type was
// known then; what was not (values out of JSON) may still be anything, and a
// panic about it becomes the expression's error.
//
// What it makes is charged to the expression by the binder, unless its type is one of
// those that take no memory.
type function struct {
	name   string
	types  []any // values of func type, tried in order
	plain  func(args ...any) (any, error)
	asking func(e *evaluation, args []any) (any, error)
}

// newLanguage gathers all functions.
func newLanguage(o *Options) *language {
	l := &language{asking: map[string]bool{}}
	l.options = append(l.options, expr.Env(scene{}))
	for _, list := range [][]function{
		boundFunctions(), historyFunctions(), textFunctions(), networkFunctions(o), clockFunctions(),
		jsonFunctions(), pairFunctions(), xmlFunctions(), listFunctions(), webFunctions(), absentFunctions(o),
	} {
		for _, f := range list {
			l.add(f)
		}
	}
	return l
}

// add makes f known. An asking function is declared under its own name, for
// the first check of what was written, and under an unwritable one that takes
// the evaluation in front, which the binder puts in its place.
func (l *language) add(f function) {
	if f.plain != nil {
		l.options = append(l.options, expr.Function(f.name, f.plain, f.types...))
		return
	}
	l.asking[f.name] = true
	types := make([]any, len(f.types))
	for i, t := range f.types {
		types[i] = withEvaluation(t)
	}
	unbound := func(...any) (any, error) { return nil, fmt.Errorf("%s was not bound to what is judged", f.name) }
	bound := func(args ...any) (any, error) { return f.asking(args[0].(*evaluation), args[1:]) }
	l.options = append(l.options, expr.Function(f.name, unbound, f.types...), expr.Function(boundName(f.name), bound, types...))
}

// boundName is the name of an asking function that is given the evaluation.
func boundName(name string) string { return "(" + name + ")" }

// withEvaluation is the type of t with an *evaluation as first argument.
func withEvaluation(t any) any {
	f := reflect.TypeOf(t)
	in := []reflect.Type{reflect.TypeFor[*evaluation]()}
	for i := range f.NumIn() {
		in = append(in, f.In(i))
	}
	out := make([]reflect.Type, f.NumOut())
	for i := range out {
		out[i] = f.Out(i)
	}
	return reflect.Zero(reflect.FuncOf(in, out, f.IsVariadic())).Interface()
}

// compile checks and compiles one expression. The error's first line names
// what is wrong and where; the source and a caret follow. Nothing of it is
// run, but for constants that are joined (foreseen.result).
func (l *language) compile(text string) (*expression, error) {
	if len(text) > sourceLimit {
		return nil, fmt.Errorf("expression of %d bytes is longer than %d", len(text), sourceLimit)
	}
	// Once as it is written: while the binder rewrites it, what is said of arguments
	// that may be anything, such as those of Sprintf, is no longer looked at.
	written, err := expr.Compile(text, append(slices.Clone(l.options), expr.Optimize(false))...)
	if err != nil {
		return nil, l.hinted(text, err)
	}
	seen := foresee(written.Node())
	seen.result(written)
	b := &binder{asking: l.asking}
	program, err := expr.Compile(text, append(slices.Clone(l.options), expr.Patch(b))...)
	if err != nil {
		return nil, errors.New(l.spoken(err.Error()))
	}
	return &expression{text: text, program: program, needs: b.found(), loops: b.loops, reads: b.reads, seen: seen}, nil
}

// spoken gives functions and types the names the operator knows. Names of this package's
// own, for woven-in calls, mean nothing to the author of a rule.
func (l *language) spoken(text string) string {
	for name := range l.asking {
		text = strings.ReplaceAll(text, "call "+boundName(name), "call "+name)
	}
	return typeNames.Replace(text)
}

// hinted is a complaint about an expression. Where a field was asked of a list, it
// says what the list is and how one gets at what is in it.
func (l *language) hinted(text string, err error) error {
	said, source, more := strings.Cut(l.spoken(err.Error()), "\n")
	if strings.HasPrefix(said, "array elements can only be selected using an integer") {
		if tree, err := parser.Parse(text); err == nil {
			var h listHint
			ast.Walk(&tree.Node, &h)
			said += string(h)
		}
	}
	if more {
		said += "\n" + source
	}
	return errors.New(said)
}

// listHint is what to write instead of the first field that is asked of a list.
type listHint string

// Visit implements ast.Visitor.
func (h *listHint) Visit(node *ast.Node) {
	outer, ok := (*node).(*ast.MemberNode)
	if !ok || *h != "" {
		return
	}
	asked, ok := outer.Property.(*ast.StringNode)
	list, is := outer.Node.(*ast.MemberNode)
	if !ok || !is {
		return
	}
	name, ok := list.Property.(*ast.StringNode)
	if !ok {
		return
	}
	switch name.Value {
	case "Meta":
		*h = listHint(fmt.Sprintf(": Meta is a list of keys and values: use GetMeta(%q)", asked.Value))
	case "Events":
		*h = `: Events is a list: use any(Alert.Events, #.GetMeta("key") == "value")`
	case "Decisions":
		*h = listHint(fmt.Sprintf(": Decisions is a list: use any(Alert.Decisions, #.%s == …)", asked.Value))
	case "Labels":
		*h = ": Labels is a list of texts: use \"label\" in Alert.Labels"
	}
}

// typeNames are Go's names for what expressions see, and the operator's.
var typeNames = strings.NewReplacer(
	"type profile.facts", "Alert", "type profile.sourceRow", "Alert.Source", "type profile.eventRow", "an event",
	"type profile.metaRow", "an entry of Meta", "type profile.decisionRow", "a decision",
	"*profile.facts", "Alert", "*profile.sourceRow", "Alert.Source", "*profile.eventRow", "an event",
	"profile.metaRow", "an entry of Meta", "*profile.decisionRow", "a decision",
)

// The constructors below turn ordinary Go functions into functions of the
// language; the type is the Go type.

// of1 and of2 are functions of one and of two arguments that cannot fail.
func of1[A, R any](name string, f func(A) R) function {
	return function{name: name, types: []any{f}, plain: func(a ...any) (any, error) { return f(a[0].(A)), nil }}
}

// See of1.
func of2[A, B, R any](name string, f func(A, B) R) function {
	return function{name: name, types: []any{f}, plain: func(a ...any) (any, error) { return f(a[0].(A), a[1].(B)), nil }}
}

// try1 is one that can.
func try1[A, R any](name string, f func(A) (R, error)) function {
	return function{name: name, types: []any{f}, plain: func(a ...any) (any, error) { return f(a[0].(A)) }}
}

// ask1, ask2 and ask3 are handed the evaluation too.
func ask1[A, R any](name string, f func(*evaluation, A) (R, error)) function {
	return function{name: name, types: []any{(func(A) R)(nil)}, asking: func(e *evaluation, a []any) (any, error) {
		return f(e, a[0].(A))
	}}
}

// See ask1.
func ask2[A, B, R any](name string, f func(*evaluation, A, B) (R, error)) function {
	return function{name: name, types: []any{(func(A, B) R)(nil)}, asking: func(e *evaluation, a []any) (any, error) {
		return f(e, a[0].(A), a[1].(B))
	}}
}

// See ask1.
func ask3[A, B, C, R any](name string, f func(*evaluation, A, B, C) (R, error)) function {
	return function{name: name, types: []any{(func(A, B, C) R)(nil)}, asking: func(e *evaluation, a []any) (any, error) {
		return f(e, a[0].(A), a[1].(B), a[2].(C))
	}}
}
