package auth

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"lapid/engine"
)

// knownBouncer is a row that a key or certificate led to, from one address.
type knownBouncer struct {
	row   *engine.BouncerRow
	keys  uint64 // engine.View.KeysChanged when it did
	until int64  // the key is good until then; 0: no end is known
}

const (
	// longestKey is the longest API key that is recognised quickly; longer
	// ones are looked up each time.
	longestKey = 256
	// longestWord cuts what a User-Agent tells about its sender.
	longestWord = 255
	// describeEvery is how often the type and version of one bouncer are written
	// down at most; a list of bouncers shows each change at once. Two programs that
	// share a key and an address would otherwise turn each of their requests into a
	// write.
	describeEvery = int64(time.Minute)
	// mostToldNew is how many rows that were made without an operator the log names in
	// one minute.
	mostToldNew = 10
)

// Bouncer finds the row for an API key (http-api.md section 5):
// the row of that key and address, else a single row that has no address yet,
// else a new one named after the oldest. A shared row answers for every
// address, and with Options.IPv6Prefix a row for its whole prefix. With readOnly
// nothing is created or changed, and any row that has
// the key will do. Key and userAgent are only looked at.
//
// A recognised bouncer costs no allocation. Otherwise the row may have to be
// written down, so the error is a *Refusal or one of the engine's.
func (g *Gate) Bouncer(ctx context.Context, key []byte, client netip.Addr, userAgent []byte, readOnly bool) (*engine.BouncerRow, error) {
	row, err := g.bouncer(ctx, key, client, userAgent, readOnly)
	if err == errUnknownKey && g.confirm != nil {
		if err = g.confirmed(ctx); err == nil {
			return g.bouncer(ctx, key, client, userAgent, readOnly)
		}
	}
	return row, err
}

// confirmed returns when what is known here is as new as anywhere. Who cannot be looked up so is told
// to come again, not that he is unknown.
func (g *Gate) confirmed(ctx context.Context) error {
	if err := g.confirm(ctx); err != nil {
		return &engine.Error{Kind: engine.ErrBusy, Text: "it cannot be confirmed at the moment who asks, try again later", Cause: err}
	}
	return nil
}

func (g *Gate) bouncer(ctx context.Context, key []byte, client netip.Addr, userAgent []byte, readOnly bool) (*engine.BouncerRow, error) {
	if len(key) == 0 {
		return nil, errNoKey
	}
	view := g.engine.View()
	if len(key) > longestKey {
		return g.bouncerByKey(ctx, view, key, client, userAgent, readOnly)
	}
	mark := g.markOf(key, client)
	known := g.bouncers.get(mark)
	if known == nil || !g.stillGood(view, known) || !g.answersFor(known.row, client) {
		hash := engine.KeyHash(sha512.Sum512(key))
		until, _ := view.ResolveKey(&hash, g.engine.Now())
		row, err := g.bouncerByKey(ctx, view, key, client, userAgent, readOnly)
		if err == nil && g.answersFor(row, client) {
			g.bouncers.put(mark, knownBouncer{row, view.KeysChanged(), until})
		}
		return row, err
	}
	if !readOnly {
		g.describe(ctx, known.row, userAgent)
	}
	return known.row, nil
}

// KnownBouncer is Bouncer for a caller that cannot wait: nil means that Bouncer has
// to be asked, because the key is not known or something has to be written down
// about the bouncer first.
func (g *Gate) KnownBouncer(key []byte, client netip.Addr, userAgent []byte) *engine.BouncerRow {
	if len(key) == 0 || len(key) > longestKey {
		return nil
	}
	view, mark := g.engine.View(), g.markOf(key, client)
	var row *engine.BouncerRow
	if known := g.bouncers.get(mark); known != nil && g.stillGood(view, known) && g.answersFor(known.row, client) {
		row = known.row
	} else {
		hash := engine.KeyHash(sha512.Sum512(key))
		until, good := view.ResolveKey(&hash, g.engine.Now())
		if !good {
			return nil
		}
		if row = g.rowFor(view, &hash, client); row == nil {
			return nil
		}
		g.bouncers.put(mark, knownBouncer{row, view.KeysChanged(), until})
	}
	if !hear(row, userAgent) && row.MayDescribe(g.engine.Now(), describeEvery) {
		return nil
	}
	return row
}

// Standing is what a bouncer was let in by that waits for an answer.
type Standing struct {
	keys  uint64 // engine.View.KeysChanged then
	until int64  // its key is good until then, Unix nanoseconds; 0: no end is known
}

// Standing is that of a key that was let in a moment ago; without a key, that of a certificate. It does not allocate.
func (g *Gate) Standing(key []byte, client netip.Addr) Standing {
	view := g.engine.View()
	if len(key) > 0 && len(key) <= longestKey {
		if known := g.bouncers.get(g.markOf(key, client)); known != nil && known.keys == view.KeysChanged() {
			return Standing{known.keys, known.until}
		}
	}
	s := Standing{keys: view.KeysChanged()}
	if len(key) > 0 {
		hash, good := engine.KeyHash(sha512.Sum512(key)), false
		if s.until, good = view.ResolveKey(&hash, g.engine.Now()); !good {
			s.until = 1
		}
	}
	return s
}

// Stands reports whether it goes on, as far as is known without the key: where not, the key is to be shown again.
func (g *Gate) Stands(s Standing) bool {
	return s.keys == g.engine.View().KeysChanged() && (s.until == 0 || g.engine.Now() < s.until)
}

// stillGood reports whether the key that led to a row is good: none was rotated since, and its own
// time is not over.
func (g *Gate) stillGood(view *engine.View, known *knownBouncer) bool {
	return known.keys == view.KeysChanged() && (known.until == 0 || g.engine.Now() < known.until)
}

// markOf is what a key from an address is recognised by.
func (g *Gate) markOf(key []byte, client netip.Addr) digest {
	var buf [longestKey + 16]byte
	a := client.As16()
	n := copy(buf[:], key)
	n += copy(buf[n:], a[:])
	return g.hash.sum(buf[:n])
}

// answersFor reports whether a row is still there and the one for this address.
func (g *Gate) answersFor(row *engine.BouncerRow, client netip.Addr) bool {
	b := row.Load()
	return !row.Gone() && (b.Shared || b.IP == client || b.IP.IsValid() && b.IP == g.placeOf(client))
}

// placeOf is the address under which a new row is made for a client: its own, or
// the prefix of IPv6 that shares a row.
func (g *Gate) placeOf(client netip.Addr) netip.Addr {
	if g.prefix == 0 || !client.Is6() || client.Is4In6() {
		return client
	}
	p, err := client.WithZone("").Prefix(g.prefix)
	if err != nil {
		return client
	}
	return p.Addr()
}

// rowFor picks the row that answers for an address already: that of the address
// itself, made before addresses shared rows, comes before that of its prefix.
func (g *Gate) rowFor(view *engine.View, key *engine.KeyHash, client netip.Addr) *engine.BouncerRow {
	if row := view.BouncerFor(key, client); row != nil {
		return row
	}
	if place := g.placeOf(client); place != client {
		return view.BouncerFor(key, place)
	}
	return nil
}

// bouncerByKey is the slow way, by the key's hash. Two requests may take it at
// once; the slower one looks again.
func (g *Gate) bouncerByKey(ctx context.Context, view *engine.View, key []byte, client netip.Addr, userAgent []byte, readOnly bool) (*engine.BouncerRow, error) {
	hash := engine.KeyHash(sha512.Sum512(key))
	if _, good := view.ResolveKey(&hash, g.engine.Now()); !good {
		return nil, errUnknownKey
	}
	for range 3 {
		oldest, n := view.OldestBouncer(&hash)
		if oldest == nil {
			return nil, errUnknownKey
		}
		if row := g.rowFor(view, &hash, client); row != nil {
			if !readOnly {
				g.describe(ctx, row, userAgent)
			}
			return row, nil
		}
		if readOnly {
			return oldest, nil
		}
		row, err := g.settle(ctx, oldest, n, client, userAgent)
		if cannotNote(err) || errors.Is(err, engine.ErrInvalid) { // a name that is too long with an address
			return guest(view, oldest.Load()), nil
		}
		if row != nil || (err != nil && !errors.Is(err, engine.ErrExists) && !errors.Is(err, engine.ErrNotFound)) {
			return row, err
		}
		view = g.engine.View()
	}
	return nil, fmt.Errorf("finding a bouncer's row for %s: %w", client, engine.ErrBusy)
}

// asBouncer is a context for what a bouncer writes about itself.
func asBouncer(ctx context.Context, name string) context.Context {
	return engine.As(ctx, engine.Actor{Kind: engine.ActorBouncer, Name: name})
}

// settle gives the address a row: the only one, if it has no address yet, else
// a new one. It returns neither row nor error when another request was faster.
func (g *Gate) settle(ctx context.Context, first *engine.BouncerRow, n int, client netip.Addr, userAgent []byte) (*engine.BouncerRow, error) {
	oldest, place := first.Load(), g.placeOf(client)
	kind, version := whoSays(userAgent)
	if n == 1 && !oldest.IP.IsValid() && !g.engine.IsRelay() { // whose rows of the history are not its to change
		err := g.note(ctx, &note{What: noteAddress, Name: oldest.Name, Address: place, Type: kind, Version: version})
		if err != nil || first.Load().IP != place {
			return nil, err
		}
		return first, nil
	}
	now := g.engine.Now()
	row, err := g.admitRow(ctx, &note{What: noteRow, Name: engine.BaseName(oldest.Name), Key: oldest.KeyHash[:], Address: place, Type: kind, Version: version, At: now})
	if err == nil && row != nil {
		g.tellNew("a known key comes from a new address: it has a row of its own", row, now)
	}
	return row, err
}

// tellNew logs a row that was made without an operator, a few a minute: one key may come
// from thousands of addresses.
func (g *Gate) tellNew(what string, row *engine.BouncerRow, now int64) {
	minute := now / int64(time.Minute)
	if g.toldMinute.Swap(minute) != minute {
		g.toldNew.Store(0)
	}
	switch n := g.toldNew.Add(1); {
	case n < mostToldNew:
		g.log.Info(what, "bouncer", row.Load().Name)
	case n == mostToldNew:
		g.log.Info(what+"; further ones of this minute are not told", "bouncer", row.Load().Name)
	}
}

// guest is the row of a bouncer from a new address while the disk refuses to
// write: a store that cannot be written keeps no bouncer out. It is for one request,
// and begins the stream anew each time, for the guest may not move another row's place
// in the stream. No address is in it, so it is not remembered. It sees what the row of
// its key or certificate does.
func guest(view *engine.View, like *engine.Bouncer) *engine.BouncerRow {
	b := &engine.Bouncer{Name: like.Name, AutoCreated: true}
	if of := view.ParentOf(like); of != nil {
		b.Sight, b.Hold = of.Load().Sight, of.Load().Hold
	}
	return engine.NewGuest(b)
}

// describe notes what a bouncer says it is, and writes it down unless that was done
// a moment ago. A failure is not the bouncer's problem: it is told what it asked for,
// and a later request tries again.
func (g *Gate) describe(ctx context.Context, row *engine.BouncerRow, userAgent []byte) {
	if hear(row, userAgent) {
		return
	}
	now := g.engine.Now()
	if !row.DueToDescribe(now, describeEvery) || g.engine.IsRelay() { // where it stays in memory
		return
	}
	kind, version := whoSays(userAgent)
	err := g.note(ctx, &note{What: noteSoftware, Name: row.Load().Name, Type: kind, Version: version, At: now})
	if err != nil {
		g.log.Warn("cannot note what a bouncer is", "bouncer", row.Load().Name, "error", err)
	}
}

// hear notes in memory what a bouncer says it is, and reports whether that is
// written down already. It allocates only when the bouncer says something new.
func hear(row *engine.BouncerRow, userAgent []byte) (written bool) {
	if b := row.Load(); describes(b.Type, b.Version, userAgent) {
		row.SayAsWritten()
		return true
	}
	if kind, version := row.Says(); !describes(kind, version, userAgent) {
		row.Say(whoSays(userAgent))
	}
	return false
}

// describes reports whether a type and version are those of a User-Agent. It does
// not allocate, unless that is no UTF-8.
func describes(kind, version string, userAgent []byte) bool {
	k, v := splitAgent(userAgent)
	if string(k) == kind && (v != nil && string(v) == version || v == nil && version == noVersion) {
		return true
	}
	if utf8.Valid(k) && utf8.Valid(v) {
		return false
	}
	asKind, asVersion := whoSays(userAgent) // how it is kept
	return asKind == kind && asVersion == version
}

// noVersion is the version of bouncers that do not tell theirs.
const noVersion = "N/A"

// whoSays reads type and version from a User-Agent.
func whoSays(userAgent []byte) (kind, version string) {
	k, v := splitAgent(userAgent)
	if v == nil {
		return strings.ToValidUTF8(string(k), "\uFFFD"), noVersion
	}
	return strings.ToValidUTF8(string(k), "\uFFFD"), strings.ToValidUTF8(string(v), "\uFFFD")
}

// splitAgent cuts a User-Agent at its slash if it has exactly one; otherwise
// the whole of it is the type and the version is nil.
func splitAgent(userAgent []byte) (kind, version []byte) {
	slash := bytes.IndexByte(userAgent, '/')
	if slash < 0 || bytes.IndexByte(userAgent[slash+1:], '/') >= 0 {
		return userAgent[:min(len(userAgent), longestWord)], nil
	}
	version = userAgent[slash+1:]
	return userAgent[:min(slash, longestWord)], version[:min(len(version), longestWord)]
}
