package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A bouncer's key is rotated without its rows being touched: they keep the hash of the first
// key, by which they are found and go on where they are. Which keys stand for that is a table
// beside them, of rotated bouncers alone:
//
//	hash of a key → hash of the first key, until when it is good
//
// The first key has an entry too, which stays when its time is over: else it would be good
// again. The entries go with the last row.

// keyEntry is what is known of one key of a rotated bouncer.
type keyEntry struct {
	owner KeyHash // of the rows
	since int64   // when it was made; 0 for the first key
	until int64   // Unix nanoseconds; 0: it is the present one
}

// mostKeys bounds the keys of one bouncer that are good at once.
const mostKeys = 8

// LongestGrace is how long a key may be good beside the one that took its place.
const LongestGrace = 90 * 24 * time.Hour

// ResolveKey makes of the hash of a key the one that rows are found by, and reports until when
// it is good: 0 for no end. ok is false for one whose time is over. It does not allocate.
func (v *View) ResolveKey(k *KeyHash, now int64) (until int64, ok bool) {
	if len(v.keys) == 0 {
		return 0, true
	}
	entry, there := v.keys[*k]
	if !there {
		return 0, true
	}
	if entry.until != 0 && now >= entry.until {
		return 0, false
	}
	*k = entry.owner
	return entry.until, true
}

// KeysChanged is another number whenever keys were rotated or forgotten, since the start.
func (v *View) KeysChanged() uint64 { return v.keysChanged }

// CurrentKey is the hash of the key that a bouncer has now, by the one in its rows.
func (v *View) CurrentKey(owner KeyHash) KeyHash {
	for k, entry := range v.keys {
		if entry.owner == owner && entry.until == 0 {
			return k
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
	for _, entry := range v.keys {
		if entry.owner == owner && (entry.until == 0 || entry.until > now) {
			list = append(list, BouncerKey{entry.since, entry.until})
		}
	}
	slices.SortFunc(list, func(a, b BouncerKey) int { return int(min(max(b.Since-a.Since, -1), 1)) })
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
	other := ""
	v.bouncers.ownedBy(&b.KeyHash).each(func(r *BouncerRow) bool {
		if o := r.Load(); o.Name != b.Name && !o.AutoCreated {
			other = o.Name
		}
		return other == ""
	})
	if other != "" {
		return refused("has the same key as '%s': delete it, and add it again with a key of its own", other)
	}
	if grace > 0 && len(v.KeysOf(b.KeyHash, now)) >= mostKeys {
		return refused("has %d keys that are good: end them with --grace 0, or wait", mostKeys)
	}
	return v.unusedKey(key)
}

// unusedKey refuses a key that some bouncer has, or had before its key was rotated.
func (v *View) unusedKey(key KeyHash) error {
	_, rotated := v.keys[key]
	if rotated || v.bouncers.ownedBy(&key) != nil {
		return &Error{Kind: ErrExists, Text: "this API key is, or was, that of a bouncer: choose another"}
	}
	return nil
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

func (o *rotateKey) apply(s *state, _ Revision) {
	keys := maps.Clone(s.next.keys)
	if keys == nil {
		keys = map[KeyHash]keyEntry{}
	}
	if _, there := keys[o.owner]; !there {
		keys[o.owner] = keyEntry{owner: o.owner}
	}
	for k, entry := range keys { // each by itself, so in any order
		if entry.owner != o.owner {
			continue
		}
		if entry.until == 0 || entry.until > o.until {
			entry.until = o.until
		}
		if keys[k] = entry; k != o.owner && entry.until <= o.at {
			delete(keys, k)
		}
	}
	keys[o.key] = keyEntry{owner: o.owner, since: o.at}
	s.next.keys = keys
	s.next.keysChanged++
}

// forgetKeys takes the keys of a bouncer away with its last row.
func (s *state) forgetKeys(gone *Bouncer) {
	if _, rotated := s.next.keys[gone.KeyHash]; !rotated || gone.AuthType != AuthAPIKey {
		return
	}
	for row := range s.next.bouncers.order.All { // few are rotated, and fewer dropped
		if b := row.Load(); b.KeyHash == gone.KeyHash && b.AuthType == AuthAPIKey {
			return
		}
	}
	keys := maps.Clone(s.next.keys)
	maps.DeleteFunc(keys, func(_ KeyHash, entry keyEntry) bool { return entry.owner == gone.KeyHash })
	s.next.keys = keys
	s.next.keysChanged++
}

// writeKeys gives out the keys of rotated bouncers.
func (p *people) writeKeys(w *sections) {
	for _, k := range slices.SortedFunc(maps.Keys(p.keys), func(a, b KeyHash) int { return bytes.Compare(a[:], b[:]) }) {
		from, entry := len(w.body), p.keys[k]
		w.body = append(append(w.body, k[:]...), entry.owner[:]...)
		w.body = binary.AppendVarint(binary.AppendVarint(w.body, entry.since), entry.until)
		if w.row(from) {
			w.end(sectionKeys)
		}
	}
	w.end(sectionKeys)
}

// readKeys is the mirror.
func (l *loader) readKeys(d *decoder) {
	keys := l.state.next.keys
	if keys == nil {
		keys = map[KeyHash]keyEntry{}
	}
	for n := d.count(2 * len(KeyHash{})); n > 0 && d.err == nil; n-- {
		behind := d.open()
		var k KeyHash
		var entry keyEntry
		d.fixed(k[:])
		d.fixed(entry.owner[:])
		entry.since, entry.until = d.varint(), d.varint()
		d.close(behind)
		if _, twice := keys[k]; twice {
			d.fail()
		}
		keys[k] = entry
	}
	l.state.next.keys = keys
}

// keys finds rows for each key, and one key that is the present one for those.
func (c *checker) keys() {
	present := map[KeyHash]int{}
	for k, entry := range c.view.keys {
		if entry.until == 0 {
			present[entry.owner]++
		}
		if c.view.bouncers.ownedBy(&entry.owner) == nil || k != entry.owner && c.view.bouncers.ownedBy(&k) != nil {
			c.report("a key of a rotated bouncer leads to no row, or to two")
		}
		if first, there := c.view.keys[entry.owner]; !there || first.owner != entry.owner {
			c.report("a rotated bouncer lacks its first key")
		}
	}
	for _, n := range present {
		if n != 1 {
			c.report("a rotated bouncer has %d present keys", n)
		}
	}
}
