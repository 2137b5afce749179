package engine_test

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

func TestBouncers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	key := engine.KeyHash{7}
	everyOtherRestart(t,
		func(t *testing.T, r *enginetest.Rig) {
			row, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "fw", KeyHash: key, AuthType: engine.AuthAPIKey})
			wants(t, err, nil)
			_, err = r.AddBouncer(ctx, &engine.Bouncer{Name: "fw"})
			wants(t, err, engine.ErrExists)
			_, err = r.AddBouncer(ctx, &engine.Bouncer{Name: "fw@10.0.0.2", KeyHash: key, AuthType: engine.AuthAPIKey, IP: netip.MustParseAddr("10.0.0.2"), AutoCreated: true})
			wants(t, err, nil)
			_, err = r.AddBouncer(ctx, &engine.Bouncer{Name: "web", AuthType: engine.AuthTLS})
			wants(t, err, nil)
			wants(t, r.DeleteBouncer(ctx, "fw@10.0.0.2"), engine.ErrRefused)
			wants(t, r.DeleteBouncer(ctx, "nobody"), engine.ErrNotFound)
			wants(t, r.ChangeBouncer(ctx, "nobody", func(*engine.Bouncer) { t.Error("changed nobody") }), engine.ErrNotFound)
			wants(t, r.ChangeBouncer(ctx, "fw", func(b *engine.Bouncer) {
				b.Name, b.KeyHash, b.AuthType, b.Version = "taken over", engine.KeyHash{8}, engine.AuthTLS, "1.2"
			}), nil)
			row.Advance(r.View().Revision(), 777)
		},
		func(t *testing.T, r *enginetest.Rig) {
			rows := slices.Collect(r.View().BouncersByKey(key))
			if len(rows) != 2 || rows[0].Load().Name != "fw" || rows[0].Load().Version != "1.2" || rows[1].Load().IP.String() != "10.0.0.2" {
				t.Errorf("rows of the key: %d", len(rows))
			}
			if at, ok := rows[0].Cursor(); !ok || at == 0 || rows[0].LastPull() != 777 {
				t.Errorf("cursor %d, %v, last pull %d", at, ok, rows[0].LastPull())
			}
			if _, ok := rows[1].Cursor(); ok {
				t.Error("a row that never pulled has a cursor")
			}
			wants(t, r.DeleteBouncer(ctx, "fw"), nil)
			if row, left := r.View().OldestBouncer(&key); row != nil || left != 0 || !rows[0].Gone() || !rows[1].Gone() {
				t.Errorf("%d rows of a deleted key are left", left)
			}
		},
		func(t *testing.T, r *enginetest.Rig) {
			if all := r.View().Bouncers(); len(all) != 1 || all[0].Load().Name != "web" {
				t.Errorf("%d bouncers are left", len(all))
			}
			wants(t, r.PruneBouncers(ctx, []string{"web", "never was"}), nil)
			// A name that comes again has a cursor of its own.
			row, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "fw", KeyHash: key, AuthType: engine.AuthAPIKey})
			wants(t, err, nil)
			if _, ok := row.Cursor(); ok {
				t.Error("a new bouncer has the cursor of an old one")
			}
		},
	)
}

// A deletion is final, whatever changes the same thing in the same moment.
func TestNobodyComesBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	for round := range 200 {
		_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "fw", KeyHash: engine.KeyHash{1}, AuthType: engine.AuthAPIKey})
		wants(t, err, nil)
		wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1", Validated: true}, false), nil)
		done := make(chan error)
		write := func(f func() error) { go func() { done <- f() }() }
		write(func() error { return r.ChangeBouncer(ctx, "fw", func(b *engine.Bouncer) { b.Version = "2" }) })
		write(func() error { return r.ChangeMachine(ctx, "edge-1", func(m *engine.Machine) { m.Version = "2" }) })
		if round%2 == 0 {
			write(func() error { return r.DeleteBouncer(ctx, "fw") })
			write(func() error { return r.DeleteMachine(ctx, "edge-1") })
		} else {
			write(func() error { return r.PruneBouncers(ctx, []string{"fw"}) })
			write(func() error { return r.PruneMachines(ctx, []string{"edge-1"}) })
		}
		write(func() error { return r.ChangeBouncer(ctx, "fw", func(b *engine.Bouncer) { b.Version = "3" }) })
		write(func() error { return r.ChangeMachine(ctx, "edge-1", func(m *engine.Machine) { m.Version = "3" }) })
		for range 6 {
			if err := <-done; err != nil && !errors.Is(err, engine.ErrNotFound) {
				t.Error(err)
			}
		}
		if v := r.View(); v.Bouncer("fw") != nil || v.Machine("edge-1") != nil || slices.Collect(v.BouncersByKey(engine.KeyHash{1})) != nil {
			t.Fatalf("round %d: what was deleted lives", round)
		}
	}
}

// keyOf is the hash of one of the tests' keys.
func keyOf(n int) engine.KeyHash { return sha512.Sum512(fmt.Appendf(nil, "key %d", n)) }

// from is one of the tests' addresses.
func from(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// addKey makes an operator's row for a key.
func addKey(t testing.TB, r *enginetest.Rig, name string, key engine.KeyHash) *engine.BouncerRow {
	t.Helper()
	row, err := r.AddBouncer(context.Background(), &engine.Bouncer{Name: name, KeyHash: key, AuthType: engine.AuthAPIKey, IP: netip.IPv6Loopback()})
	if err != nil {
		t.Fatalf("adding %s: %v", name, err)
	}
	return row
}

// admit has a key come from an address.
func admit(t testing.TB, r *enginetest.Rig, name string, key engine.KeyHash, at netip.Addr) *engine.BouncerRow {
	t.Helper()
	now := r.Now().UnixNano()
	row, err := r.AdmitBouncer(context.Background(), &engine.Bouncer{
		Name: name, KeyHash: key, AuthType: engine.AuthAPIKey, IP: at, CreatedAt: now, UpdatedAt: now,
		Software: &engine.Software{Type: "crowdsec-firewall-bouncer", Version: "v0.0.34"},
	})
	if err != nil {
		t.Fatalf("%s from %v: %v", name, at, err)
	}
	return row
}

// TestRowsPerKey has one key come from ever new addresses: what was heard of
// longest ago makes room, a row that is used stays, other keys are left alone, and
// the operator is told. A restart knows the same.
func TestRowsPerKey(t *testing.T) {
	t.Parallel()
	var log lines
	r := enginetest.NewRig(t, func(o *engine.Options) {
		o.BouncersPerKey = 10
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	key, other := keyOf(1), keyOf(2)
	operators := addKey(t, r, "fw", key)
	addKey(t, r, "web", other)
	admit(t, r, "web", other, from(1))
	var rows []*engine.BouncerRow
	for n := range 10 {
		r.Advance(time.Second)
		rows = append(rows, admit(t, r, "fw", key, from(n)))
	}
	r.Advance(time.Second)
	busy := []int{0, 3}
	for _, n := range busy {
		rows[n].Visit(r.Now().UnixNano())
	}
	if log.String() != "" {
		t.Errorf("the log speaks too early: %s", &log)
	}
	for n := range 8 {
		r.Advance(time.Second)
		for _, n := range busy {
			rows[n].Visit(r.Now().UnixNano())
		}
		admit(t, r, "fw", key, from(100+n))
	}
	check := func() {
		t.Helper()
		v := r.View()
		_, n := v.OldestBouncer(&key)
		if n != 11 || v.Bouncer("fw") == nil || v.BouncerCount() != 13 {
			t.Errorf("%d rows of the key, %d in all", n, v.BouncerCount())
		}
		for n := range 10 {
			if kept := v.BouncerFor(&key, from(n)) != nil; kept != slices.Contains(busy, n) {
				t.Errorf("row %d is kept: %v", n, kept)
			}
		}
		for n := range 8 {
			if v.BouncerFor(&key, from(100+n)) == nil {
				t.Errorf("new row %d is gone", n)
			}
		}
	}
	check()
	if !rows[1].Gone() || rows[0].Gone() || operators.Gone() {
		t.Error("rows know otherwise who is gone")
	}
	if m := r.Metrics(); m.BouncersEvicted != 8 || m.Bouncers != 13 {
		t.Errorf("%d rows made room, %d rows", m.BouncersEvicted, m.Bouncers)
	}
	if text := log.String(); strings.Count(text, "more addresses than are kept") != 1 || !strings.Contains(text, "bouncer=fw") || !strings.Contains(text, "kept=10") {
		t.Errorf("the operator is told: %s", text)
	}
	r.Restart()
	check()
	wants(t, r.Snapshot(context.Background()), nil)
	r.Restart()
	check()
	r.Options.BouncersPerKey = 3 // an older setting was larger
	r.Restart()
	admit(t, r, "fw", key, from(200))
	if _, n := r.View().OldestBouncer(&key); n != 4 {
		t.Errorf("%d rows of the key after the bound was lowered", n)
	}
}

// TestCertificatesPerName is the same for a certificate's name.
func TestCertificatesPerName(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.BouncersPerKey = 5 })
	for n := range 12 {
		for _, name := range []string{"cn", "other"} {
			_, err := r.AdmitBouncer(context.Background(), &engine.Bouncer{Name: name + "@" + from(n).String(), AuthType: engine.AuthTLS, IP: from(n)})
			wants(t, err, nil)
		}
	}
	if n := r.View().BouncerCount(); n != 10 || r.View().Bouncer("cn@10.0.0.11") == nil || r.View().Bouncer("cn@10.0.0.6") != nil {
		t.Errorf("%d rows", n)
	}
}

// TestManyStrangersAtOnce has more new addresses share commits than the bound is.
func TestManyStrangersAtOnce(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.BouncersPerKey = 10 })
	key := keyOf(1)
	addKey(t, r, "fw", key)
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() { admit(t, r, "fw", key, from(n)) })
	}
	all.Wait()
	for n := range 15 { // what one commit added beyond the bound goes
		admit(t, r, "fw", key, from(1000+n))
	}
	if _, n := r.View().OldestBouncer(&key); n != 11 {
		t.Errorf("%d rows", n)
	}
	r.Restart()
}

// TestTakenNames: another bouncer has the name that a row would get.
func TestTakenNames(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	key, other := keyOf(1), keyOf(2)
	addKey(t, r, "fw", key)
	addKey(t, r, "fw@10.0.0.2", other)
	row := admit(t, r, "fw", key, from(2))
	if b := row.Load(); b.Name != "fw@10.0.0.2@10.0.0.2" || b.KeyHash != key || !b.AutoCreated {
		t.Errorf("it is %s", b.Name)
	}
	if admit(t, r, "fw", key, from(2)) != row {
		t.Error("another row at another time")
	}
	// Another key whose rows are called the same.
	if b := admit(t, r, "fw", other, from(3)).Load(); b.Name != "fw@10.0.0.3" {
		t.Errorf("it is %s", b.Name)
	}
	if b := admit(t, r, "fw", key, from(3)).Load(); b.Name != "fw@10.0.0.3@10.0.0.3" {
		t.Errorf("it is %s", b.Name)
	}
	// An operator's row for this very key and address.
	_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "fw@10.0.0.4", KeyHash: key, AuthType: engine.AuthAPIKey, CreatedAt: 5})
	wants(t, err, nil)
	if b := admit(t, r, "fw", key, from(4)).Load(); b.Name != "fw@10.0.0.4" || b.AutoCreated || b.CreatedAt != 5 || b.IP != from(4) || b.Version == "" {
		t.Errorf("it is %+v", b)
	}
	r.Restart()
	wants(t, r.DeleteBouncer(ctx, "fw"), nil)
	var left []string
	for _, row := range r.View().Bouncers() {
		left = append(left, row.Load().Name)
	}
	if !slices.Equal(left, []string{"fw@10.0.0.2", "fw@10.0.0.3", "fw@10.0.0.4"}) {
		t.Errorf("left are %v", left)
	}
	// A key that was deleted does not come back by a request that was under way.
	wants(t, r.DeleteBouncer(ctx, "fw@10.0.0.4"), nil)
	_, err = r.AdmitBouncer(ctx, &engine.Bouncer{Name: "fw", KeyHash: key, AuthType: engine.AuthAPIKey, IP: from(9)})
	wants(t, err, engine.ErrNotFound)
}

// TestVisitOfAnEvictedRow: a request that is under way while its row makes room
// notes its visit; it is not written down for the one that has the name next.
func TestVisitOfAnEvictedRow(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.BouncersPerKey = 1 })
	key := keyOf(1)
	addKey(t, r, "fw", key)
	old := admit(t, r, "fw", key, from(1))
	admit(t, r, "fw", key, from(2))
	again := admit(t, r, "fw", key, from(1))
	if !old.Gone() || again == old || again.Load().Name != old.Load().Name {
		t.Fatal("the row did not make room")
	}
	old.Advance(r.View().Revision(), r.Now().UnixNano())
	r.Advance(6 * time.Second)
	r.Restart()
	if _, pulled := r.View().Bouncer(again.Load().Name).Cursor(); pulled {
		t.Error("a new row has the place of the old one")
	}
}

// TestManyVisits writes more down than one commit takes, and loses none.
func TestManyVisits(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.BouncersPerKey = 1 << 30 })
	const many = 20_000
	rows := flood(t, r, 1, many)
	for i, row := range rows {
		row.Advance(engine.Revision(i%100+1), int64(i+1))
	}
	r.Restart()
	for i, old := range rows {
		row := r.View().Bouncer(old.Load().Name)
		if at, _ := row.Cursor(); at != engine.Revision(i%100+1) || row.LastPull() != int64(i+1) {
			t.Fatalf("row %d: cursor %d, last pull %d", i, at, row.LastPull())
		}
	}
}

// flood makes rows, n for each of so many keys, many to a commit.
func flood(t testing.TB, r *enginetest.Rig, keys, n int) []*engine.BouncerRow {
	rows := make([]*engine.BouncerRow, keys*n)
	var all sync.WaitGroup
	for w := range 64 {
		all.Go(func() {
			for i := w; i < keys; i += 64 {
				_, err := r.AddBouncer(context.Background(), &engine.Bouncer{Name: fmt.Sprintf("bouncer-%d", i), KeyHash: keyOf(i), AuthType: engine.AuthAPIKey,
					IP: netip.IPv6Loopback(), Software: &engine.Software{Type: "crowdsec-firewall-bouncer", Version: "v0.0.34"}})
				if err != nil {
					t.Errorf("key %d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
	next := new(atomic.Int64)
	for range 64 {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(keys*n); i = next.Add(1) - 1 {
				rows[i] = admit(t, r, fmt.Sprintf("bouncer-%d", int(i)/n), keyOf(int(i)/n), from(int(i)%n))
			}
		})
	}
	all.Wait()
	return rows
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
