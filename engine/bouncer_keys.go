package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// A bouncer's key is rotated without its rows being touched: they keep the hash of the first
// key, by which they are found and go on where they are. Which keys stand for that is said beside
// them, of rotated bouncers alone, by a ring of keys for each (bouncerSet.rings, byKey). The first
// key stays in it when its time is over: else it would be good again. The ring goes with the last
// row. Each question and each change costs the same however many bouncers have rotated.

// keyRing is the keys of one rotated bouncer: the first, then those that have followed it and are
// not forgotten. It never changes once a view has it.
type keyRing struct {
	place uint64 // in bouncerSet.rings
	keys  []*rotatedKey
}

// rotatedKey is one of them.
type rotatedKey struct {
	ring  *keyRing
	hash  KeyHash
	since int64 // when it was made; 0 for the first key
	until int64 // Unix nanoseconds; 0: it is the present one, lapsed: it is over for good
}

// lapsed is the end of a key that was over once: a clock that is set back does not bring it
// back.
const lapsed = 1

// mostKeys bounds the keys of one bouncer that are good at once.
const mostKeys = 8

// LongestGrace is how long a key may be good beside the one that took its place.
const LongestGrace = 90 * 24 * time.Hour

// owner is the key that rows are found by.
func (r *keyRing) owner() *KeyHash { return &r.keys[0].hash }

func rotatedKeyHash(k *rotatedKey) uint64 { return ownerHash(&k.hash) }

// key is what is known of a key of a rotated bouncer, nil of any other. It does not allocate.
func (b *bouncerSet) key(k *KeyHash) *rotatedKey {
	if b.byKey.Len() == 0 {
		return nil
	}
	return b.byKey.Find(ownerHash(k), func(r *rotatedKey) bool { return r.hash == *k })
}

// setRing takes a ring in, in place of the one that was there; nil takes it away alone.
func (b *bouncerSet) setRing(old, ring *keyRing) {
	if old != nil {
		for _, k := range old.keys {
			b.byKey = b.byKey.Remove(b.run, rotatedKeyHash(k), k)
		}
		b.rings = b.rings.Delete(b.run, old.place)
	}
	if ring == nil {
		return
	}
	for _, k := range ring.keys {
		k.ring = ring
		b.byKey = b.byKey.Insert(b.run, rotatedKeyHash(k), k, rotatedKeyHash)
	}
	b.rings = b.rings.Set(b.run, ring.place, ring)
}

// newRing is an empty one with a place.
func (b *bouncerSet) newRing() *keyRing {
	b.ringPlaces++
	return &keyRing{place: b.ringPlaces}
}

// ResolveKey makes of the hash of a key the one that rows are found by, and reports until when
// it is good: 0 for no end. ok is false for one whose time is over. It does not allocate.
func (v *View) ResolveKey(k *KeyHash, now int64) (until int64, ok bool) {
	key := v.bouncers.key(k)
	switch {
	case key == nil:
		return 0, true
	case key.until != 0 && now >= key.until:
		return 0, false
	}
	*k = *key.ring.owner()
	return key.until, true
}

// KeysChanged is another number whenever keys were rotated or forgotten, since the start.
func (v *View) KeysChanged() uint64 { return v.keysChanged }

// CurrentKey is the hash of the key that a bouncer has now, by the one in its rows.
func (v *View) CurrentKey(owner KeyHash) KeyHash {
	if first := v.bouncers.key(&owner); first != nil {
		for _, k := range first.ring.keys {
			if k.until == 0 {
				return k.hash
			}
		}
	}
	return owner
}

// BouncerKey is one of the keys of a bouncer, without anything of the key itself.
type BouncerKey struct {
	Since int64 // Unix nanoseconds; 0: since the bouncer was added
	Until int64 // 0: it is the present one
}

// KeysOf are the keys that are good for a bouncer at a time, the present one first; nil for one
// whose key was never rotated.
func (v *View) KeysOf(owner KeyHash, now int64) (list []BouncerKey) {
	first := v.bouncers.key(&owner)
	if first == nil {
		return nil
	}
	for _, k := range first.ring.keys {
		if k.until == 0 || k.until > now {
			list = append(list, BouncerKey{k.since, k.until})
		}
	}
	slices.SortStableFunc(list, func(a, b BouncerKey) int {
		if (a.Until == 0) != (b.Until == 0) {
			if a.Until == 0 {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Since, a.Since)
	})
	return list
}

// RotateBouncer gives a bouncer another key, by its hash. The one before, and those that are
// still good, are so until grace is over: not at all for 0. Errors: ErrNotFound; ErrRefused for
// a row that was made from another's key, for one without a key, for a key that two bouncers
// share, and for too many keys at once; ErrExists for a key that somebody has or had;
// ErrInvalid for a grace that is out of bounds.
func (e *Engine) RotateBouncer(ctx context.Context, name string, key KeyHash, grace time.Duration) error {
	if grace < 0 || grace > LongestGrace {
		return invalid("an old key can be good for 0 to %s, not %s", LongestGrace, grace)
	}
	return e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		row := v.Bouncer(name)
		if row == nil {
			return nil, notFound(NounBouncer, name)
		}
		b, now := row.Load(), max(e.Now(), v.at)
		if err := v.mayRotate(b, key, now, grace); err != nil {
			return nil, err
		}
		return &rotateKey{name: name, owner: b.KeyHash, key: key, at: now, until: now + int64(grace)}, nil
	}})
}

// mayRotate says why not.
func (v *View) mayRotate(b *Bouncer, key KeyHash, now int64, grace time.Duration) error {
	refused := func(format string, args ...any) error {
		return &Error{Kind: ErrRefused, Noun: NounBouncer, Name: b.Name, Text: fmt.Sprintf("bouncer '%s' "+format, append([]any{b.Name}, args...)...)}
	}
	if b.AuthType != AuthAPIKey {
		return refused("has no key: it shows a certificate")
	}
	if b.AutoCreated {
		return refused("was made from the key of '%s': rotate that", BaseName(b.Name))
	}
	if other := v.SharesKeyWith(b); other != "" {
		return refused("has the same key as '%s': delete it, and add it again with a key of its own", other)
	}
	if grace > 0 && len(v.KeysOf(b.KeyHash, now)) >= mostKeys {
		return refused("has %d keys that are good: end them with a grace of 0, or wait", mostKeys)
	}
	if known := v.bouncers.key(&key); key == b.KeyHash || known != nil && *known.ring.owner() == b.KeyHash {
		return &Error{Kind: ErrExists, Text: fmt.Sprintf("this API key is, or was, that of the bouncer '%s' itself, and one that was replaced is not taken again: choose another", b.Name)}
	}
	return v.unusedKey(key)
}

// SharesKeyWith is the name of another bouncer with the key of this one, "" when there is none. No bouncer is
// added with the key of another, but stores from before that, and what was brought from another server, may
// have some. Rows that were made from the key do not count.
func (v *View) SharesKeyWith(b *Bouncer) (other string) {
	if b.AuthType != AuthAPIKey {
		return ""
	}
	v.bouncers.ownedBy(&b.KeyHash).each(func(r *BouncerRow) bool {
		if o := r.Load(); o.Name != b.Name && !o.AutoCreated {
			other = o.Name
		}
		return other == ""
	})
	return other
}

// SharedKeys yields the bouncers, in order of creation, that have the key of an older one, and that one's name,
// until yield returns false. Rows of one bouncer, by the name without address, do not count.
func (v *View) SharedKeys(yield func(name, oldest string) bool) {
	v.bouncers.order.All(func(r *BouncerRow) bool {
		b := r.Load()
		if b.AutoCreated || b.AuthType != AuthAPIKey {
			return true
		}
		owned := v.bouncers.ownedBy(&b.KeyHash)
		if owned == nil || owned.len() == 1 {
			return true
		}
		oldest := owned.oldest().Load().Name
		return BaseName(oldest) == BaseName(b.Name) || yield(b.Name, oldest)
	})
}

// mayHaveKey refuses the key of another bouncer for one that is to be added. A row of the same bouncer, by its
// name without address, is none.
func (v *View) mayHaveKey(b *Bouncer) error {
	if b.AuthType != AuthAPIKey {
		return nil
	}
	if v.bouncers.key(&b.KeyHash) == nil {
		other, base := "", BaseName(b.Name)
		v.bouncers.ownedBy(&b.KeyHash).each(func(r *BouncerRow) bool {
			if name := r.Load().Name; BaseName(name) == base {
				other = ""
				return false
			} else if other == "" {
				other = name
			}
			return true
		})
		if other == "" {
			return nil
		}
	}
	return v.unusedKey(b.KeyHash)
}

// unusedKey refuses a key that some bouncer has, or had before its key was rotated.
func (v *View) unusedKey(key KeyHash) error {
	known := v.bouncers.key(&key)
	if known != nil {
		key = *known.ring.owner()
	}
	owned := v.bouncers.ownedBy(&key)
	switch {
	case owned == nil && known == nil:
		return nil
	case owned == nil:
		return &Error{Kind: ErrExists, Text: "this API key is, or was, that of a bouncer: choose another"}
	}
	return &Error{Kind: ErrExists, Text: fmt.Sprintf("this API key is, or was, that of the bouncer '%s': choose another", owned.oldest().Load().Name)}
}

// rotateKey gives a bouncer's rows another key.
type rotateKey struct {
	name       string // for the audit
	owner, key KeyHash
	at, until  int64 // of the keys before it
}

func (*rotateKey) number() byte { return numberRotateKey }
func (o *rotateKey) append(dst []byte) []byte {
	dst = append(append(appendString(dst, o.name), o.owner[:]...), o.key[:]...)
	return binary.AppendVarint(binary.AppendVarint(dst, o.at), o.until)
}
func (o *rotateKey) decode(d *decoder) {
	o.name = d.string()
	d.fixed(o.owner[:])
	d.fixed(o.key[:])
	o.at, o.until = d.varint(), d.varint()
}

// apply passes over a key that is another bouncer's, or its own first one, which no commit of this
// history asks for.
func (o *rotateKey) apply(s *state, _ Revision) {
	set := s.editBouncers()
	first, known := set.key(&o.owner), set.key(&o.key)
	if o.key == o.owner || known != nil && (first == nil || known.ring != first.ring) {
		return
	}
	var old *keyRing
	ring := set.newRing()
	if first == nil {
		ring.keys = []*rotatedKey{{hash: o.owner, until: o.ends(0)}}
	} else {
		old = first.ring
		ring.keys = o.ended(old)
	}
	ring.keys = append(ring.keys, &rotatedKey{hash: o.key, since: o.at})
	set.setRing(old, ring)
	s.next.keysChanged++
}

// ended are the keys before the new one; of those that are over the first alone.
func (o *rotateKey) ended(old *keyRing) (keys []*rotatedKey) {
	for i, k := range old.keys {
		if until := o.ends(k.until); i == 0 || until != lapsed && k.hash != o.key {
			keys = append(keys, &rotatedKey{hash: k.hash, since: k.since, until: until})
		}
	}
	return keys
}

// ends is until when a key is good that was so until a time; 0: it was the present one.
func (o *rotateKey) ends(until int64) int64 {
	if until == 0 || until > o.until {
		until = o.until
	}
	if until <= o.at {
		return lapsed
	}
	return until
}

// lapseKeys ends for good what is over, before time goes back. It asks the history's time: a
// key that lapsed after the last commit is good again until its end comes once more.
func (s *state) lapseKeys() {
	over := func(k *rotatedKey) bool { return k.until > lapsed && k.until <= s.at }
	var rings []*keyRing
	for ring := range s.next.bouncers.rings.All {
		if slices.ContainsFunc(ring.keys, over) {
			rings = append(rings, ring)
		}
	}
	for _, old := range rings {
		set := s.editBouncers()
		ring := &keyRing{place: old.place}
		for _, k := range old.keys {
			c := *k
			if over(k) {
				c.until = lapsed
			}
			ring.keys = append(ring.keys, &c)
		}
		set.setRing(old, ring)
	}
	if len(rings) > 0 {
		s.next.keysChanged++
	}
}

// forgetKeys takes the keys of a bouncer away with its last row. While a start brings memory up,
// the first that is looked at has the indexes made, by which rows are counted.
func (s *state) forgetKeys(gone *Bouncer) {
	set := s.editBouncers()
	first := set.key(&gone.KeyHash)
	if first == nil || gone.AuthType != AuthAPIKey {
		return
	}
	set.build()
	if set.ownedBy(&gone.KeyHash) != nil {
		return
	}
	set.setRing(first.ring, nil)
	s.next.keysChanged++
}

// writeKeys gives out the keys of rotated bouncers.
func (p *people) writeKeys(w *sections) {
	var all []*rotatedKey
	for ring := range p.rings.All {
		all = append(all, ring.keys...)
	}
	slices.SortFunc(all, func(a, b *rotatedKey) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	for _, k := range all {
		from := len(w.body)
		w.body = append(append(w.body, k.hash[:]...), k.ring.owner()[:]...)
		w.body = binary.AppendVarint(binary.AppendVarint(w.body, k.since), k.until)
		if w.row(from) {
			w.end(sectionKeys)
		}
	}
	w.end(sectionKeys)
}

// loadedKey is a key as a snapshot has it.
type loadedKey struct {
	owner KeyHash
	rotatedKey
}

// readKeys is the mirror; makeRings puts together what it has read.
func (l *loader) readKeys(d *decoder) {
	for n := d.count(2 * len(KeyHash{})); n > 0 && d.err == nil; n-- {
		behind := d.open()
		k := &loadedKey{}
		d.fixed(k.hash[:])
		d.fixed(k.owner[:])
		k.since, k.until = d.varint(), d.varint()
		d.close(behind)
		l.keys = append(l.keys, k)
	}
}

// makeRings fails on a key that is there twice, and on a ring without its first key.
func (l *loader) makeRings() error {
	slices.SortFunc(l.keys, func(a, b *loadedKey) int {
		first := func(k *loadedKey) int {
			if k.hash == k.owner {
				return 0
			}
			return 1
		}
		return cmp.Or(bytes.Compare(a.owner[:], b.owner[:]), first(a)-first(b), cmp.Compare(a.since, b.since), bytes.Compare(a.hash[:], b.hash[:]))
	})
	set := l.state.editBouncers()
	for from, to := 0, 0; from < len(l.keys); from = to {
		ring := set.newRing()
		for to = from; to < len(l.keys) && l.keys[to].owner == l.keys[from].owner; to++ {
			if k := l.keys[to]; set.key(&k.hash) != nil || (k.hash == k.owner) != (to == from) {
				return fmt.Errorf("%w: keys of a rotated bouncer", errRecord)
			}
			ring.keys = append(ring.keys, &l.keys[to].rotatedKey)
		}
		set.setRing(nil, ring)
	}
	l.keys = nil
	return nil
}

// keys finds rows for each ring, and one key that is the present one for those.
func (c *checker) keys() {
	set, n := c.view.bouncers, 0
	for ring := range set.rings.All {
		present := 0
		for i, k := range ring.keys {
			n++
			if k.until == 0 {
				present++
			}
			if k.ring != ring || set.key(&k.hash) != k {
				c.report("a key of a rotated bouncer is not found, or in another's ring")
			}
			if (i == 0) != (set.ownedBy(&k.hash) != nil) {
				c.report("a key of a rotated bouncer leads to no row, or to two")
			}
		}
		if present != 1 {
			c.report("a rotated bouncer has %d present keys", present)
		}
	}
	if n != set.byKey.Len() {
		c.report("%d keys of rotated bouncers are found, %d are theirs", set.byKey.Len(), n)
	}
}
