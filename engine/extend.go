package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"
)

// Extension is how the end of decisions is moved.
type Extension struct {
	By      time.Duration
	FromEnd bool // By counts from each one's end, and may be less than 0; else it is what is left from now on
}

// end is where a decision ends by it.
func (x Extension) end(until, now int64) int64 {
	if x.FromEnd {
		return Later(until, x.By)
	}
	return Later(now, x.By)
}

// Extended says what an extension did, or would do.
type Extended struct {
	N     int           // decisions that run until another time now
	Over  int           // left as they are: they would be over
	Lists int           // left as they are: of the community list, or of a list, whose next content would begin them anew
	Same  int           // left as they are: they end there already
	First []ExtendedOne // the first of N, by number, at most ShownExtended
}

// ExtendedOne is a decision as it was, with the end that it has now.
type ExtendedOne struct {
	Decision Decision
	Until    int64
}

const (
	// ShownExtended is how many decisions are told one by one.
	ShownExtended = 10
	// MostExtended is how many decisions one extension may move; more are ErrInvalid, and nothing is done.
	MostExtended = 100_000
)

// ExtendDecisions moves the end of the running decisions that answer q, in one commit. A decision never changes: each ends,
// and one that is the same but for its number and its end begins, of an alert that says so and that is the machine's whose decision it was. So
// bouncers are told of the other end as of any decision that is new, and of no deletion. What belongs to a batch, is simulated
// or comes from a country or network stays so. Decisions of lists are left alone.
//
// Errors: ErrInvalid for more than MostExtended, and those of every write.
func (e *Engine) ExtendDecisions(ctx context.Context, q *Query, x Extension) (Extended, error) {
	return e.extend(ctx, x, q.Now, ofQuery(q))
}

// ExtendDecision is the same for one decision by its number; one that is over already stays so. ErrNotFound when it is
// not stored.
func (e *Engine) ExtendDecision(ctx context.Context, id DecisionID, x Extension, now int64) (Extended, error) {
	return e.extend(ctx, x, now, ofNumber(id, now))
}

// WouldExtendDecisions says what ExtendDecisions would do now, and does nothing.
func (e *Engine) WouldExtendDecisions(q *Query, x Extension) (Extended, error) {
	w := extending{view: e.View(), now: q.Now, by: x}
	err := w.choose(ofQuery(q))
	return w.out, err
}

// WouldExtendDecision says what ExtendDecision would do now, and does nothing.
func (e *Engine) WouldExtendDecision(id DecisionID, x Extension, now int64) (Extended, error) {
	w := extending{view: e.View(), now: now, by: x}
	err := w.choose(ofNumber(id, now))
	return w.out, err
}

func (e *Engine) extend(ctx context.Context, x Extension, now int64, of candidates) (Extended, error) {
	var w extending
	err := e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		w = extending{view: v, now: now, by: x, words: "extended by an operator"}
		if err := w.choose(of); err != nil || w.out.N == 0 {
			return nil, err
		}
		return w.op(e.pace), nil
	}})
	return w.out, err
}

// candidates are running decisions that may be extended.
type candidates func(v *View) (iter.Seq[Decision], error)

func ofQuery(q *Query) candidates {
	return func(v *View) (iter.Seq[Decision], error) { return v.answers(q), nil }
}

func ofNumber(id DecisionID, now int64) candidates {
	return func(v *View) (iter.Seq[Decision], error) {
		d, ok := v.Decision(id)
		if !ok {
			return nil, notFound(NounDecision, strconv.FormatUint(uint64(id), 10))
		}
		return func(yield func(Decision) bool) {
			if d.Running(now) {
				yield(d)
			}
		}, nil
	}
}

// extending is an extension on its way. The committer's.
type extending struct {
	view  *View
	now   int64
	by    Extension
	words string // scenario of the alerts that it brings
	kin   []*kin // in order of their first decision
	out   Extended
}

// kin are decisions that can belong to one alert.
type kin struct {
	kinship
	of    []Decision
	until []int64
}

// kinship is what they have in common.
type kinship struct {
	batch     Batch
	simulated bool
	source    SourceWords
	machine   string // "": none, or it is gone
}

// choose finds what is extended, by number.
func (w *extending) choose(of candidates) error {
	found, err := of(w.view)
	if err != nil {
		return err
	}
	var list []Decision
	for d := range found {
		until := w.by.end(d.rec.until, w.now)
		switch {
		case w.view.state.listed(d.rec):
			w.out.Lists++
		case until <= w.now:
			w.out.Over++
		case until == d.rec.until:
			w.out.Same++
		case w.out.N == MostExtended:
			return invalid("more than %d decisions match, which is what one order may extend: narrow it", MostExtended)
		default:
			w.out.N++
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b Decision) int { return cmp.Compare(a.rec.id, b.rec.id) })
	w.group(list)
	return nil
}

// group puts those that can belong to one alert together.
func (w *extending) group(list []Decision) {
	all := map[kinship]*kin{}
	for _, d := range list {
		until := w.by.end(d.rec.until, w.now)
		if len(w.out.First) < ShownExtended {
			w.out.First = append(w.out.First, ExtendedOne{d, until})
		}
		in := kinship{d.BatchOf(), d.Simulated(), d.Source(), d.Machine()}
		k := all[in]
		if k == nil {
			k = &kin{kinship: in}
			all[in], w.kin = k, append(w.kin, k)
		}
		k.of, k.until = append(k.of, d), append(k.until, until)
	}
}

// listed reports whether a record is of the community list, or of a list, pulled or an operator's.
func (s *state) listed(r *record) bool {
	origin := s.strings.At(s.wordsOf(r).Origin)
	return origin == OriginCAPI || origin == OriginLists || s.ofOwnList(r)
}

// op ends all and begins their like.
func (w *extending) op(pace pace) *extendDecisions {
	o := &extendDecisions{replaceList: replaceList{ends: endDecisions{at: w.now}, add: addAlerts{at: w.now, pace: pace}}}
	for _, k := range w.kin {
		o.machines = append(o.machines, k.machine)
		for _, d := range k.of {
			o.ends.ids = append(o.ends.ids, d.rec.id)
		}
		o.add.alerts = append(o.add.alerts, k.alert(w.words, w.now))
	}
	if !slices.ContainsFunc(o.machines, func(id string) bool { return id != "" }) {
		o.machines = nil
	}
	slices.Sort(o.ends.ids)
	return o
}

// alert is one with decisions that are the same but for their end, or for having ended.
func (k *kin) alert(words string, now int64) incoming {
	at := Stamp{At: now - now%int64(time.Second)}
	a := &Alert{
		Scenario: words, Message: fmt.Sprintf("%s: %d decisions", words, len(k.of)), Kind: "cscli", CreatedAt: now, Leakspeed: "0",
		MachineID: k.machine, EventsCount: int32(len(k.of)), Remediation: true, StartAt: at, StopAt: at, Simulated: k.simulated,
	}
	a.Source = Source{Scope: k.source.Scope, Cn: k.source.Country, AsNumber: k.source.AsNumber, AsName: k.source.AsName}
	if one := k.of[0]; len(k.of) == 1 {
		a.Source.Scope, a.Source.Value = one.Scope().S, one.Value()
		if one.Scope().S == ScopeIP {
			a.Source.IP = one.Value()
		}
	}
	in := incoming{body: a.appendBody(nil), scenario: a.Scenario, startAt: at.At, simulated: k.simulated, batch: k.batch, plans: make([]plan, len(k.of))}
	for i, d := range k.of {
		in.plans[i] = makePlan(d.Scope().S, d.Value(), d.Target())
		p := &in.plans[i]
		p.until, p.kind, p.origin, p.scenario = k.until[i], d.Type().S, d.Origin().S, d.Scenario().S
	}
	return in
}

// extendDecisions ends decisions and brings alerts with their like, which end at another time. One that ends nothing
// takes an end back.
type extendDecisions struct {
	replaceList
	machines []string // whose the alerts are; nil: nobody's, as programs wrote it that did not say
}

func (*extendDecisions) number() byte { return numberExtendDecisions }
func (o *extendDecisions) append(dst []byte) []byte {
	from := len(dst)
	dst = o.ends.append(dst)
	if len(o.machines) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(o.machines)))
		for _, id := range o.machines {
			dst = appendString(dst, id)
		}
	}
	return o.add.append(endRow(dst, from))
}
func (o *extendDecisions) decode(d *decoder) {
	behind := d.open()
	o.ends.decode(d)
	if len(d.rest) > 0 {
		if o.machines = make([]string, d.count(1)); len(o.machines) == 0 {
			d.fail()
		}
		for i := range o.machines {
			o.machines[i] = d.string()
		}
	}
	d.close(behind)
	o.add.decode(d)
}
func (o *extendDecisions) apply(s *state, rev Revision) {
	o.ends.apply(s, rev)
	for i := range o.add.alerts {
		machine := uint32(0)
		if i < len(o.machines) {
			if row := s.next.machines.named(o.machines[i]); row != nil {
				machine = row.serial
			}
		}
		o.add.ids = append(o.add.ids, s.addAlert(rev, machine, o.add.at, &o.add.alerts[i]))
	}
}
