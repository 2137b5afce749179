package movein

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"lapid/engine"
)

// A database is taken over more than once: on trial, and for good. What was taken before
// is known again, and made equal to what the database has now; what was stored here
// otherwise stays as it is. An alert is known by its UUID, or one that follows from what it
// is; a decision by its own, or by what it says; people and lists by their names.

// recordName is the secret under which a store remembers what it took over. It is in the
// store itself, so the two are never apart.
const recordName = "movein"

// record is what was taken over the last time.
type record struct {
	Source   string              `json:"source"`
	At       int64               `json:"at"`     // Unix nanoseconds
	Alerts   [][2]uint64         `json:"alerts"` // ranges of ids here, both ends included
	Machines []string            `json:"machines"`
	Bouncers []string            `json:"bouncers"`
	Lists    []string            `json:"lists"`
	Own      map[string][]string `json:"own,omitempty"`     // items of its lists that were added here
	Partial  bool                `json:"partial,omitempty"` // there was no room for all of it: what is gone is not noticed

	// How each of them was left, by its name behind a letter (marks.go), and the items of each
	// list that were taken. Missing: there was no room, or an earlier program wrote this, and
	// what was changed here is not told from what was changed there.
	Marks map[string]mark   `json:"marks,omitempty"`
	Items map[string][]byte `json:"items,omitempty"`
}

// mostRecord bounds a record, in bytes: a secret has room for 64 KiB.
const mostRecord = 60 << 10

func lastRecord(v *engine.View) (*record, error) {
	text := v.Secret(recordName)
	if text == nil {
		return nil, nil
	}
	r := &record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("what the store remembers of the last taking over cannot be read: %w", err)
	}
	return r, nil
}

// Changes is what a taking over has changed in a store.
type Changes struct {
	NewAlerts      int64 `json:"new_alerts"`
	NewDecisions   int64 `json:"new_decisions"`
	EndedDecisions int64 `json:"ended_decisions"`
	RemovedAlerts  int64 `json:"removed_alerts"`
	Removed        int64 `json:"removed_others"` // machines, bouncers, allowlists and items of them
	Revised        int64 `json:"revised"`        // decisions that have another end, value or type there now: they ended here, and what is there was brought in their place
	Differing      int64 `json:"differing"`      // decisions that run there and were ended here, by whom it may be: they stay so
	Replaced       int64 `json:"replaced"`       // machines and bouncers that were made or changed here, and have the password or key from there now
	Renumbered     int64 `json:"renumbered"`     // alerts and decisions that could not keep their number

	// Stays is what was changed or removed here since the last taking over, and is still as
	// it is here. nil: nothing.
	Stays *Stays `json:"changed_here,omitempty"`
	// Replacing names some of those Replaced. nil: none.
	Replacing *Named `json:"replacing,omitempty"`
}

// remember reads what the store has. Nothing of it is there in a new one.
func (b *Bringer) remember(ctx context.Context) (err error) {
	v := b.e.View()
	if b.last, err = lastRecord(v); err != nil {
		return err
	}
	b.known = map[engine.UUID]engine.AlertID{}
	return b.e.Alerts(ctx, v, &engine.AlertQuery{Now: b.now, Ascending: true, WithoutDecisions: true}, func(a *engine.Alert, _ []engine.Decision) bool {
		b.known[a.UUID] = a.ID
		return true
	})
}

// again makes the decisions of an alert that is here equal to what they are there. It
// returns what is new of them.
func (b *Bringer) again(ctx context.Context, a *Alert, id engine.AlertID, taken []Decision) (more []engine.Brought, err error) {
	b.seen[id] = true
	_, ours, err := b.e.Alert(b.e.View(), id)
	if err != nil {
		return nil, err
	}
	m := newMatching(ours)
	found := m.find(taken)
	for i := range taken {
		d, at := &taken[i], found[i]
		var one []engine.Brought
		if at < 0 {
			one, err = b.addition(a, d)
		} else {
			one, err = b.level(a, d, ours[at])
		}
		if err != nil {
			return nil, err
		}
		more = append(more, one...)
	}
	for i := range ours {
		if !m.taken[i] && !a.Unread && ours[i].Running(b.now) {
			b.ends = append(b.ends, ours[i].ID())
		}
	}
	return more, nil
}

// addition is a decision that an alert got after it was taken over. It gets an alert like
// that one, for what is stored of an alert does not change.
func (b *Bringer) addition(a *Alert, d *Decision) ([]engine.Brought, error) {
	one := broughtOf(a, []Decision{*d}, 0)
	one.ID, one.Alert.UUID = 0, derivedUUID(&Alert{Alert: a.Alert, Taken: []Decision{*d}}, 0)
	id, there := b.known[one.Alert.UUID]
	if !there {
		return []engine.Brought{one}, nil
	}
	b.seen[id] = true
	_, ours, err := b.e.Alert(b.e.View(), id)
	if err != nil || len(ours) == 0 {
		return nil, err
	}
	return b.level(a, d, ours[0])
}

// level makes a decision equal to what it is there: it ends one that is over there, and one
// that is there with another end, value or type, for which it returns what is to be brought
// in its place. One that was ended here stays so.
func (b *Bringer) level(a *Alert, d *Decision, ours engine.Decision) (more []engine.Brought, err error) {
	theirs := d.Until > b.now
	if ours.Running(b.now) && theirs && d.is(ours) {
		return nil, nil
	}
	next, ours, err := b.revisions(a, d, ours)
	if err != nil {
		return nil, err
	}
	switch {
	case !theirs:
		if ours.Running(b.now) {
			b.ends = append(b.ends, ours.ID())
		}
	case ours.Running(b.now) && d.is(ours):
	case ours.Ended():
		b.Changes.Differing++
	default: // it runs with something else, or had its end here before that was changed there
		if ours.Running(b.now) {
			b.ends = append(b.ends, ours.ID())
			b.superseded++
		}
		one := broughtOf(a, []Decision{*d}, 0)
		one.ID, one.Alert.UUID = 0, next
		one.Decisions[0].ID, one.Decisions[0].UUID = 0, engine.UUID{}
		b.Changes.Revised++
		return []engine.Brought{one}, nil
	}
	return nil, nil
}

// revisions goes through what was brought in place of a decision before, one after the other,
// and returns the last of them and the UUID of the next. Those before it end, if a taking
// over was interrupted before they had.
func (b *Bringer) revisions(a *Alert, d *Decision, ours engine.Decision) (next engine.UUID, last engine.Decision, err error) {
	for n := uint64(1); ; n++ {
		next = revisionUUID(a, d, n)
		id, there := b.known[next]
		if !there {
			return next, ours, nil
		}
		b.seen[id] = true
		_, list, err := b.e.Alert(b.e.View(), id)
		if err != nil {
			return next, ours, err
		}
		if len(list) == 0 {
			continue
		}
		if ours.Running(b.now) {
			b.ends = append(b.ends, ours.ID())
			b.superseded++
		}
		ours = list[0]
	}
}

func revisionUUID(a *Alert, d *Decision, n uint64) engine.UUID {
	text := []byte("revision")
	for _, number := range []uint64{uint64(a.Number), uint64(d.Number), n} {
		text = binary.BigEndian.AppendUint64(text, number)
	}
	return uuidOf(append(append(text, d.UUID[:]...), a.Scenario...))
}

// is tells whether a decision here says what one there does. Long words are cut here.
func (d *Decision) is(ours engine.Decision) bool {
	same := func(theirs, ours string) bool {
		return theirs == ours || len(ours) > engine.LongestName-utf8.UTFMax && strings.HasPrefix(theirs, ours)
	}
	return ours.Decided() == d.Until && ours.Value() == d.Value && same(d.Scope, ours.Scope().S) && same(d.Type, ours.Type().S)
}

// endAll ends what was noted: behind all that was brought, so that nothing that is brought in
// place of another is missing in between.
func (b *Bringer) endAll(ctx context.Context) error {
	for from := 0; from < len(b.ends); from += mostDecisions {
		n, err := b.e.EndBrought(ctx, b.ends[from:min(from+mostDecisions, len(b.ends))], b.now)
		if err != nil {
			return err
		}
		b.Changes.EndedDecisions += int64(n)
	}
	b.Changes.EndedDecisions = max(0, b.Changes.EndedDecisions-int64(b.superseded))
	b.ends, b.superseded = nil, 0
	return nil
}

// matching finds decisions among those of one alert here, each of them once.
type matching struct {
	ours  []engine.Decision
	taken []bool
	uuid  map[engine.UUID][]int
	alike map[saying][]int // in the order of their ids
}

// saying is what a decision says.
type saying struct{ scope, value, kind, origin, scenario string }

func newMatching(ours []engine.Decision) *matching {
	m := &matching{ours: ours, taken: make([]bool, len(ours)), uuid: make(map[engine.UUID][]int, len(ours)), alike: make(map[saying][]int, len(ours))}
	for i, d := range ours {
		m.uuid[d.UUID()] = append(m.uuid[d.UUID()], i)
		s := sayingOf(d)
		m.alike[s] = append(m.alike[s], i)
	}
	return m
}

func sayingOf(d engine.Decision) saying {
	return saying{d.Scope().S, d.Value(), d.Type().S, d.Origin().S, d.Scenario().S}
}

// find finds decisions by their UUID and what they say, then by their UUID, which may be that of
// several, then by what they say: of those that are alike the one with its number before
// others. -1: it is not here.
func (m *matching) find(theirs []Decision) (found []int) {
	for range theirs {
		found = append(found, -1)
	}
	for _, among := range []func(*Decision) []int{m.same, m.named, m.likely} {
		for i := range theirs {
			if found[i] < 0 {
				found[i] = m.take(&theirs[i], among(&theirs[i]))
			}
		}
	}
	return found
}

func (m *matching) same(d *Decision) (both []int) {
	for _, i := range m.named(d) {
		if sayingOf(m.ours[i]) == d.says() {
			both = append(both, i)
		}
	}
	return both
}

func (m *matching) named(d *Decision) []int { return m.uuid[d.UUID] }

func (m *matching) likely(d *Decision) []int { return m.alike[d.says()] }

func (d *Decision) says() saying { return saying{d.Scope, d.Value, d.Type, d.Origin, d.Scenario} }

// take takes one of those that are not taken.
func (m *matching) take(d *Decision, among []int) int {
	found := -1
	for _, i := range among {
		if !m.taken[i] && (found < 0 || m.ours[i].ID() == engine.DecisionID(d.Number)) {
			found = i
		}
	}
	if found >= 0 {
		m.taken[found] = true
	}
	return found
}

// Finish removes what was taken over before and is gone from the source, and has the
// store remember this taking over. It is called once, behind the last row.
func (b *Bringer) Finish(ctx context.Context, tally *Tally) error {
	if err := b.settle(ctx, tally); err != nil {
		return err
	}
	return b.keep(ctx, tally)
}

// settle removes what is gone.
func (b *Bringer) settle(ctx context.Context, tally *Tally) error {
	b.spare(tally)
	if err := b.endAll(ctx); err != nil {
		return err
	}
	if b.last == nil || b.last.Partial {
		return nil
	}
	return b.sweep(ctx)
}

// spare counts what could not be read as there, if it was taken over before.
func (b *Bringer) spare(tally *Tally) {
	if b.last == nil {
		return
	}
	of := func(table *relation, were []string, are *[]string) {
		names, all := tally.unread(table)
		if all {
			names = were
			if t := tally.table(table); len(were) > 0 {
				t.remark(0, "of some it cannot be read which they are: nothing of this table that was taken over before is removed this time")
			}
		}
		there := make(map[string]bool, len(were)+len(*are))
		for _, name := range were {
			there[name] = true
		}
		for _, name := range *are {
			there[name] = false
		}
		for _, name := range names {
			if there[name] {
				there[name], *are = false, append(*are, name)
			}
		}
	}
	of(machinesTable, b.last.Machines, &b.machines)
	of(bouncersTable, b.last.Bouncers, &b.bouncers)
	of(listsTable, b.last.Lists, &b.lists)
	names, all := tally.unread(alertsTable)
	for _, name := range names {
		if u, ok := parseUUID(name); ok {
			if id, there := b.known[u]; there {
				b.seen[id] = true
			}
		}
	}
	if _, decisions := tally.unread(decisionsTable); all || decisions {
		tally.table(alertsTable).remark(0, "of some, or of decisions without one, it cannot be read which they are: no alert that was taken over before is removed this time")
		for _, r := range b.last.Alerts {
			for id := r[0]; id <= r[1]; id++ {
				b.seen[engine.AlertID(id)] = true
			}
		}
	}
}

// keep has the store remember. What there is no room for is left out, the most telling last.
func (b *Bringer) keep(ctx context.Context, tally *Tally) error {
	r := record{Source: tally.Source, At: b.now, Alerts: ranges(b.seen), Machines: b.machines, Bouncers: b.bouncers, Lists: b.lists, Own: b.own}
	b.look(tally)
	b.mark(&r)
	text, err := json.Marshal(r)
	for _, less := range []func(){
		func() { r.Items = nil },
		func() { r.Marks = nil },
		func() { r.Alerts, r.Machines, r.Bouncers, r.Lists, r.Partial = nil, nil, nil, nil, true },
	} {
		if err != nil || len(text) <= mostRecord {
			break
		}
		less()
		text, err = json.Marshal(r)
	}
	if err != nil {
		return err
	}
	return b.e.KeepSecret(ctx, recordName, text)
}

// sweep removes what is gone.
func (b *Bringer) sweep(ctx context.Context) error {
	var gone []engine.AlertID
	remove := func() error {
		n, err := b.e.RemoveBrought(ctx, gone, b.now)
		b.Changes.RemovedAlerts += int64(n) // others were removed here since
		gone = gone[:0]
		return err
	}
	for _, r := range b.last.Alerts {
		for id := r[0]; id <= r[1]; id++ {
			if b.seen[engine.AlertID(id)] {
				continue
			}
			if gone = append(gone, engine.AlertID(id)); len(gone) < mostAlerts {
				continue
			}
			if err := remove(); err != nil {
				return err
			}
		}
	}
	if err := remove(); err != nil {
		return err
	}
	return b.sweepPeople(ctx)
}

// sweepPeople removes machines, bouncers and lists that are gone. Each is removed by itself,
// in any order, and what is gone here already does not matter.
func (b *Bringer) sweepPeople(ctx context.Context) error {
	v := b.e.View()
	for _, of := range []struct {
		kind      byte
		were, are []string
		there     func(string) bool
		remove    func(context.Context, string) error
	}{
		{markMachine, b.last.Machines, b.machines, func(n string) bool { return v.Machine(n) != nil }, b.e.DeleteMachine},
		{markList, b.last.Lists, b.lists, func(n string) bool { return v.Allowlist(n) != nil }, b.dropList},
	} {
		for _, name := range of.were {
			if slices.Contains(of.are, name) || !of.there(name) || b.changedHere(of.kind, name) {
				continue
			}
			if err := of.remove(ctx, name); errors.Is(err, engine.ErrNotFound) {
				continue
			} else if err != nil {
				return err
			}
			b.Changes.Removed++
		}
	}
	gone := b.goneBouncers(v)
	if b.Changes.Removed += int64(len(gone)); len(gone) == 0 {
		return nil
	}
	return b.e.PruneBouncers(ctx, gone)
}

// goneBouncers are those that are gone, with the rows that their keys made here from further
// addresses: a key that does not work there any more must not go on here. Rows that the
// source has stay, also where the one that they were made for has gone.
func (b *Bringer) goneBouncers(v *engine.View) (gone []string) {
	stays := make(map[string]bool, len(b.bouncers))
	for _, name := range b.bouncers {
		stays[name] = true
	}
	keys := map[string]engine.KeyHash{} // of those that are gone, by their names
	for _, name := range b.last.Bouncers {
		row := v.Bouncer(name)
		if row == nil || stays[name] || b.changedHere(markBouncer, name) {
			continue
		}
		gone, stays[name] = append(gone, name), true
		if x := row.Load(); !x.AutoCreated && x.AuthType == engine.AuthAPIKey {
			keys[engine.BaseName(name)] = x.KeyHash
		}
	}
	v.EachBouncer(func(row *engine.BouncerRow) bool {
		x := row.Load()
		if key, of := keys[engine.BaseName(x.Name)]; of && x.AutoCreated && x.AuthType == engine.AuthAPIKey && x.KeyHash == key && !stays[x.Name] {
			gone = append(gone, x.Name)
		}
		return true
	})
	return gone
}

// dropList removes a list that is gone, whoever managed it. One of the console's without an id
// stays: nobody here may remove it, and the console says what becomes of it.
func (b *Bringer) dropList(ctx context.Context, name string) error {
	l := b.e.View().Allowlist(name)
	if l == nil || !l.FromConsole {
		return b.e.DeleteAllowlist(ctx, name, true)
	}
	if l.ConsoleID == "" {
		b.Changes.Removed--
		return nil
	}
	_, err := b.e.DropConsoleAllowlist(ctx, l.ConsoleID)
	return err
}

// ranges writes a set of ids as ranges.
func ranges(seen map[engine.AlertID]bool) (list [][2]uint64) {
	ids := make([]uint64, 0, len(seen))
	for id := range seen {
		ids = append(ids, uint64(id))
	}
	slices.Sort(ids)
	for _, id := range ids {
		if n := len(list); n > 0 && list[n-1][1]+1 == id {
			list[n-1][1] = id
		} else {
			list = append(list, [2]uint64{id, id})
		}
	}
	return list
}

// errAnother is about a store that was made from something else.
var errAnother = errors.New("the store was taken over from another database: none of the machines and bouncers from there is in this one")

// sameSource looks, once all people of the source are known, whether they are those of the
// last time.
func (b *Bringer) sameSource() error {
	if b.last == nil || b.last.Partial || len(b.last.Machines)+len(b.last.Bouncers) == 0 {
		return nil
	}
	for _, of := range [][2][]string{{b.last.Machines, b.machines}, {b.last.Bouncers, b.bouncers}} {
		for _, name := range of[0] {
			if slices.Contains(of[1], name) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w (that was %s)", errAnother, b.last.Source)
}
