package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// KeyHash is the SHA-512 of an API key, the form in which keys are kept.
type KeyHash [64]byte

// Bouncer is one remediation component as seen from one address. A *Bouncer is
// a value: it is never changed after it was published, every change makes a
// new one. What changes with every visit lives in its BouncerRow.
type Bouncer struct {
	Name     string
	KeyHash  KeyHash // zero for AuthTLS
	AuthType AuthType
	IP       netip.Addr // the address this row belongs to; invalid: none yet
	// Software is shared by all bouncers that say the same, so it is never changed
	// in place; ChangeBouncer hands out a copy. Nil only in what a caller made: then
	// nothing is known.
	*Software
	AutoCreated bool // made because a known key or certificate came from a new address
	Shared      bool // one row for the key, whatever address it comes from
	moved       bool // its sight was another before, and its cursor may be from then (sight_past.go)
	Hold        Hold // for how long a poll is put off
	// Sight is what it may see; nil: everything. Stored ones are shared and tidy.
	Sight     *Sight
	CreatedAt int64
	UpdatedAt int64
}

// Hold is for how long a bouncer's polls are put off while nothing changes for it, in
// milliseconds; 0: nothing was said, and it is for the bouncer to ask; less: never, in so
// many words.
type Hold int32

const (
	// HoldOff is never, whatever the bouncer asks for.
	HoldOff Hold = -1
	// HoldAtMost is the longest.
	HoldAtMost = time.Minute
)

// Duration is for how long; 0 where it says nothing or never.
func (h Hold) Duration() time.Duration { return max(time.Duration(h), 0) * time.Millisecond }

// HoldFor is the Hold of a duration, which is HoldAtMost at most.
func HoldFor(d time.Duration) (Hold, error) {
	if d < time.Millisecond || d > HoldAtMost {
		return 0, invalid("a poll cannot be held for %s: choose 1ms to %s", d, HoldAtMost)
	}
	return Hold(d / time.Millisecond), nil
}

func (h Hold) fits() error {
	if h < HoldOff || h.Duration() > HoldAtMost {
		return invalid("a poll cannot be held for %s: %s is the longest", h.Duration(), HoldAtMost)
	}
	return nil
}

// Software is what a bouncer says it is.
type Software struct {
	Type         string
	Version      string
	OS           OS
	FeatureFlags []string
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

// OldestBouncer returns the oldest row with this key, nil when there is none, and
// how many there are. It does not allocate.
func (v *View) OldestBouncer(k *KeyHash) (oldest *BouncerRow, n int) {
	o := v.bouncers.ownedBy(k)
	if o == nil {
		return nil, 0
	}
	return o.oldest(), o.len()
}

// BouncerFor returns the row that answers for a key from an address: the oldest
// that belongs to the address or is shared; nil when there is none. It does not
// allocate.
func (v *View) BouncerFor(k *KeyHash, from netip.Addr) *BouncerRow {
	return v.bouncers.answering(k, from)
}

// ParentOf returns the row that one which is made by itself, from a key or certificate at
// yet another address, has its sight and hold from; nil when there is none. Name, kind of
// proof and hash of the key are looked at.
func (v *View) ParentOf(b *Bouncer) *BouncerRow { return v.bouncers.origin(b) }

// Bouncer returns the row of that name, nil when there is none. It does not
// allocate.
func (v *View) Bouncer(name string) *BouncerRow { return v.bouncers.named(name) }

// Bouncers returns all rows in order of creation. The slice is the caller's; a caller
// that only looks through them takes EachBouncer.
func (v *View) Bouncers() []*BouncerRow {
	all := make([]*BouncerRow, 0, v.bouncers.order.Len())
	v.bouncers.order.All(func(r *BouncerRow) bool { all = append(all, r); return true })
	return all
}

// EachBouncer yields all rows in order of creation, until yield returns false.
func (v *View) EachBouncer(yield func(*BouncerRow) bool) { v.bouncers.order.All(yield) }

// BouncerCount is how many rows there are.
func (v *View) BouncerCount() int { return v.bouncers.order.Len() }

// AddBouncer adds a bouncer and returns its row. A taken name is ErrExists, and so is a key that another
// bouncer has, or had before it was rotated; a row that is called NAME@ADDRESS may have that of NAME. A text
// that is too long is ErrInvalid (bounds.go).
func (e *Engine) AddBouncer(ctx context.Context, b *Bouncer) (*BouncerRow, error) {
	if err := b.fits(nil); err != nil {
		return nil, err
	}
	o := &putBouncer{bouncer: *b}
	o.bouncer.Sight, _ = b.Sight.Tidy() // it fits
	p := &proposal{key: "bouncer:" + b.Name}
	if b.AuthType == AuthAPIKey {
		p.key2 = "key:" + string(b.KeyHash[:])
	}
	p.resolve = func(v *View) (op, error) {
		if v.Bouncer(b.Name) != nil {
			return nil, exists(NounBouncer, b.Name)
		}
		if err := v.mayHaveKey(b); err != nil {
			return nil, err
		}
		return o, nil
	}
	err := e.propose(ctx, p)
	return o.row, err
}

// ChangeBouncer applies change to a copy of the bouncer, its Software included,
// and stores it; name, key, kind of proof, sight and hold stay (EditBouncer). change runs on the committer:
// it must be quick and touch nothing else. ErrNotFound when there is no such
// bouncer, ErrInvalid when a text becomes too long.
func (e *Engine) ChangeBouncer(ctx context.Context, name string, change func(*Bouncer)) error {
	return e.propose(ctx, &proposal{key: "bouncer:" + name, resolve: func(v *View) (op, error) { return v.changedBouncer(name, change) }})
}

// changedBouncer makes the operation that changes a bouncer.
func (v *View) changedBouncer(name string, change func(*Bouncer)) (op, error) {
	row := v.Bouncer(name)
	if row == nil {
		return nil, notFound(NounBouncer, name)
	}
	old := row.Load()
	b, software := *old, *old.Software
	b.Software = &software
	change(&b)
	b.Name, b.KeyHash, b.AuthType, b.Sight, b.Hold = old.Name, old.KeyHash, old.AuthType, old.Sight, old.Hold
	if err := b.fits(old); err != nil {
		return nil, err
	}
	return &putBouncer{bouncer: b}, nil
}

// EditBouncer applies change to a copy of the bouncer and stores its Sight and Hold, for the
// rows made from its key too, which it returns the names of: they always have those of the
// row they came from. Nothing else of it is changed. change runs on the committer, as that
// of ChangeBouncer; after an error of its own, which is given back, nothing is. ErrNotFound when there is no such bouncer, ErrRefused for one that was
// made from another's key, ErrInvalid for a sight or hold that is out of bounds.
func (e *Engine) EditBouncer(ctx context.Context, name string, change func(*Bouncer) error) (follow []string, err error) {
	err = e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		row := v.Bouncer(name)
		if row == nil {
			return nil, notFound(NounBouncer, name)
		}
		if parent := v.bouncers.origin(row.Load()); parent != row && row.Load().AutoCreated {
			return nil, &Error{Kind: ErrRefused, Noun: NounBouncer, Name: name,
				Text: fmt.Sprintf("bouncer '%s' was made from the key of '%s' and has its sight and hold: edit '%s' instead", name, parent.Load().Name, parent.Load().Name)}
		}
		b, edited := *row.Load(), *row.Load()
		if err := change(&edited); err != nil {
			return nil, err
		}
		if b.Sight, err = edited.Sight.Tidy(); err != nil {
			return nil, err
		}
		b.Hold, b.UpdatedAt = edited.Hold, edited.UpdatedAt
		if err := b.Hold.fits(); err != nil {
			return nil, err
		}
		follow = v.bouncers.followers(row)
		return &putBouncer{bouncer: b, follow: follow}, nil
	}})
	return follow, err
}

// DeleteBouncer removes a bouncer and the rows its key made from other
// addresses. ErrNotFound when there is none, ErrRefused for such a row itself.
func (e *Engine) DeleteBouncer(ctx context.Context, name string) error {
	return e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		row := v.Bouncer(name)
		if row == nil {
			return nil, notFound(NounBouncer, name)
		}
		b := row.Load()
		if b.AutoCreated && b.AuthType == AuthAPIKey {
			return nil, &Error{Kind: ErrRefused, Noun: NounBouncer, Name: name, Text: fmt.Sprintf("bouncer '%s' was created by a key used from another address, delete '%s' instead", name, BaseName(name))}
		}
		return &dropBouncers{names: append(v.bouncers.children(b), name)}, nil
	}})
}

// PruneBouncers removes the named bouncers, and not the rows their keys made; a name
// that is gone already does not matter.
func (e *Engine) PruneBouncers(ctx context.Context, names []string) error {
	return e.propose(ctx, &proposal{key: everything, op: &dropBouncers{names: names}})
}

// putBouncer stores a bouncer as it is from now on.
type putBouncer struct {
	bouncer Bouncer
	follow  []string // rows made from its key, which get its sight and hold too

	row *BouncerRow // the answer
}

func (*putBouncer) number() byte { return numberPutBouncer }
func (o *putBouncer) append(dst []byte) []byte {
	dst = endRow(o.bouncer.append(dst), len(dst))
	if len(o.follow) > 0 {
		dst = appendStrings(dst, o.follow)
	}
	return dst
}
func (o *putBouncer) decode(d *decoder) {
	behind := d.open()
	o.bouncer.decode(d)
	d.close(behind)
	if d.version > firstVersion && len(d.rest) > 0 {
		o.follow = d.strings()
	}
}
func (o *putBouncer) apply(s *state, rev Revision) {
	o.row = s.putBouncer(rev, o.bouncer)
	o.row.own.Store(false) // it is the history's from here on
	for _, name := range o.follow {
		if row := s.next.bouncers.named(name); row != nil {
			b := *row.Load()
			b.Sight, b.Hold, b.UpdatedAt = o.bouncer.Sight, o.bouncer.Hold, o.bouncer.UpdatedAt
			s.putBouncer(rev, b)
		}
	}
}

// dropBouncers removes bouncers by name.
type dropBouncers struct{ names []string }

func (*dropBouncers) number() byte               { return numberDropBouncers }
func (o *dropBouncers) append(dst []byte) []byte { return appendStrings(dst, o.names) }
func (o *dropBouncers) decode(d *decoder)        { o.names = d.strings() }
func (o *dropBouncers) apply(s *state, rev Revision) {
	for _, name := range o.names {
		s.dropBouncer(name)
	}
}

func (b *Bouncer) append(dst []byte) []byte {
	dst = appendString(dst, b.Name)
	dst = append(dst, b.KeyHash[:]...)
	dst = appendString(dst, string(b.AuthType))
	dst = appendPrefix(dst, hostPrefix(b.IP))
	software := b.Software
	if software == nil {
		software = &Software{}
	}
	dst = software.append(dst)
	dst = appendBool(appendBool(dst, b.AutoCreated), b.Shared)
	dst = binary.AppendVarint(binary.AppendVarint(dst, b.CreatedAt), b.UpdatedAt)
	if b.Sight != nil || b.Hold != 0 {
		dst = binary.AppendVarint(appendSight(dst, b.Sight), int64(b.Hold))
	}
	return dst
}

func (b *Bouncer) decode(d *decoder) {
	b.Name = d.string()
	d.fixed(b.KeyHash[:])
	b.AuthType = d.authType()
	b.IP = d.prefix().Addr()
	b.Software = &Software{}
	b.Software.decode(d)
	b.AutoCreated, b.Shared = d.bool(), d.bool()
	b.CreatedAt, b.UpdatedAt = d.varint(), d.varint()
	if d.version > firstVersion && len(d.rest) > 0 {
		b.Sight = d.optionalSight()
		hold := d.varint()
		if b.Hold = Hold(hold); int64(b.Hold) != hold || b.Hold.fits() != nil {
			d.fail()
		}
	}
}

func hostPrefix(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}
