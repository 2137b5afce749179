package verbs

import (
	"lapid/transport/inputs"
)

// warnOfScope warns of a scope that is nearly one that is known.
func warnOfScope(t *Terminal, scope string) {
	if doubt := inputs.ScopeDoubt(scope); doubt != "" {
		t.log("warning", "%s", doubt)
	}
}

// warnOfType warns of a type that is nearly one that is known, and refuses one that
// differs by capitals alone.
func warnOfType(t *Terminal, kind string) error {
	doubt, err := inputs.TypeDoubt(kind)
	if doubt != "" {
		t.log("warning", "%s", doubt)
	}
	return err
}
