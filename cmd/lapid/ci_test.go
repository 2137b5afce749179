package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// workflow is the part of .github/workflows/ci.yml that says what runs.
type workflow struct{ Jobs map[string]job }

type job struct {
	Strategy struct{ Matrix struct{ Steps []string } }
	Env      map[string]string
	Steps    []struct {
		Run  string
		With map[string]any
	}
}

// TestEveryStepHasALane holds the workflow to .ci/run: each step runs on a push or
// at night, once, under a name that .ci/run knows and with the Go of go.mod.
func TestEveryStepHasALane(t *testing.T) {
	t.Parallel()
	var w workflow
	if err := yaml.Unmarshal([]byte(fileOf(t, "../../.github/workflows/ci.yml")), &w); err != nil {
		t.Fatal(err)
	}
	var taken []string
	for name, j := range w.Jobs {
		for _, lane := range j.Strategy.Matrix.Steps {
			taken = append(taken, strings.Fields(lane)...)
		}
		checkJob(t, name, &j)
	}
	slices.Sort(taken)
	if steps := slices.Sorted(slices.Values(stepsOf(t))); !slices.Equal(taken, steps) {
		t.Errorf("the lanes have the steps %q, .ci/run has %q", taken, steps)
	}
}

func checkJob(t *testing.T, name string, j *job) {
	t.Helper()
	calls := false
	for _, s := range j.Steps {
		calls = calls || s.Run == ".ci/run ${{ matrix.steps }}"
		if v, ok := s.With["go-version"].(string); ok && !strings.Contains(fileOf(t, "../../go.mod"), "\ngo "+v+".") {
			t.Errorf("the job %s has Go %s, go.mod another", name, v)
		}
	}
	if !calls {
		t.Errorf("the job %s does not call .ci/run", name)
	}
	for variable := range j.Env {
		if !strings.Contains(fileOf(t, "../../.ci/run"), "${"+variable+":-") {
			t.Errorf("the job %s sets %s, which .ci/run does not read", name, variable)
		}
	}
}

// TestStepsByName asks .ci/run for a step that it does not have: nothing runs, and
// it says which there are.
func TestStepsByName(t *testing.T) {
	t.Parallel()
	steps := stepsOf(t)
	for _, arguments := range [][]string{{"nonsense"}, {"lint", "nonsense"}, {""}, {"lint build"}} {
		out, err := exec.Command("../../.ci/run", arguments...).CombinedOutput()
		left, ok := err.(*exec.ExitError)
		if !ok || left.ExitCode() != 2 || !strings.Contains(string(out), "there are: "+strings.Join(steps, " ")) {
			t.Errorf(".ci/run %q: %v\n%s", arguments, err, out)
		}
	}
}

// TestPatternsForMake: of a dollar in what is given to make only every second one arrives, and a pattern that lost
// its own finds no test and fails nothing.
func TestPatternsForMake(t *testing.T) {
	t.Parallel()
	given := regexp.MustCompile(`(?:PACKAGED|IMAGED)='([^']*)'`).FindAllStringSubmatch(fileOf(t, "../../.ci/run"), -1)
	if len(given) == 0 {
		t.Fatal(".ci/run names no tests")
	}
	for _, m := range given {
		if strings.Contains(strings.ReplaceAll(m[1], "$$", ""), "$") {
			t.Errorf("%s: a dollar is to be written twice", m[0])
		}
	}
}

func stepsOf(t *testing.T) []string {
	t.Helper()
	var steps []string
	for _, list := range []string{"steps", "long"} { // those that run by themselves, and those that are named
		m := regexp.MustCompile(`(?m)^` + list + `=\((.*?)\)`).FindStringSubmatch(fileOf(t, "../../.ci/run"))
		if m == nil {
			t.Fatalf(".ci/run has no list %s", list)
		}
		steps = append(steps, strings.Fields(m[1])...)
	}
	return steps
}

func fileOf(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
