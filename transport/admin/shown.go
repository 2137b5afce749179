package admin

import (
	"strings"
	"unicode/utf8"

	"lapid/engine"
)

// What rows say of themselves is bounded when it comes in. A store may hold older
// rows that are not, with texts of megabytes: a list of them must come all the
// same, and more of one than this is of no use to a reader.

// mostShown is how many feature flags of a row are shown.
const mostShown = 64

// shown shortens a text of a row, which says so by its end.
func shown(text string) string {
	if len(text) <= engine.LongestName {
		return text
	}
	at := engine.LongestName
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	return strings.Clone(text[:at]) + "…"
}

// shownFlags shortens a list of feature flags, likewise. A list that is short
// enough is given as it is.
func shownFlags(flags []string) []string {
	long := len(flags) > mostShown
	for i := 0; !long && i < len(flags); i++ {
		long = len(flags[i]) > engine.LongestName
	}
	if !long {
		return flags
	}
	short := make([]string, 0, mostShown+1)
	for _, flag := range flags[:min(len(flags), mostShown)] {
		short = append(short, shown(flag))
	}
	if len(flags) > mostShown {
		short = append(short, "…")
	}
	return short
}

// shownOS shortens each of the three.
func shownOS(os engine.OS) OS {
	return OS{Name: shown(os.Name), Version: shown(os.Version), Family: shown(os.Family)}
}
