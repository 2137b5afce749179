package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMakeStampsTheCommit asks make what it would have the linker write.
func TestMakeStampsTheCommit(t *testing.T) {
	t.Parallel()
	make := exec.Command("make", "--no-print-directory", "-n", "-C", "../..", "build", "VERSION=1.2.3", "COMMIT=0123abcd")
	out, err := make.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"-X main.version=1.2.3", "-X main.commit=0123abcd"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("make build runs\n%swithout %s", out, want)
		}
	}
}

// TestVersionHasOneSource: what nobody has stamped is what comes before the next release, whose number is no older than the newest
// section of the changelog. What is not released yet stands above that.
func TestVersionHasOneSource(t *testing.T) {
	t.Parallel()
	number := strings.TrimSpace(next)
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(number) || version != number+"-dev" {
		t.Errorf("dist/package/NEXT is %q, and this is version %q", next, version)
	}
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(sections) == 0 || sections[0][1] != "Unreleased" {
		t.Fatalf("CHANGELOG.md does not begin with Unreleased: %q", sections)
	}
	last := strings.Split(number, ".")
	for _, s := range sections[1:] {
		release := regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+) - \d{4}-\d\d-\d\d$`).FindStringSubmatch(s[1])
		if release == nil {
			t.Errorf("%q is not such as 0.2.0 - 2026-11-30", s[1])
			continue
		}
		if slices.CompareFunc(release[1:], last, compareNumbers) > 0 {
			t.Errorf("%s is newer than %s, which comes above it", s[1], strings.Join(last, "."))
		}
		last = release[1:]
	}
}

// compareNumbers compares digits without zeros in front.
func compareNumbers(one, other string) int {
	if len(one) != len(other) {
		return len(one) - len(other)
	}
	return strings.Compare(one, other)
}
