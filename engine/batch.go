package engine

import (
	"net/netip"
	"slices"
)

// Batch names what decisions came in together: what one import has stored or, with List,
// the named list whose whole content an import has set (List.Own). An alert belongs to one
// of them at most, or to none. The name is there for as long as one of its alerts is; the
// two kinds do not share names.
type Batch struct {
	Name string // "": none
	List bool
}

// Kinds of batches, as an alert in memory and on disk has them.
const (
	noBatch uint8 = iota
	importBatch
	listBatch
)

func (b Batch) kind() uint8 {
	switch {
	case b.Name == "":
		return noBatch
	case b.List:
		return listBatch
	}
	return importBatch
}

// appendBatch writes the tail of an alert's row. An alert that belongs to none has no such
// tail, as those of older programs.
func appendBatch(dst []byte, b Batch) []byte {
	if b.kind() == noBatch {
		return dst
	}
	return appendString(append(dst, b.kind()), b.Name)
}

// batch reads that tail. A kind that is not known here is none.
func (d *decoder) batch() Batch {
	if d.version <= firstVersion || len(d.rest) == 0 || d.err != nil {
		return Batch{}
	}
	kind, name := d.byte(), d.string()
	if d.err != nil || kind != importBatch && kind != listBatch {
		return Batch{}
	}
	return Batch{Name: name, List: kind == listBatch}
}

// putBatch notes what an alert belongs to, before the alert is there.
func (s *state) putBatch(alert uint64, h *heldAlert, b Batch) {
	if h.batch = b.kind(); h.batch != noBatch {
		s.batches.Set(alert).Store(s.strings.Acquire(b.Name))
	}
}

// dropBatch forgets it, once no reader can see the alert.
func (s *state) dropBatch(alert uint64, h *heldAlert) {
	if h.batch != noBatch {
		s.strings.Release(s.batches.At(alert).Load())
		s.batches.Delete(alert)
	}
}

// batchOf reads it; zero for an alert that is gone.
func (s *state) batchOf(alert uint64) Batch {
	h := s.alerts.At(alert)
	if h == nil || h.batch == noBatch {
		return Batch{}
	}
	word := s.batches.At(alert)
	if word == nil {
		return Batch{}
	}
	return Batch{s.strings.At(word.Load()), h.batch == listBatch}
}

// batchWord is a batch that is asked for, as numbers of one state.
type batchWord struct {
	kind uint8
	word uint32
}

// batchWord is false when no alert belongs to it.
func (s *state) batchWord(b Batch) (w batchWord, ok bool) {
	if w.kind = b.kind(); w.kind == noBatch {
		return w, true
	}
	w.word, ok = s.strings.Lookup(b.Name)
	return w, ok
}

// has reports whether an alert belongs to it.
func (w batchWord) has(s *state, alert uint64) bool {
	h := s.alerts.At(alert)
	if h == nil || h.batch != w.kind {
		return false
	}
	word := s.batches.At(alert)
	return word != nil && word.Load() == w.word
}

// BatchOf is what the decision came in with; zero: nothing of that kind.
func (d Decision) BatchOf() Batch { return d.view.state.batchOf(d.rec.alert) }

// HasBatch reports whether some stored alert belongs to a batch, whatever became of its
// decisions. It looks at every alert in memory.
func (v *View) HasBatch(b Batch) bool {
	w, ok := v.state.batchWord(b)
	if !ok || w.kind == noBatch {
		return false
	}
	for id := range v.eachAlert {
		if w.has(v.state, id) {
			return true
		}
	}
	return false
}

// Batches lists the batches that stored alerts belong to, each once, the newest first, at
// most so many. It looks at every alert in memory.
func (v *View) Batches(most int) (list []Batch) {
	seen := map[Batch]bool{}
	for id := range v.state.alerts.Descending(1, v.nextAlert) {
		if h := v.alert(id); h == nil || h.batch == noBatch {
			continue
		}
		if b := v.state.batchOf(id); b.Name != "" && !seen[b] {
			if seen[b] = true; len(list) == most {
				break
			}
			list = append(list, b)
		}
	}
	return list
}

// Proposed is a decision that somebody thinks of storing. Scope is canonical.
type Proposed struct {
	Scope  Scope
	Type   string
	Value  string
	Target netip.Prefix // of the value, where the scope holds addresses
	Origin string
	Reason string // its scenario
}

// Decides reports whether a decision of the same type is running on the same target,
// however that is spelt. Simulated decisions decide nothing. It does not allocate.
func (v *View) Decides(p *Proposed, now int64) bool {
	return v.decides(p, now, func(*record) bool { return true })
}

func (v *View) decides(p *Proposed, now int64, counts func(*record) bool) bool {
	kind, ok := v.state.strings.Lookup(p.Type)
	if !ok {
		return false
	}
	var at slot
	scope := noWord
	if p.Target.IsValid() {
		at = v.state.lookup(p.Target)
	} else {
		text, known := v.state.strings.Lookup(p.Value)
		if scope, ok = v.state.strings.Lookup(p.Scope); !known || !ok {
			return false
		}
		at = v.state.values.Get(text)
	}
	for at != 0 {
		r := v.state.records.At(at)
		if v.state.wordsOf(r).Type == kind && (p.Target.IsValid() || v.state.wordsOf(r).Scope == scope) && r.flags()&flagSimulated == 0 && v.running(r, now) && counts(r) {
			return true
		}
		at = slot(r.next.Load())
	}
	return false
}

// Fresh makes a function that reports whether a decision that is not stored would be a new
// entry of a sight, the bound aside: its filters and allowlists let it through, and nothing
// of the type that they let through runs on its target. It is for one goroutine.
func (v *View) Fresh(sight *Sight, now int64) func(*Proposed) bool {
	q := &Query{Now: now, Sight: sight, Limit: -1}
	q.resolve(v.state)
	var found []AllowlistMatch
	return func(p *Proposed) bool {
		if !sight.lets(p) {
			return false
		}
		if len(sight.Allowlists) > 0 && p.Target.IsValid() {
			found = v.Allowlisted(found[:0], p.Target, now)
			for i := range found {
				if slices.Contains(sight.Allowlists, found[i].List) && wholly(found[i].Item.Prefix, p.Target) {
					return false
				}
			}
		}
		return !v.decides(p, now, func(r *record) bool { return q.admits(v.state, r) })
	}
}

func wholly(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// lets reports whether a sight's filters let a decision through.
func (s *Sight) lets(p *Proposed) bool {
	in := func(list []string, word string) bool { return len(list) == 0 || slices.Contains(list, word) }
	return in(s.Origins, p.Origin) && in(s.Scopes, p.Scope) && in(s.Types, p.Type) && !slices.Contains(s.NotOrigins, p.Origin) &&
		s.seesScenario(p.Reason)
}
