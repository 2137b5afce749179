package engine

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// List is what a pulled list holds now: the community list (Origin is OriginCAPI) or a
// third-party one (OriginLists). It is the caller's; ReplaceList keeps nothing of it but
// the texts.
type List struct {
	Origin string
	// Name is the third-party list's, and the scenario of its decisions. The community
	// list has none: its decisions have the scenarios of their groups.
	Name   string
	Groups []ListGroup

	// Deleted are values that a server has taken back by name. They end even where the
	// list itself is held back, unless it holds them.
	Deleted []ListGroup

	// Partial: the groups are not the whole list, and what they lack does not end.
	Partial bool
	// Shrunken: a list that lost more than half of what runs is believed. Otherwise it
	// is held back: nothing of it begins or ends, but what was deleted by name.
	Shrunken bool
	// Own: an operator's named list, which is no pulled one: of origin OriginLists, with a
	// name. Lists that are pulled and lists of operators do not touch one another's
	// decisions, also where they have the same name.
	Own bool
	// Exempt is how many entries the caller has left out of the groups: they count as
	// there where it is asked whether the list has shrunken.
	Exempt int
	// Outlast is how much time a decision must have left to stay as it is: longer than
	// until the list is replaced again.
	Outlast time.Duration
}

// ListGroup are values of a list that have all but their length in common. Scope is
// canonical (CanonicalScope).
type ListGroup struct {
	Scope    Scope
	Type     string
	Scenario string
	Values   []ListValue
}

// ListValue is one entry of a list, and how long it holds from its pull on.
type ListValue struct {
	Value string
	Lasts time.Duration
}

// ListChange says what a replacement did.
type ListChange struct {
	Alert       AlertID // 0: nothing began
	Before      int     // how many decisions of the list ran
	Entries     int     // of the new list, each once
	Begun       int     // of them: new
	Renewed     int     // there before, and begun anew because their time was about to be over
	Ended       int     // left the list
	Allowlisted int     // left out, for an allowlist overlaps them
	Unreadable  int     // left out: no address or range, or too long
	Held        bool    // the list is held back: see List.Shrunken and Foreign
	Foreign     int     // of an operator's list: decisions of a pulled one of that name that run
}

// mostListed is how many entries a list may have.
const mostListed = 4 << 20

// ReplaceList makes the running decisions of a list what it holds now, in one commit:
// what is new begins, what left the list ends, and what is in it still goes on as it is,
// so that a bouncer is told of what really changed. A decision is begun anew, with the
// list's length, before its time is over: when less than a part between a quarter and
// three quarters of it is left (its number decides which, so that not all are told anew at
// once), or less than Outlast. What begins belongs to an alert of its own.
//
// The decisions of each list are its own: a value that another list holds too, or that
// was decided here, is not touched. Values that an allowlist overlaps are left out.
//
// Errors: ErrInvalid for texts or lists that are too long, and those of every write.
func (e *Engine) ReplaceList(ctx context.Context, l *List, now int64) (ListChange, error) {
	r := &replacement{list: l, now: now, pace: e.pace}
	if err := r.read(); err != nil {
		return ListChange{}, err
	}
	var o *replaceList
	err := e.propose(orElse(ctx, Actor{ActorCentralAPI, l.Name}), &proposal{key: everything, resolve: func(v *View) (op, error) {
		if o = r.resolve(v); o == nil {
			return nil, nil
		}
		return o, nil
	}})
	if err != nil {
		return ListChange{}, err
	}
	if o != nil && len(o.add.ids) > 0 {
		r.change.Alert = o.add.ids[0]
	}
	return r.change, nil
}

// WouldReplaceList says what ReplaceList would do now, and does nothing; Alert is 0.
func (e *Engine) WouldReplaceList(l *List, now int64) (ListChange, error) {
	r := &replacement{list: l, now: now, pace: e.pace, dry: true}
	if err := r.read(); err != nil {
		return ListChange{}, err
	}
	r.resolve(e.View())
	return r.change, nil
}

// replacement is a list on its way.
type replacement struct {
	list    *List
	now     int64
	pace    pace
	entries []listed // in order of target and value, each once
	deleted []listed
	change  ListChange
	dry     bool // nothing is to begin
}

// listed is an entry that was read.
type listed struct {
	target netip.Prefix // invalid for scopes that hold no address
	value  string
	lasts  time.Duration
	group  int32
	begin  bool // found out by resolve
}

// read is what needs no view.
func (r *replacement) read() (err error) {
	if r.list.Origin != OriginCAPI && r.list.Origin != OriginLists {
		return &Error{Kind: ErrInvalid, Text: fmt.Sprintf("%.100q is no origin of lists", r.list.Origin)}
	}
	if r.list.Own && (r.list.Origin != OriginLists || r.list.Name == "") {
		return &Error{Kind: ErrInvalid, Text: "a named list needs a name"}
	}
	var f fitting
	f.bytes("name", r.list.Name, "", LongestName)
	if r.entries, err = r.readGroups(r.list.Groups, &f); err == nil {
		r.deleted, err = r.readGroups(r.list.Deleted, &f)
	}
	r.change.Entries = len(r.entries)
	return err
}

func (r *replacement) readGroups(groups []ListGroup, f *fitting) ([]listed, error) {
	n := 0
	for i := range groups {
		g := &groups[i]
		f.bytes("scope", g.Scope, "", LongestName)
		f.bytes("type", g.Type, "", LongestName)
		f.bytes("scenario", g.Scenario, "", LongestName)
		n += len(g.Values)
	}
	if n > mostListed {
		f.add("the list has %d entries, and at most %d are taken", n, mostListed)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	entries := make([]listed, 0, n)
	for i := range groups {
		address := HoldsAddress(groups[i].Scope)
		for j, v := range groups[i].Values {
			r.pace.step(j)
			entry := listed{value: v.Value, lasts: v.Lasts, group: int32(i)}
			ok := v.Value != "" && len(v.Value) <= LongestValue
			if ok && address {
				entry.target, ok = parseTarget(v.Value)
			}
			if !ok {
				r.change.Unreadable++
				continue
			}
			entries = append(entries, entry)
		}
	}
	return sortListed(groups, entries), nil
}

// sortListed puts entries in order; of those that differ by their length alone the one
// that lasts longest stays.
func sortListed(groups []ListGroup, entries []listed) []listed {
	same := func(a, b *listed) int {
		x, y := &groups[a.group], &groups[b.group]
		return cmp.Or(a.target.Addr().Compare(b.target.Addr()), cmp.Compare(a.target.Bits(), b.target.Bits()), strings.Compare(a.value, b.value),
			strings.Compare(x.Scope, y.Scope), strings.Compare(x.Type, y.Type), strings.Compare(x.Scenario, y.Scenario))
	}
	slices.SortFunc(entries, func(a, b listed) int { return cmp.Or(same(&a, &b), cmp.Compare(b.lasts, a.lasts)) })
	return slices.CompactFunc(entries, func(a, b listed) bool { return same(&a, &b) == 0 })
}

// resolve compares the list with what runs. It returns nil when nothing is to be done. The
// committer's.
func (r *replacement) resolve(v *View) *replaceList {
	l := r.list
	r.change = ListChange{Entries: len(r.entries), Unreadable: r.change.Unreadable}
	running := r.runs(v)
	r.change.Before = len(running)
	if l.Own && r.change.Foreign > 0 {
		r.change.Held = true
		return nil
	}
	named := r.found(v, r.deleted)
	if !l.Partial && !l.Shrunken && 2*(len(r.entries)+l.Exempt) < len(running) {
		r.change.Held = true
	}
	var ends []uint64
	begins, renewed := 0, 0
	stay := make([]uint64, 0, len(r.entries)) // ascending, once sorted
	if !r.change.Held {
		begins, renewed, stay = r.compare(v, stay)
	}
	for _, id := range running {
		_, in := slices.BinarySearch(stay, id)
		_, taken := slices.BinarySearch(named, id)
		if !in && (taken || !l.Partial && !r.change.Held) {
			ends = append(ends, id)
		}
	}
	r.change.Renewed, r.change.Begun = renewed, begins-renewed
	r.change.Ended = max(len(ends)-renewed, 0)
	if begins == 0 && len(ends) == 0 {
		return nil
	}
	o := &replaceList{ends: endDecisions{at: r.now, ids: ends}, add: addAlerts{at: r.now, pace: r.pace}}
	if begins > 0 && !r.dry {
		o.add.alerts = []incoming{r.alert(begins)}
	}
	return o
}

// runs lists the running decisions of the list, by ascending id.
func (r *replacement) runs(v *View) (ids []uint64) {
	q := &Query{Now: r.now, Origin: Word{true, r.list.Origin}, Simulated: true, Limit: -1}
	if r.list.Origin == OriginLists {
		q.Scenario = Word{true, r.list.Name}
	}
	scan, buf, i := v.Scan(q), make([]Decision, stretchOfWork), 0
	for batch := scan.Running(buf); len(batch) > 0; batch = scan.Running(buf) {
		for _, d := range batch {
			if r.owns(v, d.rec) {
				ids = append(ids, d.rec.id)
			} else if r.list.Own {
				r.change.Foreign++
			}
			r.pace.step(i)
			i++
		}
	}
	return ids
}

// owns tells decisions of operators' lists from those of pulled ones.
func (r *replacement) owns(v *View, rec *record) bool {
	return v.state.ofOwnList(rec) == r.list.Own
}

// ofOwnList reports whether an operator's list holds a record.
func (s *state) ofOwnList(r *record) bool {
	h := s.alerts.At(r.alert)
	return h != nil && h.batch == listBatch
}

// found lists the running decisions of the list on deleted values, by ascending id. Their
// scenario and type are not asked for.
func (r *replacement) found(v *View, deleted []listed) (ids []uint64) {
	origin, ok := v.state.strings.Lookup(r.list.Origin)
	if !ok {
		return nil
	}
	for i := range deleted {
		r.pace.step(i)
		d := &deleted[i]
		v.eachOn(d, func(rec *record) {
			if v.state.wordsOf(rec).Origin == origin && v.running(rec, r.now) && r.owns(v, rec) && equalFold(v.state.strings.At(v.state.wordsOf(rec).Scope), r.list.Deleted[d.group].Scope) {
				ids = append(ids, rec.id)
			}
		})
	}
	slices.Sort(ids)
	return ids
}

func equalFold(a, b string) bool { return len(a) == len(b) && equalFoldASCII(a, b) }

// eachOn walks the records on a value that is spelled alike.
func (v *View) eachOn(l *listed, visit func(*record)) {
	var at slot
	p := makePlan("", l.value, l.target)
	text, ok := v.state.strings.Lookup(p.value)
	if !ok {
		return
	}
	if l.target.IsValid() {
		at = v.state.lookup(l.target)
	} else {
		at = v.state.values.Get(text)
	}
	for at != 0 {
		rec := v.state.records.At(at)
		if v.shows(rec) && v.state.textOf(rec) == text && (rec.flags()&flagSlash != 0) == (p.slash && l.target.IsValid()) {
			visit(rec)
		}
		at = slot(rec.next.Load())
	}
}

// compare finds out which entries begin, and which decisions stay (by ascending id). Those
// that are there and begin anew are counted.
func (r *replacement) compare(v *View, stay []uint64) (begins, renewed int, _ []uint64) {
	words := make([]Wording, len(r.list.Groups))
	for i := range r.list.Groups {
		g := &r.list.Groups[i]
		word := func(text string) uint32 {
			if n, ok := v.state.strings.Lookup(text); ok {
				return n
			}
			return noWord
		}
		words[i] = Wording{word(g.Scope), word(g.Type), word(r.list.Origin), word(g.Scenario)}
	}
	for i := range r.entries {
		r.pace.step(i)
		l := &r.entries[i]
		if l.begin = false; l.target.IsValid() && len(v.Allowlisted(nil, l.target, r.now)) > 0 {
			r.change.Allowlisted++
			continue
		}
		w := &words[l.group]
		var best *record
		v.eachOn(l, func(rec *record) {
			if v.state.wordsOf(rec) == *w && v.running(rec, r.now) && r.owns(v, rec) && (best == nil || rec.until > best.until) {
				best = rec
			}
		})
		if best != nil && r.good(best, l) {
			stay = append(stay, best.id)
			continue
		}
		if l.begin = true; best != nil {
			renewed++
		}
		begins++
	}
	slices.Sort(stay)
	return begins, renewed, stay
}

// noWord is the number of no text.
const noWord = ^uint32(0)

// good reports whether a decision may stay as it is.
func (r *replacement) good(rec *record, l *listed) bool {
	left := Left(rec.until, r.now)
	quarter := int64(l.lasts / 4)
	least := quarter
	if quarter > 0 {
		least += int64(scramble(rec.id) % uint64(2*quarter))
	}
	// A length that is not longer than Outlast is begun anew at each replacement.
	return left <= int64(l.lasts) && left >= max(least, int64(r.list.Outlast))
}

// alert is the list's, with the decisions that begin.
func (r *replacement) alert(begins int) incoming {
	l := r.list
	at := Stamp{At: r.now - r.now%int64(time.Second)}
	a := &Alert{
		Scenario:  fmt.Sprintf("update : +%d/-%d IPs", begins, r.change.Ended),
		Kind:      "capi",
		CreatedAt: r.now, Remediation: true, StartAt: at, StopAt: at, Source: Source{Scope: "crowdsecurity/community-blocklist"},
	}
	if l.Origin == OriginLists {
		a.Source.Scope = "lists:" + l.Name
	}
	if l.Own {
		a.Kind = "cscli"
	}
	in := incoming{body: a.appendBody(nil), scenario: a.Scenario, startAt: at.At, community: true, plans: make([]plan, 0, begins)}
	if l.Own {
		in.batch = Batch{Name: l.Name, List: true}
	}
	for i := range r.entries {
		e := &r.entries[i]
		if !e.begin {
			continue
		}
		g := &l.Groups[e.group]
		p := makePlan(g.Scope, e.value, e.target)
		p.until, p.kind, p.origin, p.scenario = Later(at.At, e.lasts), g.Type, l.Origin, g.Scenario
		in.plans = append(in.plans, p)
	}
	return in
}

// replaceList ends decisions of a list and brings an alert with those that begin, if any.
type replaceList struct {
	ends endDecisions
	add  addAlerts
}

func (*replaceList) number() byte { return numberReplaceList }
func (o *replaceList) append(dst []byte) []byte {
	dst = endRow(o.ends.append(dst), len(dst))
	return o.add.append(dst)
}
func (o *replaceList) decode(d *decoder) {
	o.ends.decodeRow(d)
	o.add.decode(d)
}
func (o *replaceList) apply(s *state, rev Revision) {
	o.ends.apply(s, rev)
	o.add.apply(s, rev)
}
