package profile

import (
	"reflect"

	"github.com/expr-lang/expr/ast"
)

// binder walks the tree of one expression, children first. Besides weaving
// in the bounds it hands functions the evaluation they ask for, reads fields
// instead of calling the alert's plain getters, and notes which parts of the
// alert are looked at. It is used for one expression and then let go of.
type binder struct {
	asking map[string]bool

	loops   bool
	reads   bool
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
		b.reads = b.reads || !counts[n.Name]
		if makesMuch(n) {
			bound(node)
		}
	case *ast.PredicateNode:
		b.loops = true
		bound(&n.Node)
	case *ast.BinaryNode:
		if n.Operator == "matches" {
			b.match(node, n)
		} else if n.Operator == "+" && makesMuch(n) {
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

// counts are expr's own functions that look at how many there are, whatever
// they are.
var counts = map[string]bool{"len": true, "all": true, "any": true, "none": true, "one": true, "count": true, "filter": true, "map": true, "find": true}

// match has a pattern that is only known later looked at before it is used.
// A constant pattern was compiled at load and stays as it is.
func (b *binder) match(node *ast.Node, n *ast.BinaryNode) {
	b.reads = true
	if _, ok := n.Right.(*ast.StringNode); ok {
		return
	}
	at := n.Location()
	call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: matchName}, Arguments: []ast.Node{n.Left, n.Right}}
	call.SetLocation(at)
	call.Callee.SetLocation(at)
	ast.Patch(node, call)
}

// member notes which costly part of the alert a field stands for.
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

// call hands the evaluation to functions that ask for it, and puts a bound behind
// what may be large.
func (b *binder) call(node *ast.Node, n *ast.CallNode) {
	switch callee := n.Callee.(type) {
	case *ast.IdentifierNode:
		b.reads = true
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
// take memory worth counting. What is not known may be anything.
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

// bound weaves charge in behind a value, keeping its type. The names are such that no
// rule can write them.
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
