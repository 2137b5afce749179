package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Check derives anew what the indexes claim and reports every disagreement
// (invariant 4). It must not run beside the committer: call it before Run,
// after it, or from a test that holds writers off. It is linear in the state.
func (e *Engine) Check() error {
	c := checker{state: e.state, view: e.View(), seen: map[slot]uint64{}}
	c.records()
	c.lengths()
	c.tallies()
	c.allowlists()
	c.bouncers()
	c.machines()
	c.operators()
	c.keys()
	c.requests()
	return errors.Join(c.found...)
}

type checker struct {
	state   *state
	view    *View
	seen    map[slot]uint64
	running map[[3]uint32]int64
	timed   int
	found   []error
}

func (c *checker) report(format string, args ...any) {
	if len(c.found) < 20 {
		c.found = append(c.found, fmt.Errorf(format, args...))
	}
}

// records looks every id up and finds the record again by its target.
func (c *checker) records() {
	s := c.state
	c.running = map[[3]uint32]int64{}
	for id := range s.ids.Ascending(0, math.MaxUint64) {
		n := s.slotOf(id)
		if n == 0 {
			continue
		}
		r := s.records.At(n)
		if other, twice := c.seen[n]; twice {
			c.report("decisions %d and %d share slot %d", other, id, n)
		}
		c.seen[n] = id
		if r.id != id {
			c.report("id %d leads to decision %d", id, r.id)
			continue
		}
		c.target(n, r)
		c.deadline(r)
	}
}

func (c *checker) target(n slot, r *record) {
	there, ahead := false, 0
	for at := c.state.head(r); at != 0; at = slot(c.state.records.At(at).next.Load()) {
		there = there || at == n
		if ahead++; ahead > c.state.ids.Len() {
			c.report("the chain of decision %d never ends", r.id)
			return
		}
	}
	if !there {
		c.report("decision %d is not found by its target", r.id)
	}
	if ahead > 1 && !r.marked(markCrowded) {
		c.report("decision %d does not know that its target holds others", r.id)
	}
	on := c.state.onOf(r)
	if p := on.prefix(); p.IsValid() && on.text == 0 {
		if q, ok := parseTarget(string(on.appendAddress(nil))); !ok || q != p {
			c.report("decision %d: %v does not spell its target", r.id, p)
		}
	}
}

func (c *checker) deadline(r *record) {
	if !r.marked(markTimedOut) {
		c.timed++
	}
	if r.endedRev.Load() == 0 {
		if r.marked(markPurged) || r.marked(markTimedOut) {
			c.report("decision %d runs, but is marked %x", r.id, r.mixed.Load()&marksMask)
		}
		if r.flags()&flagSimulated == 0 {
			w := c.state.wordsOf(r)
			c.running[[3]uint32{w.Scenario, w.Origin, w.Type}]++
		}
	}
	h := c.state.alerts.At(r.alert)
	if (h == nil || h.begun.Load() == 0 || h.gone.Load() != 0) != r.marked(markPurged) {
		c.report("decision %d and its alert %d disagree on whether it is stored", r.id, r.alert)
	}
}

func (c *checker) lengths() {
	if n := c.state.ids.Len(); n != len(c.seen) {
		c.report("%d ids are counted, %d found", n, len(c.seen))
	}
	if n := c.state.deadlines.Len(); n != c.timed {
		c.report("%d deadlines are kept, %d decisions wait for one", n, c.timed)
	}
	if n := c.state.records.Len(); n != len(c.seen)+len(c.state.graves.buried) {
		c.report("%d records are held, %d named, %d buried", n, len(c.seen), len(c.state.graves.buried))
	}
}

func (c *checker) tallies() {
	total := 0
	c.state.tally.running.Range(func(k, v any) bool {
		total++
		if want, n := c.running[k.([3]uint32)], v.(*decisionCount).n.Load(); n != want {
			c.report("%d decisions are counted for %v, %d run", n, v.(*decisionCount).DecisionCount, want)
		}
		return true
	})
	if total != len(c.running) {
		c.report("%d kinds of decisions are counted, %d run", total, len(c.running))
	}
}

// allowlists finds each item again by its prefix, and no other.
func (c *checker) allowlists() {
	a, listed, found := c.view.allowlists, 0, 0
	for _, l := range a.order {
		listed += len(l.Items)
		for i := range l.Items {
			it := &l.Items[i]
			if entry := a.find(l.Name, it.Value, it.Prefix); entry == nil {
				c.report("item %s of allowlist %s is not found by its prefix", it.Value, l.Name)
			} else if entry.inEffect(uint64(c.view.revision)) == it.Expired(c.state.at) {
				c.report("item %s of allowlist %s, until %d, is or is not in effect, and should not or should be at %d", it.Value, l.Name, it.ExpiresAt, c.state.at)
			}
		}
	}
	for n := slot(1); n < a.index.items.End(); n++ {
		if a.has(a.index.items.At(n)) {
			found++
		}
	}
	if listed != found || listed != a.live {
		c.report("%d items of allowlists are listed, %d indexed, %d counted", listed, found, a.live)
	}
}

// bouncers finds every row again by its name, its owner and its address.
func (c *checker) bouncers() {
	b := c.view.bouncers
	type sum struct{ rows, auto int }
	owners := map[KeyHash]sum{}
	software, sights := map[*Software]int{}, map[*Sight]int{}
	placed := 0
	for r := range b.order.All {
		v := r.Load()
		if r.Gone() || b.named(v.Name) != r || b.order.At(r.place) != r {
			c.report("bouncer %q is not found by its name and place, or is gone", v.Name)
		}
		k := v.owner()
		n := owners[k]
		n.rows++
		if v.AutoCreated {
			n.auto++
		}
		owners[k] = n
		software[v.Software]++
		for s := range c.state.sightsOf(r) {
			sights[s]++
		}
		if v.AuthType != AuthAPIKey {
			continue
		}
		if answers := b.answering(&k, v.IP); v.IP.IsValid() && (answers == nil || answers.place > r.place) {
			c.report("bouncer %q is not found by its address", v.Name)
		}
		if v.IP.IsValid() {
			placed++
		}
	}
	for k, n := range owners {
		o := b.ownedBy(&k)
		if o == nil || o.len() != n.rows || o.auto != n.auto {
			c.report("an owner's %d rows, %d of them made by themselves, are counted otherwise", n.rows, n.auto)
		}
	}
	if b.byName.Len() != b.order.Len() || b.byPlace.Len() != placed || b.byOwner.Len() != len(owners) {
		c.report("%d bouncers of %d owners, %d with address, are indexed as %d, %d and %d", b.order.Len(), len(owners), placed,
			b.byName.Len(), b.byOwner.Len(), b.byPlace.Len())
	}
	for _, one := range c.state.software.known {
		if software[&one.Software] != one.rows {
			c.report("%d bouncers are %q, %d are counted", software[&one.Software], one.Type, one.rows)
		}
		delete(software, &one.Software)
	}
	if len(software) > 0 {
		c.report("%d bouncers' descriptions are not shared", len(software))
	}
	for _, one := range c.state.sights.known {
		if sights[&one.Sight] != one.rows {
			c.report("%d bouncers have the sight %x, %d are counted", sights[&one.Sight], one.print, one.rows)
		}
		delete(sights, &one.Sight)
	}
	if len(sights) > 0 {
		c.report("%d sights of bouncers are not shared", len(sights))
	}
}

// machines finds every one again by its id and its serial.
func (c *checker) machines() {
	m, n, waiting := c.view.machines, 0, 0
	var again inventories
	for r := range m.bySerial.All {
		v := r.value.Load()
		if r.gone || m.named(v.ID) != r || m.serial(r.serial) != r {
			c.report("machine %q is not found by its id and serial, or is gone", v.ID)
		}
		n++
		if !v.Validated {
			waiting++
		}
		copied := *v
		again.acquire(&copied)
	}
	c.inventories(&again)
	if m.byID.Len() != n || m.bySerial.Len() != n || m.waiting != waiting {
		c.report("%d machines, %d of them waiting, are counted as %d, %d and %d", n, waiting, m.byID.Len(), m.bySerial.Len(), m.waiting)
	}
}

// inventories compares what is kept for machines with what they have.
func (c *checker) inventories(want *inventories) {
	got := &c.state.inventories
	for text, one := range want.words {
		if kept := got.words[text]; kept == nil || kept.uses != one.uses {
			c.report("%q is reported %d times, and counted otherwise", text, one.uses)
		}
	}
	for hash, lists := range want.lists {
		for _, one := range lists {
			if kept := got.find(hash, one.items); kept == nil || kept.machines != one.machines {
				c.report("%d machines have the same list of %d hub items, and are counted otherwise", one.machines, len(one.items))
			}
		}
	}
	if len(got.words) != len(want.words) || len(got.lists) != len(want.lists) {
		c.report("%d texts and %d lists of machines are kept, %d and %d are reported", len(got.words), len(got.lists), len(want.words), len(want.lists))
	}
}

// Digest is a hash of everything the history has made true, the same for two
// engines that went through the same commits, whatever restarts, snapshots
// and clean-ups lay between. Visits (cursors, heartbeats) and tombstones are
// left out. Like Check, it must not run beside the committer.
func (e *Engine) Digest() [32]byte {
	v := e.View()
	return v.digest(v.people())
}

// digest may run beside the committer: what can change in a view that is held, its
// people, is handed in.
func (v *View) digest(who *people) [32]byte {
	s := v.state
	h := sha256.New()
	var b, framed []byte
	write := func() {
		framed = appendFramed(framed[:0], b)
		h.Write(framed)
		b = b[:0]
	}
	for _, n := range [...]uint64{v.nextAlert, v.nextDecision, uint64(v.serial), s.uuidKey[0], s.uuidKey[1]} {
		b = binary.AppendUvarint(b, n)
	}
	write()
	v.each(func(r *record) bool {
		if !v.purged(r) {
			b = v.appendForDigest(b, r)
			write()
		}
		return true
	})
	for id, a := range v.eachAlert {
		for _, n := range [...]uint64{id, a.begun.Load(), a.first, uint64(a.count), uint64(a.machine), uint64(a.createdAt), uint64(a.startAt)} {
			b = binary.AppendUvarint(b, n)
		}
		b = appendString(b, s.strings.At(a.scenario))
		if a.listed {
			b = appendIDs(b, *s.lists.At(id).Load())
		}
		b = appendBatch(b, s.batchOf(id))
		write()
	}
	who.digest(h)
	for _, g := range v.gaps {
		if g != nil {
			b = g.append(b)
			write()
		}
	}
	if v.allowlistsWin(uint64(v.revision)) {
		b = append(b, 1)
		write()
	}
	for name, at := range v.EachBookmark() {
		b = binary.AppendUvarint(appendString(b, name), uint64(at))
		write()
	}
	for o := range v.EachOperator {
		b = o.append(b)
		write()
	}
	if v.requests != nil {
		b = v.requests.digest(b)
		write()
	}
	return [32]byte(h.Sum(nil))
}

func appendFramed(dst, b []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(dst, uint64(len(b))), b...)
}

func (v *View) appendForDigest(b []byte, r *record) []byte {
	d := Decision{v, r}
	b = binary.AppendUvarint(b, r.id)
	b = binary.AppendUvarint(b, r.alert)
	b = binary.AppendUvarint(b, r.begun)
	b = binary.AppendVarint(b, r.until)
	b = append(b, r.flags()&storedFlags, v.state.onOf(r).bits)
	if d.Ended() {
		b = binary.AppendUvarint(b, r.endedRev.Load())
		b = binary.AppendVarint(b, r.endedAt)
	}
	for _, t := range [...]Text{d.Scope(), d.Type(), d.Origin(), d.Scenario()} {
		b = appendString(b, t.S)
	}
	b = appendString(b, d.Value())
	if r.flags()&flagUUID != 0 {
		u := d.UUID()
		b = append(b, u[:]...)
	}
	return b
}
