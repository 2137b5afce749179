package config

import (
	"fmt"

	"lapid/engine"
	"lapid/engine/profile"
	"lapid/transport/inputs"
)

// doubtProfiles warns of what decisions of profiles say that no bouncer acts on. A
// profile is not refused for it: its words are stored as they are written.
func doubtProfiles(specs []profile.Spec, say func(i int, field, text string)) {
	for i := range specs {
		for j, d := range specs[i].Decisions {
			at, whose := fmt.Sprintf("decisions[%d]", j), fmt.Sprintf("decision %d of '%s'", j+1, specs[i].Name)
			if doubt, err := inputs.TypeDoubt(d.Type); err != nil && d.Type != "" {
				say(i, at+".type", fmt.Sprintf("%s is never acted on: %v", whose, err))
			} else if doubt != "" {
				say(i, at+".type", whose+": "+doubt)
			}
			if right := engine.CanonicalScope(d.Scope); d.Scope != "" && right != d.Scope {
				say(i, at+".scope", fmt.Sprintf("%s has the scope '%s', which is stored as it is written, and bouncers that ask for %s never get it: write it as '%s'",
					whose, d.Scope, right, right))
			} else if doubt := inputs.ScopeDoubt(d.Scope); doubt != "" {
				say(i, at+".scope", whose+": "+doubt)
			}
		}
	}
}
