package admin

import (
	"context"
	"fmt"
	"slices"
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
	rows, err := h.engine.EditBouncer(ctx, q.Name, q.Edit.apply)
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "edited a bouncer", "bouncer", q.Name, "rows", len(rows)+1)
	return &Edited{Rows: rows, Warnings: warnings}, nil
}

// knownOrigins are those that the server and the operator's verbs give.
var knownOrigins = []string{engine.OriginCrowdsec, engine.OriginManual, engine.OriginImport, engine.OriginCAPI, engine.OriginLists, "console"}

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
				return nil, invalid("there is no allowlist '%.100s': make it first with lapid allowlists create", w)
			case (name == "origins" || name == "not-origins") && !slices.Contains(knownOrigins, w):
				warnings = append(warnings, fmt.Sprintf("nothing here gives decisions the origin '%.100s': those that are known are %s", w, strings.Join(knownOrigins, ", ")))
			}
		}
	}
	return warnings, nil
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
		s.MaxEntries = *e.MaxEntries
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
