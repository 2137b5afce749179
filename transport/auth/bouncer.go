package auth

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// knownBouncer is a row that a key or certificate led to, from one address.
type knownBouncer struct {
	epoch     uint64 // of the view it was found in
	row       *engine.BouncerRow
	described *atomic.Int64 // when its type and version were last written
}

const (
	// longestKey is the longest API key that is recognised quickly; longer
	// ones are looked up each time.
	longestKey = 256
	// longestWord cuts what a User-Agent tells about its sender.
	longestWord = 255
	// describeEvery is how often one bouncer may change its type and version.
	// Two programs that share a key and an address would otherwise turn each
	// of their requests into a write.
	describeEvery = int64(time.Minute)
)

// Bouncer finds the row of whoever shows an API key (http-api.md section 5):
// the row of that key and address, else a single row that has no address yet,
// else a new one named after the oldest. A shared row answers for every
// address. With readOnly nothing is created or changed, and whichever row has
// the key will do. Key and userAgent are only looked at.
//
// A recognised bouncer costs no allocation. Otherwise the row may have to be
// written down, so the error is a *Refusal or one of the engine's.
func (g *Gate) Bouncer(ctx context.Context, key []byte, client netip.Addr, userAgent []byte, readOnly bool) (*engine.BouncerRow, error) {
	if len(key) == 0 {
		return nil, errForbidden
	}
	view := g.engine.View()
	if len(key) > longestKey {
		return g.bouncerByKey(ctx, view, key, client, userAgent, readOnly)
	}
	mark := g.markOf(key, client)
	known := g.bouncers.get(mark)
	if known == nil || known.epoch != view.BouncerEpoch() || !answersFor(known.row.Load(), client) {
		row, err := g.bouncerByKey(ctx, view, key, client, userAgent, readOnly)
		if err == nil && answersFor(row.Load(), client) {
			g.bouncers.put(mark, knownBouncer{g.engine.View().BouncerEpoch(), row, new(atomic.Int64)})
		}
		return row, err
	}
	if !readOnly && !describes(known.row.Load(), userAgent) {
		g.describe(ctx, known, userAgent)
	}
	return known.row, nil
}

// KnownBouncer is Bouncer for those who cannot wait: nil means that Bouncer has
// to be asked, because the key is not known or something has to be written down
// about the bouncer first.
func (g *Gate) KnownBouncer(key []byte, client netip.Addr, userAgent []byte) *engine.BouncerRow {
	if len(key) == 0 || len(key) > longestKey {
		return nil
	}
	view, mark := g.engine.View(), g.markOf(key, client)
	known := g.bouncers.get(mark)
	if known == nil || known.epoch != view.BouncerEpoch() || !answersFor(known.row.Load(), client) {
		row := rowFor(view.BouncersByKey(sha512.Sum512(key)), client)
		if row == nil {
			return nil
		}
		g.bouncers.put(mark, knownBouncer{view.BouncerEpoch(), row, new(atomic.Int64)})
		known = &knownBouncer{row: row}
	}
	if !describes(known.row.Load(), userAgent) {
		return nil
	}
	return known.row
}

// markOf is what a key from an address is recognised by.
func (g *Gate) markOf(key []byte, client netip.Addr) digest {
	var buf [longestKey + 16]byte
	a := client.As16()
	n := copy(buf[:], key)
	n += copy(buf[n:], a[:])
	return g.hash.sum(buf[:n])
}

// answersFor reports whether a row is the one for this address.
func answersFor(b *engine.Bouncer, client netip.Addr) bool { return b.Shared || b.IP == client }

// bouncerByKey is the slow way, by the key's hash. Two requests may take it at
// once; whoever finds the work done by the other looks again.
func (g *Gate) bouncerByKey(ctx context.Context, view *engine.View, key []byte, client netip.Addr, userAgent []byte, readOnly bool) (*engine.BouncerRow, error) {
	hash := engine.KeyHash(sha512.Sum512(key))
	for range 3 {
		rows := view.BouncersByKey(hash)
		if len(rows) == 0 {
			return nil, errForbidden
		}
		if row := rowFor(rows, client); row != nil {
			if !readOnly && !describes(row.Load(), userAgent) {
				g.describe(ctx, &knownBouncer{row: row, described: new(atomic.Int64)}, userAgent)
			}
			return row, nil
		}
		if readOnly {
			return rows[0], nil
		}
		row, err := g.settle(ctx, rows, client, userAgent)
		if errors.Is(err, engine.ErrDisk) {
			return guest(rows[0].Load().Name), nil
		}
		if row != nil || (err != nil && !errors.Is(err, engine.ErrExists) && !errors.Is(err, engine.ErrNotFound)) {
			return row, err
		}
		view = g.engine.View()
	}
	return nil, fmt.Errorf("finding a bouncer's row for %s: %w", client, engine.ErrBusy)
}

// rowFor picks the row that answers for an address already.
func rowFor(rows []*engine.BouncerRow, client netip.Addr) *engine.BouncerRow {
	for _, row := range rows {
		if answersFor(row.Load(), client) {
			return row
		}
	}
	return nil
}

// settle gives the address a row: the only one, if it has no address yet, else
// a new one. It returns neither row nor error when another request was faster.
func (g *Gate) settle(ctx context.Context, rows []*engine.BouncerRow, client netip.Addr, userAgent []byte) (*engine.BouncerRow, error) {
	oldest := rows[0].Load()
	kind, version := whoSays(userAgent)
	if len(rows) == 1 && !oldest.IP.IsValid() {
		err := g.engine.ChangeBouncer(ctx, oldest.Name, func(b *engine.Bouncer) {
			if !b.IP.IsValid() {
				b.IP, b.Type, b.Version = client, kind, version
			}
		})
		if err != nil || rows[0].Load().IP != client {
			return nil, err
		}
		return rows[0], nil
	}
	name := engine.BaseName(oldest.Name) + "@" + client.String()
	g.log.Info("creating a bouncer for a known key from a new address", "bouncer", name)
	now := g.engine.Now()
	return g.engine.AddBouncer(ctx, &engine.Bouncer{
		Name: name, KeyHash: oldest.KeyHash, AuthType: engine.AuthAPIKey, IP: client,
		Type: kind, Version: version, AutoCreated: true, CreatedAt: now, UpdatedAt: now,
	})
}

// guest is the row of somebody from a new address while the disk refuses to
// write: a store that cannot be written keeps nobody out. It is for one request,
// and begins the stream anew each time, for the place in the stream of another
// row is not theirs to move. No address is in it, so it is not remembered.
func guest(name string) *engine.BouncerRow {
	return engine.NewGuest(&engine.Bouncer{Name: name, AutoCreated: true})
}

// describe writes down what a bouncer says it is. A failure is not the
// bouncer's problem: it is told what it asked for, and the next request tries
// again.
func (g *Gate) describe(ctx context.Context, known *knownBouncer, userAgent []byte) {
	now, last := g.engine.Now(), known.described.Load()
	if last != 0 && now-last < describeEvery || !known.described.CompareAndSwap(last, now) {
		return
	}
	kind, version := whoSays(userAgent)
	err := g.engine.ChangeBouncer(ctx, known.row.Load().Name, func(b *engine.Bouncer) {
		b.Type, b.Version, b.UpdatedAt = kind, version, now
	})
	if err != nil {
		g.log.Warn("cannot note what a bouncer is", "bouncer", known.row.Load().Name, "error", err)
	}
}

// describes reports whether a row says the same as a User-Agent. It does not
// allocate.
func describes(b *engine.Bouncer, userAgent []byte) bool {
	kind, version := splitAgent(userAgent)
	if version == nil {
		return b.Version == noVersion && string(kind) == b.Type
	}
	return string(version) == b.Version && string(kind) == b.Type
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
