package capi

import (
	"encoding/json"
	"net/http"
	"time"

	"lapid/engine"
)

// Kept is what a store remembers of the Central API, for a server of another kind that is
// to go on with it.
type Kept struct {
	// Items has it under the other server's own names (database.md, config_items): what this
	// server knows, and else what was taken over from there.
	Items     map[string]string
	UsageUpTo int64 // usage metrics that were received by then were sent, Unix nanoseconds
}

// KeptIn reads what a view shows of it. What cannot be read is left out.
func KeptIn(v *engine.View) Kept {
	var t token
	var s state
	var u usageSent
	var since keptSince
	k := Kept{Items: map[string]string{}}
	for name, into := range map[string]any{movedInSecret: &k.Items, tokenSecret: &t, stateSecret: &s, usageSecret: &u, sinceSecret: &since} {
		_ = json.Unmarshal(v.Secret(name), into) // nothing where nothing was kept
	}
	if k.Items == nil {
		k.Items = map[string]string{}
	}
	if k.UsageUpTo = u.UpTo; t.Text != "" {
		k.Items["apic_token"] = t.Text
	}
	if since.Since > 0 {
		k.Items["papi:last_pull"] = time.UnixMilli(since.Since).UTC().Format(time.RFC3339Nano)
	}
	for name, list := range s.Lists {
		if list != nil && !list.Fetched.IsZero() {
			k.Items["blocklist:"+name+":last_pull"] = list.Fetched.UTC().Format(http.TimeFormat)
		}
	}
	return k
}
