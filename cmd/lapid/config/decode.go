package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"lapid/transport/inputs"
)

// decoder fills a Go value from a tree and refuses what the value has no
// place for. Fields are named by the tag `yaml`; a field with the tag
// `here:"ignored"` is accepted and noted as having no meaning in this
// program. One decoder is for one file. It goes on after a complaint, so
// that an operator sees all of them at once.
type decoder struct {
	schema  reflect.Type     // of the whole file, to say where a stray key belongs
	places  map[string]*node // every key that was read, by its dotted path
	items   map[string]*node // every item of a list, by its path: filters[0]
	ignored []string         // paths of ignored keys, in the order of the file
	errs    []error
}

// decodeTree fills into (a pointer to a struct) from a tree. All complaints
// are in the error, one per line, each with its place. A tree of nil is an
// empty file. The decoder is returned for its places, also with an error.
func decodeTree(tree *node, into any) (*decoder, error) {
	v := reflect.ValueOf(into).Elem()
	d := &decoder{schema: v.Type(), places: map[string]*node{}, items: map[string]*node{}}
	if tree != nil {
		d.value(tree, v, "")
	}
	return d, errors.Join(d.errs...)
}

// fail notes a complaint with the place of what it is about.
func (d *decoder) fail(n *node, format string, args ...any) {
	d.errs = append(d.errs, fmt.Errorf("%s: %s", n.at(), fmt.Sprintf(format, args...)))
}

// value fills v from n by v's type; path is where that is in the file, dotted. null
// leaves the value as it was, which is its default.
func (d *decoder) value(n *node, v reflect.Value, path string) {
	if n.kind == isNull {
		return // as if the key were not there
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.table(n, v, path)
	case reflect.Interface: // anything goes
	default:
		d.scalar(n, v, path)
	}
}

// structure fills a struct from a map. Keys that no field has are complained about,
// never passed over: a slip in a name would silently mean the default.
func (d *decoder) structure(n *node, v reflect.Value, path string) {
	if n.kind != isMap {
		d.fail(n, "%s must be a map, this is %s", named(path), n.kind)
		return
	}
	for _, e := range n.entries {
		at := join(path, e.key.text)
		f, ok := fieldOf(v.Type(), e.key.text)
		if !ok {
			d.fail(e.key, "%s", d.unknown(v.Type(), e.key.text, path))
			continue
		}
		d.places[at] = e.value
		if f.Tag.Get("here") == "ignored" {
			d.ignored = append(d.ignored, at)
		}
		d.value(e.value, v.FieldByIndex(f.Index), at)
	}
}

// list fills a slice, which replaces what was there.
func (d *decoder) list(n *node, v reflect.Value, path string) {
	if n.kind != isList {
		d.fail(n, "%s must be a list, this is %s", named(path), n.kind)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.items[at] = item
		d.value(item, out.Index(i), at)
	}
	v.Set(out)
}

// table fills a map with keys of the operator's own choice.
func (d *decoder) table(n *node, v reflect.Value, path string) {
	if n.kind != isMap {
		d.fail(n, "%s must be a map, this is %s", named(path), n.kind)
		return
	}
	out := reflect.MakeMap(v.Type())
	for _, e := range n.entries {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, item, join(path, e.key.text))
		out.SetMapIndex(reflect.ValueOf(e.key.text), item)
	}
	v.Set(out)
}

// scalar fills a word, a truth or a number. A text in quotes is a word and nothing
// else, as YAML has it; a word may be written without quotes even where it looks like
// a number.
func (d *decoder) scalar(n *node, v reflect.Value, path string) {
	if n.kind != isScalar {
		hint := ""
		if n.kind == isMap && strings.HasSuffix(path, "]") {
			hint = ": put it in quotes if it is one with a colon in it"
		}
		d.fail(n, "%s must be a single value, this is %s%s", named(path), n.kind, hint)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.text)
	case reflect.Bool:
		b, ok := yamlBool(n)
		if !ok {
			d.fail(n, "%s must be true or false, not %s", named(path), shownWord(n.text))
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 0, 64)
		if err != nil || !n.plain {
			d.fail(n, "%s must be a whole number, not %s", named(path), shownWord(n.text))
		}
		v.SetInt(i)
	default:
		panic("BUG: no way to decode into " + v.Type().String())
	}
}

// yamlBool takes the spellings that YAML readers in the field take. YAML 1.1
// and 1.2 differ; existing files have both.
func yamlBool(n *node) (value, ok bool) {
	if !n.plain {
		return false, false
	}
	switch strings.ToLower(n.text) {
	case "true", "yes", "on", "y":
		return true, true
	case "false", "no", "off", "n":
		return false, true
	}
	return false, false
}

// unknown explains a key that nothing reads: a likely spelling, or the
// section in which a key of this name would have a meaning. Only one of the
// hints is given, the one that is surest.
func (d *decoder) unknown(t reflect.Type, key, path string) string {
	text := "unknown key " + shownWord(key)
	if path != "" {
		text += " in " + path
	}
	if hint, ok := oldNames[join(path, key)]; ok {
		return text + fmt.Sprintf("; did you mean %q?", hint)
	}
	if s := sections(d.schema, key, ""); len(s) == 1 {
		return text + fmt.Sprintf("; it belongs into %s", named(s[0]))
	}
	if near := inputs.Nearest(key, keysOf(t)); near != "" {
		return text + fmt.Sprintf("; did you mean %q?", near)
	}
	return text
}

// oldNames are keys of other files, or of older versions, that are easily
// confused with those of the configuration.
var oldNames = map[string]string{
	"api.server.tls.cert_path":   "cert_file",
	"api.server.tls.key_path":    "key_file",
	"api.server.tls.ca_cert":     "ca_cert_path",
	"api.server.trusted_proxy":   "trusted_proxies",
	"api.server.tls.agents_ou":   "agents_allowed_ou",
	"api.server.tls.bouncers_ou": "bouncers_allowed_ou",
}

// join is the path of a key below another path, "" being the top level.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// named is a path in a sentence.
func named(path string) string {
	if path == "" {
		return "the top level"
	}
	return path
}

// fieldOf finds the field that a key fills. Fields of embedded structs count
// as the struct's own.
func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name == key && name != "" && name != "-" {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// keysOf lists the keys that a struct knows, in the order of its fields.
func keysOf(t reflect.Type) []string {
	var keys []string
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" {
			keys = append(keys, name)
		}
	}
	return keys
}

// sections lists the paths of the maps of a schema that know a key. "" is
// the top level.
func sections(t reflect.Type, key, path string) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var found []string
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		if name == key {
			found = append(found, path)
		}
		found = append(found, sections(f.Type, key, join(path, name))...)
	}
	return found
}
