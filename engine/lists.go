package engine

import (
	"encoding/binary"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// Operations on allowlists and usage metrics.

// putAllowlist stores a list as it is from now on, and ends the decisions it
// newly overlaps, in one commit. It is how a list begins; what changes in one is
// extendAllowlist and reduceAllowlist, for a list may be long. Older programs
// wrote the whole list each time.
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
	return binary.AppendVarint(binary.AppendVarint(dst, l.CreatedAt), l.UpdatedAt)
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
	at      int64 // 0: nobody changed the list, it ran out
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
	named := make(map[string]bool, len(o.values))
	longest := 0 // most items are told apart by their length alone
	shortest := math.MaxInt
	for _, value := range o.values {
		named[value] = true
		shortest, longest = min(shortest, len(value)), max(longest, len(value))
	}
	s.next.allowlists = s.next.allowlists.reduced(o.name, func(it *AllowlistItem) bool {
		n := len(it.Value)
		return n >= shortest && n <= longest && named[it.Value] || o.expired != 0 && it.Expired(o.expired)
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

// addUsage keeps one report of usage metrics on disk.
type addUsage struct{ usage Usage }

func (*addUsage) number() byte               { return numberAddUsage }
func (o *addUsage) append(dst []byte) []byte { return o.usage.append(dst) }
func (o *addUsage) decode(d *decoder)        { o.usage.decode(d) }
func (o *addUsage) apply(s *state, rev Revision) {
	s.rows.set(rowUsage, usageKey(o.usage.ReceivedAt, o.usage.Kind, o.usage.Name), o.usage.append(nil))
}

// usageVersion begins a report, so that its layout can change; what older programs wrote
// begins with its kind instead, which is a letter.
const usageVersion = 1

func (u *Usage) append(dst []byte) []byte {
	dst = append(dst, usageVersion, byte(u.Kind))
	dst = appendString(dst, u.Name)
	dst = binary.AppendVarint(dst, u.ReceivedAt)
	return appendBytes(appendString(appendString(dst, u.Type), u.Version), u.Payload)
}

func (u *Usage) decode(d *decoder) {
	kind := d.byte()
	if kind == usageVersion {
		kind = d.byte()
	} else if kind < 'A' {
		d.fail() // a layout of a newer program
	}
	u.Kind = UsageKind(kind)
	u.Name = d.string()
	u.ReceivedAt = d.varint()
	u.Type, u.Version = d.string(), d.string()
	u.Payload = slices.Clone(d.bytes())
}

// usageKey sorts reports by time, so that old ones go as one range.
func usageKey(at int64, kind UsageKind, name string) []byte {
	key := binary.BigEndian.AppendUint64(nil, uint64(at))
	return append(append(key, byte(kind)), name...)
}

// dropUsage forgets usage metrics received before a moment.
type dropUsage struct{ before int64 }

func (*dropUsage) number() byte               { return numberDropUsage }
func (o *dropUsage) append(dst []byte) []byte { return binary.AppendVarint(dst, o.before) }
func (o *dropUsage) decode(d *decoder)        { o.before = d.varint() }
func (o *dropUsage) apply(s *state, rev Revision) {
	s.rows.deleteRange(rowUsage, idKey(0), idKey(uint64(max(o.before, 0))))
}

// later moves a time forward and reports whether it did. Visitors may overtake
// each other by a moment; a time that is further ahead than that was noted by a
// wrong clock, and is corrected.
func later(a *atomic.Int64, now int64) bool {
	for {
		old := a.Load()
		if now <= old && old-now < int64(overtaking) {
			return false
		}
		if a.CompareAndSwap(old, now) {
			return true
		}
	}
}

const overtaking = time.Minute
