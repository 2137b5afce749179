package profile

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"lapid/engine"
)

// Tracer judges as its Set does, and writes down how. It is for one alert and one goroutine, and
// for people: it evaluates parts of expressions once more, to show what they were.
type Tracer struct {
	// Profiles are those of the set, in their order. They are there from the beginning, and
	// filled by Evaluate.
	Profiles []Traced

	set *Set
	at  int // the one that is looked at
}

// Traced is what one profile has said.
type Traced struct {
	Name      string             `json:"name"`
	Reached   bool               `json:"reached"` // no profile before it has ended the judging
	Matched   bool               `json:"matched"`
	Decides   bool               `json:"decides"` // the decisions are its
	Stops     bool               `json:"stops"`   // it has ended the judging
	Filters   []TracedExpression `json:"filters"`
	Durations []TracedExpression `json:"durations,omitempty"` // duration_expr, once for each decision
	Notify    []string           `json:"notify,omitempty"`
	Unsent    []string           `json:"unsent,omitempty"` // notifications that it names and that there are not
}

// TracedExpression is an expression and what came of it. Of a filter that was not evaluated, because one before
// it has failed or the profile was not reached, Result and Error are empty.
type TracedExpression struct {
	Text   string       `json:"text"`
	Result string       `json:"result,omitempty"`
	Error  string       `json:"error,omitempty"`
	Parts  []TracedPart `json:"parts,omitempty"`
}

// TracedPart is something that an expression asks, and what it was told: a field, or what a function gave.
type TracedPart struct {
	Text  string `json:"text"`
	Value string `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

// mostParts is how many parts of one expression are shown, and longestShown how many bytes of a value.
const (
	mostParts    = 16
	longestShown = 200
)

// Trace gives a Tracer of the set. Evaluate may be called on it once.
func (s *Set) Trace() *Tracer {
	t := &Tracer{set: s}
	for i := range s.profiles {
		p := &s.profiles[i]
		traced := Traced{Name: p.spec.Name, Filters: make([]TracedExpression, len(p.filters))}
		for j, x := range p.filters {
			traced.Filters[j].Text = x.text
		}
		t.Profiles = append(t.Profiles, traced)
	}
	return t
}

// Evaluate judges one alert: it is Set.Evaluate.
func (t *Tracer) Evaluate(a *engine.Alert, v *engine.View, now int64) (engine.Verdict, error) {
	e := newEvaluation(t.set)
	e.trace = t
	e.begin(a, v, now)
	return e.judge()
}

// reached: the judging has come to the profile at i. As the others, it does nothing without a tracer.
func (t *Tracer) reached(i int) {
	if t != nil {
		t.at = i
		t.Profiles[i].Reached = true
	}
}

// filter notes what came of one, the nth of its profile.
func (t *Tracer) filter(e *evaluation, n int, x *expression, ok bool, err error) {
	if t == nil {
		return
	}
	f := &t.Profiles[t.at].Filters[n]
	if f.Result = strconv.FormatBool(ok); err != nil {
		f.Result, f.Error = "", clip(err.Error())
	}
	f.Parts = e.parts(x)
}

// lasted notes what a duration_expr came to.
func (t *Tracer) lasted(e *evaluation, x *expression, result string, err error) {
	if t == nil {
		return
	}
	d := TracedExpression{Text: x.text, Result: result, Parts: e.parts(x)}
	if err != nil {
		d.Error = clip(err.Error())
	}
	t.Profiles[t.at].Durations = append(t.Profiles[t.at].Durations, d)
}

// matched notes what follows from a profile that matched.
func (t *Tracer) matched(p *profile, decides, stops bool) {
	if t == nil {
		return
	}
	traced := &t.Profiles[t.at]
	traced.Matched, traced.Decides, traced.Stops, traced.Notify = true, decides, stops, p.notify
	for _, u := range p.unsent {
		traced.Unsent = append(traced.Unsent, u.name)
	}
}

// parts evaluates what an expression asks, each by itself and within the bounds of an expression of its own.
// What is asked within a closure means nothing outside of it, and is left out.
func (e *evaluation) parts(x *expression) []TracedPart {
	tree, err := parser.Parse(x.text)
	if err != nil {
		return nil // it was compiled by a parser with more names
	}
	var list []TracedPart
	seen := map[string]bool{x.text: true, tree.Node.String(): true}
	for _, node := range asked(tree.Node, nil) {
		text := node.String()
		if seen[text] || len(list) == mostParts {
			continue
		}
		seen[text] = true
		part := TracedPart{Text: clip(text)}
		if compiled, err := e.set.language.compile(text); err != nil {
			continue
		} else if value, err := e.run(compiled); err != nil {
			part.Error = short(err.Error())
		} else {
			part.Value = short(shownValue(value))
		}
		list = append(list, part)
	}
	return list
}

// asked are the parts of an expression that are neither operators nor constants: what a call is given behind the call.
func asked(node ast.Node, list []ast.Node) []ast.Node {
	switch n := node.(type) {
	case *ast.BinaryNode:
		return asked(n.Right, asked(n.Left, list))
	case *ast.UnaryNode:
		return asked(n.Node, list)
	case *ast.ConditionalNode:
		return asked(n.Exp2, asked(n.Exp1, asked(n.Cond, list)))
	case *ast.ArrayNode:
		return eachAsked(n.Nodes, list)
	case *ast.CallNode:
		return eachAsked(n.Arguments, append(list, node))
	case *ast.BuiltinNode:
		return eachAsked(n.Arguments, append(list, node))
	case *ast.VariableDeclaratorNode, *ast.SequenceNode, *ast.PredicateNode:
		return list // what is asked in it may name the variable, or the element
	}
	same := fixed(true)
	if ast.Walk(&node, &same); same {
		return list
	}
	return append(list, node)
}

// eachAsked is asked of several.
func eachAsked(nodes, list []ast.Node) []ast.Node {
	for _, n := range nodes {
		list = asked(n, list)
	}
	return list
}

// shownValue is a value as a rule would write it.
func shownValue(value any) string {
	if text, is := value.(string); is {
		return strconv.Quote(text)
	}
	return fmt.Sprint(value)
}

// short cuts a text that is too long to be read.
func short(text string) string {
	if len(text) <= longestShown {
		return text
	}
	for text = text[:longestShown]; !utf8.ValidString(text); text = text[:len(text)-1] {
		continue
	}
	return text + "…"
}
