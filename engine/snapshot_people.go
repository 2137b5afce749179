package engine

import (
	"encoding/binary"
	"hash"
	"maps"
	"slices"

	"lapid/index"
)

// people is what is stored beside alerts and decisions, at one moment: machines,
// bouncers, allowlists, secrets and exports. A row's value may be replaced while a view is held;
// what is in here stays. Taking it copies pointers, writing it does the work.
type people struct {
	revision   Revision
	machines   []keptMachine
	bouncers   []keptBouncer
	allowlists []*Allowlist
	secrets    map[string][]byte
	exports    []*Export
	rings      index.Sequence[keyRing]
}

type keptMachine struct {
	value               *Machine
	heartbeat, lastPush int64
	serial              uint32
}

type keptBouncer struct {
	value    *Bouncer
	lastPull int64
	cursor   uint64
	past     []pastSight
	acked    uint64
	renewed  Revision // see renewal
}

// people takes what the view holds. It is exact on the committer; elsewhere it
// may know more than the view, which is harmless for a snapshot.
func (v *View) people() *people {
	p := &people{
		revision:   v.revision,
		machines:   make([]keptMachine, 0, v.machines.bySerial.Len()),
		bouncers:   make([]keptBouncer, 0, v.bouncers.order.Len()),
		allowlists: v.allowlists.order,
		secrets:    v.secrets,
		exports:    v.exports.order,
		rings:      v.bouncers.rings,
	}
	for row := range v.machines.bySerial.All {
		p.machines = append(p.machines, keptMachine{row.value.Load(), row.heartbeat.Load(), row.lastPush.Load(), row.serial})
	}
	for row := range v.bouncers.order.All {
		if !row.own.Load() { // those are written down elsewhere
			p.bouncers = append(p.bouncers, v.keptBouncer(row))
		}
	}
	return p
}

// write gives out the sections.
func (p *people) write(w *sections) {
	for i := range p.machines {
		from := len(w.body)
		w.body = p.machines[i].append(w.body)
		if w.row(from) {
			w.end(sectionMachines)
		}
	}
	w.end(sectionMachines)
	for i := range p.bouncers {
		from := len(w.body)
		w.body = p.bouncers[i].append(w.body, p.revision)
		if w.row(from) {
			w.end(sectionBouncers)
		}
	}
	w.end(sectionBouncers)
	p.writeAllowlists(w)
	for _, name := range slices.Sorted(maps.Keys(p.secrets)) {
		from := len(w.body)
		w.body = appendBytes(appendString(w.body, name), p.secrets[name])
		if w.row(from) {
			w.end(sectionSecrets)
		}
	}
	w.end(sectionSecrets)
	p.writeExports(w)
	p.writeKeys(w)
}

func (m *keptMachine) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(m.serial))
	return endRow(m.value.with(m.heartbeat, m.lastPush).append(dst), len(dst))
}

func (b *keptBouncer) append(dst []byte, rev Revision) []byte {
	dst = binary.AppendVarint(endRow(b.value.append(dst), len(dst)), b.lastPull)
	// A cursor may be ahead of the view, but what is loaded from here may know no
	// more than the view: it would go on from commits of another future.
	dst = binary.AppendUvarint(dst, min(b.cursor, uint64(rev)+1))
	dst = binary.AppendUvarint(appendPast(dst, b.past), min(b.acked, uint64(rev)+1))
	return binary.AppendUvarint(dst, uint64(b.renewed))
}

// writeAllowlists gives out pieces of lists: whether it goes on with the list
// of the piece before; else the list's head; then some of its items.
func (p *people) writeAllowlists(w *sections) {
	for _, l := range p.allowlists {
		from := len(w.body)
		w.body = l.appendHead(appendBool(w.body, false))
		for items := l.Items; ; {
			n := 0
			for size := 0; n < len(items) && n < sectionLength && len(w.body)+size < sectionBytes; n++ {
				size += items[n].size()
			}
			w.body = appendItems(w.body, items[:n])
			full := w.row(from)
			items = items[n:]
			if full || len(items) > 0 {
				w.end(sectionAllowlists)
			}
			if len(items) == 0 || w.err != nil {
				break
			}
			from = len(w.body)
			w.body = appendBool(w.body, true)
		}
	}
	w.end(sectionAllowlists)
}

// digest adds machines, bouncers, allowlists and secrets to the digest, one by
// one.
func (p *people) digest(h hash.Hash) {
	var b, framed []byte
	write := func() {
		framed = appendFramed(framed[:0], b)
		h.Write(framed)
		b = b[:0]
	}
	for i := range p.machines {
		m := *p.machines[i].value.with(0, p.machines[i].lastPush)
		m.LastHeartbeat = 0
		b = m.append(binary.AppendUvarint(b, uint64(p.machines[i].serial)))
		write()
	}
	for i := range p.bouncers {
		b = p.bouncers[i].value.append(b)
		write()
	}
	for _, l := range p.allowlists {
		b = l.appendForDigest(b)
		write()
	}
	for _, name := range slices.Sorted(maps.Keys(p.secrets)) {
		b = appendBytes(appendString(b, name), p.secrets[name])
		write()
	}
	for _, x := range p.exports {
		b = x.append(b)
		write()
	}
}
