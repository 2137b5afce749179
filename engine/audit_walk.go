package engine

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"lapid/persist"
)

// auditWalk reads commits and makes rows of them, which are written together with where it
// stands: so a row is there exactly if its commit was walked. It belongs to one goroutine.
type auditWalk struct {
	e     *Engine
	base  auditHead // as the store has it
	head  auditHead // behind the rows that were made
	batch *persist.Rows
	rows  int // made and not written
	bytes int // of them

	read   Revision                          // walked up to here
	things map[auditedNoun]map[string]string // fields of things that were told and are not written; "": it is gone

	// What is counted, of the minute that is under way.
	minute int64
	since  Revision // the minute began behind it
	counts map[auditTick]*auditCount
	pushes map[string]*auditCount // the same for pushes, by machine: looked up without making a text

	// Of the commit that is walked.
	rev     Revision
	at      int64
	by      Actor
	address string
	from    Sender
	told    bool // its deeds have rows already: it is walked for what is counted
}

// auditTick is what is counted together.
type auditTick struct {
	action  string
	who     Actor
	address string
	target  string
	outcome string // "": ok
}

// auditCount is how often, of how many things, and in which commits and moments first and
// last.
type auditCount struct {
	times, things int
	first, last   int64
	rev           Revision
}

// Bounds of a walk.
const (
	auditAtOnce      = 1024    // rows that are written together, and those of one commit
	auditBytesAtOnce = 1 << 20 // of them
	auditTicks       = 1024    // names and addresses that are told one by one in a minute; all others together
	auditMinute      = int64(time.Minute)
	auditNoteAfter   = 4096 // revisions without a row, after which it is noted how far the walk is
)

func newAuditWalk(e *Engine, head *auditHead) *auditWalk {
	w := &auditWalk{e: e, base: *head, head: *head, batch: e.store.NewRows(), read: head.counted, since: head.counted}
	w.counts, w.pushes, w.things = map[auditTick]*auditCount{}, map[string]*auditCount{}, map[auditedNoun]map[string]string{}
	return w
}

// errFull ends a stretch of the walk.
var errFull = errors.New("full")

// forward walks up to a revision, or as far as one write may hold; full says that there is more.
func (w *auditWalk) forward(to Revision) (full bool, err error) {
	if w.read >= to {
		return false, nil
	}
	err = w.e.store.Replay(uint64(w.read), func(rev uint64, record []byte) error {
		if Revision(rev) > to {
			return errWalked
		}
		if err := w.commit(Revision(rev), record); err != nil {
			return err
		}
		if w.read = Revision(rev); w.rows >= auditAtOnce || w.bytes >= auditBytesAtOnce {
			return errFull
		}
		return nil
	})
	switch {
	case errors.Is(err, errFull):
		return w.read < to, nil
	case errors.Is(err, errWalked):
		return false, nil
	}
	return false, err
}

// commit walks one. Pushes of machines, which are nearly all there is on a busy server, are
// counted without being decoded.
func (w *auditWalk) commit(rev Revision, record []byte) error {
	d := decoder{rest: record}
	d.version = d.byte()
	if d.version < firstVersion || d.version > recordVersion {
		return errRecord
	}
	w.rev, w.at, w.told = rev, d.varint(), rev <= w.base.told
	w.begin(w.at)
	n := d.count(2)
	senders := d.sendersBehind(n)
	for place := 0; place < n && d.err == nil; place++ {
		number := d.byte()
		body := decoder{rest: d.bytes(), version: d.version}
		if d.err != nil || silentOps[number] {
			continue
		}
		w.from = senders[place]
		if err := w.op(number, &body); err != nil {
			return err
		}
	}
	return d.err
}

func (w *auditWalk) op(number byte, body *decoder) error {
	kind, name := ActorUnknown, []byte(nil)
	if body.version > firstVersion {
		kind, name = ActorKind(body.uvarint()), body.bytes()
	}
	if number == numberAddAlerts && kind == ActorMachine {
		machine, _, n := body.bytes(), body.varint(), body.count(6)
		w.push(machine, n)
		return body.err
	}
	o := newOp(number)
	if o == nil {
		return errRecord
	}
	if o.decode(body); body.err != nil {
		return body.err
	}
	w.by, w.address = Actor{kind, string(name)}, ""
	if w.from.Address.IsValid() {
		w.address = w.from.Address.String()
	}
	w.auditedOp(o)
	return nil
}

// begin ends the minute before, if the moment is of another one.
func (w *auditWalk) begin(at int64) {
	if minute := at / auditMinute; minute != w.minute {
		w.flush()
		w.minute = minute
	}
}

// push counts a push of a machine.
func (w *auditWalk) push(machine []byte, alerts int) {
	c := w.pushes[string(machine)]
	if c == nil {
		tick := auditTick{action: "alert.push", who: Actor{ActorMachine, string(machine)}}
		c = w.counter(tick)
		if len(w.pushes) < auditTicks {
			w.pushes[string(machine)] = c
		}
	}
	c.add(w.at, w.rev, alerts)
}

func (w *auditWalk) tick(t auditTick, things int) { w.counter(t).add(w.at, w.rev, things) }

// counter is where something is counted. When there are too many, names and addresses are
// left out: one counter for each action and outcome, of which there are few.
func (w *auditWalk) counter(t auditTick) *auditCount {
	c := w.counts[t]
	if c == nil && len(w.counts) >= auditTicks {
		t.who.Name, t.address, t.target = "", "", "others"
		c = w.counts[t]
	}
	if c == nil {
		if len(w.counts) == 0 {
			w.since = w.rev - 1
		}
		c = &auditCount{first: w.at}
		w.counts[t] = c
	}
	return c
}

func (c *auditCount) add(at int64, rev Revision, things int) {
	c.times++
	c.things += things
	c.last, c.rev = at, max(c.rev, rev)
}

// flush makes rows of what was counted, in a fixed order.
func (w *auditWalk) flush() {
	if len(w.counts) == 0 {
		return
	}
	ticks := make([]auditTick, 0, len(w.counts))
	for t := range w.counts {
		ticks = append(ticks, t)
	}
	slices.SortFunc(ticks, func(a, b auditTick) int {
		return cmp.Or(cmp.Compare(a.action, b.action), cmp.Compare(a.who.Kind, b.who.Kind), cmp.Compare(a.who.Name, b.who.Name),
			cmp.Compare(a.address, b.address), cmp.Compare(a.target, b.target), cmp.Compare(a.outcome, b.outcome))
	})
	for _, t := range ticks {
		c := w.counts[t]
		after := auditFields{"times": c.times, "first": time.Unix(0, c.first).UTC().Format(time.RFC3339)}
		if c.things > 0 {
			after["things"] = c.things
		}
		w.enter(&AuditRow{Series: AuditCounted, At: c.last, Revision: c.rev, By: t.who, Address: t.address, Action: t.action, Target: t.target,
			After: jsonText(after), Outcome: cmp.Or(t.outcome, AuditOK)})
	}
	clear(w.counts)
	clear(w.pushes)
}

// row tells a deed of the commit that is walked, unless it has been told.
func (w *auditWalk) row(r *AuditRow) {
	if w.told {
		return
	}
	r.Series, r.At, r.Revision, r.By, r.Outcome = AuditDeeds, w.at, w.rev, w.by, AuditOK
	r.Address, r.Token = cmp.Or(r.Address, w.address), w.from.Token
	w.enter(r)
}

// enter gives a row its place.
func (w *auditWalk) enter(r *AuditRow) {
	key, value := w.head.enter(r)
	w.batch.Set(rowAudit, key, value)
	w.rows++
	w.bytes += len(key) + len(value)
}

// state is what was told of a thing last; "": it was not there.
func (w *auditWalk) state(noun auditedNoun, name string) string {
	if text, ok := w.things[noun][name]; ok {
		return text
	}
	text, _, err := w.e.store.Row(nil, rowAuditThing, thingKey(noun, name))
	if err != nil {
		return ""
	}
	return string(text)
}

// remember notes what a thing is from now on; "": it is gone.
func (w *auditWalk) remember(noun auditedNoun, name, text string) {
	if w.told {
		return
	}
	if w.things[noun] == nil {
		w.things[noun] = map[string]string{}
	}
	w.things[noun][name] = text
	if key := thingKey(noun, name); text == "" {
		w.batch.Delete(rowAuditThing, key)
	} else {
		w.batch.Set(rowAuditThing, key, []byte(text))
		w.bytes += len(key) + len(text)
	}
}

func thingKey(noun auditedNoun, name string) []byte { return append([]byte{byte(noun)}, name...) }

// worth says whether there is anything to be written.
func (w *auditWalk) worth() bool {
	return w.batch.Len() > 0 || w.counted() >= w.base.counted+auditNoteAfter
}

// counted is the revision up to which nothing waits to be counted.
func (w *auditWalk) counted() Revision {
	if len(w.counts) > 0 {
		return min(w.since, w.read)
	}
	return w.read
}

// stand notes in the batch where the walk is.
func (w *auditWalk) stand() {
	w.head.told, w.head.counted = max(w.head.told, w.read), w.counted()
	w.batch.Set(rowAuditHead, nil, w.head.append(nil))
}

// written begins anew behind what was written.
func (w *auditWalk) written() {
	w.base, w.rows, w.bytes = w.head, 0, 0
	clear(w.things)
}

// seed remembers all things as they are in a view, whatever was remembered before.
func (w *auditWalk) seed(v *View) {
	w.batch.DeleteRange(rowAuditThing, nil, nil)
	w.told = false
	v.EachMachine(func(m *Machine) bool { w.remember(auditedMachine, m.ID, jsonText(machineFields(m))); return true })
	for row := range v.EachBouncer {
		if b := row.Load(); !b.AutoCreated {
			w.remember(auditedBouncer, b.Name, jsonText(bouncerFields(b)))
		}
	}
	for _, l := range v.allowlists.order {
		w.remember(auditedAllowlist, l.Name, jsonText(allowlistFields(l)))
	}
	for _, x := range v.Exports() {
		w.remember(auditedExport, x.Name, jsonText(exportFields(x)))
	}
	for o := range v.EachOperator {
		w.remember(auditedOperator, o.Name, jsonText(operatorFields(o)))
	}
	clear(w.things)
}
