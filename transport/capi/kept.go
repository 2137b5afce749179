package capi

import (
	"encoding/json"
	"time"

	"lapid/engine"
)

// Kept is what a store remembers of the Central API, for a server of another kind that is
// to go on with it. What is not known, or cannot be read, is empty.
type Kept struct {
	Token     string               // of the last login
	Lists     map[string]time.Time // third-party lists, and when each was fetched
	UsageUpTo int64                // usage metrics that were received by then were sent, Unix nanoseconds
}

// KeptIn reads what a view shows of it.
func KeptIn(v *engine.View) Kept {
	var t token
	var s state
	var u usageSent
	for name, into := range map[string]any{tokenSecret: &t, stateSecret: &s, usageSecret: &u} {
		_ = json.Unmarshal(v.Secret(name), into) // nothing where nothing was kept
	}
	k := Kept{Token: t.Text, Lists: map[string]time.Time{}, UsageUpTo: u.UpTo}
	for name, list := range s.Lists {
		if list != nil && !list.Fetched.IsZero() {
			k.Lists[name] = list.Fetched
		}
	}
	return k
}
