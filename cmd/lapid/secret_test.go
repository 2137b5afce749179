package main

import (
	"bytes"
	"strings"
	"testing"

	"lapid/cmd/lapid/verbs"
)

// TestSecretRotate says until when tokens are good, and what to do where the environment gives the secret.
func TestSecretRotate(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"secret rotate", 0, "", "~stay good until they end, 20"},
		{"secret rotate -o raw", 0, "~Z\n", ""},
		{"secret rotate -o json", 0, "~\"earlier_tokens_until\": \"20", ""},
		{"secret rotate --now -o json", 0, "~\"earlier_tokens_until\": null", ""},
		{"secret rotate --now", 0, "", "~all that were given have ended"},
		{"secret rotate tokens", 1, "", "~secret rotate"},
		{"audit list --action secret.rotate -o raw", 0, "~secret.rotate,tokens", ""},
	})
	var errs bytes.Buffer
	given := func(name string) (string, bool) { return strings.Repeat("s", 64), name == "CS_LAPI_SECRET" }
	term := &verbs.Terminal{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &errs, Env: given, Build: verbs.Build{Version: version}}
	if exit := run(t.Context(), term, []string{"-c", s.file, "secret", "rotate"}); exit != 1 || !strings.Contains(errs.String(), "CS_LAPI_SECRET gives it: set another there") {
		t.Errorf("exit %d: %s", exit, errs.String())
	}
}
