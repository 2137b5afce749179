package profile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"lapid/engine"
)

// respelled are the scopes of which alerts have no other spelling, because it is put
// right when they come in. Any other word is a scope of the author's own.
var respelled = []string{engine.ScopeIP, engine.ScopeRange, engine.ScopeCountry, engine.ScopeAS}

// odd are scopes that say whether a comparison is true of every scope: the missing one,
// and one that is in no rule.
var odd = []string{"", "\x00~\n☃"}

// comparison is one of the scope with a word that is known beforehand.
// Both sides are known to be texts.
type comparison struct {
	operator string
	word     string
	turned   bool // the word is on the left
	scope    spelling
}

// spelling is what an expression makes of the scope of the alert.
type spelling struct {
	through func(string) string // nil: nothing
	by      string              // the function that made it
}

// of is the scope as the expression sees it.
func (s spelling) of(scope string) string {
	if s.through == nil {
		return scope
	}
	return s.through(scope)
}

// spellers are functions that make a spelling of a text.
var spellers = map[string]func(string) string{
	"Lower": strings.ToLower, "lower": strings.ToLower, "Upper": strings.ToUpper, "upper": strings.ToUpper,
	"TrimSpace": strings.TrimSpace, "trim": strings.TrimSpace,
	"ToString": asItIs, "string": asItIs,
}

// asItIs changes nothing.
func asItIs(s string) string { return s }

// compare looks for comparisons with scopes that no alert has. Such a
// comparison loads in the reference too, and its rule never does anything.
func (f *foreseen) compare(n *ast.BinaryNode) {
	switch n.Operator {
	case "==", "!=", "contains", "startsWith", "endsWith", "matches":
		f.compareEach(n.Operator, n.Left, n.Right)
	case "in":
		for _, w := range elements(f.meant(n.Right)) {
			f.compareEach("in", n.Left, w)
		}
	}
}

// elements are what is in a list, or the keys of a map.
func elements(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.ArrayNode:
		return n.Nodes
	case *ast.MapNode:
		var keys []ast.Node
		for _, p := range n.Pairs {
			if pair, ok := p.(*ast.PairNode); ok {
				keys = append(keys, pair.Key)
			}
		}
		return keys
	}
	return nil
}

// compareEach looks at one comparison, of which either side may be the scope.
// Comparisons with anything that is not known beforehand are left alone.
func (f *foreseen) compareEach(operator string, left, right ast.Node) {
	c := comparison{operator: operator}
	known := right
	if !f.scope(left, &c.scope) {
		if !f.scope(right, &c.scope) {
			return
		}
		known, c.turned = left, true
	}
	whole := operator == "==" || operator == "!=" || operator == "in"
	switch word := f.meant(known).(type) {
	case *ast.NilNode:
		if whole {
			f.doubt("compares the scope with nil, which is never %s: a scope that is missing is \"\"", c.outcome())
		}
	case *ast.StringNode:
		c.word = word.Value
		if whole {
			f.doubtWord(&c)
		} else {
			f.doubtPart(&c)
		}
	}
}

// outcome is what a comparison never is that finds nothing.
func (c *comparison) outcome() string {
	if c.operator == "!=" {
		return "false"
	}
	return "true"
}

// doubtWord: no alert has this very scope.
func (f *foreseen) doubtWord(c *comparison) {
	right := c.scope.of(engine.CanonicalScope(c.word))
	if right == c.word {
		return
	}
	why := "scopes of alerts are respelled"
	if c.scope.by != "" {
		why = c.scope.by + " gives no such text"
	}
	f.doubt("compares the scope with %q, which is never %s: %s, write %q", clip(c.word), c.outcome(), why, clip(right))
}

// doubtPart: none of the scopes that are respelled is what is asked for, and one would
// be if case did not matter; or each is that there can be.
func (f *foreseen) doubtPart(c *comparison) {
	asked := c.spoken()
	holds, folded := c.asWritten(), c.folded()
	if slices.ContainsFunc(respelled, holds) {
		if all := append(slices.Clone(odd), respelled...); !slices.ContainsFunc(all, func(s string) bool { return !holds(s) }) {
			f.doubt("asks whether %s, which is always true", asked)
		}
		return
	}
	var near, spelt []string
	for _, s := range respelled {
		if folded(s) {
			near, spelt = append(near, s), append(spelt, fmt.Sprintf("%q", c.scope.of(s)))
		}
	}
	if near != nil {
		f.doubt("asks whether %s, which is never true of %s: scopes of alerts are respelled, here as %s", asked, strings.Join(near, ", "), strings.Join(spelt, ", "))
	}
}

// spoken is the comparison in the operator's words.
func (c *comparison) spoken() string {
	verbs := map[string]string{"contains": "contains", "startsWith": "starts with", "endsWith": "ends with", "matches": "matches"}
	left, right := "the scope", fmt.Sprintf("%q", clip(c.word))
	if c.turned {
		left, right = right, left
	}
	return left + " " + verbs[c.operator] + " " + right
}

// asWritten tells of which scopes the comparison is true.
func (c *comparison) asWritten() func(scope string) bool {
	return c.predicate(asItIs, "")
}

// folded tells the same as if case did not matter.
func (c *comparison) folded() func(scope string) bool {
	return c.predicate(strings.ToLower, "(?i)")
}

// predicate gives the comparison with what is done to both sides, or put in front of a
// pattern.
func (c *comparison) predicate(both func(string) string, flags string) func(scope string) bool {
	if c.operator == "matches" && !c.turned {
		pattern, err := regexp.Compile(flags + c.word)
		return func(scope string) bool { return err == nil && pattern.MatchString(c.scope.of(scope)) }
	}
	return func(scope string) bool {
		a, b := both(c.scope.of(scope)), both(c.word)
		if c.turned {
			a, b = b, a
		}
		switch c.operator {
		case "contains":
			return strings.Contains(a, b)
		case "startsWith":
			return strings.HasPrefix(a, b)
		case "endsWith":
			return strings.HasSuffix(a, b)
		}
		matched, err := regexp.MatchString(b, a) // the scope is the pattern
		return err == nil && matched
	}
}

// scope tells whether an expression is the scope of the alert, perhaps in another
// spelling.
func (f *foreseen) scope(n ast.Node, s *spelling) bool {
	n = f.meant(n)
	name, args := "", []ast.Node(nil)
	switch n := n.(type) {
	case *ast.BuiltinNode:
		name, args = n.Name, n.Arguments
	case *ast.CallNode:
		if callee, ok := n.Callee.(*ast.IdentifierNode); ok {
			name, args = callee.Value, n.Arguments
		}
	}
	outer := spellers[name]
	if outer == nil || len(args) != 1 {
		return f.isScope(n)
	}
	if !f.scope(args[0], s) {
		return false
	}
	inner := *s
	s.through, s.by = func(scope string) string { return outer(inner.of(scope)) }, name
	return true
}

// isScope tells whether an expression is the scope as it came in.
func (f *foreseen) isScope(n ast.Node) bool {
	var path []string
	for {
		switch x := f.meant(n).(type) {
		case *ast.ChainNode:
			n = x.Node
		case *ast.CallNode:
			if len(x.Arguments) > 0 {
				return false
			}
			n = x.Callee
		case *ast.MemberNode:
			name, ok := x.Property.(*ast.StringNode)
			if !ok {
				return false
			}
			path = append(path, name.Value)
			n = x.Node
		case *ast.IdentifierNode:
			slices.Reverse(path)
			switch x.Value + "." + strings.Join(path, ".") {
			case "Alert.GetScope", "Alert.Source.Scope", "Alert.Source.GetScope":
				return true
			}
			return false
		default:
			return false
		}
	}
}

// variables are what "let" gives names to, each with what it stands for; a name that
// is given twice stands for nothing that is known.
type variables map[string]ast.Node

// Visit implements ast.Visitor.
func (v variables) Visit(node *ast.Node) {
	if n, ok := (*node).(*ast.VariableDeclaratorNode); ok {
		if _, twice := v[n.Name]; twice {
			v[n.Name] = nil
		} else {
			v[n.Name] = n.Value
		}
	}
}

// meant is an expression, or what the variable stands for that it is. A name
// that stands for itself by way of others does not hold it up.
func (f *foreseen) meant(n ast.Node) ast.Node {
	for range len(f.named) { // one may stand for another that was named before it
		name, ok := n.(*ast.IdentifierNode)
		if !ok || f.named[name.Value] == nil {
			return n
		}
		n = f.named[name.Value]
	}
	return n
}
