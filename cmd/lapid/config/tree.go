package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a configuration file. Beyond them reading stops with an error.
const (
	maxConfigSize  = 8 << 20 // bytes, before and after variables were put in
	maxConfigDepth = 64      // maps and lists inside one another
)

// kind is what a node of a configuration file is.
type kind uint8

const (
	isNull kind = iota
	isScalar
	isMap
	isList
)

// String is the kind in a sentence: "must be a list, this is a map".
func (k kind) String() string {
	return [...]string{"nothing", "a single value", "a map", "a list"}[k]
}

// node is one piece of a configuration file that still knows where it was
// written, also after an overlay was merged over it. A tree is never changed
// once it was built: merging makes a new one that shares what is the same,
// and aliases share their anchor's.
type node struct {
	file      string
	line, col int
	kind      kind
	text      string  // of a scalar
	plain     bool    // a scalar without quotes: may be a number, a bool
	items     []*node // of a list
	entries   []entry // of a map, in the order of the file
	further   *node   // the next document of the file, of a whole document that readOne read
}

// entry is one key of a map. The key is a node for its place.
type entry struct {
	key   *node
	value *node
}

// at names the place of the node, "file:line:column", or whatever else it
// came from. A value from the environment has a name for a place, and no
// line.
func (n *node) at() string {
	if n.line == 0 {
		return n.file
	}
	return fmt.Sprintf("%s:%d:%d", n.file, n.line, n.col)
}

// get gives the value of a key, nil when there is none. Also on nil, so that
// paths can be followed without looking at each step.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for _, e := range n.entries {
		if e.key.text == key {
			return e.value
		}
	}
	return nil
}

// readTrees reads a file of one or more YAML documents. Empty documents are
// left out. The file must be an ordinary one of maxConfigSize bytes at most
// (readPlain). expand puts in variables, nil: it is left as it is; it sees
// the whole text, as the reference's does, comments and quotes included.
func readTrees(file string, expand func(string) string) ([]*node, error) {
	text, err := readPlain(file, maxConfigSize)
	if err != nil {
		return nil, err
	}
	return parseTrees(file, string(text), expand)
}

// parseTrees is readTrees for a text; file is only named in places and errors.
// Errors are one line each and name file, line and column, never more of the content
// than the word they are about: a file may hold secrets.
func parseTrees(file, text string, expand func(string) string) ([]*node, error) {
	text = strings.TrimPrefix(text, "\ufeff") // editors on Windows write one
	if expand != nil {
		text = expand(text)
	}
	if len(text) > maxConfigSize {
		return nil, fmt.Errorf("%s: larger than %d MiB", file, maxConfigSize>>20)
	}
	parsed, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return nil, syntaxError(file, text, err)
	}
	var trees []*node
	for _, doc := range parsed.Docs {
		b := treeBuilder{file: file, anchors: map[string]*node{}}
		tree, err := b.build(doc.Body, 0)
		if err != nil {
			return nil, err
		}
		if tree != nil && tree.kind != isNull {
			trees = append(trees, tree)
		}
	}
	return trees, nil
}

// inQuotes is what to do about a wildcard that stands for itself.
const inQuotes = "; a * that stands for itself is put in quotes"

// bareStar is a text that begins with a star: YAML takes it for the name of
// something before.
var bareStar = pattern(`(^|[\[{,:-])\s*\*`)

// syntaxError is a parser's complaint on one line, with its place.
func syntaxError(file, text string, err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		p, hint := y.GetToken().Position, ""
		if lines := strings.Split(text, "\n"); p.Line <= len(lines) && bareStar().MatchString(lines[p.Line-1]) {
			hint = inQuotes
		}
		return fmt.Errorf("%s:%d:%d: %s%s", file, p.Line, p.Column, shownMessage(y.GetMessage()), hint)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("%s: %s", file, shownMessage(first))
}

// treeBuilder turns one parsed document into nodes. Anchors are known from
// where they stand to the end of the document.
type treeBuilder struct {
	file    string
	anchors map[string]*node
}

// node begins a node at the place of a token.
func (b *treeBuilder) node(k kind, tk *token.Token) *node {
	n := &node{file: b.file, kind: k}
	if tk != nil && tk.Position != nil {
		n.line, n.col = tk.Position.Line, tk.Position.Column
	}
	return n
}

// scalar is a node that is one word; plain says that it stood without quotes.
func (b *treeBuilder) scalar(tk *token.Token, text string, plain bool) *node {
	n := b.node(isScalar, tk)
	n.text, n.plain = text, plain
	return n
}

// build makes a node of what the parser gives, with all that is in it, at most
// maxConfigDepth deep. An alias is the very node of its anchor, so a file that
// repeats itself many times over takes no more memory than it has bytes.
func (b *treeBuilder) build(v ast.Node, depth int) (*node, error) {
	if depth > maxConfigDepth {
		return nil, fmt.Errorf("%s: nested deeper than %d", b.file, maxConfigDepth)
	}
	switch v := v.(type) {
	case nil, *ast.CommentNode, *ast.CommentGroupNode, *ast.DirectiveNode:
		return b.node(isNull, nil), nil
	case *ast.NullNode:
		return b.node(isNull, v.Token), nil
	case *ast.StringNode:
		return b.scalar(v.Token, v.Value, v.Token.Type == token.StringType), nil
	case *ast.LiteralNode:
		return b.scalar(v.Start, v.Value.Value, false), nil
	case *ast.MappingNode:
		at := v.GetToken() // of a block it is the first colon
		if !v.IsFlowStyle && len(v.Values) > 0 {
			at = v.Values[0].Key.GetToken()
		}
		return b.mapping(b.node(isMap, at), v.Values, depth)
	case *ast.MappingValueNode:
		return b.mapping(b.node(isMap, v.Key.GetToken()), []*ast.MappingValueNode{v}, depth)
	case *ast.SequenceNode:
		return b.list(v, depth)
	case *ast.AnchorNode:
		n, err := b.build(v.Value, depth+1)
		if err == nil {
			b.anchors[v.Name.GetToken().Value] = n
		}
		return n, err
	case *ast.AliasNode:
		name := v.Value.GetToken()
		if n := b.anchors[name.Value]; n != nil {
			return n, nil
		}
		return nil, fmt.Errorf("%s: unknown anchor %s%s", b.node(isNull, name).at(), shownWord(name.Value), inQuotes)
	case *ast.TagNode:
		return b.tagged(v, depth)
	default: // numbers, booleans
		tk := v.GetToken()
		return b.scalar(tk, tk.Value, true), nil
	}
}

// mapping fills a map. A key that stands twice is an error, since YAML readers differ
// in which one wins. Own keys win against those of a merge key when they stand before
// it.
func (b *treeBuilder) mapping(n *node, values []*ast.MappingValueNode, depth int) (*node, error) {
	for _, v := range values {
		value, err := b.build(v.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if v.Key.IsMergeKey() {
			if err := n.inherit(value); err != nil {
				return nil, err
			}
			continue
		}
		key, err := b.build(v.Key, depth+1)
		if err != nil {
			return nil, err
		}
		if key.kind != isScalar {
			return nil, fmt.Errorf("%s: a key must be a single word", key.at())
		}
		if value.line == 0 { // a value that was left out stands where its key is
			value.line, value.col = key.line, key.col
		}
		if n.get(key.text) != nil {
			return nil, fmt.Errorf("%s: key %s is given twice", key.at(), shownWord(key.text))
		}
		n.entries = append(n.entries, entry{key, value})
	}
	return n, nil
}

// inherit takes the entries of a merge key ("<<") that n does not have.
func (n *node) inherit(from *node) error {
	switch from.kind {
	case isMap:
		for _, e := range from.entries {
			if n.get(e.key.text) == nil {
				n.entries = append(n.entries, e)
			}
		}
	case isList:
		for _, item := range from.items {
			if item.kind != isMap {
				return fmt.Errorf("%s: only maps can be merged", item.at())
			}
			if err := n.inherit(item); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%s: only maps can be merged", from.at())
	}
	return nil
}

// list makes a list with its items.
func (b *treeBuilder) list(v *ast.SequenceNode, depth int) (*node, error) {
	n := b.node(isList, v.GetToken())
	for _, item := range v.Values {
		x, err := b.build(item, depth+1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, x)
	}
	return n, nil
}

// tagged takes the tags of YAML itself and refuses others: an expression that
// begins with an exclamation mark and was not quoted looks like one.
func (b *treeBuilder) tagged(v *ast.TagNode, depth int) (*node, error) {
	if !strings.HasPrefix(v.Start.Value, "!!") {
		return nil, fmt.Errorf("%s: %s is read as a YAML tag: put the text in quotes", b.node(isNull, v.Start).at(), shownTag(v.Start.Value))
	}
	n, err := b.build(v.Value, depth+1)
	if err == nil && v.Start.Value == "!!str" && n.kind == isScalar {
		n.plain = false
	}
	return n, err
}

// merge lays over on top of n and gives the result: maps key by key, lists
// and scalars replaced, null removes. Neither tree is changed. An overlay
// that has a map where the file has a word, or the other way round, is an
// error: one of the two is a slip.
func merge(n, over *node) (*node, error) {
	switch {
	case over.kind != isMap && n.kind == isMap || over.kind == isMap && n.kind != isMap,
		over.kind == isScalar && n.kind == isList:
		return nil, fmt.Errorf("%s: can't merge %s into %s", over.at(), over.kind, n.kind)
	case over.kind != isMap:
		return over, nil
	}
	merged := *n
	merged.entries = append([]entry(nil), n.entries...)
	for _, e := range over.entries {
		if err := merged.lay(e); err != nil {
			return nil, err
		}
	}
	return &merged, nil
}

// lay puts one overlaying entry into the map. The entries must be n's own,
// not shared with another tree.
func (n *node) lay(e entry) error {
	for i, old := range n.entries {
		if old.key.text != e.key.text {
			continue
		}
		switch {
		case e.value.kind == isNull:
			n.entries = append(n.entries[:i], n.entries[i+1:]...)
		case old.value.kind == isNull:
			n.entries[i].value = e.value
		default:
			value, err := merge(old.value, e.value)
			if err != nil {
				return err
			}
			n.entries[i].value = value
		}
		return nil
	}
	if e.value.kind != isNull {
		n.entries = append(n.entries, e)
	}
	return nil
}

// expander replaces $NAME and ${NAME} in a text by the value of the variable
// where lookup knows one, also an empty one; everything else stays as it is.
// A dollar sign that belongs to no known variable stays, because passwords and
// patterns hold some.
func expander(lookup func(string) (string, bool)) func(string) string {
	return func(s string) string {
		var out strings.Builder
		for {
			i := strings.IndexByte(s, '$')
			if i < 0 {
				break
			}
			out.WriteString(s[:i])
			name, whole := variable(s[i:])
			value, known := "", false
			if name != "" {
				value, known = lookup(name)
			}
			if !known {
				value, whole = "$", 1
			}
			out.WriteString(value)
			s = s[i+whole:]
		}
		out.WriteString(s)
		return out.String()
	}
}

// variable reads the name behind a dollar sign and the length of all of it.
// "" and 1 when there is none, so that the sign alone is passed over.
func variable(s string) (name string, whole int) {
	if strings.HasPrefix(s, "${") {
		end := strings.IndexByte(s, '}')
		if end < 0 || !isName(s[2:end]) {
			return "", 1
		}
		return s[2:end], end + 1
	}
	end := 1
	for end < len(s) && isNameByte(s[end]) {
		end++
	}
	return s[1:end], end
}

// isName says whether a text can be the name of a variable.
func isName(s string) bool {
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isNameByte says whether a byte may stand in such a name.
func isNameByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// Environment is how variables are looked up: os.LookupEnv, but for tests. It must not be
// nil.
type Environment func(string) (string, bool)

// readMerged reads a file of one document with its overlay, FILE.local. An
// overlay that is missing is no error, one that is empty changes nothing.
func readMerged(file string, expand func(string) string) (*node, error) {
	tree, err := readOne(file, expand)
	if err != nil {
		return nil, err
	}
	return overlaid(file, tree, expand)
}

// overlaid lays FILE.local over what was read of a file.
func overlaid(file string, tree *node, expand func(string) string) (*node, error) {
	over, err := readOne(file+".local", expand)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return tree, nil
	case err != nil:
		return nil, err
	case over == nil:
		return tree, nil
	case tree == nil:
		tree = &node{file: file, kind: isMap}
	}
	return merge(tree, over)
}

// readOne reads a file of one document, nil when it is empty. Further
// documents of it are passed over, as the reference does; the first of them is the
// tree's further, for who must say so.
func readOne(file string, expand func(string) string) (*node, error) {
	trees, err := readTrees(file, expand)
	if err != nil || len(trees) == 0 {
		return nil, err
	}
	if len(trees) > 1 {
		trees[0].further = trees[1]
	}
	return trees[0], nil
}
