package export

import (
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"lapid/engine"
)

// The guard: a list that lost more than half without a reason is held back, and the one before it is
// served on, until an operator has accepted the new one, or has changed what is on it.

// guardFrom is how many entries a list has that is guarded.
const guardFrom = 1000

// mostGuards is how many lists are remembered. Beyond that narrowed ones are forgotten, those that were
// looked at longest ago first; all of an export never is, and of exports there are engine.MostExports.
const mostGuards = 1024

// guards remember lists as they were looked at last, without their entries, longer than there may be
// memory for them: one that was let go of is guarded still. The zero guards are ready.
type guards struct {
	mu    sync.Mutex
	known map[string]*list // by where they are kept; of guardFrom entries or more
}

// of is what is known of a place; nil: nothing.
func (g *guards) of(key string) *list {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.known[key]
}

// note remembers a list, or nil for none, and reports whether one of the same export is held back.
func (g *guards) note(p *rendering, l *list) (held bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil {
		g.known = map[string]*list{}
	}
	if delete(g.known, p.key); l != nil && l.count >= guardFrom {
		g.known[p.key] = l.bare()
	}
	oldest := ""
	for key, one := range g.known {
		held = held || one.held && one.export.Name == p.name
		if one.asked != "" && key != p.key && (oldest == "" || one.made < g.known[oldest].made) {
			oldest = key
		}
	}
	if len(g.known) > mostGuards {
		delete(g.known, oldest)
	}
	return held
}

// places are where lists of an export are remembered.
func (g *guards) places(name string) (keys []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, one := range g.known {
		if one.export.Name == name {
			keys = append(keys, key)
		}
	}
	return keys
}

// forget lets go of exports that are gone.
func (g *guards) forget(v *engine.View) {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.known, func(_ string, l *list) bool { return v.Export(l.export.Name) == nil })
}

// follow decides between a list and the one before it at its place, and remembers which it was.
func (r *Renderings) follow(v *engine.View, whole *rendering, fresh *list, now int64) *list {
	old := whole.list
	if old == nil {
		old = r.guards.of(whole.key)
	}
	l := fresh
	if old != nil && (old.export == fresh.export || onlyRotated(old.export, fresh.export)) && r.shrunk(v, old, fresh, now) {
		l = r.held(old, fresh)
	}
	whole.pulls.Held.Store(r.guards.note(whole, l))
	return l
}

// held is an older list that is served on instead of a newer one.
func (r *Renderings) held(old, fresh *list) *list {
	if !old.held {
		r.log.Warn("an export lost more than half of its entries without a reason that is known: the list before it is served on; see what went, and have the new one served with: lapid exports accept "+fresh.export.Name,
			"export", fresh.export.Name, "before", old.count, "now", fresh.count)
	}
	held := *old
	held.export, held.held, held.next = fresh.export, true, 0
	return &held
}

// Accept has the lists of an export served as they are now, whatever was on them before, and says how many
// were held back. It waits for those who make them, as long as life goes on: ErrCrowded when it has ended.
func (r *Renderings) Accept(name string, life <-chan struct{}) (accepted int, err error) {
	keys := r.guards.places(name)
	r.kept.Range(func(key, value any) bool {
		if value.(*rendering).name == name {
			keys = append(keys, key.(string))
		}
		return true
	})
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		one, _ := r.kept.LoadOrStore(key, &rendering{name: name, key: key, pulls: r.Of(name), turn: newTurn()})
		p := one.(*rendering)
		if !p.turn.take(nil, life) {
			return accepted, ErrCrowded
		}
		if r.accept(p) {
			accepted++
		}
		r.leave(p)
	}
	return accepted, nil
}

// accept has what a place had before count for nothing, and reports whether a list was held back in it.
// The turn is the caller's.
func (r *Renderings) accept(p *rendering) (held bool) {
	old := p.list
	if old == nil {
		old = r.guards.of(p.key)
	}
	p.pulls.Held.Store(r.guards.note(p, nil))
	p.list = nil
	if s := p.current.Load(); s != nil {
		p.current.Store(&standing{body: s.body}) // of no view: only what comes next is compared with it
	}
	p.afford(nil)
	return old != nil && old.held
}

// onlyRotated reports whether two definitions differ in their secrets, and in nothing that says what
// is on the list: another secret is no leave to shrink, as any other edit is.
func onlyRotated(a, b *engine.Export) bool {
	if slices.Equal(a.Secrets, b.Secrets) {
		return false
	}
	was, is := *a, *b
	was.Secrets, is.Secrets, was.UpdatedAt, is.UpdatedAt = nil, nil, 0, 0
	return reflect.DeepEqual(&was, &is)
}

// shrunk reports whether a list lost more than half of its entries, and neither time, nor an
// operator, nor retention, nor an allowlist has ended as many decisions that could be on it.
func (r *Renderings) shrunk(v *engine.View, old, fresh *list, now int64) bool {
	if old.export.MayShrink || old.count < guardFrom || fresh.count*2 >= old.count {
		return false
	}
	q := &engine.Query{}
	q.Reset()
	q.Now, q.Sight = now, sightOf(fresh.export)
	explained, buf := 0, make([]engine.Decision, batch)
	scan := v.Scan(q)
	for list := scan.Over(buf); len(list) > 0; list = scan.Over(buf) {
		for _, d := range list {
			if d.Until() >= old.made-int64(time.Second) && isReason(d.EndedBy().Kind) {
				explained++
			}
		}
	}
	clear(buf)
	return (old.count-fresh.count-explained)*2 > old.count
}

// isReason reports whether an end by such an actor is meant.
func isReason(k engine.ActorKind) bool {
	switch k {
	case engine.ActorExpiry, engine.ActorOperator, engine.ActorRetention, engine.ActorAllowlist:
		return true
	}
	return k == 0 // its time is over and no commit has said so yet
}
