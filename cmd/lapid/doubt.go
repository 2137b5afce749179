package main

import (
	"fmt"
	"slices"
	"strings"

	"lapid/engine"
)

// Words that bouncers and log processors know. Others are allowed, but one that
// looks like a slip of these is worth a word.
var (
	knownScopes = []string{"ip", "range", "as", "country", "username", "session"}
	knownTypes  = []string{"ban", "captcha", "throttle"}
)

// doubtScope warns of a scope that is nearly one that is known.
func (t *terminal) doubtScope(scope string) {
	if near := slip(scope, knownScopes); near != "" {
		t.log("warning", "scope '%s' is none that bouncers know: did you mean %s?", scope, engine.CanonicalScope(near))
	}
}

// doubtType warns of a type that is nearly one that is known, and refuses one that
// differs by capitals alone: bouncers compare it letter by letter.
func (t *terminal) doubtType(kind string) error {
	lower := strings.ToLower(kind)
	switch {
	case kind == "":
		return fmt.Errorf("a decision needs a type: --type %s", strings.Join(knownTypes, ", "))
	case kind != lower && slices.Contains(knownTypes, lower):
		return fmt.Errorf("no bouncer acts on the type '%s': write it as '%s'", kind, lower)
	}
	if near := slip(kind, knownTypes); near != "" {
		t.log("warning", "type '%s' is none that bouncers know: did you mean %s?", kind, near)
	}
	return nil
}

// slip is the known word that was probably meant, "" for one that is known or like
// none.
func slip(word string, known []string) string {
	if slices.Contains(known, strings.ToLower(word)) {
		return ""
	}
	return nearest(word, known)
}
