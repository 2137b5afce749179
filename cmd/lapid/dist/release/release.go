// Package release says which release is built: what packages, images and charts have in common. The environment's
// VERSION, COMMIT and SOURCE_DATE_EPOCH say it, or git does. It is for programs that are run at the top of
// the repository.
package release

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Release is one commit, built.
type Release struct {
	Version string    // as in --version, such as 0.2.0 or 0.2.0~20261130.0123abc
	Tagged  bool      // a release, not what is before the next one
	Commit  string    // all of its digits
	Made    time.Time // the commit's, UTC: the time in all that is built
}

// New asks the environment and git, as packages.sh does.
func New() (*Release, error) {
	git := func(words ...string) string {
		out, err := exec.Command("git", words...).Output()
		if err != nil {
			return "" // sources without git: the environment has to say
		}
		return strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(cmp.Or(os.Getenv("SOURCE_DATE_EPOCH"), git("log", "-1", "--format=%ct"), "0"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r := &Release{Made: time.Unix(seconds, 0).UTC()}
	r.Commit = cmp.Or(os.Getenv("COMMIT"), git("describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*"))
	r.Version = cmp.Or(os.Getenv("VERSION"), strings.TrimPrefix(git("describe", "--tags", "--exact-match", "--match", "v[0-9]*"), "v"))
	if r.Tagged = r.Version != ""; r.Tagged {
		return r, nil
	}
	next, err := os.ReadFile("cmd/lapid/dist/package/NEXT")
	if err != nil {
		return nil, fmt.Errorf("run it at the top of the repository: %w", err)
	}
	r.Version = fmt.Sprintf("%s~%s.%.7s", strings.TrimSpace(string(next)), r.Made.Format("20060102"), r.Commit)
	return r, nil
}

// Tag is the version as registries of images take it.
func (r *Release) Tag() string { return strings.ReplaceAll(r.Version, "~", "-") }

// Semantic is the version as semantic versioning has it, which what comes before 0.2.0 sorts before: a part of digits alone that begins
// with a zero would be none.
func (r *Release) Semantic() string {
	front, back, pre := strings.Cut(r.Version, "~")
	if !pre {
		return front
	}
	day, commit, _ := strings.Cut(back, ".")
	return front + "-" + day + ".g" + commit
}
