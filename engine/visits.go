package engine

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// visits writes down what visitors left in memory: how far bouncers got, when
// machines were heard of, when operators logged in.
type visits struct {
	bouncers  []visit
	machines  []visit
	operators []visit

	live bool // made by this engine: the rows have the newer values already
}

type visit struct {
	name   string
	at     int64
	cursor uint64 // as in BouncerRow; 0 for machines and operators
	acked  uint64 // likewise
}

func (*visits) number() byte { return numberVisits }
func (o *visits) append(dst []byte) []byte {
	lists := [][]visit{o.bouncers, o.machines, o.operators}
	if len(o.operators) == 0 {
		lists = lists[:2]
	}
	for _, list := range lists {
		dst = binary.AppendUvarint(dst, uint64(len(list)))
		for _, v := range list {
			from := len(dst)
			dst = binary.AppendUvarint(binary.AppendVarint(appendString(dst, v.name), v.at), v.cursor)
			if v.acked != 0 {
				dst = binary.AppendUvarint(dst, v.acked)
			}
			dst = endRow(dst, from)
		}
	}
	return dst
}
func (o *visits) decode(d *decoder) {
	for i, list := range [...]*[]visit{&o.bouncers, &o.machines, &o.operators} {
		if i == 2 && (d.version <= firstVersion || len(d.rest) == 0) {
			break // a program that knew no operators wrote it
		}
		*list = make([]visit, d.count(3))
		for i := range *list {
			behind := d.open()
			(*list)[i] = visit{name: d.string(), at: d.varint(), cursor: d.uvarint()}
			if d.version > firstVersion && len(d.rest) > 0 {
				(*list)[i].acked = d.uvarint()
			}
			d.close(behind)
		}
	}
}
func (o *visits) apply(s *state, rev Revision) {
	for i := range o.bouncers {
		v := &o.bouncers[i]
		if row := s.next.bouncers.named(v.name); row != nil && row.Load().moved {
			s.passSights(row, v.cursor)
		}
	}
	if o.live {
		return
	}
	// What was written last counts, though it may be less than before: a cursor
	// goes back when an answer did not arrive.
	for _, v := range o.bouncers {
		if row := s.next.bouncers.named(v.name); row != nil {
			row.lastPull.Store(v.at)
			row.putCursor(v.cursor)
			row.acked.Store(v.acked)
		}
	}
	for _, v := range o.machines {
		if row := s.next.machines.named(v.name); row != nil {
			row.heartbeat.Store(v.at)
		}
	}
	for _, v := range o.operators {
		if who := s.next.operators.byName[v.name]; who != nil {
			who.login.at.Store(v.at)
		}
	}
}

// advanceTime moves a time forward and reports whether it did. Visitors may overtake
// each other by a moment; a time that is further ahead than that was noted by a
// wrong clock, and is corrected.
func advanceTime(a *atomic.Int64, now int64) bool {
	for {
		old := a.Load()
		if now <= old && old-now < int64(overtaking) {
			return false
		}
		if a.CompareAndSwap(old, now) {
			return true
		}
	}
}

const overtaking = time.Minute
