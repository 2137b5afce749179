package capi

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"lapid/engine"
)

// movedInSecret is where what another server knew of the Central API was put when its
// database was taken over: its own names and texts (database.md, config_items). It counts
// only where this server knows nothing of its own yet.
const movedInSecret = "movein.central"

// movedIn reads it; what is not there, or is no text, is "".
func movedIn(e *engine.Engine) (items map[string]string) {
	if json.Unmarshal(e.View().Secret(movedInSecret), &items) != nil {
		return nil
	}
	return items
}

// movedToken is the token of the other server, for as long as it is good.
func (s *session) movedToken() token {
	text := movedIn(s.o.Engine)["apic_token"]
	c, ok := claimsOf(text)
	if !ok {
		return token{}
	}
	return token{Text: text, Expires: time.Unix(int64(c.Expires), 0), Of: s.whose(), Told: digestOf(scenarios(s.o.Engine.View()))}
}

// movedLists are third-party lists as the other server fetched them last: the next
// question asks for what changed since. Their links are not known, so any fits.
func movedLists(e *engine.Engine) map[string]*knownList {
	lists := map[string]*knownList{}
	for name, text := range movedIn(e) {
		list, ok := strings.CutPrefix(name, "blocklist:")
		if list, ok = cutSuffix(list, ":last_pull", ok); !ok {
			continue
		}
		if at, err := http.ParseTime(text); err == nil {
			lists[list] = &knownList{Fetched: at}
		}
	}
	return lists
}

func cutSuffix(text, suffix string, ok bool) (string, bool) {
	cut, has := strings.CutSuffix(text, suffix)
	return cut, has && ok
}

// movedSince is when the other server had the last order of the console, in Unix
// milliseconds; false: never.
func movedSince(e *engine.Engine) (int64, bool) {
	at, err := time.Parse(time.RFC3339Nano, movedIn(e)["papi:last_pull"])
	if err != nil || at.Year() < 2020 {
		return 0, false
	}
	return at.UnixMilli(), true
}
