package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Allowlist is a named list of addresses and ranges that are never banned by
// alerts. A *Allowlist is a value.
type Allowlist struct {
	Name        string
	Description string
	CreatedAt   int64 // Unix nanoseconds
	UpdatedAt   int64
	Items       []AllowlistItem // in order of addition

	ConsoleID   string // the console's id of it; "": it has none
	FromConsole bool   // the console manages it, and nobody else may change it
}

// AllowlistItem is one address or range of an allowlist.
type AllowlistItem struct {
	Value     string       // as written by the operator
	Prefix    netip.Prefix // what it means, as ParseTarget gives it
	Comment   string
	CreatedAt int64
	ExpiresAt int64 // 0: never
}

// Expired reports whether the item no longer counts at now (Unix nanoseconds).
func (i *AllowlistItem) Expired(now int64) bool { return i.ExpiresAt != 0 && i.ExpiresAt <= now }

// AllowlistMatch is one item that covers, or lies inside, what was asked for.
type AllowlistMatch struct {
	List string
	Item *AllowlistItem
}

// Reason is the contract's sentence for a match: "<item> from <list>", with
// the comment in parentheses when there is one.
func (m AllowlistMatch) Reason() string {
	s := m.Item.Value + " from " + m.List
	if m.Item.Comment != "" {
		s += " (" + m.Item.Comment + ")"
	}
	return s
}

// CreateAllowlist makes an empty list. A taken name is ErrExists, a text that is
// too long ErrInvalid.
func (e *Engine) CreateAllowlist(ctx context.Context, name, description string, now int64) error {
	list := Allowlist{Name: name, Description: description, CreatedAt: now, UpdatedAt: now}
	if err := list.fits(); err != nil {
		return err
	}
	return e.propose(ctx, &proposal{key: "allowlist", resolve: func(v *View) (op, error) {
		if v.Allowlist(name) != nil {
			return nil, exists(NounAllowlist, name)
		}
		return &putAllowlist{list: list}, nil
	}})
}

// DeleteAllowlist removes a list. ErrNotFound when there is none, ErrRefused for one that
// the console manages, and, unless it is forced, for one that a bouncer's sight or an export names: what it
// covers would be told from then on.
func (e *Engine) DeleteAllowlist(ctx context.Context, name string, force bool) error {
	return e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		if err := v.mayChange(name); err != nil {
			return nil, err
		}
		if by := v.AllowlistUsers(name); by != "" && !force {
			return nil, &Error{Kind: ErrRefused, Noun: NounAllowlist, Name: name,
				Text: fmt.Sprintf("the allowlist '%s' is named by %s, which would tell of what it covers: take it out there first, or force the deletion", name, by)}
		}
		return &dropAllowlist{name: name}, nil
	}})
}

// AllowlistUsers says which bouncers' sights and which exports name a list, be it there or not: some of their names in
// words; "" for none. Rows that were made from a bouncer's key are not counted.
func (v *View) AllowlistUsers(name string) string {
	var bouncers, exports []string
	v.bouncers.order.All(func(r *BouncerRow) bool {
		if b := r.Load(); b.Sight != nil && !b.AutoCreated && slices.Contains(b.Sight.Allowlists, name) {
			bouncers = append(bouncers, b.Name)
		}
		return true
	})
	for _, x := range v.Exports() {
		if slices.Contains(x.Allowlists, name) {
			exports = append(exports, x.Name)
		}
	}
	var by []string
	for _, of := range []struct {
		one, more string
		names     []string
	}{{"the sight of the bouncer", "the sights of %d bouncers", bouncers}, {"the export", "%d exports", exports}} {
		const named = 5
		list := "'" + strings.Join(of.names[:min(named, len(of.names))], "', '") + "'"
		switch n := len(of.names); {
		case n == 1:
			by = append(by, of.one+" "+list)
		case n > named:
			by = append(by, fmt.Sprintf(of.more, n)+" ("+list+", …)")
		case n > 1:
			by = append(by, fmt.Sprintf(of.more, n)+" ("+list+")")
		}
	}
	return strings.Join(by, " and ")
}

// mayChange is the error of a local change of a list: it is not there, or not ours.
func (v *View) mayChange(name string) error {
	l := v.Allowlist(name)
	if l == nil {
		return notFound(NounAllowlist, name)
	}
	return l.refusesLocal()
}

// AddToAllowlist adds the items whose value the list does not have yet, and
// ends the running decisions that overlap what was added, in one commit. It
// says how many of each. ErrInvalid when a text is too long, an item has no prefix,
// or the lists would have too many items, ErrRefused for a list that the console manages:
// then none is added.
func (e *Engine) AddToAllowlist(ctx context.Context, name string, items []AllowlistItem, now int64) (added, ended int, err error) {
	if err := itemsFit(items); err != nil {
		return 0, 0, err
	}
	o := &extendAllowlist{name: name, at: now}
	err = e.propose(ctx, &proposal{key: everything, answer: o, resolve: func(v *View) (op, error) {
		if err := v.extend(o, items); err != nil || len(o.items) == 0 {
			return nil, err
		}
		return o, nil
	}})
	if err != nil {
		return 0, 0, err
	}
	return len(o.items), o.ends.ended, nil
}

// WouldAllowlist says what AddToAllowlist would do now, and does nothing: how many items it
// would add, and which running decisions it would end, by ascending id. Its errors are the
// same.
func (v *View) WouldAllowlist(name string, items []AllowlistItem, now int64) (added int, ends []Decision, err error) {
	if err := itemsFit(items); err != nil {
		return 0, nil, err
	}
	o := &extendAllowlist{name: name, at: now}
	if err := v.extend(o, items); err != nil {
		return 0, nil, err
	}
	for _, id := range o.ends.ids {
		if d, ok := v.Decision(DecisionID(id)); ok {
			ends = append(ends, d)
		}
	}
	return len(o.items), ends, nil
}

// extend finds out what an addition means on this view; nothing when it has no items.
func (v *View) extend(o *extendAllowlist, items []AllowlistItem) error {
	if err := v.mayChange(o.name); err != nil {
		return err
	}
	o.items = v.lacking(o.name, items, o.at)
	added := len(o.items)
	if added == 0 {
		return nil
	}
	if v.allowlists.live+added > mostItems {
		return &Error{Kind: ErrInvalid, Text: fmt.Sprintf("allowlists have %d items, and at most %d: these are %d more", v.allowlists.live, mostItems, added)}
	}
	o.ends.at, o.ends.ids = o.at, v.overlapped(o.items, o.at)
	return nil
}

// lacking returns the items, dated, whose value the list does not have.
func (v *View) lacking(list string, items []AllowlistItem, now int64) []AllowlistItem {
	seen := make(map[string]bool, len(items))
	fresh := make([]AllowlistItem, 0, len(items))
	for _, it := range items {
		if v.allowlists.find(list, it.Value, it.Prefix) == nil && !seen[it.Value] {
			seen[it.Value] = true
			it.CreatedAt = now
			fresh = append(fresh, it)
		}
	}
	return fresh
}

// overlapped lists the running decisions that contain an item or lie inside
// one, by ascending id. Where allowlists win those that only contain one run on: bouncers
// are told them without it, and what lies beside it stays banned.
func (v *View) overlapped(items []AllowlistItem, now int64) []uint64 {
	ids := map[uint64]struct{}{}
	var found []Decision
	for i := range items {
		if items[i].Expired(now) {
			continue
		}
		for _, inside := range [...]bool{false, true} {
			if !inside && v.AllowlistsWin() {
				continue
			}
			q := &Query{Now: now, Address: items[i].Prefix, Inside: inside, Simulated: true, Limit: -1}
			found = v.Find(found[:0], q)
			for _, d := range found {
				ids[uint64(d.ID())] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// RemoveFromAllowlist removes values from a list and says how many were there. ErrRefused
// for a list that the console manages.
func (e *Engine) RemoveFromAllowlist(ctx context.Context, name string, values []string, now int64) (int, error) {
	removed, o := 0, &reduceAllowlist{name: name, at: now}
	p := &proposal{key: "allowlist", answer: o, resolve: func(v *View) (op, error) {
		if err := v.mayChange(name); err != nil {
			return nil, err
		}
		o.values = o.values[:0]
		for _, value := range values {
			if p, ok := parseTarget(value); ok && v.allowlists.find(name, value, p) != nil {
				o.values = append(o.values, value)
			}
		}
		slices.Sort(o.values)
		o.values = slices.Compact(o.values)
		if removed = len(o.values); removed == 0 {
			return nil, nil
		}
		return o, nil
	}}
	err := e.propose(ctx, p)
	if p.known {
		removed = len(o.values)
	}
	return removed, err
}

// putAllowlist stores a whole list, and ends the decisions it newly overlaps, in one
// commit. It begins a list; changes are extendAllowlist and reduceAllowlist, because a
// list may be long. Older programs wrote the whole list at each change.
type putAllowlist struct {
	list Allowlist
	ends endDecisions
}

func (*putAllowlist) number() byte { return numberPutAllowlist }
func (o *putAllowlist) append(dst []byte) []byte {
	dst = o.list.append(dst)
	return endRow(o.ends.append(dst), len(dst))
}
func (o *putAllowlist) decode(d *decoder) {
	o.list.decode(d)
	o.ends.decodeRow(d)
}
func (o *putAllowlist) apply(s *state, rev Revision) {
	l := o.list
	s.next.allowlists = s.next.allowlists.with(&l)
	o.ends.applyFor(s, rev, l.Name)
}

// decodeRow reads the ends that hang on a change of a list.
func (o *endDecisions) decodeRow(d *decoder) {
	behind := d.open()
	o.decode(d)
	d.close(behind)
}

// applyFor ends decisions because of a list.
func (o *endDecisions) applyFor(s *state, rev Revision, list string) {
	by := s.actor
	s.actor = Actor{ActorAllowlist, list}.bounded()
	o.apply(s, rev)
	s.actor = by
}

// extendAllowlist adds items to a list, and ends the decisions they overlap, in
// one commit.
type extendAllowlist struct {
	name  string
	at    int64
	items []AllowlistItem
	ends  endDecisions
}

func (*extendAllowlist) number() byte { return numberExtendAllowlist }
func (o *extendAllowlist) append(dst []byte) []byte {
	dst = binary.AppendVarint(appendString(dst, o.name), o.at)
	dst = appendItems(dst, o.items)
	return endRow(o.ends.append(dst), len(dst))
}
func (o *extendAllowlist) decode(d *decoder) {
	o.name, o.at = d.string(), d.varint()
	o.items = decodeItems(d)
	o.ends.decodeRow(d)
}
func (o *extendAllowlist) apply(s *state, rev Revision) {
	if s.next.allowlists.byName[o.name] != nil {
		s.next.allowlists = s.next.allowlists.extended(o.name, o.items, o.at)
	}
	o.ends.applyFor(s, rev, o.name)
}

// reduceAllowlist takes values out of a list, and those that had expired by a
// moment.
type reduceAllowlist struct {
	name    string
	at      int64 // 0: the list was not changed by a caller, items of it expired
	values  []string
	expired int64 // 0: none
}

func (*reduceAllowlist) number() byte { return numberReduceAllowlist }
func (o *reduceAllowlist) append(dst []byte) []byte {
	dst = binary.AppendVarint(appendString(dst, o.name), o.at)
	return binary.AppendVarint(appendStrings(dst, o.values), o.expired)
}
func (o *reduceAllowlist) decode(d *decoder) {
	o.name, o.at = d.string(), d.varint()
	o.values, o.expired = d.strings(), d.varint()
}
func (o *reduceAllowlist) apply(s *state, rev Revision) {
	if s.next.allowlists.byName[o.name] == nil {
		return
	}
	out := withValues(o.values)
	s.next.allowlists = s.next.allowlists.reduced(o.name, func(it *AllowlistItem) bool {
		return out(it) || o.expired != 0 && it.Expired(o.expired)
	}, o.at)
}

// dropAllowlist removes a list.
type dropAllowlist struct{ name string }

func (*dropAllowlist) number() byte               { return numberDropAllowlist }
func (o *dropAllowlist) append(dst []byte) []byte { return appendString(dst, o.name) }
func (o *dropAllowlist) decode(d *decoder)        { o.name = d.string() }
func (o *dropAllowlist) apply(s *state, rev Revision) {
	s.next.allowlists = s.next.allowlists.without(o.name)
}

func (l *Allowlist) append(dst []byte) []byte { return appendItems(l.appendHead(dst), l.Items) }

func (l *Allowlist) decode(d *decoder) {
	l.decodeHead(d)
	l.Items = decodeItems(d)
}

// appendHead writes everything but the items, as a row.
func (l *Allowlist) appendHead(dst []byte) []byte {
	return endRow(l.appendHeadFields(dst), len(dst))
}

func (l *Allowlist) appendHeadFields(dst []byte) []byte {
	dst = appendString(appendString(dst, l.Name), l.Description)
	dst = binary.AppendVarint(binary.AppendVarint(dst, l.CreatedAt), l.UpdatedAt)
	return l.appendConsole(dst)
}

// appendForDigest is the list as the first digests had it.
func (l *Allowlist) appendForDigest(dst []byte) []byte {
	dst = binary.AppendUvarint(l.appendHeadFields(dst), uint64(len(l.Items)))
	for i := range l.Items {
		dst = l.Items[i].appendFields(dst)
	}
	return dst
}

func (l *Allowlist) decodeHead(d *decoder) {
	behind := d.open()
	l.Name, l.Description = d.string(), d.string()
	l.CreatedAt, l.UpdatedAt = d.varint(), d.varint()
	l.decodeConsole(d)
	d.close(behind)
}

func appendItems(dst []byte, items []AllowlistItem) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(items)))
	for i := range items {
		dst = endRow(items[i].appendFields(dst), len(dst))
	}
	return dst
}

func (it *AllowlistItem) appendFields(dst []byte) []byte {
	dst = appendPrefix(appendString(dst, it.Value), it.Prefix)
	dst = appendString(dst, it.Comment)
	return binary.AppendVarint(binary.AppendVarint(dst, it.CreatedAt), it.ExpiresAt)
}

func decodeItems(d *decoder) []AllowlistItem {
	items := make([]AllowlistItem, d.count(smallestItem))
	for i := range items {
		it, behind := &items[i], d.open()
		it.Value, it.Prefix, it.Comment = d.string(), d.prefix(), d.string()
		it.CreatedAt, it.ExpiresAt = d.varint(), d.varint()
		d.close(behind)
		if !it.Prefix.IsValid() {
			d.fail()
		}
	}
	return items
}

// smallestItem is how many bytes an item has at least.
const smallestItem = 5

// size is about how many bytes appendItems writes for the item.
func (i *AllowlistItem) size() int { return len(i.Value) + len(i.Comment) + 36 }
