package config

import (
	"io"
	"log/slog"
	"os"
	"testing"

	"lapid/engine/profile"
)

// FuzzProfiles takes any text for a file of profiles, as far as its being
// compiled: it is rules, or an error.
func FuzzProfiles(f *testing.F) {
	for _, file := range []string{"testdata/config/profiles.yaml", "testdata/config/profiles_wild.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("name: a\nfilters: [\"true\"]\ndecisions: [{type: ban, duration: 4h}]\n---\nname: b\n")
	f.Add("name: &a [*a]\nfilters: {x: 1}\n")
	f.Add("filters: [\"Alert.Message matches '('\"]\nduration_expr: \"1/0\"\non_error: x\n")
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		trees, err := parseTrees("fuzz", text, nil)
		if err != nil {
			return
		}
		specs := make([]profile.Spec, len(trees))
		for i, tree := range trees {
			if _, err := decodeTree(tree, &specs[i]); err != nil {
				return
			}
		}
		if set, _, err := profile.Compile(specs, &profile.Options{Logger: quiet}); err == nil && set == nil {
			t.Error("neither rules nor an error")
		}
	})
}
