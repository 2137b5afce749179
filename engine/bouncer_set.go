package engine

import (
	"crypto/sha512"
	"hash/maphash"
	"net/netip"

	"lapid/index"
)

// bouncerSet is all bouncers. One that a view has never changes; the rows
// in it are shared with the sets before and after. Each question and each change costs
// the same however many rows there are, one key's or many's:
//
//	order    by place: all, in order of creation
//	byName   by the hash of the name
//	byPlace  by the hash of key and address: the rows that answer for them
//	byOwner  by the hash of the owner, a key or a certificate's name: its rows, oldest first
//	byKey    by the hash of a key: of rotated bouncers alone, what is known of it (bouncer_keys.go)
//	rings    by place: the keys of each rotated bouncer
type bouncerSet struct {
	run    uint64 // of changes; see index.Trie
	shown  bool   // a view has it: the next change begins a run. The committer's
	places uint64 // given out
	order  index.Sequence[BouncerRow]

	byName  index.Trie[BouncerRow]
	byPlace index.Trie[BouncerRow]
	byOwner index.Trie[ownedRows]
	byKey   index.Trie[rotatedKey]
	rings   index.Sequence[keyRing]

	ringPlaces uint64 // given out

	// loading has the rows by name while a start brings memory up, before there are
	// readers. Then the indexes are empty, but those of rotated keys; build makes them of
	// all rows at once.
	loading *loading[BouncerRow]
}

// ownedRows are the rows of one key, or of one certificate's name.
type ownedRows struct {
	run    uint64
	only   *BouncerRow                 // while it is one; then rows is nil
	rows   *index.Sequence[BouncerRow] // by place
	shared *BouncerRow                 // the oldest that answers for every address
	auto   int                         // of them AutoCreated
}

// rowSeed makes hashes that cannot be foreseen from outside: names of machines are
// chosen by their senders.
var rowSeed = maphash.MakeSeed()

func nameHash(name string) uint64 { return maphash.String(rowSeed, name) }

func ownerHash(k *KeyHash) uint64 { return maphash.Bytes(rowSeed, k[:]) }

func placeHash(k *KeyHash, a netip.Addr) uint64 {
	var b [len(k) + 16]byte
	ip := a.As16()
	copy(b[copy(b[:], k[:]):], ip[:])
	return maphash.Bytes(rowSeed, b[:])
}

func rowNameHash(r *BouncerRow) uint64 { return nameHash(r.Load().Name) }

func rowPlaceHash(r *BouncerRow) uint64 {
	b := r.Load()
	return placeHash(&b.KeyHash, b.IP)
}

func ownedHash(o *ownedRows) uint64 {
	k := o.oldest().Load().owner()
	return ownerHash(&k)
}

// owner says whose row this is: the key's, or, under a hash that no key has, the
// certificate's by its name without address.
func (b *Bouncer) owner() KeyHash {
	if b.AuthType == AuthAPIKey {
		return b.KeyHash
	}
	return sha512.Sum512([]byte("certificate\x00" + BaseName(b.Name)))
}

func (b *bouncerSet) named(name string) *BouncerRow {
	is := func(r *BouncerRow) bool { return r.Load().Name == name }
	if b.loading != nil {
		return b.loading.find(nameHash(name), is)
	}
	return b.byName.Find(nameHash(name), is)
}

func (b *bouncerSet) ownedBy(k *KeyHash) *ownedRows {
	return b.byOwner.Find(ownerHash(k), func(o *ownedRows) bool { return o.oldest().Load().owner() == *k })
}

func (b *bouncerSet) answering(k *KeyHash, from netip.Addr) *BouncerRow {
	var best *BouncerRow
	if o := b.ownedBy(k); o != nil {
		best = o.shared
	}
	b.byPlace.Find(placeHash(k, from), func(r *BouncerRow) bool {
		if v := r.Load(); v.IP == from && v.KeyHash == *k && (best == nil || r.place < best.place) {
			best = r
		}
		return false // there may be an older one
	})
	return best
}

func (o *ownedRows) oldest() *BouncerRow {
	if o.rows == nil {
		return o.only
	}
	return o.rows.First()
}

func (o *ownedRows) len() int {
	if o.rows == nil {
		return 1
	}
	return o.rows.Len()
}

// each yields the rows, oldest first; a nil owner has none.
func (o *ownedRows) each(yield func(*BouncerRow) bool) {
	switch {
	case o == nil:
	case o.rows == nil:
		yield(o.only)
	default:
		o.rows.All(yield)
	}
}

// from yields the rows from a place on.
func (o *ownedRows) from(place uint64, yield func(uint64, *BouncerRow) bool) {
	switch {
	case o.rows != nil:
		o.rows.From(place, yield)
	case o.only.place >= place:
		yield(o.only.place, o.only)
	}
}

// editBouncers is the next view's set, which may be changed until it is shown.
func (s *state) editBouncers() *bouncerSet {
	b := s.next.bouncers
	if b.shown {
		c := *b
		c.run, c.shown = c.run+1, false
		b = &c
		s.next.bouncers = b
	}
	return b
}

// putBouncer stores a bouncer and returns its row: the one it has, or a new one,
// in place of one of the same name whose key or kind of proof is another.
func (s *state) putBouncer(rev Revision, b Bouncer) *BouncerRow {
	set := s.editBouncers()
	b.Software, b.Sight = s.software.acquire(b.Software), s.sights.acquire(b.Sight)
	s.addBound(b.Sight, 0)
	row := set.named(b.Name)
	if row != nil {
		old := row.Load()
		if old.KeyHash == b.KeyHash && old.AuthType == b.AuthType {
			moved := set.loading == nil && (old.IP != b.IP || old.Shared != b.Shared || old.AutoCreated != b.AutoCreated)
			if moved {
				set.disown(row)
			}
			s.keepSight(rev, row, &b)
			row.value.Store(&b)
			if moved {
				set.own(row)
			}
			s.software.release(old.Software)
			s.releaseSight(old.Sight)
			return row
		}
		s.dropBouncer(b.Name)
	}
	row = &BouncerRow{ledger: &s.visited, place: set.places}
	b.moved = false
	set.places++
	row.value.Store(&b)
	set.order = set.order.Set(set.run, row.place, row)
	if set.loading != nil {
		set.loading.insert(nameHash(b.Name), row)
		return row
	}
	set.byName = set.byName.Insert(set.run, nameHash(b.Name), row, rowNameHash)
	set.own(row)
	return row
}

// build makes the indexes of a set that was loaded, once. Rows are looked at in the order
// of creation, in which they lie in memory.
func (b *bouncerSet) build() {
	if b.loading == nil {
		return
	}
	b.byName = b.loading.trie(b.run)
	b.loading = nil
	places := make([]index.Hashed[BouncerRow], 0, b.order.Len()) // any number may have one hash
	var owners loading[ownedRows]
	for row := range b.order.All {
		v := row.Load()
		k := v.owner()
		if v.AuthType == AuthAPIKey && v.IP.IsValid() {
			places = append(places, index.Hashed[BouncerRow]{Hash: placeHash(&k, v.IP), Item: row})
		}
		hash := ownerHash(&k)
		o := owners.find(hash, func(o *ownedRows) bool { return o.oldest().Load().owner() == k })
		if o == nil {
			o = &ownedRows{run: b.run}
			owners.insert(hash, o)
		}
		o.add(b.run, row)
	}
	b.byPlace, b.byOwner = sortedTrie(b.run, places), owners.trie(b.run)
}

// dropBouncer removes the row of that name, if there is one.
func (s *state) dropBouncer(name string) {
	row := s.next.bouncers.named(name)
	if row == nil {
		return
	}
	set := s.editBouncers()
	set.order = set.order.Delete(set.run, row.place)
	if set.loading != nil {
		set.loading.remove(nameHash(name), row)
	} else {
		set.byName = set.byName.Remove(set.run, nameHash(name), row)
		set.disown(row)
	}
	s.software.release(row.Load().Software)
	s.releaseSight(row.Load().Sight)
	s.forgetSights(row, nil)
	s.forgetKeys(row.Load())
	row.gone.Store(true)
}

// own enters a row under its owner and its address.
func (b *bouncerSet) own(row *BouncerRow) {
	v := row.Load()
	k := v.owner()
	if v.AuthType == AuthAPIKey && v.IP.IsValid() {
		b.byPlace = b.byPlace.Insert(b.run, placeHash(&k, v.IP), row, rowPlaceHash)
	}
	o := b.editOwned(&k)
	if o.add(b.run, row) {
		b.byOwner = b.byOwner.Insert(b.run, ownerHash(&k), o, ownedHash)
	}
}

// add enters a row and reports whether it is the first.
func (o *ownedRows) add(run uint64, row *BouncerRow) (first bool) {
	v := row.Load()
	if v.AutoCreated {
		o.auto++
	}
	if v.Shared && v.AuthType == AuthAPIKey && (o.shared == nil || row.place < o.shared.place) {
		o.shared = row
	}
	if o.rows == nil && o.only == nil {
		o.only = row
		return true
	}
	if o.rows == nil {
		rows := index.Sequence[BouncerRow]{}.Set(run, o.only.place, o.only)
		o.rows, o.only = &rows, nil
	}
	rows := o.rows.Set(run, row.place, row) // an older version has the old one
	o.rows = &rows
	return false
}

// disown is the mirror of own; the row's value is still that with which it was
// entered.
func (b *bouncerSet) disown(row *BouncerRow) {
	v := row.Load()
	k := v.owner()
	if v.AuthType == AuthAPIKey && v.IP.IsValid() {
		b.byPlace = b.byPlace.Remove(b.run, placeHash(&k, v.IP), row)
	}
	hash := ownerHash(&k)
	if o := b.ownedBy(&k); o.rows == nil {
		b.byOwner = b.byOwner.Remove(b.run, hash, o)
		return
	}
	o := b.editOwned(&k)
	rows := o.rows.Delete(b.run, row.place)
	o.rows = &rows
	if v.AutoCreated {
		o.auto--
	}
	if o.shared == row {
		o.shared = nil
		rows.All(func(r *BouncerRow) bool {
			if r.Load().Shared {
				o.shared = r
			}
			return o.shared == nil
		})
	}
	if rows.Len() == 1 {
		o.only, o.rows = rows.First(), nil
	}
}

// editOwned is the owner's entry, which may be changed in this run; an empty one,
// not entered yet, when it has none.
func (b *bouncerSet) editOwned(k *KeyHash) *ownedRows {
	o := b.ownedBy(k)
	if o == nil {
		return &ownedRows{run: b.run}
	}
	if o.run == b.run {
		return o
	}
	c := *o
	c.run = b.run
	hash := ownerHash(k)
	b.byOwner = b.byOwner.Remove(b.run, hash, o).Insert(b.run, hash, &c, ownedHash)
	return &c
}

// origin is the row of an owner that those made by themselves have their sight and hold
// from: the one with the name without address, else the oldest; nil when there is none.
func (b *bouncerSet) origin(of *Bouncer) *BouncerRow {
	k := of.owner()
	o := b.ownedBy(&k)
	if o == nil {
		return nil
	}
	if row := b.named(BaseName(of.Name)); row != nil && row.Load().owner() == k {
		return row
	}
	return o.oldest()
}

// followers are the rows that have their sight and hold from one.
func (b *bouncerSet) followers(of *BouncerRow) []string {
	var names []string
	k := of.Load().owner()
	b.ownedBy(&k).each(func(r *BouncerRow) bool {
		if v := r.Load(); r != of && v.AutoCreated && b.origin(v) == of {
			names = append(names, v.Name)
		}
		return true
	})
	return names
}

// children are the auto-created rows that came from the named one's key.
func (b *bouncerSet) children(of *Bouncer) []string {
	var names []string
	k := of.owner()
	b.ownedBy(&k).each(func(r *BouncerRow) bool {
		if c := r.Load(); c.AutoCreated && c.AuthType == AuthAPIKey && BaseName(c.Name) == BaseName(of.Name) {
			names = append(names, c.Name)
		}
		return true
	})
	return names
}
