package verbs

import (
	"os"
	"path/filepath"
	"testing"

	"lapid/persist"
)

// TestGoldenVersion draws what a release, a build of changed files and one without
// any repository say of themselves, for people and for programs.
func TestGoldenVersion(t *testing.T) {
	t.Parallel()
	const hash = "1cff05c0d0a1e7be1c7c1d7b7ddf3d0f4d6c2a11"
	for name, v := range map[string]versionObject{
		"release":  {Version: "1.2.3", Commit: hash, Go: "go1.26.8", Platform: "linux/amd64", StoreFormat: 3},
		"modified": {Version: "0.1.0-dev", Commit: hash, Modified: true, Go: "go1.26.8", Platform: "linux/arm64", StoreFormat: 3},
		"unknown":  {Version: "0.1.0-dev", Go: "go1.26.8", Platform: "linux/amd64", StoreFormat: 3},
	} {
		for output, end := range map[string]string{human: ".txt", jsonWords: ".json"} {
			want, err := os.ReadFile(filepath.Join("testdata/version", name+end))
			if err != nil {
				t.Fatal(err)
			}
			got := drawn(t, output, func(term *Terminal) error { return showVersion(term, v) })
			if got != string(want) {
				t.Errorf("%s%s is\n%s\nwant\n%s", name, end, got, want)
			}
		}
	}
}

// TestVersionOf reads the version of a build without a repository, as that of a test
// is, and with what the linker was told of it.
func TestVersionOf(t *testing.T) {
	t.Parallel()
	const version = "1.2.3"
	for stamp, want := range map[string]versionObject{
		"":               {},
		"0123abcd":       {Commit: "0123abcd"},
		"0123abcd-dirty": {Commit: "0123abcd", Modified: true},
	} {
		got := versionOf(&Build{version, stamp})
		if got.Commit != want.Commit || got.Modified != want.Modified || got.StoreFormat != persist.FormatVersion || got.Go == "" || got.Version != version {
			t.Errorf("stamped %q: %+v", stamp, got)
		}
	}
}
