package config

import (
	"fmt"
	"slices"
	"strings"

	"lapid/engine"
	"lapid/engine/profile"
)

// Words that bouncers and log processors know. Others are allowed, but one that
// looks like a slip of these is worth a word, wherever it is written: with a verb, in
// a list that is imported, in a profile. They are not to be changed.
var (
	KnownScopes = []string{"ip", "range", "as", "country", "username", "session"}
	KnownTypes  = []string{"ban", "captcha", "throttle"}
)

// ScopeDoubt is what is to be said of a scope that bouncers do not know and
// that is nearly one that they do; "" for nothing. Scopes may be anything,
// so it is never more than a doubt.
func ScopeDoubt(scope string) string {
	if near := slip(scope, KnownScopes); near != "" {
		return fmt.Sprintf("scope '%s' is none that bouncers know: did you mean %s?", scope, engine.CanonicalScope(near))
	}
	return ""
}

// TypeDoubt is the same for a type. Without a type, and for one that differs from a known
// one by capitals alone, there is an error: bouncers compare it letter by letter.
func TypeDoubt(kind string) (doubt string, err error) {
	lower := strings.ToLower(kind)
	switch {
	case kind == "":
		return "", fmt.Errorf("a decision needs a type: --type %s", strings.Join(KnownTypes, ", "))
	case kind != lower && slices.Contains(KnownTypes, lower):
		return "", fmt.Errorf("no bouncer acts on the type '%s': write it as '%s'", kind, lower)
	}
	if near := slip(kind, KnownTypes); near != "" {
		return fmt.Sprintf("type '%s' is none that bouncers know: did you mean %s?", kind, near), nil
	}
	return "", nil
}

// FitsScope tells, as an error, what is wrong with a value that is no address, or an
// address where the scope means a range, or the other way round. Whether it
// is an address at all is looked at by the engine.
func FitsScope(scope, value string) error {
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

// doubtProfiles warns of what decisions of profiles say that no bouncer acts on. A
// profile is not refused for it: its words are stored as they are written.
func doubtProfiles(specs []profile.Spec, say func(i int, field, text string)) {
	for i := range specs {
		for j, d := range specs[i].Decisions {
			at, whose := fmt.Sprintf("decisions[%d]", j), fmt.Sprintf("decision %d of '%s'", j+1, specs[i].Name)
			if doubt, err := TypeDoubt(d.Type); err != nil && d.Type != "" {
				say(i, at+".type", fmt.Sprintf("%s is never acted on: %v", whose, err))
			} else if doubt != "" {
				say(i, at+".type", whose+": "+doubt)
			}
			if right := engine.CanonicalScope(d.Scope); d.Scope != "" && right != d.Scope {
				say(i, at+".scope", fmt.Sprintf("%s has the scope '%s', which is stored as it is written, and bouncers that ask for %s never get it: write it as '%s'",
					whose, d.Scope, right, right))
			} else if doubt := ScopeDoubt(d.Scope); doubt != "" {
				say(i, at+".scope", whose+": "+doubt)
			}
		}
	}
}

// slip is the known word that was probably meant, "" for one that is known
// or like none. Case does not count.
func slip(word string, known []string) string {
	if word == "" || slices.Contains(known, word) { // most, of a list that is imported
		return ""
	}
	if slices.Contains(known, strings.ToLower(word)) {
		return ""
	}
	return Nearest(word, known)
}
