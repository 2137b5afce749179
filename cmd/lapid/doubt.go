package main

import (
	"fmt"
	"slices"
	"strings"

	"lapid/engine"
	"lapid/engine/profile"
)

// Words that bouncers and log processors know. Others are allowed, but one that
// looks like a slip of these is worth a word, wherever it is written: with a verb, in
// a list that is imported, in a profile.
var (
	knownScopes = []string{"ip", "range", "as", "country", "username", "session"}
	knownTypes  = []string{"ban", "captcha", "throttle"}
)

// scopeDoubt is what is to be said of a scope that bouncers do not know and
// that is nearly one that they do; "" for nothing. Scopes may be anything,
// so it is never more than a doubt.
func scopeDoubt(scope string) string {
	if near := slip(scope, knownScopes); near != "" {
		return fmt.Sprintf("scope '%s' is none that bouncers know: did you mean %s?", scope, engine.CanonicalScope(near))
	}
	return ""
}

// typeDoubt is the same for a type. One that differs from a known one by capitals
// alone is an error: bouncers compare it letter by letter.
func typeDoubt(kind string) (doubt string, err error) {
	lower := strings.ToLower(kind)
	switch {
	case kind == "":
		return "", fmt.Errorf("a decision needs a type: --type %s", strings.Join(knownTypes, ", "))
	case kind != lower && slices.Contains(knownTypes, lower):
		return "", fmt.Errorf("no bouncer acts on the type '%s': write it as '%s'", kind, lower)
	}
	if near := slip(kind, knownTypes); near != "" {
		return fmt.Sprintf("type '%s' is none that bouncers know: did you mean %s?", kind, near), nil
	}
	return "", nil
}

// fitsScope tells what is wrong with a value that is no address, or an
// address where the scope means a range, or the other way round. Whether it
// is an address at all is looked at by the engine.
func fitsScope(scope, value string) error {
	switch engine.CanonicalScope(scope) {
	case engine.ScopeIP:
		if strings.Contains(value, "/") {
			return fmt.Errorf("%s is not a valid ip", value)
		}
	case engine.ScopeRange:
		if !strings.Contains(value, "/") {
			return fmt.Errorf("%s is not a valid range", value)
		}
	}
	return nil
}

// doubtScope warns of a scope that is nearly one that is known.
func (t *terminal) doubtScope(scope string) {
	if doubt := scopeDoubt(scope); doubt != "" {
		t.log("warning", "%s", doubt)
	}
}

// doubtType warns of a type that is nearly one that is known, and refuses one that
// differs by capitals alone.
func (t *terminal) doubtType(kind string) error {
	doubt, err := typeDoubt(kind)
	if doubt != "" {
		t.log("warning", "%s", doubt)
	}
	return err
}

// doubtProfiles warns of what decisions of profiles say that no bouncer acts on. A
// profile is not refused for it: its words are stored as they are written.
func doubtProfiles(specs []profile.Spec, say func(i int, field, text string)) {
	for i := range specs {
		for j, d := range specs[i].Decisions {
			at, whose := fmt.Sprintf("decisions[%d]", j), fmt.Sprintf("decision %d of '%s'", j+1, specs[i].Name)
			if doubt, err := typeDoubt(d.Type); err != nil && d.Type != "" {
				say(i, at+".type", fmt.Sprintf("%s is never acted on: %v", whose, err))
			} else if doubt != "" {
				say(i, at+".type", whose+": "+doubt)
			}
			if right := engine.CanonicalScope(d.Scope); d.Scope != "" && right != d.Scope {
				say(i, at+".scope", fmt.Sprintf("%s has the scope '%s', which is stored as it is written, and bouncers that ask for %s never get it: write it as '%s'",
					whose, d.Scope, right, right))
			} else if doubt := scopeDoubt(d.Scope); doubt != "" {
				say(i, at+".scope", whose+": "+doubt)
			}
		}
	}
}

// slip is the known word that was probably meant, "" for one that is known
// or like none. Case does not count.
func slip(word string, known []string) string {
	if slices.Contains(known, strings.ToLower(word)) {
		return ""
	}
	return nearest(word, known)
}
