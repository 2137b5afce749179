package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// A relay (Options.Relay) can write nothing into the history that it follows, and its bouncers come from addresses that no
// node has heard of. So it keeps rows of its own beside those of the history, and for all rows where its bouncers are: in
// rows of its store, under their names. Neither is in its snapshots, and neither is ever sent to anybody.
//
// A row of its own lives as long as the history has a row of its key, or for a certificate until it is forgotten, and has the sight and hold of that one. A name that the
// history gives to a row later is the history's from then on, and the row with it if the key is the same.

// admitOwn gives a key or certificate that comes from a new address a row of this relay's own.
func (e *Engine) admitOwn(ctx context.Context, b *Bouncer) (row *BouncerRow, err error) {
	fresh := *b
	fresh.AutoCreated = true
	err = e.perform(ctx, func(*View) error {
		v := e.View() // the one before may have brought it
		var known *BouncerRow
		if known, err = v.ownName(&fresh); known != nil || err != nil {
			row = known
			return err
		}
		s, rev := e.state, e.state.next.revision
		if parent := v.sharedParent(&fresh); parent != nil {
			fresh.Sight, fresh.Hold = parent.Load().Sight, parent.Load().Hold
		}
		e.makeRoom(v, &fresh)
		s.actor = Actor{ActorBouncer, b.Name}
		row = s.putBouncer(rev, fresh)
		row.own.Store(true)
		e.publish(rev)
		row.note() // and is written down with the visits
		return nil
	})
	if err != nil {
		return nil, err
	}
	return row, nil
}

// ownName finds a name for a row that does not exist yet, or the row that answers for the address by now.
func (v *View) ownName(b *Bouncer) (known *BouncerRow, err error) {
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
	for b.Name += at; v.Bouncer(b.Name) != nil; { // each is a row made by a caller: it ends
		b.Name += at
	}
	return nil, nil
}

// sharedParent is the row of the history that one of this relay's own has its sight and hold from; nil: there is none.
func (v *View) sharedParent(b *Bouncer) *BouncerRow {
	k := b.owner()
	owned := v.bouncers.ownedBy(&k)
	if row := v.Bouncer(BaseName(b.Name)); row != nil && !row.own.Load() && row.Load().owner() == k {
		return row
	}
	var oldest *BouncerRow
	owned.each(func(r *BouncerRow) bool {
		if !r.own.Load() {
			oldest = r
		}
		return oldest == nil
	})
	return oldest
}

// makeRoom drops rows of this relay's own, those heard of longest ago, while their owner has as many as it may.
func (e *Engine) makeRoom(v *View, b *Bouncer) {
	k := b.owner()
	owned := v.bouncers.ownedBy(&k)
	if owned == nil || owned.len() < e.options.BouncersPerKey {
		return
	}
	var own []*BouncerRow
	owned.each(func(r *BouncerRow) bool {
		if r.own.Load() {
			own = append(own, r)
		}
		return true
	})
	surplus := len(own) + 1 - e.options.BouncersPerKey
	if surplus <= 0 {
		return
	}
	slices.SortFunc(own, func(a, b *BouncerRow) int {
		if (idleRow{a.heard(), a}).before(idleRow{b.heard(), b}) {
			return -1
		}
		return 1
	})
	surplus += e.options.BouncersPerKey / 100 // so that a crowd of new ones does not have all sorted for each
	names := make([]string, 0, surplus)
	for _, r := range own[:min(len(own), surplus)] {
		names = append(names, r.Load().Name)
	}
	e.evictions.logRoom(e, owned, b, len(names))
	e.dropOwn(names)
}

// dropOwn drops rows of this relay's own by name.
func (e *Engine) dropOwn(names []string) {
	for _, name := range names {
		e.state.dropBouncer(name)
		e.batch.Delete(rowOwnBouncer, []byte(name))
	}
	if err := e.store.WriteRows(e.batch); err != nil {
		e.batch.Reset()
		e.log.Debug("rows of bouncers are not taken off the disk yet", "error", err)
	}
}

// ownersTouched are the owners of rows that a commit changes or drops; nil where there are no rows of its own.
func (e *Engine) ownersTouched(c *commit) (owners []KeyHash) {
	if !e.options.Relay {
		return nil
	}
	named := func(name string) {
		if row := e.state.next.bouncers.named(name); row != nil {
			owners = append(owners, row.Load().owner())
		}
	}
	for i := range c.ops {
		switch o := within(c.ops[i].op).(type) {
		case *putBouncer:
			named(o.bouncer.Name)
			owners = append(owners, o.bouncer.owner())
		case *dropBouncers:
			for _, name := range o.names {
				named(name)
			}
		}
	}
	return owners
}

// alignOwn has rows of this relay's own follow what a commit did to those of the history.
func (e *Engine) alignOwn(rev Revision, owners []KeyHash) {
	for i := range owners {
		set := e.state.next.bouncers
		var own []*BouncerRow
		set.ownedBy(&owners[i]).each(func(r *BouncerRow) bool {
			if r.own.Load() {
				own = append(own, r)
			}
			return true
		})
		var gone []string
		for _, row := range own {
			b := *row.Load()
			parent := e.state.next.sharedParent(&b)
			switch {
			case parent == nil && b.AuthType != AuthAPIKey: // a certificate needs no row
			case parent == nil:
				gone = append(gone, b.Name)
			case parent.Load().Sight != b.Sight || parent.Load().Hold != b.Hold:
				b.Sight, b.Hold = parent.Load().Sight, parent.Load().Hold
				e.state.putBouncer(rev, b)
			}
		}
		if gone != nil {
			e.dropOwn(gone)
		}
	}
}

// writeOwnVisits writes down rows of this relay's own, and where its bouncers are.
func (e *Engine) writeOwnVisits() {
	s, o := e.state, &visits{live: true}
	var rows []*BouncerRow
	s.visited.open()
	for row := s.visited.take(); row != nil; row = s.visited.take() {
		if row.gone.Load() {
			continue
		}
		k := s.next.keptBouncer(row)
		o.bouncers = append(o.bouncers, visit{name: k.value.Name, at: k.lastPull, cursor: k.cursor, acked: k.acked})
		e.batch.Set(rowOwnBouncer, []byte(k.value.Name), k.appendOwn(nil, row.own.Load()))
		rows = append(rows, row)
		if len(rows) == visitsAtOnce { // the others next time
			break
		}
	}
	if len(rows) == 0 {
		return
	}
	if err := e.store.WriteRows(e.batch); err != nil {
		e.batch.Reset()
		e.log.Debug("where bouncers are is not written down yet", "error", err)
		for _, row := range rows {
			row.note()
		}
		return
	}
	e.ownUnsynced = true
	o.apply(s, s.next.revision)
}

// markEvery is how often a relay syncs what it was sent: no etcd has it for one that comes back while no node is reached, so a kill or a
// power cut takes so much at most.
const markEvery = time.Second

// markRelayed syncs what a relay has, if there is something new. Rows that were written go with it.
func (e *Engine) markRelayed(steady int64) {
	if !e.options.Relay || steady < e.nextMark || e.marked == e.state.next.revision && !e.ownUnsynced || e.role.behind {
		return
	}
	e.nextMark = steady + int64(markEvery)
	if err := e.onDisk(e.store.Mark); err == nil { // what fails is a trouble already
		e.marked, e.ownUnsynced = e.state.next.revision, false
	}
}

// appendOwn writes what a relay keeps of a row: all of it where it is its own, else the key by which it is known again.
func (b *keptBouncer) appendOwn(dst []byte, own bool) []byte {
	dst = appendBool(append(dst, recordVersion), own)
	if from := len(dst); own {
		dst = endRow(b.value.append(dst), from)
	} else {
		dst = endRow(append(dst, b.value.KeyHash[:]...), from)
	}
	return binary.AppendUvarint(binary.AppendUvarint(binary.AppendVarint(dst, b.lastPull), b.cursor), b.acked)
}

// loadOwnRows brings back, at a start, what writeOwnVisits wrote, as far as it still stands.
func (e *Engine) loadOwnRows() error {
	if !e.options.Relay {
		return nil
	}
	var over []string
	err := e.store.ScanRows(rowOwnBouncer, nil, nil, false, func(key, value []byte) (bool, error) {
		if !e.state.loadOwnRow(string(key), value) {
			over = append(over, string(key))
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("reading where bouncers are: %w", err)
	}
	if len(over) > 0 && !e.readOnly {
		e.dropOwn(over)
	}
	return nil
}

// loadOwnRow reports whether the row still stands. No place is ahead of what is known here.
func (s *state) loadOwnRow(name string, value []byte) bool {
	d := decoder{rest: value}
	d.version = d.byte()
	own := d.bool()
	behind := d.open()
	b := Bouncer{Name: name}
	if own {
		b.decode(&d)
	} else {
		d.fixed(b.KeyHash[:])
	}
	d.close(behind)
	pulled, cursor, acked := d.varint(), d.uvarint(), d.uvarint()
	if d.err != nil || d.version != recordVersion || b.Name != name {
		return false
	}
	row := s.next.bouncers.named(name)
	if row == nil && own {
		if parent := s.next.sharedParent(&b); parent != nil {
			b.Sight, b.Hold = parent.Load().Sight, parent.Load().Hold
		} else if b.AuthType == AuthAPIKey {
			return false
		}
		row = s.putBouncer(s.next.revision, b)
		row.own.Store(true)
	}
	if row == nil || row.Load().KeyHash != b.KeyHash {
		return false
	}
	newest := uint64(s.next.revision) + 1
	row.lastPull.Store(pulled)
	row.putCursor(min(cursor, newest))
	row.acked.Store(min(acked, newest))
	return true
}
