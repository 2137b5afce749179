package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
)

var rewritePage = flag.Bool("rewrite-configuration", false, "write the part of docs/configuration.md that is made from the structs")

// madePart begins what is made of the structs, down to the end of the page.
const madePart = "## Every setting of lapid.yaml\n"

// TestConfigurationPage: the reference in the page is what the structs of package config say, and says something of
// every setting. After a change: go test ./cmd/lapid -run ConfigurationPage -args -rewrite-configuration
func TestConfigurationPage(t *testing.T) {
	const file = "docs/configuration.md"
	page := fileOf(t, file)
	written, made, ok := strings.Cut(page, madePart)
	if !ok {
		t.Fatalf("%s has no line %q", file, madePart)
	}
	r := readStructs(t, "own.go", "own_console.go", "own_cluster.go", "own_relay.go", "exports.go", "schema.go")
	r.page.WriteString("\nA variable wins over the file.\n\n")
	r.table("Settings", "", true)
	r.page.WriteString("\n## Every key of config.yaml\n\nThe file is the reference's; unknown keys are refused. " +
		"What only other programs need is accepted and named at a start.\n")
	r.sections("Config", "")
	if got := r.page.String(); *rewritePage {
		if err := os.WriteFile(file, []byte(written+madePart+got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != made {
		t.Errorf("%s is not what the structs say: go test ./cmd/lapid -run ConfigurationPage -args -rewrite-configuration", file)
	}
}

// settingsPage is the part of the page that is made.
type settingsPage struct {
	t       *testing.T
	structs map[string]*ast.StructType
	about   map[string]string // the comment of a struct
	page    strings.Builder
}

// readStructs reads the types of package config.
func readStructs(t *testing.T, files ...string) *settingsPage {
	t.Helper()
	r := &settingsPage{t: t, structs: map[string]*ast.StructType{}, about: map[string]string{}}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), "config/"+name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				if ts, ok := s.(*ast.TypeSpec); ok {
					if st, ok := ts.Type.(*ast.StructType); ok {
						r.structs[ts.Name.Name], r.about[ts.Name.Name] = st, wordsOf(g.Doc, ts.Name.Name)
					}
				}
			}
		}
	}
	return r
}

// wordsOf is a comment on one line, without the name that it begins with.
func wordsOf(c *ast.CommentGroup, name string) string {
	text := strings.Join(strings.Fields(c.Text()), " ")
	return strings.ReplaceAll(strings.TrimPrefix(text, name+" "), "|", `\|`)
}

// configured is a field of a struct.
type configured struct {
	key, kind, about string
	ignored          bool
	within           string // the struct that it holds; "": none
	anonymous        *ast.StructType
}

// settings are the fields of a struct. One without a word about it is an error: it would be missing in the page.
func (r *settingsPage) settings(name string, st *ast.StructType) (list []configured) {
	for _, f := range st.Fields.List {
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
		s := configured{key: tag.Get("yaml"), ignored: tag.Get("here") == "ignored"}
		if s.about = wordsOf(f.Doc, f.Names[0].Name); s.about == "" {
			s.about = wordsOf(f.Comment, f.Names[0].Name)
		}
		s.kind, s.within, s.anonymous = r.kind(f.Type)
		if s.about == "" && !s.ignored && s.within == "" && s.anonymous == nil {
			r.t.Errorf("%s.%s has no comment: nobody could read what %s does", name, f.Names[0].Name, s.key)
		}
		list = append(list, s)
	}
	return list
}

// kind is what stands behind a key.
func (r *settingsPage) kind(e ast.Expr) (kind, within string, anonymous *ast.StructType) {
	switch x := e.(type) {
	case *ast.StarExpr:
		return r.kind(x.X)
	case *ast.StructType:
		return "section", "", x
	case *ast.ArrayType:
		if kind, within, _ := r.kind(x.Elt); within != "" {
			return "list of sections", within, nil
		} else if kind == "text" {
			return "list", "", nil
		}
	case *ast.MapType:
		return "words with values", "", nil
	case *ast.Ident:
		if r.structs[x.Name] != nil {
			return "section", x.Name, nil
		}
		if kind := map[string]string{"string": "text", "int": "number", "bool": "true or false"}[x.Name]; kind != "" {
			return kind, "", nil
		}
	}
	r.t.Errorf("what kind of value is %T?", e)
	return "", "", nil
}

// table writes a struct of lapid.yaml and, behind it, those that it holds.
func (r *settingsPage) table(name, path string, variables bool) {
	list := r.settings(name, r.structs[name])
	r.page.WriteString("| key | value | what it does |\n|---|---|---|\n")
	for _, s := range list {
		about := s.about
		if variables && s.within == "" {
			about += " Variable: `LAPID_" + strings.ToUpper(strings.ReplaceAll(path+s.key, ".", "_")) + "`."
		}
		if about == "" {
			about = "see below"
		}
		fmt.Fprintf(&r.page, "| `%s` | %s | %s |\n", path+s.key, s.kind, about)
		if s.anonymous != nil {
			for _, inner := range r.settings(name+"."+s.key, s.anonymous) {
				fmt.Fprintf(&r.page, "| `%s` | %s | %s |\n", path+s.key+"."+inner.key, inner.kind, inner.about)
			}
		}
	}
	for _, s := range list {
		if s.within != "" {
			fmt.Fprintf(&r.page, "\n### %s\n\n", path+s.key)
			r.table(s.within, path+s.key+".", strings.HasPrefix(path+s.key, "cluster"))
		}
	}
}

// sections writes a struct of config.yaml, its sections behind it.
func (r *settingsPage) sections(name, path string) {
	list := r.settings(name, r.structs[name])
	var rows, ignored []string
	for _, s := range list {
		switch {
		case s.ignored:
			ignored = append(ignored, "`"+s.key+"`")
		case s.within == "":
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", path+s.key, s.kind, s.about))
		}
	}
	if len(rows)+len(ignored) > 0 {
		title := strings.TrimSuffix(path, ".")
		if title == "" {
			title = "At the top"
		}
		fmt.Fprintf(&r.page, "\n### %s\n\n", title)
	}
	if len(rows) > 0 {
		r.page.WriteString("| key | value | what it does |\n|---|---|---|\n" + strings.Join(rows, ""))
	}
	if len(rows) > 0 && len(ignored) > 0 {
		r.page.WriteString("\n")
	}
	if len(ignored) > 0 {
		r.page.WriteString("Without a meaning here: " + strings.Join(ignored, ", ") + ".\n")
	}
	for _, s := range list {
		if s.within != "" && !s.ignored {
			r.sections(s.within, path+s.key+".")
		}
	}
}
