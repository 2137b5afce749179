package profile

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"lapid/engine"
)

// foreseen is what can be told of an expression before it runs: from its
// type and its constants. It is used while profiles are compiled, and said
// to the operator then; judging never looks at it.
type foreseen struct {
	kind   reflect.Type // of its value; nil: known only when it runs
	truth  truth
	text   *string  // it is this text whatever the alert is; nil: not known
	wrong  error    // a constant in it that nothing can read; nil: none
	doubts []string // what loads and will disappoint, each the end of a sentence

	named variables // by the expression itself
}

// truth is the value of a filter, as far as its constants decide it.
type truth uint8

const (
	depends truth = iota
	always
	never
)

// foresee looks at an expression that has been checked and not yet rewritten.
// What it cannot tell it leaves open: a doubt must be true.
func foresee(root ast.Node) foreseen {
	f := foreseen{truth: constant(root), named: variables{}}
	ast.Walk(&root, f.named)
	if n, is := root.(*ast.StringNode); is {
		f.text = &n.Value
	}
	if t := root.Type(); t != nil && t.Kind() != reflect.Interface {
		f.kind = t
	}
	if _, is := root.(*ast.NilNode); is {
		f.kind = reflect.TypeFor[struct{}]()
	}
	ast.Walk(&root, &f)
	f.named = nil
	return f
}

// result finds out the text that an expression of constants gives. It runs what was
// compiled as it was written.
func (f *foreseen) result(written *vm.Program) {
	root, same := written.Node(), fixed(true)
	if ast.Walk(&root, &same); !same || f.text != nil {
		return
	}
	if out, err := vm.Run(written, &scene{}); err == nil {
		if text, is := out.(string); is {
			f.text = &text
		}
	}
}

// Visit implements ast.Visitor.
func (f *foreseen) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.CallNode:
		if callee, ok := n.Callee.(*ast.IdentifierNode); ok {
			f.call(callee.Value, n.Arguments)
		}
	case *ast.BuiltinNode:
		f.call(n.Name, n.Arguments)
	case *ast.BinaryNode:
		f.compare(n)
	}
}

// call looks at the constants that a function is given, and at those functions
// that do nothing here.
func (f *foreseen) call(name string, args []ast.Node) {
	if what, ok := idle[name]; ok {
		f.doubt("calls %s, which %s", name, what)
	}
	text := func(i int) (string, bool) {
		if i >= len(args) {
			return "", false
		}
		s, ok := args[i].(*ast.StringNode)
		if !ok {
			return "", false
		}
		return s.Value, true
	}
	switch name {
	case "hasPrefix", "hasSuffix":
		if len(args) == 2 {
			f.compareEach(map[string]string{"hasPrefix": "startsWith", "hasSuffix": "endsWith"}[name], args[0], args[1])
		}
	case "GetDecisionsSinceCount":
		since, ok := text(1)
		if !ok {
			break
		}
		if d, err := engine.ParseDuration(since); err != nil {
			f.refuse("%s: %q is no duration such as 30m, 24h or 7d: %w", name, since, err)
		} else if d <= 0 {
			f.doubt("asks %s for the last %s, in which there is never a decision", name, since)
		}
	case "duration":
		if d, ok := text(0); ok {
			if _, err := time.ParseDuration(d); err != nil {
				f.refuse("duration: %q is none such as 30m or 24h: %w", d, err)
			}
		}
	case "IpInRange":
		if cidr, ok := text(1); ok && !inRange(strings.Split(cidr, "/")[0], cidr) {
			f.doubt("asks IpInRange about %q, which is no range such as 192.0.2.0/24, and never true of any address", cidr)
		}
	}
}

// idle are the functions whose data or peers this server does not have, with what
// comes of a call.
var idle = map[string]string{
	"File": noData, "RegexpInFile": noData, "FileMap": noData, "LookupFile": noData,
	"GetFromStash": noData, "SetInStash": noData,
	"GeoIPEnrich": noData, "GeoIPASNEnrich": noData, "GeoIPRangeEnrich": noData, "IPToCountry": noData,
	"LibInjectionIsSQLI": noData, "LibInjectionIsXSS": noData, "MatchKnownBot": noData, "JA4H": noData,
	"CrowdsecCTI": "never answers: no reputation service is asked, and each call fails",
	"HTTPGet":     noWeb, "HTTPHead": noWeb, "HTTPPost": noWeb, "HTTPRequest": noWeb,
}

const (
	// Each ends the sentence "it calls NAME, which …".
	noData = "never finds anything: the server holds no such data"
	noWeb  = "never answers: rules may not call out over HTTP, and each call fails"
)

// fixed tells whether an expression is made of constants alone, so that it gives the
// same whenever it runs.
type fixed bool

// Visit implements ast.Visitor.
func (f *fixed) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.ConstantNode, *ast.UnaryNode, *ast.BinaryNode, *ast.ConditionalNode:
	case *ast.CallNode:
		callee, named := n.Callee.(*ast.IdentifierNode)
		*f = *f && fixed(named && steady[callee.Value])
	case *ast.BuiltinNode:
		*f = *f && fixed(steady[n.Name])
	case *ast.IdentifierNode:
		*f = *f && fixed(steady[n.Value])
	default:
		*f = false
	}
}

// steady are functions that give the same for the same arguments, and are cheap.
// Only these are run at load.
var steady = map[string]bool{
	"Sprintf": true, "string": true, "int": true, "trim": true, "lower": true, "upper": true, "Lower": true, "Upper": true, "TrimSpace": true,
}

// constant is what an expression is whatever the alert is. Whatever cannot
// be told depends.
func constant(n ast.Node) truth {
	switch n := n.(type) {
	case *ast.BoolNode:
		if n.Value {
			return always
		}
		return never
	case *ast.UnaryNode:
		if n.Operator == "!" || n.Operator == "not" {
			switch constant(n.Node) {
			case always:
				return never
			case never:
				return always
			}
		}
	case *ast.BinaryNode:
		return joined(n)
	}
	return depends
}

// joined is constant for two expressions and an operator. The left one is looked at
// first when it runs, so that it alone can decide.
func joined(n *ast.BinaryNode) truth {
	switch n.Operator {
	case "and", "&&":
		switch left := constant(n.Left); left {
		case always:
			return constant(n.Right)
		case never:
			return never
		}
	case "or", "||":
		switch left := constant(n.Left); left {
		case never:
			return constant(n.Right)
		case always:
			return always
		}
	case "==", "!=":
		if same, known := alike(n.Left, n.Right); known {
			if same == (n.Operator == "==") {
				return always
			}
			return never
		}
	}
	return depends
}

// alike compares two constants of one kind.
func alike(a, b ast.Node) (same, known bool) {
	switch a := a.(type) {
	case *ast.BoolNode:
		b, ok := b.(*ast.BoolNode)
		return ok && a.Value == b.Value, ok
	case *ast.IntegerNode:
		b, ok := b.(*ast.IntegerNode)
		return ok && a.Value == b.Value, ok
	case *ast.StringNode:
		b, ok := b.(*ast.StringNode)
		return ok && a.Value == b.Value, ok
	}
	return false, false
}

// refuse notes what nothing can read, the first of several.
func (f *foreseen) refuse(format string, args ...any) {
	if f.wrong == nil {
		f.wrong = fmt.Errorf(format, args...)
	}
}

// doubt notes a sentence once.
func (f *foreseen) doubt(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(f.doubts, text) {
		f.doubts = append(f.doubts, text)
	}
}
