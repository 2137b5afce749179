package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/licensecheck"
)

// allowed are the licences under which a library may be part of the binary:
// they ask for no more than their text to be kept. MPL-2.0 asks besides that the sources
// of its own files can be had, which here are those of modules as they are published.
var allowed = []string{"MIT", "MPL-2.0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-2-Clause-Views", "ISC", "0BSD", "Unlicense", "CC0-1.0"}

// TestLicences reads the licence of every module that is linked into the
// binary.
func TestLicences(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}\t{{.Dir}}{{end}}", ".").Output()
	if err != nil {
		t.Fatalf("listing modules: %v", err)
	}
	lines := slices.Compact(slices.Sorted(strings.SplitSeq(string(out), "\n")))
	if len(lines) < 10 {
		t.Fatalf("only %d modules are listed", len(lines))
	}
	for _, line := range lines {
		module, dir, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || module == "lapid" {
			continue
		}
		found := licencesIn(t, dir)
		if len(found) == 0 {
			t.Errorf("%s: no licence is recognised in %s", module, dir)
		}
		for _, id := range found {
			if !slices.Contains(allowed, id) {
				t.Errorf("%s is under %s, which the binary may not hold", module, id)
			}
		}
	}
}

func licencesIn(t *testing.T, dir string) []string {
	var ids []string
	for _, pattern := range []string{"[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]*", "COPYING*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // a folder of that name
			}
			for _, m := range licensecheck.Scan(text).Match {
				ids = append(ids, m.ID)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
