package transport

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// theirSentences are the reference's sentences about what is missing or there already,
// as they stand in a string of the source.
var theirSentences = []string{
	`ent: machine not found`, `ent: bouncer not found`, `ent: alert not found`, `object not found`, `^machine not found`,
	`user already exist`, `user doesn't exist`, `^'%s' does not exist`, `^(machine %s)? does not exist`,
	`^bouncer .*already exists`, `^allowlist .*already exists`, `(^|allowlist .*)' not found`, `unable to delete$`, `^(machine %s)? not validated`,
}

// TestSentencesStandOnce holds that each of them is written once for HTTP, in reply.go,
// and once for the terminal, in the commands' sentences.go, and nowhere else.
func TestSentencesStandOnce(t *testing.T) {
	t.Parallel()
	found := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(d.Name()) > 2 && d.Name()[0] == '.'):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			text, ok := n.(*ast.BasicLit)
			if !ok || text.Kind != token.STRING {
				return true
			}
			s, err := strconv.Unquote(text.Value)
			for _, sentence := range theirSentences {
				if err == nil && regexp.MustCompile(sentence).MatchString(s) {
					found[sentence] = append(found[sentence], path)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, sentence := range theirSentences {
		http, terminal := 0, 0
		for _, path := range found[sentence] {
			switch {
			case path == filepath.Join("..", "transport", "reply.go"):
				http++
			case strings.HasPrefix(path, filepath.Join("..", "cmd")) && filepath.Base(path) == "sentences.go":
				terminal++
			default:
				t.Errorf("%q stands in %s: the engine and all that is between tell kind, noun and name", sentence, path)
			}
		}
		if http > 1 || terminal > 1 || http+terminal == 0 {
			t.Errorf("%q stands %d times in reply.go and %d times in the commands", sentence, http, terminal)
		}
	}
}
