package verbs

import (
	"testing"
)

func TestGeneratedSecrets(t *testing.T) {
	t.Parallel()
	if k := generatedKey(); len(k) != 43 || k == generatedKey() {
		t.Errorf("key %q", k)
	}
	if p := generatedPassword(); len(p) != 64 || p == generatedPassword() {
		t.Errorf("password %q", p)
	}
	if n := generatedName(); len(n) != 48 || n == generatedName() {
		t.Errorf("name %q", n)
	}
}
