package movein

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"lapid/engine"
)

// What was changed here since the last taking over stays as it is here, as a ban does that
// was ended here. To know what was, a store remembers how it was left: a mark of the key, the
// password, the items. What is not as it was marked, or is not there, was changed here.

// mark is a fingerprint. "": not known.
type mark string

// The letters before the names of marks.
const (
	markMachine = 'm'
	markBouncer = 'b'
	markList    = 'l'
)

func markOf(what string) mark {
	sum := sha256.Sum256([]byte(what))
	return mark(hex.EncodeToString(sum[:6]))
}

func machineMark(m *engine.Machine) mark {
	return markOf(fmt.Sprintf("machine %q %q %v", m.PasswordHash, m.AuthType, m.Validated))
}

// bouncerMark has the key that is the bouncer's now, so that a rotated one was changed here.
func bouncerMark(v *engine.View, x *engine.Bouncer) mark {
	key := v.CurrentKey(x.KeyHash)
	return markOf(fmt.Sprintf("bouncer %q %q", key[:], x.AuthType))
}

func listMark(l *engine.Allowlist) mark {
	what := []byte("list ")
	for _, item := range slices.SortedFunc(slices.Values(l.Items), func(a, b engine.AllowlistItem) int { return cmp.Compare(a.Value, b.Value) }) {
		if item.ExpiresAt == 0 { // others go by themselves
			what = fmt.Appendf(what, "%q ", item.Value)
		}
	}
	return markOf(string(what))
}

// itemMark tells the items of one list apart, in 6 bytes.
func itemMark(value string) [6]byte {
	sum := sha256.Sum256([]byte(value))
	return [6]byte(sum[:])
}

// markHere is the mark of one as it is here; "": it is not here.
func (b *Bringer) markHere(kind byte, name string) mark {
	v := b.e.View()
	switch kind {
	case markMachine:
		if m := v.Machine(name); m != nil {
			return machineMark(m)
		}
	case markBouncer:
		if row := v.Bouncer(name); row != nil {
			return bouncerMark(v, row.Load())
		}
	case markList:
		if l := v.Allowlist(name); l != nil {
			return listMark(l)
		}
	}
	return ""
}

// tookBefore tells whether one was taken over the last time, and how it was left then.
func (b *Bringer) tookBefore(kind byte, name string) (took bool, left mark) {
	if b.last == nil || b.last.Partial {
		return false, ""
	}
	were := map[byte][]string{markMachine: b.last.Machines, markBouncer: b.last.Bouncers, markList: b.last.Lists}[kind]
	return slices.Contains(were, name), b.last.Marks[string(kind)+name]
}

// changedHere tells whether one that was taken over the last time was changed or removed here
// since, and counts it then: it stays as it is here.
func (b *Bringer) changedHere(kind byte, name string) bool {
	took, left := b.tookBefore(kind, name)
	here := b.markHere(kind, name)
	if changed := took && (here == "" || left != "" && here != left); !changed && !(kind == markList && took && len(b.last.Own[name]) > 0) {
		return false
	}
	b.stays(map[byte]stayKind{markMachine: stayMachine, markBouncer: stayBouncer, markList: stayList}[kind], name)
	return true
}

// replaced counts one that was made or changed here, and is now as it is there.
func (b *Bringer) replaced(kind byte, name string) {
	if took, left := b.tookBefore(kind, name); took && left != "" {
		return // it was as it had been left
	}
	if b.Changes.Replaced++; b.Changes.Replacing == nil {
		b.Changes.Replacing = &Named{}
	}
	b.Changes.Replacing.add(name)
}

// brought notes how one is left, or that it is not here.
func (b *Bringer) brought(kind byte, name string, err error) error {
	var refused Refusal
	switch key := string(kind) + name; {
	case err == nil:
		b.marks[key] = b.markHere(kind, name)
	case errors.As(err, &refused):
		b.refusals[key] = true
	}
	return err
}

// look tells of what was taken over and is not here all the same.
func (b *Bringer) look(tally *Tally) {
	for key := range b.marks {
		if b.markHere(key[0], key[1:]) == "" {
			of := map[byte]*relation{markMachine: machinesTable, markBouncer: bouncersTable, markList: listsTable}[key[0]]
			tally.table(of).remark(0, "was taken over, and removed here meanwhile")
		}
	}
}

// mark puts how everything is left into a record, and takes out of it what is not here for it
// was refused.
func (b *Bringer) mark(r *record) {
	r.Marks, r.Items = map[string]mark{}, b.items
	for kind, names := range map[byte]*[]string{markMachine: &r.Machines, markBouncer: &r.Bouncers, markList: &r.Lists} {
		*names = slices.DeleteFunc(slices.Clone(*names), func(name string) bool {
			took, left := b.tookBefore(kind, name)
			key := string(kind) + name
			if left = cmp.Or(b.marks[key], left); left != "" {
				r.Marks[key] = left
			}
			return b.refusals[key] && !took
		})
	}
	for _, name := range r.Lists {
		if _, read := b.items[name]; !read && b.last != nil && len(b.last.Items[name]) > 0 {
			r.Items[name] = b.last.Items[name]
			if own := b.last.Own[name]; own != nil && r.Own[name] == nil {
				r.Own[name] = own
			}
		}
	}
}

// A Named is how many there are, and the first few of them by name.
type Named struct {
	N     int64    `json:"number"`
	First []string `json:"first"`
}

// mostNamed is how many are named.
const mostNamed = 5

func (n *Named) add(name string) {
	if n.N++; len(n.First) < mostNamed {
		n.First = append(n.First, name)
	}
}

// Stays is what was changed here, by kind.
type Stays struct {
	Machines   Named `json:"machines"`
	Bouncers   Named `json:"bouncers"`
	Allowlists Named `json:"allowlists"`
	Items      Named `json:"allowlist_items"`
	Alerts     Named `json:"alerts"`
}

type stayKind int

const (
	stayMachine stayKind = iota
	stayBouncer
	stayList
	stayItem
	stayAlert
)

// Each yields the kinds by their words.
func (s *Stays) Each(yield func(kind string, n *Named) bool) {
	if s == nil {
		return
	}
	for i, word := range []string{"machines", "bouncers", "allowlists", "allowlist items", "alerts"} {
		if n := s.of(stayKind(i)); n.N > 0 && !yield(word, n) {
			return
		}
	}
}

func (s *Stays) of(kind stayKind) *Named {
	return [...]*Named{&s.Machines, &s.Bouncers, &s.Allowlists, &s.Items, &s.Alerts}[kind]
}

func (b *Bringer) stays(kind stayKind, name string) {
	if b.Changes.Stays == nil {
		b.Changes.Stays = &Stays{}
	}
	b.Changes.Stays.of(kind).add(name)
}

// goneHere tells whether an alert was taken over before and removed here since: it stays gone.
// Numbers are not given twice, so it has gone if its number was taken over and is not here; one
// that is younger than the last taking over is another.
func (b *Bringer) goneHere(p *portion) bool {
	if b.last == nil || p.Part > 0 || p.Number <= 0 || p.CreatedAt > b.last.At-60*second {
		return false
	}
	n := uint64(p.Number)
	if !slices.ContainsFunc(b.last.Alerts, func(r [2]uint64) bool { return r[0] <= n && n <= r[1] }) {
		return false
	}
	if _, _, err := b.e.Alert(b.e.View(), p.ID); !errors.Is(err, engine.ErrNotFound) {
		return false
	}
	b.seen[p.ID] = true
	b.stays(stayAlert, fmt.Sprint(n))
	return true
}

// hereAlready tells whether a decision whose alert could not be read this time is here with
// that alert, from before.
func (b *Bringer) hereAlready(p *portion) bool {
	if b.last == nil || !p.Spoiled || len(p.Taken) != 1 {
		return false
	}
	d := &p.Taken[0]
	ours, there := b.e.View().Decision(engine.DecisionID(d.Number))
	if !there || ours.UUID() != d.UUID && d.UUID != (engine.UUID{}) || !d.is(ours) {
		return false
	}
	b.seen[ours.AlertID()] = true
	return true
}

// itemsOf is a list with those of its items that were not removed from it here.
func (b *Bringer) itemsOf(l *Allowlist, ours *engine.Allowlist) *Allowlist {
	here := map[string]bool{}
	if ours != nil {
		for i := range ours.Items {
			here[ours.Items[i].Value] = true
		}
	}
	var before map[[6]byte]bool
	if b.last != nil && ours != nil {
		before = itemsMarked(b.last.Items[l.Name])
	}
	taken := []byte{}
	left := *l
	left.Items = slices.DeleteFunc(slices.Clone(l.Items), func(item AllowlistItem) bool {
		m := itemMark(item.Value)
		taken = append(taken, m[:]...)
		if !before[m] || here[item.Value] {
			return false
		}
		b.stays(stayItem, l.Name+" "+item.Value)
		return true
	})
	if l.Unread && b.last != nil {
		taken = append(taken, b.last.Items[l.Name]...)
	}
	b.items[l.Name] = taken
	return &left
}

func itemsMarked(list []byte) map[[6]byte]bool {
	all := make(map[[6]byte]bool, len(list)/6)
	for ; len(list) >= 6; list = list[6:] {
		all[[6]byte(list)] = true
	}
	return all
}
