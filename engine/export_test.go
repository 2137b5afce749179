package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"runtime"
	"strconv"

	"lapid/persist"
)

// What tests outside the package look at inside.

// RecodeCommit reads a journal record and writes it again.
func RecodeCommit(record []byte) ([]byte, error) {
	c, err := decodeCommit(record)
	if err != nil {
		return nil, err
	}
	dst := appendCommitHead(nil, c.at, len(c.ops))
	for _, a := range c.ops {
		dst = appendOp(dst, a.by, a.op)
	}
	return dst, nil
}

// WithTails is a journal record as a newer program writes it: operations, and the rows
// of some, have fields at the end that this program does not know.
func WithTails(record []byte) []byte {
	c, err := decodeCommit(record)
	if err != nil {
		panic(err)
	}
	tail := []byte{7, 1, 2, 3, 4, 5, 6, 7}
	dst := appendCommitHead(nil, c.at, len(c.ops))
	for _, a := range c.ops {
		body := a.by.append(nil)
		switch o := a.op.(type) {
		case *putMachine:
			body = appendBool(body, o.fresh)
			body = endRow(append(o.machine.append(body), tail...), len(body))
		case *putBouncer:
			body = endRow(append(wholeBouncer(body, &o.bouncer), tail...), len(body))
			body = appendStrings(body, o.follow)
		case *putAllowlist:
			from := len(body)
			body = endRow(append(wholeHead(body, &o.list), tail...), from)
			body = appendTailed(body, o.list.Items, tail)
			body = endRow(append(o.ends.append(body), tail...), len(body))
		case *extendAllowlist:
			body = binary.AppendVarint(appendString(body, o.name), o.at)
			body = appendTailed(body, o.items, tail)
			body = endRow(append(o.ends.append(body), tail...), len(body))
		case *reviseAllowlist:
			body = appendString(body, o.name)
			from := len(body)
			body = endRow(append(wholeHead(body, &o.head), tail...), from)
			body = appendTailed(appendStrings(body, o.values), o.items, tail)
			body = endRow(append(o.ends.append(body), tail...), len(body))
		case *visits:
			if body = o.append(body); len(o.operators) == 0 {
				body = binary.AppendUvarint(body, 0)
			}
		case *putOperator:
			body = endRow(append(o.operator.append(body), tail...), len(body))
		case *grantToken:
			body = appendString(body, o.name)
			body = endRow(append(o.token.append(body), tail...), len(body))
		default:
			body = a.op.append(body)
		}
		body = append(body, tail...)
		dst = append(append(dst, a.op.number()), binary.AppendUvarint(nil, uint64(len(body)))...)
		dst = append(dst, body...)
	}
	return append(dst, tail...)
}

// wholeHead has the fields of the console's lists for any list, as whoever writes more
// behind them has to.
func wholeHead(dst []byte, l *Allowlist) []byte {
	dst = l.appendHeadFields(dst)
	if l.ConsoleID == "" && !l.FromConsole {
		dst = appendBool(appendString(dst, ""), false)
	}
	return dst
}

// wholeBouncer has what a bouncer may see and for how long its polls are held for any
// bouncer, as whoever writes more behind them has to.
func wholeBouncer(dst []byte, b *Bouncer) []byte {
	dst = b.append(dst)
	if b.Sight == nil && b.Hold == 0 {
		dst = binary.AppendVarint(appendSight(dst, nil), 0)
	}
	return dst
}

func appendTailed(dst []byte, items []AllowlistItem, tail []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(items)))
	for i := range items {
		dst = endRow(append(items[i].appendFields(dst), tail...), len(dst))
	}
	return dst
}

// YoungCommits are journal records with each of the operations that no life on a disk has
// made, for any state.
func YoungCommits() (list [][]byte) {
	body := (&Alert{Scenario: "s"}).appendBody(nil)
	plan := makePlan(ScopeIP, "192.0.2.77", netip.MustParsePrefix("192.0.2.77/32"))
	plan.until, plan.kind, plan.origin, plan.scenario = 1<<62, "ban", OriginCrowdsec, "s"
	arrived := func(id uint64, decisions ...uint64) arrival {
		a := arrival{incoming: incoming{body: body, scenario: "s"}, id: id}
		for i, d := range decisions {
			a.plans = append(a.plans, plan)
			a.decisions = append(a.decisions, broughtID{id: d, uuid: UUID{byte(i)}})
		}
		return a
	}
	for _, ops := range [][]op{
		{&moveBookmark{"b", 3}, &moveBookmark{"c", 0}, &dropBookmark{"b"}},
		{&raiseIDs{1 << 20, 1 << 21}, &bringAlerts{alerts: []arrival{arrived(900, 901, 950, 905), arrived(1<<20, 1<<21)}}},
		{&reviseAllowlist{head: Allowlist{Name: "young", ConsoleID: "7", FromConsole: true}, items: []AllowlistItem{{Value: "192.0.2.78", Prefix: netip.MustParsePrefix("192.0.2.78/32")}}},
			&reviseAllowlist{name: "young", head: Allowlist{Name: "trusted"}, values: []string{"192.0.2.78"}}, &reviseAllowlist{name: "none", head: Allowlist{Name: "younger"}}},
		{&bringAlerts{alerts: []arrival{arrived(1<<32, 1<<32), arrived(1<<33, 5), arrived(1<<31, 1<<33, 7)}}, &dropAlerts{ids: []uint64{1 << 31, 1 << 32}}},
	} {
		record := appendCommitHead(nil, 1<<60, len(ops))
		for _, o := range ops {
			record = appendOp(record, Actor{Kind: ActorImport}, o)
		}
		list = append(list, record)
	}
	return list
}

// CommitTimes is the time of a journal record, and whether it says that the clock was set
// back.
func CommitTimes(record []byte) (at int64, back bool, err error) {
	c, err := decodeCommit(record)
	if err != nil {
		return 0, false, err
	}
	for _, a := range c.ops {
		_, is := a.op.(*setBack)
		back = back || is
	}
	return c.at, back, nil
}

// RecodeBody reads an alert's body and writes it again.
func RecodeBody(body []byte) ([]byte, error) {
	a, d := &Alert{}, decoder{rest: body}
	if a.decodeBody(&d); d.err != nil {
		return nil, d.err
	}
	return a.appendBody(nil), nil
}

// RecodeUsage reads a stored report of usage metrics and writes it again.
func RecodeUsage(row []byte) ([]byte, error) {
	u, d := &Usage{}, decoder{rest: row}
	if u.decode(&d); d.err != nil {
		return nil, d.err
	}
	return u.append(nil), nil
}

// Section is one section of a snapshot.
type Section struct {
	Kind uint16
	Body []byte
}

type sectionList struct{ list []Section }

func (l *sectionList) Section(kind uint16, body []byte) error {
	l.list = append(l.list, Section{kind, append([]byte(nil), body...)})
	return nil
}

func each(list []Section) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for _, s := range list {
			if !yield(s.Kind, s.Body) {
				return
			}
		}
	}
}

// loadSections is an engine in memory that holds what the sections say.
func loadSections(rev uint64, list []Section) (*Engine, error) {
	e := &Engine{state: newState()}
	if err := e.state.load(context.Background(), rev, each(list), 1<<20, newStarting(new((&Options{}).withDefaults()))); err != nil {
		return nil, err
	}
	e.state.endLoading()
	e.publish(Revision(rev))
	return e, nil
}

// YoungSections is what a snapshot of list, of rev, has after YoungCommits that reach no
// further than a fuzzed header may claim.
func YoungSections(rev uint64, list []Section) ([]Section, error) {
	e, err := loadSections(rev, list)
	if err != nil {
		return nil, err
	}
	for i, record := range YoungCommits()[:2] {
		c, err := decodeCommit(record)
		if err != nil {
			return nil, err
		}
		for _, a := range c.ops {
			if raise, ok := a.op.(*raiseIDs); ok {
				raise.alert, raise.decision = 1000, 1000
			}
			if bring, ok := a.op.(*bringAlerts); ok {
				bring.alerts = bring.alerts[:1]
			}
		}
		if err := e.state.replay(Revision(rev)+Revision(i)+1, c); err != nil {
			return nil, err
		}
		e.publish(Revision(rev) + Revision(i) + 1)
	}
	var out sectionList
	v := e.View()
	err = v.write(context.Background(), &out, v.appendHeader(nil), v.people())
	return out.list, err
}

// RecodeSections loads the sections of a snapshot of rev and writes them again.
func RecodeSections(rev uint64, list []Section) ([]Section, error) {
	e, err := loadSections(rev, list)
	if err != nil {
		return nil, err
	}
	var out sectionList
	err = e.View().write(context.Background(), &out, e.View().appendHeader(nil), e.View().people())
	return out.list, err
}

// Plausible reports whether the header of a snapshot says that so few alerts
// and decisions were ever made that memory for all of them can be had.
func Plausible(header []byte, most uint64) bool {
	d := decoder{rest: header}
	return d.uvarint() < most && d.uvarint() < most
}

// ApplyTo applies a journal record to what the sections hold, as a replay
// would, and checks the outcome.
func ApplyTo(rev uint64, list []Section, record []byte) error {
	e, err := loadSections(rev, list)
	if err != nil {
		return fmt.Errorf("the sections: %w", err)
	}
	c, err := decodeCommit(record)
	if err != nil {
		return nil
	}
	if err := e.state.replay(Revision(rev+1), c); err != nil {
		return nil // made on another state
	}
	e.publish(Revision(rev + 1))
	e.state.sweep()
	return e.Check()
}

// BouncersByKey yields the rows with this key, oldest first.
func (v *View) BouncersByKey(k KeyHash) iter.Seq[*BouncerRow] {
	return func(yield func(*BouncerRow) bool) { v.bouncers.ownedBy(&k).each(yield) }
}

// Store is the engine's store.
func (e *Engine) Store() *persist.Store { return e.store }

// Fill puts n proposals of so many bytes into the queue without waiting for
// them, and returns the first refusal.
func (e *Engine) Fill(n, bytes int) error {
	for range n {
		if err := e.enqueue(&proposal{op: &visits{}, bytes: make([]byte, bytes), done: make(chan struct{})}); err != nil {
			return err
		}
	}
	return nil
}

// Slots is how many places for decisions memory was had for.
func (e *Engine) Slots() uint64 { return uint64(e.state.records.End() - 1) }

// StoreUnbounded commits what no door lets in any more, as a program without
// bounds did: a machine, a bouncer and alerts, as they are.
func (e *Engine) StoreUnbounded(ctx context.Context, m *Machine, b *Bouncer, alerts ...*Alert) error {
	ops := []op{&putMachine{machine: *m, fresh: true}, &putBouncer{bouncer: *b}}
	for _, a := range alerts {
		var plans []plan
		for _, d := range a.Decisions {
			p := makePlan(d.Scope, d.Value, netip.Prefix{})
			p.kind, p.scenario, p.until = d.Type, d.Scenario, math.MaxInt64
			plans = append(plans, p)
		}
		ops = append(ops, &addAlerts{machine: m.ID, alerts: []incoming{{body: a.appendBody(nil), scenario: a.Scenario, plans: plans}}})
	}
	for _, o := range ops {
		if err := e.propose(ctx, &proposal{op: o}); err != nil {
			return err
		}
	}
	return nil
}

// Sections is a snapshot of the newest view.
func (e *Engine) Sections() ([]Section, error) {
	v, out := e.View(), &sectionList{}
	err := v.write(context.Background(), out, v.appendHeader(nil), v.people())
	return out.list, err
}

// BuildRows makes n bouncers in a memory of their own, as commits of so many do, and
// returns what holds them.
func BuildRows(n, commit int, row func(int) Bouncer) any {
	s := newState()
	s.endLoading()
	for i := range n {
		b := row(i)
		s.putBouncer(1, b)
		if i%commit == commit-1 {
			s.next.bouncers.shown = true
		}
	}
	return s
}

// BuildMachines is the same with machines.
func BuildMachines(n, commit int, machine func(int) *Machine) any {
	s := newState()
	s.endLoading()
	for i := range n {
		s.putMachine(*machine(i), false)
		if i%commit == commit-1 {
			s.next.machines.shown = true
		}
	}
	return s
}

// SharedByMachines is how many texts and lists of hub items are kept.
func (e *Engine) SharedByMachines() (words, lists int) {
	return len(e.state.inventories.words), len(e.state.inventories.lists)
}

// LogMissed is what the committer does each time round.
func (e *Engine) LogMissed(now int64) { e.logMissed(now) }

// EndAs ends one decision, as the given actor.
func (e *Engine) EndAs(by Actor, id uint64, now int64) error {
	return e.propose(context.Background(), &proposal{by: by, op: &endDecisions{at: now, ids: []uint64{id}}})
}

// EndEach ends decisions 1 to n, each as another machine.
func (e *Engine) EndEach(n int, now int64) error {
	for id := range uint64(n) {
		p := &proposal{by: Actor{ActorMachine, strconv.FormatUint(id+1, 10)}, op: &endDecisions{at: now, ids: []uint64{id + 1}}, done: make(chan struct{})}
		p.bytes = appendOp(nil, p.by, p.op)
		for e.enqueue(p) != nil {
			runtime.Gosched()
		}
		if id == uint64(n)-1 {
			<-p.done
			return p.err
		}
	}
	return nil
}

// SmallShelves makes shelves that are made from now on keep little beyond what they tell.
func (e *Engine) SmallShelves(reserve, log int) {
	e.state.shelves.leastReserve, e.state.shelves.leastLog = reserve, log
}

// ForgetShelves drops all of them, as a restart does.
func (e *Engine) ForgetShelves() { e.state.shelves.forget() }

// AtWork is how many records there are and how many wait for their end: for Options.Yield
// on the committer's goroutine, or while it does nothing.
func (e *Engine) AtWork() (records, waiting int) {
	return e.state.records.Len(), e.state.deadlines.Len()
}

// UnauditedOps are operations that the audit neither tells nor leaves out by name.
func UnauditedOps() (names []string) {
	e := &Engine{}
	for number := range 256 {
		o := newOp(byte(number))
		if o == nil || silentOps[byte(number)] {
			continue
		}
		switch o := o.(type) { // with something in it to tell
		case *addAlerts:
			o.machine, o.alerts = "m", make([]incoming, 1)
		case *requested:
			o.op = &putSecret{name: "s"}
		case *endDecisions:
			o.ids = []uint64{1, 2}
		case *dropAlerts:
			o.ids = []uint64{1, 2}
		case *dropMachines:
			o.ids = []string{"m"}
		case *dropBouncers:
			o.names = []string{"b"}
		case *reviseExports:
			o.put = []Export{{Name: "m"}}
		}
		told := false
		w := &auditWalk{e: e, counts: map[auditTick]*auditCount{}, things: map[auditedNoun]map[string]string{}, by: Actor{Kind: ActorOperator}}
		for _, n := range [...]auditedNoun{auditedMachine, auditedBouncer, auditedAllowlist, auditedExport, auditedOperator} {
			w.things[n] = map[string]string{"": "", "m": "", "b": ""}
		}
		w.batch = (&persist.Store{}).NewRows()
		w.auditedOp(o)
		if told = w.rows > 0 || len(w.counts) > 0; !told {
			names = append(names, fmt.Sprintf("%d (%T)", number, o))
		}
	}
	return names
}

// GroupLooks is how many records are looked at for the groups of a first page.
func GroupLooks(v *View, f *Filter, q *PageQuery) int {
	p, err := newPager(v, f, q, false)
	if err != nil {
		panic(err)
	}
	w := newDecisionWalk(v, p)
	w.sieve.eachDecision(1, math.MaxUint64-1, true, func(n slot, r *record) bool {
		w.look(n, r)
		return true
	})
	return w.groups.looked
}

// NoteOf is a node's note of one visitor of each kind.
func NoteOf(node, bouncer, machine, operator string) []byte {
	o := &visitsOf{node: node, start: 7, serial: 1, seen: 1, bouncers: []placed{{visit{name: bouncer, at: 5, cursor: 1, acked: 1}, 0, true}},
		machines: []visit{{name: machine, at: 6}}, operators: []visit{{name: operator, at: 7}}}
	return o.append(nil)
}

// UnredactedOps are the numbers of operations of which nobody has said what a relay may have.
func UnredactedOps() (list []byte) {
	for number := 1; number < 256; number++ {
		o := newOp(byte(number))
		if o == nil {
			continue
		}
		if r, ok := o.(*requested); ok {
			r.op = &expire{}
		}
		if _, err := redacted(o); errors.Is(err, errUnredacted) {
			list = append(list, byte(number))
		}
	}
	return list
}

// IsOwn reports whether a row is a relay's own.
func (r *BouncerRow) IsOwn() bool { return r.own.Load() }
