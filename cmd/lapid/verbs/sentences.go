package verbs

import (
	"errors"
	"fmt"
	"strings"

	"lapid/engine"
)

// sentences are what the reference's commands say of a thing that is missing or there
// already, by verb; "" is any verb. %s is the thing's name.
var sentences = map[sentenceFor]string{
	{"add", engine.NounMachine, engine.ErrExists}:         "user '%s': user already exist",
	{"validate", engine.NounMachine, engine.ErrNotFound}:  "machine not found",
	{"inspect", engine.NounMachine, engine.ErrNotFound}:   "user '%s': user doesn't exist",
	{"delete", engine.NounMachine, engine.ErrNotFound}:    "'%s' does not exist",
	{"add", engine.NounOperator, engine.ErrExists}:        "operator '%s' already exists",
	{"", engine.NounOperator, engine.ErrNotFound}:         "there is no operator '%s'",
	{"revoke", engine.NounToken, engine.ErrNotFound}:      "there is no token %s",
	{"add", engine.NounBouncer, engine.ErrExists}:         "bouncer %s already exists",
	{"wait for", engine.NounBouncer, engine.ErrNotFound}:  "there is no bouncer '%s'",
	{"wait for", engine.NounDecision, engine.ErrNotFound}: "there is no decision %s",
	{"", engine.NounBouncer, engine.ErrNotFound}:          "ent: bouncer not found",
	{"create", engine.NounAllowlist, engine.ErrExists}:    "allowlist '%s' already exists",
	{"", engine.NounAllowlist, engine.ErrNotFound}:        "allowlist '%s' not found",
	{"inspect", engine.NounAlert, engine.ErrNotFound}:     "object not found",
	{"delete", engine.NounAlert, engine.ErrNotFound}:      "ent: alert not found",
	{"", engine.NounExport, engine.ErrNotFound}:           "there is no export '%s': their names are shown by lapid exports list",
	{"", engine.NounExport, engine.ErrExists}:             "there is an export '%s' already",
	{"delete", engine.NounDecision, engine.ErrNotFound}:   "decision with id '%s' doesn't exist: unable to delete",
}

// sentenceFor is what a sentence is about.
type sentenceFor struct {
	verb string
	noun engine.Noun
	kind error
}

// worded gives a failure of a verb the reference's sentence; one that has none is
// returned as it is.
func worded(verb string, err error) error {
	var e *engine.Error
	if !errors.As(err, &e) {
		return err
	}
	text, ok := sentences[sentenceFor{verb, e.Noun, e.Kind}]
	if !ok {
		text, ok = sentences[sentenceFor{"", e.Noun, e.Kind}]
	}
	if !ok {
		return err
	}
	said := *e
	said.Text = strings.Replace(text, "%s", e.Name, 1)
	return &said
}

// apiError marks what the server said, as the reference does. What could not
// reach the server is passed on without that mark, so the two can be told
// apart.
func apiError(err error) error {
	var e *engine.Error
	if errors.As(err, &e) {
		return fmt.Errorf("API error: %w", err)
	}
	return err
}
