package enginetest

import (
	"net/netip"
	"slices"
	"strings"

	"lapid/engine"
)

// Model is the engine's slow twin: one slice of decisions, loops, and no
// cleverness. It is told what happened and says what must be so. It grows
// with everything it is told, so it is for histories of thousands. One
// goroutine uses it.
type Model struct {
	Decisions []*Held
	alerts    uint64
}

// Held is one decision of the model. Times are Unix nanoseconds. A decision
// is never taken out of the model: what a deletion took is marked.
type Held struct {
	ID        uint64
	Alert     uint64
	Scope     string
	Value     string
	Type      string
	Origin    string
	Scenario  string
	Simulated bool
	Until     int64 // when it ends, or ended
	Ended     bool  // by an order; its Until is the time of the order
	Gone      bool  // its alert was deleted
}

// Target is what a stream client keys its entries by.
type Target struct{ Scope, Value, Type string }

// Target names what the decision is on.
func (h *Held) Target() Target { return Target{h.Scope, h.Value, h.Type} }

// running is what the engine means by it at a moment: the end itself is over.
func (h *Held) running(now int64) bool { return !h.Gone && !h.Ended && h.Until > now }

// AddAlert adds one alert with decisions whose values are good. It gives the
// alert's number, which is the engine's as long as both are told of the same
// alerts. What the engine drops must not be told to the model.
func (m *Model) AddAlert(a *engine.Alert) uint64 {
	m.alerts++
	for _, d := range a.Decisions {
		length, err := engine.ParseDuration(d.Duration)
		if err != nil {
			panic("BUG: the model was given a bad duration: " + d.Duration)
		}
		m.Decisions = append(m.Decisions, &Held{
			ID: uint64(len(m.Decisions) + 1), Alert: m.alerts, Scope: engine.CanonicalScope(d.Scope), Value: d.Value,
			Type: d.Type, Origin: d.Origin, Scenario: d.Scenario, Simulated: a.Simulated,
			Until: a.StopAt.At + int64(length),
		})
	}
	return m.alerts
}

// End ends what runs and matches, and says how many. What it ends has ended
// at now.
func (m *Model) End(now int64, match func(*Held) bool) int {
	n := 0
	for _, h := range m.Decisions {
		if h.running(now) && match(h) {
			h.Ended, h.Until = true, now
			n++
		}
	}
	return n
}

// DeleteAlert forgets an alert and its decisions; false when there is none.
func (m *Model) DeleteAlert(id uint64) bool {
	found := false
	for _, h := range m.Decisions {
		if h.Alert == id && !h.Gone {
			h.Gone, found = true, true
		}
	}
	return found
}

// Find lists the ids of running decisions that match, ascending.
func (m *Model) Find(now int64, match func(*Held) bool) []uint64 {
	var ids []uint64
	for _, h := range m.Decisions {
		if h.running(now) && match(h) {
			ids = append(ids, h.ID)
		}
	}
	return ids
}

// Targets is what a client that admits the matching decisions must hold. A
// target is held as long as anything runs on it.
func (m *Model) Targets(now int64, match func(*Held) bool) map[Target]bool {
	all := map[Target]bool{}
	for _, h := range m.Decisions {
		if h.running(now) && match(h) {
			all[h.Target()] = true
		}
	}
	return all
}

// Stored counts the stored decisions that contain the whole of p.
func (m *Model) Stored(p netip.Prefix) int {
	n := 0
	for _, h := range m.Decisions {
		if !h.Gone && Covers(h, p) {
			n++
		}
	}
	return n
}

// Covers reports whether a decision's address or range contains all of p.
func Covers(h *Held, p netip.Prefix) bool {
	t, ok := h.prefix()
	return ok && t.Addr().Is4() == p.Addr().Is4() && t.Bits() <= p.Bits() && t.Contains(p.Addr())
}

// Inside reports whether a decision's address or range lies inside p.
func Inside(h *Held, p netip.Prefix) bool {
	t, ok := h.prefix()
	return ok && t.Addr().Is4() == p.Addr().Is4() && t.Bits() >= p.Bits() && p.Contains(t.Addr())
}

// prefix is what an address or a range means; false for a decision on anything else.
func (h *Held) prefix() (netip.Prefix, bool) {
	if h.Scope != engine.ScopeIP && h.Scope != engine.ScopeRange {
		return netip.Prefix{}, false
	}
	if p, err := netip.ParsePrefix(h.Value); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(h.Value)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), true
}

// Admits turns a stream's question into a match. Address and value are left
// out: a stream's question has none.
func Admits(q *engine.Query) func(*Held) bool {
	return func(h *Held) bool {
		switch {
		case h.Simulated && !q.Simulated,
			q.Scopes.Given && !slices.Contains(q.Scopes.List, h.Scope),
			q.Origins.Given && !slices.Contains(q.Origins.List, h.Origin),
			q.Type.Given && q.Type.Text != h.Type:
			return false
		}
		for _, w := range q.NotContaining.List {
			if strings.Contains(strings.ToLower(h.Scenario), strings.ToLower(w)) {
				return false
			}
		}
		return true
	}
}
