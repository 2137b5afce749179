package verbs

import (
	"os"
	"path/filepath"
	"testing"
)

// Both ways in which two folders change places.
func TestExchange(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(a, b string) error{"at once": exchange, "in steps": exchangeInSteps} {
		dir := t.TempDir()
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		for _, d := range []string{a, b} {
			if err := os.Mkdir(d, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, d, "name", filepath.Base(d))
		}
		if err := change(a, b); err != nil {
			t.Fatal(name, err)
		}
		inA, _ := os.ReadFile(filepath.Join(a, "name"))
		inB, _ := os.ReadFile(filepath.Join(b, "name"))
		if string(inA) != "b" || string(inB) != "a" {
			t.Errorf("%s: %q and %q", name, inA, inB)
		}
		if err := change(a, filepath.Join(dir, "missing")); err == nil {
			t.Errorf("%s: changed places with nothing", name)
		}
		if inA, _ := os.ReadFile(filepath.Join(a, "name")); string(inA) != "b" {
			t.Errorf("%s: an exchange that failed has left %q", name, inA)
		}
	}
}
