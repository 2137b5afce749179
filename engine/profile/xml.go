package profile

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
)

// xmlFunctions read one value out of an XML text by a path such as
// /Event/EventData[1]/Data[@Name='IpAddress']. What is not there is "".
func xmlFunctions() []function {
	return []function{
		ask2("XMLGetNodeValue", func(e *evaluation, text, path string) (string, error) {
			if n := e.element(text, path); n != nil {
				return string(n.text), nil
			}
			return "", nil
		}),
		ask3("XMLGetAttributeValue", func(e *evaluation, text, path, attribute string) (string, error) {
			if n := e.element(text, path); n != nil {
				value, _ := n.attribute(attribute)
				return value, nil
			}
			return "", nil
		}),
	}
}

// element is the first one at path, nil if there is none. A path that is
// none, and one that would look at too much, are told in the log; a document
// that is no XML is not, for logs are full of them.
func (e *evaluation) element(text, path string) *element {
	steps, err := xmlPath(path)
	if err == nil && len(text) > documentLimit {
		err = errDocument
	}
	if err != nil {
		e.log(slog.LevelError, "Could not use XML path", "path", clip(path), "error", err.Error())
		return nil
	}
	root, err := parseXML(text)
	if err != nil {
		return nil
	}
	found, effort := []*element{root}, xmlEffort
	for _, s := range steps {
		found = s.from(found, &effort)
	}
	if effort < 0 {
		e.log(slog.LevelError, "XML path reaches too many elements", "path", clip(path))
		return nil
	}
	if len(found) == 0 || found[0] == root {
		return nil
	}
	return found[0]
}

// element is one element of a document; the document itself has no name.
// What lies in a document is freed with it.
type element struct {
	name       string
	text       []byte // up to the first child
	attributes []xml.Attr
	children   []*element
	parent     *element
}

// attribute is the value of an attribute, with or without its name space, and whether
// there is one.
func (n *element) attribute(name string) (string, bool) {
	for _, a := range n.attributes {
		if a.Name.Local == name || (a.Name.Space != "" && a.Name.Space+":"+a.Name.Local == name) {
			return a.Value, true
		}
	}
	return "", false
}

const (
	// Deeper documents would take the stack, and longer walks the time of the
	// request.
	xmlDepth  = 1000      // elements within elements; deeper documents are not read
	xmlEffort = 1_000_000 // elements one path may look at; beyond, nothing is found
)

// parseXML reads a document without resolving name spaces, which logs often
// leave undeclared. End tags must fit their beginnings; what is missing at
// the end is not.
func parseXML(text string) (*element, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict = false
	root := &element{}
	at, depth := root, 0
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth > xmlDepth {
				return nil, errors.New("the document is nested too deep")
			}
			child := &element{name: t.Name.Local, attributes: t.Copy().Attr, parent: at}
			at.children = append(at.children, child)
			at = child
		case xml.EndElement:
			if at.parent == nil || at.name != t.Name.Local {
				return nil, fmt.Errorf("</%s> closes nothing", t.Name.Local)
			}
			at = at.parent
			depth--
		case xml.CharData:
			if len(at.children) == 0 {
				at.text = append(at.text, t...)
			}
		}
	}
}

// xmlStep is one step of a path: which elements, at what depth, and which of
// those.
type xmlStep struct {
	name   string // "*": any; ".": the element itself; "..": one up
	deep   bool   // not only children but everything below
	checks []xmlCheck
}

// xmlCheck is what stands in brackets.
type xmlCheck struct {
	index     int // [n], from 1, negative from the end; 0: not an index
	name      string
	attribute bool
	valued    bool
	value     string
}

// xmlPath reads a path: steps divided by / or //, each a name, *, . or ..,
// with any number of [n], [@attribute], [@attribute='v'], [child],
// [child='v'], [text()='v'].
func xmlPath(path string) ([]xmlStep, error) {
	var steps []xmlStep
	rest := strings.TrimSpace(path)
	if rest == "" {
		return nil, errors.New("the path is empty")
	}
	for rest != "" {
		s := xmlStep{}
		if strings.HasPrefix(rest, "//") {
			s.deep, rest = true, rest[2:]
		} else {
			rest = strings.TrimPrefix(rest, "/")
		}
		end := strings.IndexAny(rest, "/[")
		if end < 0 {
			end = len(rest)
		}
		s.name, rest = rest[:end], rest[end:]
		for strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil, errors.New("a bracket is not closed")
			}
			check, err := readCheck(rest[1:end])
			if err != nil {
				return nil, err
			}
			s.checks, rest = append(s.checks, check), rest[end+1:]
		}
		if s.name == "" {
			return nil, errors.New("a step has no name")
		}
		if i := strings.IndexByte(s.name, ':'); i >= 0 {
			s.name = s.name[i+1:]
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// readCheck reads what stands between two brackets.
func readCheck(text string) (xmlCheck, error) {
	if n, err := strconv.Atoi(text); err == nil && n != 0 {
		return xmlCheck{index: n}, nil
	}
	name, value, valued := strings.Cut(text, "=")
	c := xmlCheck{valued: valued}
	c.name, c.attribute = strings.CutPrefix(name, "@")
	if c.name == "" {
		return c, errors.New("a bracket holds no name")
	}
	if !valued {
		return c, nil
	}
	if len(value) < 2 || (value[0] != '\'' && value[0] != '"') || value[len(value)-1] != value[0] {
		return c, errors.New("a value is not in quotes")
	}
	c.value = value[1 : len(value)-1]
	return c, nil
}

// from gives the elements the step leads to. Each one looked at is taken off
// effort; the walk ends when nothing is left.
func (s *xmlStep) from(at []*element, effort *int) []*element {
	var found []*element
	for _, n := range at {
		reached := s.reach(nil, n, effort)
		for _, c := range s.checks {
			reached = c.keep(reached)
		}
		found = append(found, reached...)
	}
	return found
}

// reach appends the elements below n that the step names.
func (s *xmlStep) reach(dst []*element, n *element, effort *int) []*element {
	switch s.name {
	case ".":
		return append(dst, n)
	case "..":
		if n.parent != nil {
			dst = append(dst, n.parent)
		}
		return dst
	}
	for _, c := range n.children {
		if *effort--; *effort < 0 {
			return dst
		}
		if s.name == "*" || s.name == c.name {
			dst = append(dst, c)
		}
		if s.deep {
			dst = s.reach(dst, c, effort)
		}
	}
	return dst
}

// keep gives those of the list that pass, or the one at an index.
func (c *xmlCheck) keep(list []*element) []*element {
	switch {
	case c.index > 0 && c.index <= len(list):
		return list[c.index-1 : c.index]
	case c.index < 0 && -c.index <= len(list):
		return list[len(list)+c.index : len(list)+c.index+1]
	case c.index != 0:
		return nil
	}
	var kept []*element
	for _, n := range list {
		if c.holds(n) {
			kept = append(kept, n)
		}
	}
	return kept
}

// holds reports whether an element passes.
func (c *xmlCheck) holds(n *element) bool {
	switch {
	case c.attribute:
		value, ok := n.attribute(c.name)
		return ok && (!c.valued || value == c.value)
	case c.name == "text()":
		return len(n.text) > 0 && (!c.valued || string(n.text) == c.value)
	}
	for _, child := range n.children {
		if child.name == c.name && (!c.valued || string(child.text) == c.value) {
			return true
		}
	}
	return false
}
