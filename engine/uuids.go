package engine

import (
	"context"
	"slices"
)

// ParseUUID reads a UUID as it is usually written, in any case.
func ParseUUID(text string) (u UUID, ok bool) {
	if len(text) != 36 {
		return u, false
	}
	at := 0
	for i := 0; i < len(text); i++ {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if text[i] != '-' {
				return UUID{}, false
			}
			continue
		}
		c := lowerASCII(text[i])
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return UUID{}, false
		}
		u[at/2] = u[at/2]<<4 | c
		at++
	}
	return u, true
}

// WithUUIDs finds the decisions that have one of the UUIDs, running or over. It walks all
// decisions of the view once, however many are asked for.
func (v *View) WithUUIDs(uuids []UUID) map[UUID]Decision {
	wanted := make(map[[2]uint64]bool, len(uuids))
	for _, u := range uuids {
		wanted[u.halves()] = true
	}
	found := map[UUID]Decision{}
	if len(wanted) == 0 {
		return found
	}
	for r := range v.each {
		d := Decision{v, r}
		if hi, lo := d.UUIDHalves(); wanted[[2]uint64{hi, lo}] {
			found[d.UUID()] = d
		}
	}
	return found
}

// EndThese ends those of the decisions that are stored and run, in one commit, and says how
// many that were.
func (e *Engine) EndThese(ctx context.Context, ids []DecisionID, now int64) (int, error) {
	o := &endDecisions{}
	err := e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		o.at, o.ids = now, o.ids[:0]
		for _, id := range ids {
			if d, ok := v.Decision(id); ok && !d.Ended() {
				o.ids = append(o.ids, uint64(id))
			}
		}
		slices.Sort(o.ids)
		if o.ids = slices.Compact(o.ids); len(o.ids) == 0 {
			return nil, nil
		}
		return o, nil
	}})
	if err != nil {
		return 0, err
	}
	return o.ended, nil
}
