package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lapid/cmd/lapid/docs"
)

// TestPagesNameWhatIsThere reads the pages for developers and the README: what their
// links lead to, and the files and tests that they name, is there.
func TestPagesNameWhatIsThere(t *testing.T) {
	t.Parallel()
	files, tests := inventory(t)
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	file := regexp.MustCompile("`[^` ]*?([.a-zA-Z0-9_-]+\\.(?:go|txt|yml|service))`")
	test := regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]+)`")
	pages := []string{".github/ARCHITECTURE.md", ".github/CONTRIBUTING.md", "README.md"}
	for _, topic := range docs.Topics() {
		pages = append(pages, "cmd/lapid/docs/"+topic.Name+".md")
	}
	for _, page := range pages {
		text := fileOf(t, "../../"+page)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("../..", filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s has a link to nowhere: %v", page, err)
			}
		}
		for _, m := range file.FindAllStringSubmatch(text, -1) {
			if !files[m[1]] {
				t.Errorf("%s names %s, and there is no file of that name", page, m[1])
			}
		}
		for _, m := range test.FindAllStringSubmatch(text, -1) {
			if !tests[m[1]] {
				t.Errorf("%s names %s, and there is no such test", page, m[1])
			}
		}
	}
}

// inventory is the names of all files of the repository and of all tests in them.
func inventory(t *testing.T) (files, tests map[string]bool) {
	t.Helper()
	files, tests = map[string]bool{}, map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
			return nil
		case err != nil:
			return err
		case d.Name() == ".git" && d.IsDir():
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		files[d.Name()] = true
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range declared.FindAllStringSubmatch(fileOf(t, path), -1) {
				tests[m[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, tests
}
