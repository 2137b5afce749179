package engine

import (
	"maps"
	"net/netip"
	"strings"
	"sync/atomic"
)

// KeyHash is the SHA-512 of an API key, the form in which keys are kept.
type KeyHash [64]byte

// Bouncer is one remediation component as seen from one address. A *Bouncer is
// a value: it is never changed after it was published, every change makes a
// new one. What changes with every visit lives in its BouncerRow.
type Bouncer struct {
	Name         string
	KeyHash      KeyHash // zero for AuthTLS
	AuthType     AuthType
	IP           netip.Addr // the address this row belongs to; invalid: none yet
	Type         string
	Version      string
	OS           OS
	FeatureFlags []string
	AutoCreated  bool // made because a known key came from a new address
	Shared       bool // one row for the key, whatever address it comes from
	CreatedAt    int64
	UpdatedAt    int64
}

// BouncerRow is a bouncer's place in memory: its current value, and what every
// visit changes. A row stays the same as long as the bouncer exists, so a
// caller may keep it for one BouncerEpoch. All methods are safe from any
// goroutine and allocate nothing.
type BouncerRow struct {
	value atomic.Pointer[Bouncer]

	// Noted in memory by visitors, written down in bulk by the committer. A
	// crash may forget the last seconds: then a bouncer hears again what it
	// heard already, which is harmless.
	cursor   atomic.Uint64 // 1 + revision; 0: never pulled
	kept     atomic.Uint64 // the cursor but for answers that are still on their way
	lastPull atomic.Int64
	noted    atomic.Bool // changed since it was written down
}

// NewGuest returns a row for a bouncer that cannot be stored now, for one
// request. It knows of no earlier one: a stream begins anew. b is the row's.
func NewGuest(b *Bouncer) *BouncerRow {
	r := &BouncerRow{}
	r.value.Store(b)
	return r
}

// Load returns the bouncer as it is now.
func (r *BouncerRow) Load() *Bouncer { return r.value.Load() }

// Cursor is the revision up to which the bouncer knows everything; false when
// it never pulled a stream.
func (r *BouncerRow) Cursor() (Revision, bool) {
	c := r.cursor.Load()
	if c == 0 {
		return 0, false
	}
	return Revision(c - 1), true
}

// LastPull is the time of the last visit, Unix nanoseconds; 0: never.
func (r *BouncerRow) LastPull() int64 { return r.lastPull.Load() }

// Visit notes a live query at now.
func (r *BouncerRow) Visit(now int64) {
	if later(&r.lastPull, now) {
		r.note()
	}
}

// Offer moves the cursor to rev, never back, and notes the pull. Call it just
// before the last bytes of an answer are handed over: whoever has read them may
// ask again at once. It is not written down, so a crash in this moment tells the
// bouncer the same again. Then call Advance, or Retreat.
func (r *BouncerRow) Offer(rev Revision, now int64) {
	forward(&r.cursor, uint64(rev)+1)
	r.Visit(now)
}

// Advance is Offer for an answer whose last bytes have been handed over: the
// place is kept for good.
func (r *BouncerRow) Advance(rev Revision, now int64) {
	forward(&r.cursor, uint64(rev)+1)
	forward(&r.kept, uint64(rev)+1)
	r.Visit(now)
	r.note()
}

func forward(a *atomic.Uint64, to uint64) {
	for {
		at := a.Load()
		if at >= to || a.CompareAndSwap(at, to) {
			return
		}
	}
}

// place puts the cursor where the history says it is.
func (r *BouncerRow) place(cursor uint64) {
	r.cursor.Store(cursor)
	r.kept.Store(cursor)
}

// Retreat takes an Offer or an Advance from one place to another back, unless
// the cursor has moved on since: what was not heard must be told again, after a
// restart too.
func (r *BouncerRow) Retreat(from, to Revision, pulled bool) {
	before := uint64(0)
	if pulled {
		before = uint64(from) + 1
	}
	if r.cursor.CompareAndSwap(uint64(to)+1, before) && r.kept.CompareAndSwap(uint64(to)+1, before) {
		r.noted.Store(true)
	}
}

func (r *BouncerRow) note() {
	if !r.noted.Load() {
		r.noted.Store(true)
	}
}

// bouncerSet is who the bouncers are. It is never changed in place; the rows
// in it are shared with the set before.
type bouncerSet struct {
	epoch  uint64
	byKey  map[KeyHash][]*BouncerRow
	byName map[string]*BouncerRow
	order  []*BouncerRow
}

// BouncersByKey returns the rows with this key, oldest first. Read only.
func (v *View) BouncersByKey(k KeyHash) []*BouncerRow { return v.bouncers.byKey[k] }

// Bouncer returns the row of that name, nil when there is none.
func (v *View) Bouncer(name string) *BouncerRow { return v.bouncers.byName[name] }

// Bouncers returns all rows in order of creation. Read only.
func (v *View) Bouncers() []*BouncerRow { return v.bouncers.order }

// BouncerEpoch changes whenever a row appears or goes, not when one changes: a
// cache of key → row is good for one epoch.
func (v *View) BouncerEpoch() uint64 { return v.bouncers.epoch }

// with returns a set that has the row too, in place of one of the same name.
func (b *bouncerSet) with(row *BouncerRow) *bouncerSet {
	return b.rebuilt(row.Load().Name, row)
}

// without returns a set that lacks the named rows.
func (b *bouncerSet) without(names []string) *bouncerSet {
	gone := make(map[string]bool, len(names))
	for _, n := range names {
		gone[n] = true
	}
	kept := make([]*BouncerRow, 0, len(b.order))
	for _, r := range b.order {
		if !gone[r.Load().Name] {
			kept = append(kept, r)
		}
	}
	return newBouncerSet(b.epoch+1, kept)
}

func (b *bouncerSet) rebuilt(name string, row *BouncerRow) *bouncerSet {
	if b.byName[name] != nil {
		return b.without([]string{name}).rebuilt(name, row)
	}
	// The common case, a row more, shares what it can: maps must be copied,
	// for older views read them.
	next := &bouncerSet{
		epoch:  b.epoch + 1,
		byKey:  maps.Clone(b.byKey),
		byName: maps.Clone(b.byName),
		order:  append(b.order[:len(b.order):len(b.order)], row),
	}
	if next.byKey == nil {
		next.byKey, next.byName = map[KeyHash][]*BouncerRow{}, map[string]*BouncerRow{}
	}
	next.place(row)
	return next
}

func newBouncerSet(epoch uint64, rows []*BouncerRow) *bouncerSet {
	b := &bouncerSet{epoch: epoch, byKey: make(map[KeyHash][]*BouncerRow, len(rows)), byName: make(map[string]*BouncerRow, len(rows)), order: rows}
	for _, r := range rows {
		b.place(r)
	}
	return b
}

func (b *bouncerSet) place(row *BouncerRow) {
	v := row.Load()
	b.byName[v.Name] = row
	if v.AuthType == AuthAPIKey {
		old := b.byKey[v.KeyHash]
		b.byKey[v.KeyHash] = append(old[:len(old):len(old)], row)
	}
}

// children are the auto-created rows that came from the named one's key.
func (b *bouncerSet) children(of *Bouncer) []string {
	var names []string
	for _, r := range b.byKey[of.KeyHash] {
		if c := r.Load(); c.AutoCreated && BaseName(c.Name) == BaseName(of.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

// BaseName cuts every trailing "@address" off a bouncer's name.
func BaseName(name string) string {
	for {
		i := strings.LastIndexByte(name, '@')
		if i < 0 {
			return name
		}
		if _, err := netip.ParseAddr(name[i+1:]); err != nil {
			return name
		}
		name = name[:i]
	}
}
