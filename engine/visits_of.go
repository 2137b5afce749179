package engine

import (
	"encoding/binary"
	"sync/atomic"
)

// visitsOf writes down what visitors left in the memory of one of several nodes: how far
// bouncers got there, when machines were heard of, when operators logged in. Each node tells
// the writer of its own (visit_note.go), so the rows of another may know more, and keep it:
//
//	a place       the larger counts. It is one that the bouncer has come back from, never that
//	              of an answer which is not acknowledged, so nothing has to go back
//	a place anew  counts, whatever was before: the bouncer began anew at that node, or has
//	              shown that it has less
//	a time        the later counts, up to that of the commit
//
// At the process that made it the rows stay as they are: they have the newer values.
type visitsOf struct {
	node   string   // its name
	start  uint64   // of its process, by chance
	serial uint64   // of the note, among those of the process
	seen   Revision // what the node had applied when the note was made

	bouncers  []placed
	machines  []visit
	operators []visit
}

// placed is a bouncer's place. Where it is anew and 0 the bouncer knows nothing.
type placed struct {
	visit
	born int64 // when the row was made: another may have the name by now
	anew bool
}

func (*visitsOf) number() byte { return numberVisitsOf }
func (o *visitsOf) append(dst []byte) []byte {
	dst = binary.AppendUvarint(appendString(dst, o.node), o.start)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, o.serial), uint64(o.seen))
	dst = binary.AppendUvarint(dst, uint64(len(o.bouncers)))
	for i := range o.bouncers {
		v, from := &o.bouncers[i], len(dst)
		dst = binary.AppendVarint(binary.AppendVarint(appendString(dst, v.name), v.born), v.at)
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, v.cursor), v.acked)
		dst = endRow(appendBool(dst, v.anew), from)
	}
	for _, list := range [][]visit{o.machines, o.operators} {
		dst = binary.AppendUvarint(dst, uint64(len(list)))
		for _, v := range list {
			from := len(dst)
			dst = endRow(binary.AppendVarint(appendString(dst, v.name), v.at), from)
		}
	}
	return dst
}
func (o *visitsOf) decode(d *decoder) {
	o.node, o.start, o.serial, o.seen = d.string(), d.uvarint(), d.uvarint(), Revision(d.uvarint())
	o.bouncers = make([]placed, d.count(7))
	for i := range o.bouncers {
		behind := d.open()
		v := &o.bouncers[i]
		v.name, v.born, v.at, v.cursor, v.acked, v.anew = d.string(), d.varint(), d.varint(), d.uvarint(), d.uvarint(), d.bool()
		d.close(behind)
	}
	for _, list := range []*[]visit{&o.machines, &o.operators} {
		*list = make([]visit, d.count(3))
		for i := range *list {
			behind := d.open()
			(*list)[i] = visit{name: d.string(), at: d.varint()}
			d.close(behind)
		}
	}
}
func (o *visitsOf) apply(s *state, rev Revision) {
	own := s.notes.start != 0 && o.start == s.notes.start
	if own {
		s.notes.stored(o.serial)
	}
	for i := range o.bouncers {
		v := &o.bouncers[i]
		row := s.next.bouncers.named(v.name)
		if row == nil {
			continue
		}
		if row.Load().moved {
			s.passSights(row, v.cursor)
		}
		if own {
			row.agreed(v, rev)
		} else {
			row.learn(v, rev)
			advanceTo(&row.lastPull, min(v.at, s.at))
		}
	}
	if own {
		return
	}
	if len(o.bouncers) > 0 {
		s.visited.acknowledged.give()
	}
	for _, v := range o.machines {
		if row := s.next.machines.named(v.name); row != nil {
			advanceTo(&row.heartbeat, min(v.at, s.at))
		}
	}
	for _, v := range o.operators {
		if who := s.next.operators.byName[v.name]; who != nil {
			advanceTo(&who.login.at, min(v.at, s.at))
		}
	}
}

// leaveOut takes out what would say more than is known: a place that was noted before its
// node had heard that the bouncer began anew elsewhere, and that of a row whose name another
// has by now. The writer does it, when it makes the operation of a note.
func (o *visitsOf) leaveOut(s *state) {
	kept := o.bouncers[:0]
	for _, v := range o.bouncers {
		row := s.next.bouncers.named(v.name)
		if row == nil || row.Load().CreatedAt != v.born {
			continue
		}
		if row.putAt() > o.seen {
			if v.cursor, v.acked = 0, 0; !v.anew {
				continue
			}
		}
		kept = append(kept, v)
	}
	o.bouncers = kept
}

// advanceTo moves a time forward.
func advanceTo(a *atomic.Int64, to int64) {
	for {
		at := a.Load()
		if at >= to || a.CompareAndSwap(at, to) {
			return
		}
	}
}

// What a row's note has beside the place that the history has for it, 1 + revision.
const (
	noteAnew      = 1 << 63 // the bouncer began anew here: to be told to the other nodes
	noteTelling   = 1 << 62 // … which is on its way
	noteElsewhere = 1 << 61 // it was at another node, and may know more than its cursor says
	noteFlags     = noteAnew | noteTelling | noteElsewhere
	noteFar       = 1000 // so many revisions behind, and the other nodes are told at once
)

// beginAnew notes that the bouncer has less than it had: where there are other nodes they
// are told, and until they know it nothing that they say of the row counts.
func (r *BouncerRow) beginAnew() {
	if r.ledger == nil {
		return
	}
	r.shared.Or(noteAnew)
	r.note() // before the hurry, so that whoever obeys it finds the row
	r.ledger.hurry.Store(true)
}

// elsewhere reports whether the bouncer was at another node since it was told something here.
func (r *BouncerRow) elsewhere() bool { return r.shared.Load()&noteElsewhere != 0 }

// isHere ends that.
func (r *BouncerRow) isHere() {
	if r.elsewhere() {
		r.shared.And(^uint64(noteElsewhere))
	}
}

// hurries reports whether the other nodes are to be told of the row at once.
func (r *BouncerRow) hurries() bool {
	shared, acked := r.shared.Load(), r.acked.Load()
	at := shared &^ noteFlags
	return shared&noteAnew != 0 || acked != 0 && (at == 0 || acked >= at+noteFar)
}

// toTell is what the other nodes are told of the row. The committer's.
func (r *BouncerRow) toTell() placed {
	was := r.shared.Load()
	for was&noteAnew != 0 && !r.shared.CompareAndSwap(was, was&^noteAnew|noteTelling) {
		was = r.shared.Load()
	}
	b := r.Load()
	p := placed{visit{name: b.Name, at: r.lastPull.Load(), acked: r.acked.Load()}, b.CreatedAt, was&noteAnew != 0}
	p.cursor = min(r.kept(), p.acked)
	return p
}

// agreed notes that a place of the row is in the history, as this process told it.
func (r *BouncerRow) agreed(v *placed, rev Revision) {
	if v.anew {
		r.unsettled().put.Store(uint64(rev))
	}
	r.keepAgreed(v, func(was uint64) uint64 {
		if v.anew {
			was &^= noteTelling
		}
		return was & noteFlags
	})
}

// learn takes what another node has told of the row. While this node has to tell that the
// bouncer began anew here, no place that another knows counts.
func (r *BouncerRow) learn(v *placed, rev Revision) {
	telling := r.shared.Load()&(noteAnew|noteTelling) != 0
	cursor, acked := min(v.cursor, uint64(rev)), min(v.acked, uint64(rev))
	switch {
	case v.anew:
		if telling {
			cursor, acked = 0, 0
		}
		u := r.unsettled()
		u.mu.Lock()
		u.put.Store(uint64(rev))
		r.putCursor(cursor)
		r.acked.Store(acked)
		u.mu.Unlock()
	case !telling:
		forward(&r.cursor, cursor)
		forward(&r.acked, acked)
	}
	if u := r.unheard.Load(); u != nil && !telling && acked != 0 {
		u.anew.Store(false) // an answer here that it did not hear is made good: it has everything from there
	}
	r.keepAgreed(v, func(was uint64) uint64 { return was&noteFlags | noteElsewhere })
}

// keepAgreed keeps what the history has for the row, with the flags that follow from those before.
func (r *BouncerRow) keepAgreed(v *placed, flags func(was uint64) uint64) {
	for {
		was := r.shared.Load()
		at := was &^ noteFlags
		if at = max(at, v.acked&^noteFlags); v.anew {
			at = v.acked &^ noteFlags
		}
		if r.shared.CompareAndSwap(was, flags(was)|at) {
			return
		}
	}
}

// putAt is the last revision at which a node told that the bouncer began anew, since the start; 0: none did.
func (r *BouncerRow) putAt() Revision {
	if u := r.unheard.Load(); u != nil {
		return Revision(u.put.Load())
	}
	return 0
}
