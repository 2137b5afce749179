package engine

import (
	"container/heap"
	"context"
	"time"
)

// AdmitBouncer gives a key or a certificate that comes from an address for the
// first time a row of its own, and returns it; when another request was faster,
// the row that answers for the address by now.
//
// b is what is known of the bouncer; it is AutoCreated. With a key, b.Name is the
// name without address, and the row is called name@address. Where that name is
// taken, by an operator or by another key, the address is repeated until the name
// is free; only a row of the same key that an operator made under that very name,
// and that has no address yet, takes the address itself. A key without rows is
// ErrNotFound: it was deleted. With a certificate, b.Name is the whole name, and a
// taken one is ErrExists.
//
// It has the sight and hold of the row that the key or certificate had before.
//
// A key, or a certificate's name, has at most Options.BouncersPerKey such rows.
// Beyond, the one that was heard of longest ago is dropped in the same commit; its
// bouncer, should it come again, begins anew. One commit may go beyond by what it
// adds at once; later rows take that back.
//
// On a relay the row is the relay's own, and so is the bound; no row of the history is dropped for it.
func (e *Engine) AdmitBouncer(ctx context.Context, b *Bouncer) (*BouncerRow, error) {
	if e.options.Relay {
		return e.admitOwn(ctx, b)
	}
	o := &putBouncer{bouncer: *b}
	o.bouncer.AutoCreated = true
	key := b.Name
	if b.AuthType == AuthAPIKey {
		key += "@" + b.IP.String()
	}
	p := &proposal{key: "bouncer:" + key, by: actorOr(ctx, Actor{ActorBouncer, b.Name})}
	var known *BouncerRow
	p.resolve = func(v *View) (op, error) {
		var err error
		if known, err = v.admit(&o.bouncer); known != nil || err != nil {
			return nil, err
		}
		if !o.bouncer.AutoCreated {
			return o, nil // an operator's row that gets its address
		}
		if parent := v.ParentOf(&o.bouncer); parent != nil { // those of an edit go alone: it is the newest
			o.bouncer.Sight, o.bouncer.Hold = parent.Load().Sight, parent.Load().Hold
		}
		if names := e.evictions.room(e, v, &o.bouncer); len(names) > 0 {
			p.before = &dropBouncers{names: names}
		}
		return o, nil
	}
	if err := e.propose(ctx, p); err != nil {
		return nil, err
	}
	if known != nil {
		return known, nil
	}
	if drop, ok := p.before.(*dropBouncers); ok {
		e.counters.evicted.Add(uint64(len(drop.names)))
	}
	return o.row, nil
}

// admit finds a name for a row that does not exist yet, or the row that does.
func (v *View) admit(b *Bouncer) (known *BouncerRow, err error) {
	if b.AuthType != AuthAPIKey {
		if v.Bouncer(b.Name) != nil {
			return nil, exists(NounBouncer, b.Name)
		}
		return nil, nil
	}
	if v.bouncers.ownedBy(&b.KeyHash) == nil {
		return nil, notFound(NounBouncer, b.Name)
	}
	if row := v.bouncers.answering(&b.KeyHash, b.IP); row != nil {
		return row, nil
	}
	at := "@" + b.IP.String()
	b.Name += at
	row := v.Bouncer(b.Name)
	if row != nil {
		if meant := row.Load(); meant.AuthType == AuthAPIKey && meant.KeyHash == b.KeyHash && !meant.IP.IsValid() {
			c := *meant
			c.IP, c.Software, c.UpdatedAt = b.IP, b.Software, b.UpdatedAt
			*b = c
			return nil, nil
		}
	}
	for row != nil { // each is a row made by a caller: it ends
		b.Name += at
		row = v.Bouncer(b.Name)
	}
	return nil, nil
}

// evictions makes room for rows of keys that come from ever new addresses. Owned
// by the committer: what is dropped is chosen before the commit, which names it,
// so that a replay need not know which of them came by when.
type evictions struct {
	idle   map[KeyHash]*idleRows // of owners that have as many rows as they may
	staged map[KeyHash]int       // rows that the commit being made adds, by owner

	said  int64 // when the log was told last, on the steady clock; 0: never
	since int   // rows dropped since
}

// sayAgain is how often the log hears that rows make room for others.
const sayAgain = time.Minute

// shrinkBy is how many more rows are dropped for one that comes, while
// an owner has more than it may, by an older setting or another program.
const shrinkBy = 15

// room notes that a row comes and returns the names of those dropped for it.
func (s *evictions) room(e *Engine, v *View, b *Bouncer) (names []string) {
	owner := b.owner()
	if s.staged == nil {
		s.staged = map[KeyHash]int{}
	}
	s.staged[owner]++
	owned := v.bouncers.ownedBy(&owner)
	if owned == nil {
		return nil
	}
	surplus := owned.auto + s.staged[owner] - e.options.BouncersPerKey
	if surplus <= 0 {
		return nil
	}
	rows := s.idle[owner]
	if rows == nil {
		if s.idle == nil {
			s.idle = map[KeyHash]*idleRows{}
		}
		rows = &idleRows{}
		s.idle[owner] = rows
	}
	rows.add(owned)
	for range min(surplus, 1+shrinkBy) {
		row := rows.take()
		if row == nil {
			break // all go already, for others of this commit
		}
		names = append(names, row.Load().Name)
		s.staged[owner]--
	}
	s.logRoom(e, owned, b, len(names))
	return names
}

// logRoom tells the operator, once a minute at most.
func (s *evictions) logRoom(e *Engine, owned *ownedRows, b *Bouncer, dropped int) {
	s.since += dropped
	_, steady := e.clock()
	if s.said != 0 && steady-s.said < int64(sayAgain) {
		return
	}
	e.log.Warn("a bouncer comes from more addresses than are kept: the ones heard of longest ago are forgotten and begin anew when they come again",
		"bouncer", owned.oldest().Load().Name, "address", b.IP, "kept", e.options.BouncersPerKey, "forgotten", s.since,
		"setting", "bouncer_rows_per_key")
	s.said, s.since = steady, 0
}

// settle ends a commit.
func (s *evictions) settle() { clear(s.staged) }

// failed begins anew after a commit that was not written: the rows that were chosen are
// still there.
func (s *evictions) failed() { s.idle = nil }

// tidy forgets owners that have room again.
func (s *evictions) tidy(v *View, most int) {
	for owner := range s.idle {
		if owned := v.bouncers.ownedBy(&owner); owned == nil || owned.auto < most {
			delete(s.idle, owner)
		}
	}
}

// idleRows are an owner's auto-created rows in a heap, by when they were heard of.
// Rows that have been heard of since lie too high and are set right when they come
// up, so a visit costs nothing here and a choice as much as there were visits.
type idleRows struct {
	heap []idleRow
	next uint64 // place of the first row that is not in yet
}

type idleRow struct {
	heard int64
	row   *BouncerRow
}

func (r *idleRows) Len() int           { return len(r.heap) }
func (r *idleRows) Less(i, j int) bool { return r.heap[i].before(r.heap[j]) }
func (r *idleRows) Swap(i, j int)      { r.heap[i], r.heap[j] = r.heap[j], r.heap[i] }
func (r *idleRows) Push(any)           { panic("BUG: rows are added by add") }
func (r *idleRows) Pop() any           { panic("BUG: rows are taken by take") }

// before: of two that were heard of in the same moment the older goes.
func (a idleRow) before(b idleRow) bool {
	return a.heard < b.heard || a.heard == b.heard && a.row.place < b.row.place
}

// heard is when a row was heard of last; its creation counts.
func (r *BouncerRow) heard() int64 { return max(r.LastPull(), r.Load().CreatedAt) }

// add takes in the owner's rows that came since the last time.
func (r *idleRows) add(owned *ownedRows) {
	before := len(r.heap)
	owned.from(r.next, func(place uint64, row *BouncerRow) bool {
		r.next = place + 1
		if row.Load().AutoCreated {
			r.heap = append(r.heap, idleRow{row.heard(), row})
		}
		return true
	})
	if added := len(r.heap) - before; added > before/8 {
		heap.Init(r)
		return
	}
	for i := before; i < len(r.heap); i++ {
		r.up(i)
	}
}

// up moves an element that was added to its place.
func (r *idleRows) up(i int) {
	for i > 0 && r.Less(i, (i-1)/2) {
		r.Swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

// take removes the row heard of longest ago and returns it; nil when there is none.
func (r *idleRows) take() *BouncerRow {
	for len(r.heap) > 0 {
		top := &r.heap[0]
		gone := top.row.Gone()
		if heard := top.row.heard(); !gone && heard > top.heard {
			top.heard = heard
			heap.Fix(r, 0)
			continue
		}
		row := top.row
		last := len(r.heap) - 1
		r.heap[0] = r.heap[last]
		r.heap[last] = idleRow{}
		r.heap = r.heap[:last]
		if last > 0 {
			heap.Fix(r, 0)
		}
		if !gone {
			return row
		}
	}
	return nil
}
