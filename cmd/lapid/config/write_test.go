package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapid/engine/profile"
)

// write puts a file into a folder of the test and gives its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const rule = "name: %s\nfilters: ['Alert.Remediation == true']\ndecisions: [{type: %s, duration: 1h}]\n"

// asRoot reports whether this is root, and says of a test that it was not run whole
// where it is not.
func asRoot(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() == 0 {
		return true
	}
	t.Log("NOT RUN, or not all of it: this needs root (sudo make root)")
	return false
}

// specNames lists profiles by name.
func specNames(specs []profile.Spec) string {
	var names []string
	for i := range specs {
		names = append(names, specs[i].Name)
	}
	return strings.Join(names, ", ")
}
