package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"lapid/engine"
)

// editBouncer changes what a bouncer may see and how long its polls are put off.
func (h *Handler) editBouncer(ctx context.Context, q *EditedBouncer) (*Edited, error) {
	warnings, err := h.checkEdit(&q.Edit)
	if err != nil {
		return nil, err
	}
	var is engine.Sight
	rows, err := h.engine.EditBouncer(ctx, q.Name, func(b *engine.Bouncer) error {
		if err := holds(q.If, SightTag(b.Sight, b.Hold)); err != nil {
			return err
		}
		q.Edit.apply(b)
		is = *b.Sight
		return nil
	})
	switch {
	case errors.Is(err, errStale):
		return &Edited{Stale: true}, nil
	case err != nil:
		return nil, err
	}
	warnings = append(warnings, contradictions(&is)...)
	h.logChange(ctx, "edited a bouncer", "bouncer", q.Name, "rows", len(rows)+1)
	return &Edited{Rows: rows, Warnings: warnings}, nil
}

// errStale ends a change of what has changed since it was looked at.
var errStale = errors.New("it has none of the tags that were asked for")

// holds is errStale where tags are asked for, and what is to be changed has another.
func holds(asked []string, tag string) error {
	if len(asked) > 0 && !slices.Contains(asked, tag) {
		return errStale
	}
	return nil
}

// tagOf is the same for the same values, and another for others: 32 digits. They are texts, numbers and lists of them.
func tagOf(values ...any) string {
	text, _ := json.Marshal(values) // names of fields are in order
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// SightTag is the tag of what a bouncer may see and of its hold.
func SightTag(s *engine.Sight, h engine.Hold) string { return tagOf(SightObject(s), HoldWord(h)) }

// Set notes one change by the name of the verbs' flag, in the text that a flag or a field of a form has; an empty
// text takes it away. The error has no kind and begins with the name. Lists are for SetList.
func (e *BouncerEdit) Set(name, text string) (err error) {
	if !slices.Contains(sightFlags, name) { // words may begin or end with a blank
		text = strings.TrimSpace(text)
	}
	switch name {
	case "max-entries":
		e.MaxEntries, err = countOf(text)
	case "priority":
		if _, bad := engine.ParsePriority(text); bad != nil && text != "" {
			err = bad
		}
		e.Priority = &text
	case "max-duration":
		e.MaxDuration, err = boundOf(text)
	case "min-duration":
		e.MinDuration, err = boundOf(text)
	case "canonical":
		yes := text == "true"
		e.Canonical = &yes
	case "hold":
		e.Hold, err = holdOf(text)
	default:
		return e.SetList(name, []string{text})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// SetList is Set for a list; an empty one takes it away.
func (e *BouncerEdit) SetList(name string, list []string) error {
	if !slices.Contains(sightFlags, name) {
		return fmt.Errorf("%.40s: a bouncer's sight has no such part", name)
	}
	if e.Words == nil {
		e.Words = map[string][]string{}
	}
	words := append([]string{}, list...)
	if name != "scenarios-containing" && name != "not-containing" { // those may begin or end with a blank
		for i := range words {
			words[i] = strings.TrimSpace(words[i])
		}
	}
	e.Words[name] = words
	return nil
}

// Words takes a list apart that is written with commas; an empty text is an empty list, which takes a filter away. An
// empty word is refused, for a filter that lost its words would let everything through. The error has no kind and does
// not name the list.
func Words(text string) ([]string, error) {
	list := []string{}
	if text = strings.TrimSpace(text); text == "" {
		return list, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			return nil, fmt.Errorf("'%.100s' has an empty word: leave it out; an empty value without any comma takes the filter away", text)
		}
		list = append(list, word)
	}
	return list, nil
}

// IsNothing reports whether an edit changes nothing at all.
func (e *BouncerEdit) IsNothing() bool {
	return !e.SeeAll && len(e.Words) == 0 && e.MaxEntries == nil && e.Priority == nil && e.MaxDuration == nil && e.MinDuration == nil &&
		e.Canonical == nil && e.Hold == nil
}

func countOf(text string) (*int, error) {
	n := 0
	if text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 {
			return nil, fmt.Errorf("'%.100s' must be a number, 1 or more, or empty for no bound", text)
		}
	}
	return &n, nil
}

func boundOf(text string) (*int64, error) {
	nanoseconds := int64(0)
	if text != "" && text != "0" {
		d, err := engine.ParseDuration(text)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("'%.100s' must be a duration such as 1h or 7d, or empty for no bound", text)
		}
		nanoseconds = int64(d)
	}
	return &nanoseconds, nil
}

func holdOf(text string) (*engine.Hold, error) {
	hold := engine.Hold(0)
	switch text {
	case "", "default":
	case "off":
		hold = engine.HoldOff
	default:
		d, err := engine.ParseDuration(text)
		if err == nil {
			hold, err = engine.HoldFor(d)
		}
		if err != nil {
			return nil, fmt.Errorf("'%.100s' must be a duration up to 60s such as 25s, or off, or default", text)
		}
	}
	return &hold, nil
}

// knownOrigins are those that the server and the operator's verbs give.
var knownOrigins = []string{engine.OriginCrowdsec, engine.OriginManual, engine.OriginImport, engine.OriginCAPI, engine.OriginLists, "console"}

// usualWords are the types and scopes that bouncers know; others are any word.
var usualWords = map[string][]string{
	"types":  {"ban", "captcha", "throttle"},
	"scopes": {engine.ScopeIP, engine.ScopeRange, engine.ScopeAS, engine.ScopeCountry},
}

// sightFlags are the lists of a sight, by their flags.
var sightFlags = []string{"origins", "not-origins", "scopes", "types", "scenarios-containing", "not-containing", "allowlist"}

// checkEdit refuses what names nothing, and warns of what is likely not meant.
func (h *Handler) checkEdit(e *BouncerEdit) (warnings []string, err error) {
	if e.Priority != nil && *e.Priority != "" {
		if _, err := engine.ParsePriority(*e.Priority); err != nil {
			return nil, err
		}
	}
	for name := range e.Words {
		if !slices.Contains(sightFlags, name) {
			return nil, invalid("a bouncer's sight has no list '%.40s'", name)
		}
	}
	view := h.engine.View()
	for _, name := range sightFlags {
		for _, w := range e.Words[name] {
			switch {
			case name == "allowlist" && view.Allowlist(w) == nil:
				return nil, invalid("there is no allowlist '%.100s': make it first", w)
			case (name == "origins" || name == "not-origins") && !slices.Contains(knownOrigins, w):
				warnings = append(warnings, fmt.Sprintf("nothing here gives decisions the origin '%.100s': those that are known are %s", w, strings.Join(knownOrigins, ", ")))
			case usualWords[name] != nil && !slices.Contains(usualWords[name], asStored(name, w)) && !view.Occurs(asStored(name, w)):
				warnings = append(warnings, fmt.Sprintf("no decision here has '%.100s' of the %s so far, letter by letter: usual are %s", w, name, strings.Join(usualWords[name], ", ")))
			}
		}
	}
	return warnings, nil
}

// asStored is one of a list as decisions have it.
func asStored(list, w string) string {
	if list == "scopes" {
		return engine.CanonicalScope(w)
	}
	return w
}

// contradictions warns of origins that are both asked for and left out.
func contradictions(s *engine.Sight) (warnings []string) {
	if s == nil || len(s.Origins) == 0 {
		return nil
	}
	seen := 0
	for _, w := range s.Origins {
		if slices.Contains(s.NotOrigins, w) {
			warnings = append(warnings, fmt.Sprintf("the origin '%.100s' is in both origins and not-origins: its decisions are hidden", w))
		} else {
			seen++
		}
	}
	if seen == 0 {
		warnings = append(warnings, "no origin is left of which this bouncer is told: it sees nothing")
	}
	return warnings
}

// apply changes a bouncer. It may be called by the committer.
func (e *BouncerEdit) apply(b *engine.Bouncer) {
	s := engine.Sight{}
	if b.Sight != nil && !e.SeeAll {
		s = *b.Sight
	}
	lists := [...]*[]string{&s.Origins, &s.NotOrigins, &s.Scopes, &s.Types, &s.Containing, &s.NotContaining, &s.Allowlists}
	for i, name := range sightFlags {
		if words, given := e.Words[name]; given {
			*lists[i] = words
		}
	}
	if e.MaxEntries != nil {
		if s.MaxEntries = *e.MaxEntries; s.MaxEntries == 0 {
			s.Priority = engine.LocalFirst // what is ordered by it goes with the bound
		}
	}
	if e.Priority != nil {
		s.Priority, _ = engine.ParsePriority(*e.Priority) // "" is the first
	}
	if e.MaxDuration != nil {
		s.MaxDuration = time.Duration(*e.MaxDuration)
	}
	if e.MinDuration != nil {
		s.MinDuration = time.Duration(*e.MinDuration)
	}
	if e.Canonical != nil {
		s.Canonical = *e.Canonical
	}
	if e.Hold != nil {
		b.Hold = *e.Hold
	}
	b.Sight = &s
}
