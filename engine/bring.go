package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// What is brought from another server keeps its numbers where they are free here, for they
// stand in people's notes and dashboards. So ids do not grow with revisions, and the
// decisions of an alert need not follow one another: such an alert has a list of them
// (state.lists), and a decision that has a UUID of its own has it in state.uuids.

// Brought is one alert of another server with its decisions.
type Brought struct {
	ID        AlertID // there; 0: the next free one
	Alert     Alert   // with its UUID, MachineID and CreatedAt; its Decisions are not looked at
	Decisions []BroughtDecision
}

// BroughtDecision is a decision of another server, running or over.
type BroughtDecision struct {
	ID       DecisionID // there; 0: the next free one
	UUID     UUID       // zero: derived from the id
	Scope    Scope
	Value    string
	Type     string
	Origin   string
	Scenario string
	Until    int64 // Unix nanoseconds; not after now: it is stored as over, and nobody is told of it
}

// BroughtAs is which numbers an alert and its decisions got, in their order. A decision
// whose value cannot be one of its scope, or is too long, is left out: 0.
type BroughtAs struct {
	Alert     AlertID
	Decisions []DecisionID
}

// broughtAtOnce bounds one call of Bring, in alerts and in decisions.
const broughtAtOnce = 1 << 17

// Bring stores alerts of another server with their decisions, as one commit. Neither
// profiles nor allowlists are asked, and the log has no line for each; texts are bounded as
// everywhere. An id is kept if it was never given here: ids above all that were given are,
// and so are those that RaiseIDs, or an id further up, has left out. Others get the next
// ones. ErrInvalid: more than 131 072 alerts or decisions at once.
func (e *Engine) Bring(ctx context.Context, alerts []Brought) ([]BroughtAs, error) {
	o := &bringAlerts{at: e.Now()}
	decisions := 0
	for i := range alerts {
		o.alerts = append(o.alerts, e.broughtAlert(&alerts[i]))
		decisions += len(alerts[i].Decisions)
	}
	if len(alerts) > broughtAtOnce || decisions > broughtAtOnce {
		return nil, &Error{Kind: ErrInvalid, Text: "too many alerts or decisions at once"}
	}
	err := e.propose(orElse(ctx, Actor{Kind: ActorImport}), &proposal{key: everything, resolve: func(v *View) (op, error) {
		o.numberAll(v)
		return o, nil
	}})
	if err != nil {
		return nil, err
	}
	return o.numbers(alerts), nil
}

// RaiseIDs lets the alert and the decision that come next have these ids, or higher ones:
// those between are left for Bring. Ids beyond what the server can count are ErrInvalid.
func (e *Engine) RaiseIDs(ctx context.Context, alert AlertID, decision DecisionID) error {
	return e.propose(orElse(ctx, Actor{Kind: ActorImport}), &proposal{key: everything, resolve: func(v *View) (op, error) {
		if alert > mostBrought || decision > mostBrought {
			return nil, &Error{Kind: ErrInvalid, Text: fmt.Sprintf("the other server has counted to alert %d and decision %d, and no more than %d is taken over", alert, decision, uint64(mostBrought))}
		}
		if uint64(alert) <= v.nextAlert && uint64(decision) <= v.nextDecision {
			return nil, nil
		}
		return &raiseIDs{uint64(alert), uint64(decision)}, nil
	}})
}

// mostBrought is the highest id that is kept, or raised to: places for ids cost 12 bytes
// for a thousand between the oldest and the next, and a start accepts mostSpread of them.
const mostBrought = 1 << 32

// BringMachine stores a machine of another server, with the hash of its password and its
// times. One of that name is changed, and keeps its alerts.
func (e *Engine) BringMachine(ctx context.Context, m *Machine) error {
	if err := m.fits(nil); err != nil {
		return err
	}
	return e.propose(orElse(ctx, Actor{Kind: ActorImport}), &proposal{key: everything, resolve: func(v *View) (op, error) {
		return &putMachine{machine: *m, fresh: v.machines.named(m.ID) == nil}, nil
	}})
}

// BringBouncer stores a bouncer of another server, with the hash of its key and when it
// pulled last. What it was told there is not known here: at its next pull it is told
// everything. One of that name is replaced, with all keys that it has had. ErrExists: the key is, or was before
// it was rotated, that of another bouncer.
func (e *Engine) BringBouncer(ctx context.Context, b *Bouncer, lastPull int64) error {
	if err := b.fits(nil); err != nil {
		return err
	}
	p := &proposal{key: everything}
	p.resolve = func(v *View) (op, error) {
		if b.AuthType == AuthAPIKey && !v.mayBring(b) {
			return nil, v.unusedKey(b.KeyHash)
		}
		if v.Bouncer(b.Name) != nil {
			p.before = &dropBouncers{names: []string{b.Name}}
		}
		return &putBouncer{bouncer: *b}, nil
	}
	ctx = orElse(ctx, Actor{Kind: ActorImport})
	if err := e.propose(ctx, p); err != nil || lastPull == 0 {
		return err
	}
	return e.propose(ctx, &proposal{op: &visits{bouncers: []visit{{name: b.Name, at: lastPull}}}})
}

// mayBring reports whether a key is none of another rotated bouncer's. Its own new one is good for one that
// has no other rows, for with the last of them go the keys that lead to them.
func (v *View) mayBring(b *Bouncer) bool {
	key := v.bouncers.key(&b.KeyHash)
	if key == nil || *key.ring.owner() == b.KeyHash {
		return true
	}
	row, owned := v.Bouncer(b.Name), v.bouncers.ownedBy(key.ring.owner())
	return row != nil && owned != nil && owned.len() == 1 && owned.oldest() == row
}

// broughtAlert is an alert ready to be stored.
func (e *Engine) broughtAlert(b *Brought) arrival {
	a := b.Alert
	var lost cuts
	a.clean()
	in := arrival{id: uint64(b.ID), machine: a.MachineID, createdAt: a.CreatedAt}
	in.community = len(b.Decisions) == 0 && communityScope(a.Source.Scope)
	for i := range b.Decisions {
		e.pace.step(i)
		d := &b.Decisions[i]
		n := NewDecision{Scope: d.Scope, Value: d.Value, Type: d.Type, Origin: d.Origin, Scenario: d.Scenario}
		if !n.bound(&lost) {
			continue
		}
		target := netip.Prefix{}
		if HoldsAddress(n.Scope) {
			target, _ = parseTarget(n.Value) // what is none stays what it is, and matches nothing
		}
		p := makePlan(n.Scope, n.Value, target)
		p.until, p.kind, p.origin, p.scenario = d.Until, n.Type, n.Origin, n.Scenario
		in.plans = append(in.plans, p)
		in.decisions = append(in.decisions, broughtID{uint64(d.ID), d.UUID, i})
		in.community = in.community || p.origin == OriginCAPI || p.origin == OriginLists
	}
	if a.bound(&lost); lost.any() {
		e.bounded.alert(e, &a, &lost)
	}
	in.body, in.scenario, in.startAt, in.simulated = a.appendBody(nil), a.Scenario, a.StartAt.At, a.Simulated
	return in
}

// bringAlerts stores alerts under given numbers.
type bringAlerts struct {
	at     int64
	alerts []arrival
}

// arrival is one of them.
type arrival struct {
	incoming
	id        uint64
	createdAt int64
	machine   string
	decisions []broughtID // beside plans
}

// broughtID is how a decision is told apart from others.
type broughtID struct {
	id   uint64
	uuid UUID // zero: derived from the id
	from int  // its place in the call. Not a part of the op
}

// numberAll gives numbers: to those that ask for one that is free that one, then to all
// others the next.
func (o *bringAlerts) numberAll(v *View) {
	alerts := numbering{v.nextAlert, v.gapsOf(0).copy()}
	decisions := numbering{v.nextDecision, v.gapsOf(1).copy()}
	for i := range o.alerts {
		a := &o.alerts[i]
		a.id = alerts.keep(a.id)
		for j := range a.decisions {
			a.decisions[j].id = decisions.keep(a.decisions[j].id)
		}
	}
	for i := range o.alerts {
		a := &o.alerts[i]
		a.id = alerts.orNext(a.id)
		for j := range a.decisions {
			a.decisions[j].id = decisions.orNext(a.decisions[j].id)
		}
	}
}

// numbers is the answer.
func (o *bringAlerts) numbers(alerts []Brought) []BroughtAs {
	all := make([]BroughtAs, len(alerts))
	for i := range all {
		all[i] = BroughtAs{AlertID(o.alerts[i].id), make([]DecisionID, len(alerts[i].Decisions))}
		for _, d := range o.alerts[i].decisions {
			all[i].Decisions[d.from] = DecisionID(d.id)
		}
	}
	return all
}

// numbering gives out ids.
type numbering struct {
	next uint64
	free *gaps
}

// keep returns an id if it was never given, and gives it; else 0.
func (n *numbering) keep(id uint64) uint64 {
	switch {
	case id == 0 || id > mostBrought:
		return 0
	case id >= n.next:
		n.free.add(n.next, id)
		n.next = id + 1
	case n.free.has(id):
		n.free.take(id)
	default:
		return 0
	}
	return id
}

func (n *numbering) orNext(id uint64) uint64 {
	if id == 0 {
		id = n.next
		n.next++
	}
	return id
}

func (*bringAlerts) number() byte { return numberBringAlerts }

func (o *bringAlerts) append(dst []byte) []byte {
	var words [4]dictionary
	dst = binary.AppendVarint(dst, o.at)
	dst = binary.AppendUvarint(dst, uint64(len(o.alerts)))
	for i := range o.alerts {
		a := &o.alerts[i]
		from := len(dst)
		dst = binary.AppendUvarint(dst, a.id)
		dst = appendBytes(dst, a.body)
		dst = appendString(appendString(dst, a.machine), a.scenario)
		dst = binary.AppendVarint(binary.AppendVarint(dst, a.createdAt), a.startAt)
		dst = appendBatch(appendBool(appendBool(dst, a.simulated), a.community), a.batch)
		dst = endRow(dst, from)
		dst = binary.AppendUvarint(dst, uint64(len(a.plans)))
		for j := range a.plans {
			from := len(dst)
			dst = binary.AppendUvarint(dst, a.decisions[j].id)
			dst = append(dst, a.decisions[j].uuid[:]...)
			dst = endRow(a.plans[j].append(dst, &words, o.at), from)
		}
	}
	return dst
}

func (o *bringAlerts) decode(d *decoder) {
	var words [4]dictionary
	o.at = d.varint()
	o.alerts = make([]arrival, d.count(8))
	for i := range o.alerts {
		a := &o.alerts[i]
		behind := d.open()
		a.id = d.uvarint()
		a.body = slices.Clone(d.bytes())
		a.machine, a.scenario = d.string(), d.string()
		a.createdAt, a.startAt = d.varint(), d.varint()
		a.simulated, a.community = d.bool(), d.bool()
		a.batch = d.batch()
		d.close(behind)
		n := d.count(24)
		a.plans, a.decisions = make([]plan, n), make([]broughtID, n)
		for j := range a.plans {
			behind := d.open()
			a.decisions[j].id = d.uvarint()
			d.fixed(a.decisions[j].uuid[:])
			a.plans[j].decode(d, &words, o.at)
			d.close(behind)
		}
	}
}

// apply passes over what has a number that is taken, which no commit of this history asks
// for.
func (o *bringAlerts) apply(s *state, rev Revision) {
	for i := range o.alerts {
		a := &o.alerts[i]
		if s.alertTaken(a.id) || slices.ContainsFunc(a.decisions, func(d broughtID) bool { return s.decisionTaken(d.id) }) {
			continue
		}
		machine := uint32(0)
		if row := s.next.machines.named(a.machine); row != nil {
			machine = row.serial
		}
		s.giveAlert(a.id)
		h := s.keepAlert(rev, a.id, machine, a.createdAt, &a.incoming)
		ids := make([]uint64, 0, len(a.plans))
		for j := range a.plans {
			s.pace.step(j)
			d := &a.decisions[j]
			if s.decisionTaken(d.id) {
				continue // twice in one alert
			}
			s.giveDecision(d.id)
			r := s.begin(rev, d.id, a.id, d.uuid, a.simulated, &a.plans[j])
			s.start(rev, s.slotOf(d.id), r)
			ids = append(ids, d.id)
		}
		s.listDecisions(a.id, h, ids)
		h.begun.Store(uint64(rev))
	}
}

// alertTaken reports whether an alert has, or had, a number.
func (s *state) alertTaken(id uint64) bool {
	h := s.alerts.At(id)
	return id == 0 || id > max(mostBrought, s.next.nextAlert) || h != nil && h.begun.Load() != 0 || id < s.next.nextAlert && !s.next.gapsOf(0).has(id)
}

func (s *state) decisionTaken(id uint64) bool {
	return id == 0 || id > max(mostBrought, s.next.nextDecision) || s.slotOf(id) != 0 || id < s.next.nextDecision && !s.next.gapsOf(1).has(id)
}

// giveAlert notes that a number is given.
func (s *state) giveAlert(id uint64)    { s.give(0, &s.next.nextAlert, id) }
func (s *state) giveDecision(id uint64) { s.give(1, &s.next.nextDecision, id) }

func (s *state) give(which int, next *uint64, id uint64) {
	if id == *next {
		*next++
		return
	}
	free := s.editGaps(which)
	if id > *next {
		free.add(*next, id)
		*next = id + 1
		return
	}
	free.take(id)
}

// raiseIDs leaves numbers free for what is brought later.
type raiseIDs struct{ alert, decision uint64 }

func (*raiseIDs) number() byte { return numberRaiseIDs }
func (o *raiseIDs) append(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, o.alert), o.decision)
}
func (o *raiseIDs) decode(d *decoder) { o.alert, o.decision = d.uvarint(), d.uvarint() }
func (o *raiseIDs) apply(s *state, rev Revision) {
	for which, n := range [...]struct {
		next *uint64
		to   uint64
	}{{&s.next.nextAlert, o.alert}, {&s.next.nextDecision, o.decision}} {
		if n.to > *n.next && n.to <= mostBrought {
			s.editGaps(which).add(*n.next, n.to)
			*n.next = n.to
		}
	}
}
