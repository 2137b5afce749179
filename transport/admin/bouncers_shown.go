package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lapid/engine"
)

// What a bouncer looks like to people and programs, wherever they ask: the command line, the API over
// HTTP and the console's pages show the same objects, by the names of the verbs' flags.

// SightObject is what a bouncer may see, by the names of the flags of bouncers edit; nil: everything.
func SightObject(s *engine.Sight) map[string]any {
	if s == nil {
		return nil
	}
	o := map[string]any{}
	for i, list := range [...][]string{s.Origins, s.NotOrigins, s.Scopes, s.Types, s.Containing, s.NotContaining, s.Allowlists} {
		if len(list) > 0 {
			o[sightFlags[i]] = list
		}
	}
	if s.MaxEntries > 0 {
		o["max-entries"], o["priority"] = s.MaxEntries, s.Priority.String()
	}
	if s.MaxDuration > 0 {
		o["max-duration"] = s.MaxDuration.String()
	}
	if s.MinDuration > 0 {
		o["min-duration"] = s.MinDuration.String()
	}
	if s.Canonical {
		o["canonical"] = true
	}
	return o
}

// SightLines is the same for people, one line for each flag, sorted.
func SightLines(s *engine.Sight) []string {
	if s == nil {
		return []string{"everything"}
	}
	var lines []string
	for name, v := range SightObject(s) {
		if list, is := v.([]string); is {
			v = strings.Join(list, ",")
		}
		lines = append(lines, fmt.Sprintf("%s %v", name, v))
	}
	slices.Sort(lines)
	return lines
}

// HoldWord is a hold as the flag has it; "" where nothing was said.
func HoldWord(h engine.Hold) string {
	switch {
	case h < 0:
		return "off"
	case h == 0:
		return ""
	}
	return h.Duration().String()
}

// heldBouncer is how long a kind of bouncer waits for an answer, and the hold that suits it.
type heldBouncer struct {
	names []string // occur in its type
	waits time.Duration
	suits string
}

// patience is of the kinds that are known.
var patience = []heldBouncer{
	{[]string{"lua", "nginx", "openresty"}, 3 * time.Second, "2s"},
	{[]string{"npm", "nodejs", "express"}, 2 * time.Second, "1s or off"},
	{[]string{"fbonalair"}, 5 * time.Second, "4s"},
	{[]string{"traefik"}, 10 * time.Second, "8s"},
	{[]string{"firewall", "custom", "mirror", "spoa", "haproxy", "caddy", "pycrowdsec", "go-cs-bouncer"}, 0, "25s"},
}

// HoldAdvice is which hold suits a bouncer, in a few words.
func (b *Bouncer) HoldAdvice() string {
	if p := b.patience(); p != nil {
		return p.suits
	}
	return "less than it waits for an answer"
}

// HoldDoubt says that a bouncer is held for longer than its type waits; "" where it is not.
func (b *Bouncer) HoldDoubt() string {
	if p := b.patience(); p != nil && p.waits > 0 && b.Hold.Duration() >= p.waits {
		return fmt.Sprintf("bouncer '%s' is held for %s, and its type (%s) gives up after %s: hold it for %s", b.Name, b.Hold.Duration(), b.Type, p.waits, p.suits)
	}
	return ""
}

func (b *Bouncer) patience() *heldBouncer {
	kind := strings.ToLower(b.Type)
	for i := range patience {
		if slices.ContainsFunc(patience[i].names, func(n string) bool { return strings.Contains(kind, n) }) {
			return &patience[i]
		}
	}
	return nil
}

// ShownKey is a key that is good, of which nothing is told but that.
type ShownKey struct {
	Since *time.Time `json:"since"` // null: since the bouncer was added
	Until *time.Time `json:"until"` // null: it is the present one
}

// ShownKeys are a bouncer's keys that are good, the present one first; none of one whose key was never rotated.
func (b *Bouncer) ShownKeys() (list []ShownKey) {
	for _, k := range b.Keys {
		list = append(list, ShownKey{momentOf(k.Since), momentOf(k.Until)})
	}
	return list
}

// KeyLines are the same for people, one key a line.
func (b *Bouncer) KeyLines() (lines []string) {
	for _, k := range b.Keys {
		since, until := "the first one", "the present one"
		if k.Since != 0 {
			since = "made " + time.Unix(0, k.Since).UTC().Format(time.RFC3339)
		}
		if k.Until != 0 {
			until = "good until " + time.Unix(0, k.Until).UTC().Format(time.RFC3339)
		}
		lines = append(lines, since+", "+until)
	}
	return lines
}

// ShownPoll is a poll in JSON.
type ShownPoll struct {
	At      *time.Time `json:"at"`
	From    *uint64    `json:"from"` // null: it knew nothing, or was at no place of this history
	To      uint64     `json:"to"`
	Bytes   *int64     `json:"bytes"` // null: it was sent while it was made
	Seconds float64    `json:"seconds"`
	End     string     `json:"end"` // in a few words
}

// ShownPolls are a bouncer's last polls, the newest first.
func (b *Bouncer) ShownPolls() (list []ShownPoll) {
	for i := range b.Polls {
		p := &b.Polls[i]
		o := ShownPoll{At: momentOf(p.At), To: uint64(p.To), Seconds: time.Duration(p.Took).Seconds(), End: p.End}
		if p.Placed {
			from := uint64(p.From)
			o.From = &from
		}
		if p.Bytes >= 0 {
			o.Bytes = &p.Bytes
		}
		list = append(list, o)
	}
	return list
}

// momentOf is a moment in UTC; nil for never.
func momentOf(nanos int64) *time.Time {
	if nanos == 0 {
		return nil
	}
	t := time.Unix(0, nanos).UTC()
	return &t
}
