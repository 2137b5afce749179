package admin

import (
	"strings"
	"testing"
	"unicode/utf8"

	"lapid/engine"
)

// A row with texts of megabytes is listed like any other.
func TestLongTextsAreShownShort(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 5<<20)
	flags := []string{long, "short"}
	for len(flags) < 200_000 {
		flags = append(flags, "f")
	}
	m := machineOf(&engine.Machine{Version: long, OS: engine.OS{Name: long}, FeatureFlags: flags, DataSources: []engine.Count{{Name: long}}, HubItems: map[string][]engine.HubItem{"parsers": {{Name: "p"}}}})
	texts := append([]string{m.Version, m.OS.Name, m.DataSources[0].Name}, m.FeatureFlags...)
	for _, text := range texts {
		if len(text) > engine.LongestName+3 || !utf8.ValidString(text) {
			t.Errorf("%d bytes are shown", len(text))
		}
	}
	if len(m.FeatureFlags) != mostShown+1 || m.FeatureFlags[1] != "short" || m.FeatureFlags[mostShown] != "…" || m.HubItems != nil {
		t.Errorf("%d flags, %v", len(m.FeatureFlags), m.HubItems)
	}
	if same := shownFlags(flags[1:3]); len(same) != 2 || same[0] != "short" {
		t.Errorf("%q", same)
	}
}
