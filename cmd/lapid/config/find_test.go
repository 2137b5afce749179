package config

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFindConfig: the first place wins, and what lies about in the current folder
// is not taken for a configuration.
func TestFindConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.yaml"), filepath.Join(dir, "second.yaml")
	write(t, dir, "second.yaml", "config_paths: {data_dir: /x}\n")
	if got := findConfig([]string{first, second}); got != second {
		t.Errorf("only the second is there: %q", got)
	}
	write(t, dir, "first.yaml", "config_paths: {data_dir: /x}\n")
	if got := findConfig([]string{first, second}); got != first {
		t.Errorf("both are there: %q", got)
	}
	if got := findConfig([]string{dir}); got != "" {
		t.Errorf("a folder is no configuration: %q", got)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	near := func(file string) string {
		rel, err := filepath.Rel(here, file)
		if err != nil {
			t.Fatal(err)
		}
		return rel
	}
	for text, ours := range map[string]bool{"services: {web: {}}\n": false, "": false, "- 1\n": false, "config_paths: {}\n": true, "a: [\n": true} {
		write(t, dir, "first.yaml", text)
		want := second
		if ours {
			want = near(first)
		}
		if got := findConfig([]string{near(first), second}); got != want {
			t.Errorf("%q nearby: %q, want %q", text, got, want)
		}
	}
	if asRoot(t) {
		if err := os.Chown(first, 4711, 4711); err != nil {
			t.Fatal(err)
		}
		if got := findConfig([]string{near(first), second}); got != second {
			t.Errorf("somebody else's configuration is taken: %q", got)
		}
	}
}
