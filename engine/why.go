package engine

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WhyQuery asks why something is decided against, or is not.
type WhyQuery struct {
	Target  string // as ParseSubject reads it
	Bouncer string // "": all; else a row's name, with the rows made from its key
	At      int64  // Unix nanoseconds; 0: now

	// Most is how many of each list are told, MostShown at most; 0: ten.
	Most int
	// EveryRow tells of bouncers row by row, MostRows at most. Otherwise rows of one key
	// that fare alike are one, and Most bounds those of each state.
	EveryRow bool
}

// Bounds of what Why tells. What is left out is counted.
const (
	MostShown = 1_000
	MostRows  = 100_000
)

// Why is the answer: what is decided on a target, and how that came to be, as far as it is
// known. Lists are bounded, and counted in full. It is the caller's. Its JSON is that of the
// operator's socket and of the verb.
type Why struct {
	Asked    string      `json:"asked"`
	Kind     SubjectKind `json:"kind"`
	Target   string      `json:"target"` // as it is meant: a clean address or range, scope:value, decision:ID, alert:ID
	Now      time.Time   `json:"now"`
	At       *time.Time  `json:"at"` // of the past or future that was asked about; null: now
	Revision Revision    `json:"revision"`

	Decided bool   `json:"decided"` // a decision that is not simulated covers all of it, and no allowlist wins over it
	Verdict string `json:"verdict"` // all of it in a sentence

	// Notes are sentences about what was understood, and what this answer cannot tell.
	Notes []string `json:"notes,omitempty"`

	Decisions  WhyDecisions  `json:"decisions"`  // in force, longest first, simulated ones last
	Inside     *WhyDecisions `json:"inside"`     // in force on parts of a range; null where the target has no parts
	Allowlists WhyEntries    `json:"allowlists"` // entries that hold for it
	Bouncers   *WhyBouncers  `json:"bouncers"`   // null for another moment than now
	Before     WhyDecisions  `json:"before"`     // over, the last one first
}

// WhyDecisions are the first of so many decisions.
type WhyDecisions struct {
	Count int           `json:"count"`
	More  bool          `json:"more,omitempty"` // counting was given up at Count
	First []WhyDecision `json:"first"`
}

// WhyDecision is one decision as Why tells it. Moments that are not known are null.
type WhyDecision struct {
	ID        DecisionID `json:"id"`
	Type      string     `json:"type"`
	Scope     string     `json:"scope"`
	Value     string     `json:"value"`
	Origin    string     `json:"origin"`
	Scenario  string     `json:"scenario"`
	Simulated bool       `json:"simulated,omitempty"`
	Alert     AlertID    `json:"alert"`
	Machine   string     `json:"machine,omitempty"`
	Since     *time.Time `json:"since"` // its alert was received
	Until     *time.Time `json:"until"` // as it was decided

	// Wider: it is on a range that holds more than the target.
	Wider bool `json:"wider,omitempty"`
	// OutlastedBy is a decision on the same target that ends later: bouncers are told of that one alone.
	OutlastedBy DecisionID `json:"outlasted_by,omitempty"`

	Ended      *time.Time `json:"ended"`                 // null while it runs
	EndedBy    string     `json:"ended_by,omitempty"`    // the kind of what ended it: "expiry", "operator" …
	EndedWho   string     `json:"ended_who,omitempty"`   // its name
	Ending     string     `json:"ending,omitempty"`      // the same in words
	ReplacedBy DecisionID `json:"replaced_by,omitempty"` // began on the same target as this one ended
	AlertGone  bool       `json:"alert_deleted,omitempty"`
}

// Why answers from one view, memory and what is kept of alerts, and writes nothing. An address
// costs what is stored on it and on the ranges around it, plus a look at each bouncer; a range also
// a look at what lies inside. Errors: ErrInvalid for a target that cannot be read, ErrNotFound for a
// decision, an alert or a bouncer that is not there, and that of ctx.
func (e *Engine) Why(ctx context.Context, q *WhyQuery) (*Why, error) {
	subject, err := ParseSubject(q.Target)
	if err != nil {
		return nil, err
	}
	w := &inquiry{engine: e, ctx: ctx, view: e.View(), now: e.Now(), subject: subject, asked: q, most: min(q.Most, MostShown)}
	if w.most <= 0 {
		w.most = 10
	}
	w.at = w.now
	if q.At != 0 {
		w.at = q.At
	}
	w.answer = &Why{Asked: q.Target, Kind: subject.Kind, Now: whyTime(w.now), Revision: w.view.Revision()}
	if q.At != 0 {
		w.answer.At = knownTime(w.at)
	}
	if err := w.find(); err != nil {
		return nil, err
	}
	if err := w.inside(); err != nil {
		return nil, err
	}
	w.told()
	w.entries()
	if err := w.bouncers(); err != nil {
		return nil, err
	}
	w.admit()
	w.answer.Verdict = w.verdict()
	return w.answer, nil
}

// inquiry is one question on its way.
type inquiry struct {
	engine  *Engine
	ctx     context.Context
	view    *View
	now, at int64
	subject Subject
	asked   *WhyQuery
	most    int
	answer  *Why

	one     *record        // SubjectDecision
	prefix  netip.Prefix   // of the target, if it is an address or a range
	running topRecords     // at the moment
	over    topRecords     // by the moment
	ending  []allowlisting // by allowlists, of those that are over
	matches []whyMatch     // allowlist entries
	parts   int            // decisions in force inside a range, simulated ones left out
	undated int            // decisions whose beginning is not known
	rows    []rowStanding

	hidden     map[sightOf]string // by whatever
	filtered   map[sightOf]string // by a filter
	ranked     map[rankedAt]bool
	rankedAnew int
	unranked   int // places that were not looked at

	then   *bracket // of the moment, once it was found
	beaten int      // of an alert: decisions in force that allowlists win over
	stands int      // and those that they do not, simulated ones left out
}

// allowlisting is the end of a decision by an allowlist.
type allowlisting struct {
	rec  *record
	list string
}

// mostEndings bounds how many ends by allowlists are looked at.
const mostEndings = 10_000

// find finds what the subject is and every stored decision on it.
func (w *inquiry) find() error {
	w.running = topRecords{most: max(w.most, mostConcerned), before: longestFirst}
	w.over = topRecords{most: w.most, before: w.lastFirst}
	switch w.subject.Kind {
	case SubjectDecision:
		return w.findDecision()
	case SubjectAlert:
		return w.findAlert()
	case SubjectValue:
		w.findValue(w.subject.Scope, w.subject.Value)
	default:
		w.findPrefix(w.subject.Prefix)
	}
	return nil
}

func (w *inquiry) findPrefix(p netip.Prefix) {
	w.prefix = p
	w.answer.Target = spellPrefix(p)
	if w.subject.Masked {
		w.note("bits behind the length of the range were set: the answer is about %s", w.answer.Target)
	}
	w.view.covering(p, w.see)
}

// findValue looks for the value as it is written and, where a scope has a usual spelling of values, for
// that too.
func (w *inquiry) findValue(scope, value string) {
	w.answer.Target = scope + ":" + value
	for _, text := range valueSpellings(scope, value) {
		if n, ok := w.view.state.strings.Lookup(text); ok {
			w.view.chain(w.view.state.values.Get(n), func(r *record) bool {
				if strings.EqualFold(w.view.state.strings.At(w.view.state.wordsOf(r).Scope), scope) {
					w.see(r)
				}
				return true
			})
		}
	}
}

// valueSpellings are how a value may be spelled in decisions.
func valueSpellings(scope, value string) []string {
	all := []string{value}
	add := func(text string) {
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	switch scope {
	case ScopeCountry:
		add(strings.ToUpper(value))
	case ScopeAS:
		if len(value) > 2 && strings.EqualFold(value[:2], "as") {
			add(value[2:])
		} else {
			add("AS" + value)
		}
	}
	return all
}

func (w *inquiry) findDecision() error {
	n, v := w.subject.Number, w.view
	var r *record
	if at := v.state.slotOf(n); at != 0 && n < v.nextDecision {
		if r = v.state.records.At(at); !v.shows(r) || r.id != n {
			r = nil
		}
	}
	if r == nil {
		if w.subject.Bare && v.alert(n) != nil {
			w.subject.Kind, w.answer.Kind = SubjectAlert, SubjectAlert
			w.note("there is no decision %d: the answer is about alert %d", n, n)
			return w.findAlert()
		}
		return w.noSuch(NounDecision, n, v.nextDecision)
	}
	if w.subject.Bare && v.alert(n) != nil {
		w.note("there is an alert %d too: it is asked about as alert:%d", n, n)
	}
	w.one = r
	if p := w.view.state.targetOf(r); p.IsValid() {
		w.findPrefix(p)
	} else {
		w.findValue(v.state.strings.At(w.view.state.wordsOf(r).Scope), v.state.strings.At(w.view.state.textOf(r)))
	}
	w.answer.Target = "decision:" + strconv.FormatUint(n, 10)
	return nil
}

func (w *inquiry) findAlert() error {
	n := w.subject.Number
	h := w.view.alert(n)
	if h == nil {
		return w.noSuch(NounAlert, n, w.view.nextAlert)
	}
	w.answer.Target = "alert:" + strconv.FormatUint(n, 10)
	w.view.eachOf(n, h, w.see)
	return nil
}

// noSuch says whether a number was given ever.
func (w *inquiry) noSuch(noun Noun, n, next uint64) error {
	e := &Error{Kind: ErrNotFound, Noun: noun, Name: strconv.FormatUint(n, 10)}
	switch {
	case n == 0:
		e.Text = string(noun) + " 0 is none: numbers begin with 1"
	case next == 1:
		e.Text = string(noun) + " " + e.Name + " is not known: there is none yet"
	case n >= next:
		e.Text = string(noun) + " " + e.Name + " is not known: the highest number that was given is " + strconv.FormatUint(next-1, 10)
	case noun == NounAlert:
		e.Text = "alert " + e.Name + " is not kept any more: it was deleted, by an order or because it was old"
	default:
		e.Text = "decision " + e.Name + " is not kept any more: its alert was deleted, by an order or because it was old"
	}
	return e
}

// see takes a stored record into account. It always goes on.
func (w *inquiry) see(r *record) bool {
	v := w.view
	if !v.shows(r) {
		return true
	}
	if w.at < w.now {
		begun, known := w.begunAt(r)
		if !known {
			w.undated++
		}
		if !known || begun > w.at {
			return true
		}
	}
	if w.runs(r) {
		w.running.add(r)
		w.weigh(r)
		return true
	}
	w.over.add(r)
	if v.ended(r) && r.by() != 0 && len(w.ending) < mostEndings {
		if by := v.state.actorAt(r.by()); by.Kind == ActorAllowlist {
			w.ending = append(w.ending, allowlisting{r, by.Name})
		}
	}
	return true
}

// weigh counts what decides of an alert.
func (w *inquiry) weigh(r *record) {
	switch {
	case w.subject.Kind != SubjectAlert || r.flags()&flagSimulated != 0:
	case w.wonThen(r):
		w.beaten++
	default:
		w.stands++
	}
}

// runs reports whether a record is in force at the moment; for one of the past it is known to have begun.
func (w *inquiry) runs(r *record) bool {
	if w.at < w.now {
		return w.view.endOf(r) > w.at
	}
	return w.view.running(r, w.at)
}

// begunAt is when a record's alert was received; not known once it was deleted.
func (w *inquiry) begunAt(r *record) (at int64, known bool) {
	h := w.view.state.alerts.At(r.alert)
	if h == nil || h.begun.Load() == 0 {
		return 0, false
	}
	return h.createdAt, true
}

// mostWithin bounds how many targets inside a range are looked at.
const mostWithin = 1 << 20

// inside counts what is decided on parts of a range, and finds the first of it.
func (w *inquiry) inside() error {
	p := w.subject.Prefix
	if w.subject.Kind != SubjectRange {
		return nil
	}
	first := topRecords{most: w.most, before: w.byAddress}
	looked := 0
	take := func(n slot) bool {
		if looked++; looked&4095 == 0 && w.ctx.Err() != nil {
			return false
		}
		w.view.chain(n, func(r *record) bool {
			begun, known := w.begunAt(r)
			if w.view.shows(r) && (w.at >= w.now || known && begun <= w.at) && w.runs(r) {
				if first.add(r); r.flags()&flagSimulated == 0 {
					w.parts++
				}
			}
			return true
		})
		return looked < mostWithin
	}
	going := true
	w.view.state.hosts.Within(p, func(_ netip.Addr, n slot) bool {
		going = take(n)
		return going
	})
	if going {
		w.view.state.ranges.Within(p, func(at netip.Prefix, n slot) bool {
			if at != p && !at.IsSingleIP() {
				going = take(n)
			}
			return going
		})
	}
	w.answer.Inside = &WhyDecisions{Count: first.count, More: !going, First: w.decisions(first.sorted())}
	return w.ctx.Err()
}

// told puts what was found in words.
func (w *inquiry) told() {
	running := w.running.sorted()
	w.answer.Decisions = WhyDecisions{Count: w.running.count, First: w.decisions(running[:min(len(running), w.most)])}
	longest := map[targetKey]*record{}
	for _, r := range running {
		if k := w.view.state.keyOf(r); longest[k] == nil && r.flags()&flagSimulated == 0 {
			longest[k] = r
		}
	}
	for i := range w.answer.Decisions.First {
		if by := longest[w.view.state.keyOf(running[i])]; by != nil && by.until > running[i].until {
			w.answer.Decisions.First[i].OutlastedBy = DecisionID(by.id)
		}
	}
	w.answer.Before = WhyDecisions{Count: w.over.count, First: w.decisions(w.over.sorted())}
}

func (w *inquiry) decisions(records []*record) []WhyDecision {
	list := make([]WhyDecision, 0, len(records))
	for _, r := range records {
		list = append(list, w.decision(r))
	}
	return list
}

func (w *inquiry) decision(r *record) WhyDecision {
	v := w.view
	d := Decision{v, r}
	out := WhyDecision{
		ID: d.ID(), Type: d.Type().S, Scope: d.Scope().S, Value: d.Value(), Origin: d.Origin().S, Scenario: d.Scenario().S,
		Simulated: d.Simulated(), Alert: d.AlertID(), Until: knownTime(r.until), AlertGone: v.alert(r.alert) == nil,
	}
	for _, text := range [...]*string{&out.Type, &out.Scope, &out.Value, &out.Origin, &out.Scenario} {
		*text = strings.Clone(*text) // it outlives the view
	}
	if at, known := w.begunAt(r); known {
		out.Since = knownTime(at)
	}
	if h := v.state.alerts.At(r.alert); h != nil && h.machine != 0 {
		if row := v.machines.serial(h.machine); row != nil {
			out.Machine = row.value.Load().ID
		}
	}
	if t := w.view.state.targetOf(r); t.IsValid() && w.prefix.IsValid() {
		out.Wider = t.Bits() < w.prefix.Bits()
	}
	w.end(&out, r)
	return out
}

// note adds a sentence about what the answer cannot tell, or means.
func (w *inquiry) note(format string, args ...any) {
	w.answer.Notes = append(w.answer.Notes, fmt.Sprintf(format, args...))
}

// admit says what cannot be known of another moment.
func (w *inquiry) admit() {
	switch {
	case w.at > w.now:
		w.note("this is what would be so then if nothing changed until then")
		return
	case w.at == w.now:
		return
	}
	if w.undated > 0 {
		w.note("of %d decisions whose alerts were deleted it is not known whether they had begun by then", w.undated)
	}
	oldest := int64(math.MaxInt64)
	for _, h := range w.view.eachAlert {
		oldest = h.createdAt
		break
	}
	switch {
	case oldest == math.MaxInt64:
		w.note("no alert is kept, so nothing is known of decisions of that time but what bouncers may still hold")
	case oldest > w.at:
		w.note("the oldest alert that is kept is of %s: what was decided and forgotten before is not known", spellTime(oldest))
	default:
		w.note("decisions whose alerts were deleted since may be missing")
	}
	w.admitLists()
	w.note("where the streams of bouncers stood then is not known")
}

// topRecords keeps the first of many records by an order.
type topRecords struct {
	most   int
	before func(a, b *record) int
	count  int
	kept   []*record
}

func (t *topRecords) add(r *record) {
	t.count++
	if t.kept = append(t.kept, r); len(t.kept) >= 2*t.most+16 {
		t.sorted()
	}
}

// sorted gives what is kept, in order.
func (t *topRecords) sorted() []*record {
	slices.SortFunc(t.kept, t.before)
	t.kept = t.kept[:min(len(t.kept), t.most)]
	return t.kept
}

// longestFirst puts simulated records last, and what ends later first.
func longestFirst(a, b *record) int {
	return cmp.Or(cmp.Compare(a.flags()&flagSimulated, b.flags()&flagSimulated), cmp.Compare(b.until, a.until), cmp.Compare(a.id, b.id))
}

// lastFirst puts what ended last first.
func (w *inquiry) lastFirst(a, b *record) int {
	return cmp.Or(cmp.Compare(w.view.endOf(b), w.view.endOf(a)), cmp.Compare(b.id, a.id))
}

func (w *inquiry) byAddress(a, b *record) int {
	x, y := w.view.state.onOf(a), w.view.state.onOf(b)
	return cmp.Or(x.address().Compare(y.address()), cmp.Compare(x.bits, y.bits), cmp.Compare(a.id, b.id))
}

// whyTime is a moment as JSON can hold it.
func whyTime(m int64) time.Time {
	t := timeOf(m).UTC()
	if t.Year() > 9999 {
		return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	return t
}

func knownTime(m int64) *time.Time {
	t := whyTime(m)
	return &t
}

func spellTime(m int64) string { return whyTime(m).Format(time.RFC3339) }

// spellPrefix is the clean spelling of an address or a range.
func spellPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
