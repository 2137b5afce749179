package contract_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the top of the module.
const root = "../.."

// pages are the sections of each page of this folder, by the page's name.
func pages(t *testing.T) map[string][]int {
	t.Helper()
	heading := regexp.MustCompile(`(?m)^## ([0-9]+)\. `)
	files, err := filepath.Glob("*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	out := map[string][]int{}
	for _, file := range files {
		for _, m := range heading.FindAllStringSubmatch(read(t, file), -1) {
			out[file] = append(out[file], number(m[1]))
		}
	}
	return out
}

// TestSectionsAreNumbered keeps every page's sections counted from 1: a number is
// never given again.
func TestSectionsAreNumbered(t *testing.T) {
	t.Parallel()
	for page, sections := range pages(t) {
		for i, n := range sections {
			if n != i+1 {
				t.Errorf("%s has section %d where %d should be", page, n, i+1)
			}
		}
	}
}

// TestCitations finds, in all comments of the module and in the pages themselves,
// what names a page or a section that is not there, or a section without a page.
func TestCitations(t *testing.T) {
	t.Parallel()
	there := pages(t)
	found := 0
	for _, file := range sources(t) {
		text := comment.ReplaceAllString(read(t, file), " ")
		for _, m := range cited.FindAllStringSubmatch(text, -1) {
			found += checkCitation(t, file, m, there)
		}
		if strings.HasPrefix(file, root+"/transport/") {
			checkBare(t, file, text)
		}
	}
	if found < 20 {
		t.Errorf("only %d citations were found", found)
	}
}

var (
	// cited is a page and, if they are said, its sections.
	cited   = regexp.MustCompile("([a-z-]+\\.md)(`?,? sections? ([0-9]+)(?:(?:, ([0-9]+))* (?:and|to) ([0-9]+))?)?")
	comment = regexp.MustCompile(`\n\s*//\s*`)
	// bare is a word and a section; standards, which have a number, have sections too.
	bare     = regexp.MustCompile(`(\S+) \(?sections? [0-9]+`)
	standard = regexp.MustCompile(`^[0-9]+$`)
)

// checkCitation holds one citation against the sections there are. It counts those
// of the contract.
func checkCitation(t *testing.T, file string, m []string, there map[string][]int) int {
	t.Helper()
	sections, known := there[m[1]]
	switch {
	case !known && m[2] == "":
		return 0 // another page of the repository
	case !known:
		t.Errorf("%s cites%s of %s, which is no page of transport/contract", file, m[2], m[1])
		return 0
	case m[2] == "" && strings.HasSuffix(file, ".go") && filepath.Base(file) != "doc.go":
		t.Errorf("%s cites %s without a section", file, m[1])
	}
	for _, n := range m[3:] {
		if n != "" && !slices.Contains(sections, number(n)) {
			t.Errorf("%s cites section %s of %s, which has none", file, n, m[1])
		}
	}
	return 1
}

// checkBare finds sections of no page. It is for files of transport: elsewhere a
// section is a part of a snapshot.
func checkBare(t *testing.T, file, text string) {
	t.Helper()
	for _, m := range bare.FindAllStringSubmatch(text, -1) {
		if !strings.HasSuffix(m[1], ".md") && !standard.MatchString(m[1]) {
			t.Errorf("%s: %q is a section of no page: write http-api.md section N", file, m[0])
		}
	}
}

// TestCasesCiteSections looks at what our own recorded cases say of themselves: their
// why begins with the section that they hold, of http-api.md unless it names another
// page.
func TestCasesCiteSections(t *testing.T) {
	t.Parallel()
	there := pages(t)
	files, err := filepath.Glob(root + "/transport/conformance/testdata/lapid/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	section := regexp.MustCompile(`(?:([a-z]+) )?section ([0-9]+)`)
	for _, file := range files {
		var c struct{ Why string }
		if err := json.Unmarshal([]byte(read(t, file)), &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, m := range section.FindAllStringSubmatch(c.Why, -1) {
			page := "http-api.md"
			if _, known := there[m[1]+".md"]; known {
				page = m[1] + ".md"
			}
			if !slices.Contains(there[page], number(m[2])) {
				t.Errorf("%s cites section %s of %s, which has none", file, m[2], page)
			}
		}
	}
}

// sources are the module's Go files, without this one, and the pages of this folder.
func sources(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name()[0] == '.' || d.Name() == "testdata"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".go") && d.Name() != "contract_test.go":
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(files, own...)
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}
