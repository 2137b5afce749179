package config

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// YAML is file, overlay and variables put together as YAML, secrets included; "" where
// there is no file.
func (s *Setup) YAML() string {
	if s.tree == nil {
		return ""
	}
	return s.tree.yaml()
}

// yaml writes the tree back. What it writes is read back as the same tree.
func (n *node) yaml() string {
	var out strings.Builder
	n.appendYAML(&out, "")
	return out.String()
}

// appendYAML writes the lines of a map or list, each with the indent.
func (n *node) appendYAML(out *strings.Builder, indent string) {
	for _, e := range n.entries {
		out.WriteString(indent + Scalar(e.key.text) + ":")
		e.value.appendValue(out, indent)
	}
	for _, item := range n.items {
		out.WriteString(indent + "-")
		item.appendValue(out, indent)
	}
}

// appendValue writes what stands behind a key or a dash. A word that stood
// without quotes is written without: it may be a number or a truth.
func (n *node) appendValue(out *strings.Builder, indent string) {
	switch {
	case n.kind == isScalar && n.plain:
		out.WriteString(" " + n.text + "\n")
	case n.kind == isScalar:
		out.WriteString(" " + Scalar(n.text) + "\n")
	case n.kind == isNull:
		out.WriteString(" null\n")
	case len(n.entries) == 0 && len(n.items) == 0:
		out.WriteString(map[kind]string{isMap: " {}\n", isList: " []\n"}[n.kind])
	default:
		out.WriteByte('\n')
		n.appendYAML(out, indent+"    ")
	}
}

// YAML is read by goccy/go-yaml and written by hand: that library (1.19) sets
// lists within lists ten blanks in where the golden files have eight, quotes with "
// where they have ', and reads some texts it wrote back as others (".inf" as a
// number, a line end as nothing), which TestYAMLScalars forbids.

// Scalar writes one value so that every YAML reader takes it for the text it is.
// What looks like a number or a truth, and what is not seen, stands in double quotes,
// other texts that need quotes in single ones, as the reference's writer does it.
func Scalar(s string) string {
	switch {
	case s == "", looksTyped().MatchString(s):
		return strconv.Quote(s)
	case strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u0085' || r == '\u2028' || r == '\u2029' }) >= 0:
		return jsonText(s)
	case plainText().MatchString(s) && !strings.Contains(s, ": ") && !strings.Contains(s, " #") &&
		!strings.HasSuffix(s, ":") && !strings.HasSuffix(s, " "):
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// pattern is an expression that is compiled when it is first used: most starts use none,
// and the letters of all scripts take a megabyte.
func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// looksTyped is what a YAML reader would take for a number, a truth, nothing or
// a moment; plainText needs no quotes.
var (
	looksTyped = pattern(`^(?i:true|false|yes|no|on|off|y|n|null|~|[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)(e[-+]?[0-9]+)?|[-+]?0x[0-9a-f_]+|[-+]?0o[0-7_]+|[-+]?[0-9]+(:[0-5]?[0-9])+|[-+]?\.(inf|nan)|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt][0-9:.]+(Z|[-+][0-9:]+)?)?)$`)
	plainText  = pattern(`^[\p{L}\p{N}_./(+$^;\\][^\x00-\x1f]*$`)
)

// jsonText is a text in quotes, as JSON and YAML both read it.
func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("BUG: a string cannot be written as JSON: " + err.Error())
	}
	return string(b)
}
