package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// What putting one message into words may cost: a template that goes round for ever would
// hold up its notification, and the end of the server.
const (
	mostSteps = 2_000_000 // turns of loops and templates within
	mostTime  = 5 * time.Second
	// mostListed bounds the lists of numbers that a template makes.
	mostListed = 1_000_000
)

// stepName is the function that every turn calls; no template of an operator has the name.
const stepName = "lapidStep"

// turns bounds one execution.
type turns struct {
	taken int
	until time.Time
}

// step counts a turn, and ends the template when there have been too many.
func (t *turns) step() (string, error) {
	if t.taken++; t.taken > mostSteps || t.taken%1000 == 0 && time.Now().After(t.until) {
		return "", fmt.Errorf("it goes round too long: more than %d turns, or %v", mostSteps, mostTime)
	}
	return "", nil
}

// counted has every loop, and every template within, of a template count its turns.
func counted(t *template.Template) error {
	for _, one := range t.Templates() {
		if one.Tree == nil || one.Root == nil {
			continue
		}
		if err := countIn(t, one.Root, one.Root); err != nil {
			return err
		}
		if err := prepend(t, one.Root); err != nil {
			return err
		}
	}
	return nil
}

// countIn looks for loops.
func countIn(t *template.Template, root, list *parse.ListNode) error {
	if list == nil {
		return nil
	}
	var err error
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			err = errors.Join(countIn(t, root, n.List), countIn(t, root, n.ElseList), prepend(t, n.List))
		case *parse.IfNode:
			err = errors.Join(countIn(t, root, n.List), countIn(t, root, n.ElseList))
		case *parse.WithNode:
			err = errors.Join(countIn(t, root, n.List), countIn(t, root, n.ElseList))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// prepend puts a step in front of a list.
func prepend(t *template.Template, list *parse.ListNode) error {
	trees, err := parse.Parse("format", "{{"+stepName+"}}", "", "", map[string]any{stepName: (&turns{}).step})
	if err != nil {
		return err
	}
	list.Nodes = append([]parse.Node{trees["format"].Root.Nodes[0]}, list.Nodes...)
	return nil
}

// bounds are functions of sprig that could take all memory, with bounds.
func bounds(of template.FuncMap) template.FuncMap {
	long := errors.New("the text would be longer than 16 MiB")
	many := fmt.Errorf("the list would have more than %d numbers", mostListed)
	until, steps := of["until"].(func(int) []int), of["untilStep"].(func(int, int, int) []int)
	seq, indent, nindent := of["seq"].(func(...int) string), of["indent"].(func(int, string) string), of["nindent"].(func(int, string) string)
	far := func(numbers ...int) bool {
		for _, n := range numbers {
			if n > mostListed || n < -mostListed {
				return true
			}
		}
		return false
	}
	wide := func(n int, text string) bool {
		return n < 0 || n > longestText || (strings.Count(text, "\n")+1)*n > longestText
	}
	return template.FuncMap{
		"until": func(n int) ([]int, error) {
			if far(n) {
				return nil, many
			}
			return until(n), nil
		},
		"untilStep": func(from, to, by int) ([]int, error) {
			if far(from, to) {
				return nil, many
			}
			return steps(from, to, by), nil
		},
		"seq": func(numbers ...int) (string, error) {
			if far(numbers...) {
				return "", many
			}
			return seq(numbers...), nil
		},
		"repeat": func(n int, text string) (string, error) {
			if n < 0 || n > longestText || n*len(text) > longestText {
				return "", long
			}
			return strings.Repeat(text, n), nil
		},
		"indent": func(n int, text string) (string, error) {
			if wide(n, text) {
				return "", long
			}
			return indent(n, text), nil
		},
		"nindent": func(n int, text string) (string, error) {
			if wide(n, text) {
				return "", long
			}
			return nindent(n, text), nil
		},
	}
}

// TryFormat puts a sample alert into words, and says why that cannot be done: an error may
// be of that alert alone. The error begins with "template: format:" and the line where it
// has one. It ends with ctx; a function that goes on then ends within its own bounds.
func TryFormat(ctx context.Context, format string) error {
	t, err := compile(format)
	if err != nil {
		return err
	}
	said := make(chan error, 1)
	go func() {
		_, err := render(t, []*Alert{sampleAlert()})
		said <- err
	}()
	select {
	case err := <-said:
		return err
	case <-ctx.Done():
		return errors.New("it takes too long")
	}
}

// sampleAlert is one with something in each field.
func sampleAlert() *Alert {
	a := TestAlert()
	at := a.StartAt
	meta := []*Meta{{Key: "source_ip", Value: *a.Source.Value}}
	a.Events, a.Meta = []*Event{{Meta: meta, Timestamp: at}}, meta
	a.Source.Cn, a.Source.AsName, a.Source.AsNumber, a.MachineID = "FR", "EXAMPLE", "64496", "localhost"
	return a
}
