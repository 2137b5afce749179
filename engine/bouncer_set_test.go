package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// rowModel is the slow twin of a bouncerSet: a slice.
type rowModel []*engine.BouncerRow

func (m rowModel) named(name string) *engine.BouncerRow {
	for _, r := range m {
		if r.Load().Name == name {
			return r
		}
	}
	return nil
}

func (m rowModel) without(gone func(*engine.Bouncer) bool) rowModel {
	return slices.DeleteFunc(slices.Clone(m), func(r *engine.BouncerRow) bool { return gone(r.Load()) })
}

// same holds a view against the twin, by every question there is.
func (m rowModel) same(t *testing.T, v *engine.View) {
	t.Helper()
	if got := v.Bouncers(); !slices.Equal(got, m) || v.BouncerCount() != len(m) {
		t.Fatalf("%d bouncers, want %d", len(got), len(m))
	}
	for _, r := range m {
		if v.Bouncer(r.Load().Name) != r {
			t.Fatalf("%s is not found", r.Load().Name)
		}
	}
	for n := range 5 {
		key := keyOf(n)
		var rows []*engine.BouncerRow
		for _, r := range m {
			if b := r.Load(); b.KeyHash == key && b.AuthType == engine.AuthAPIKey {
				rows = append(rows, r)
			}
		}
		oldest, count := v.OldestBouncer(&key)
		if got := slices.Collect(v.BouncersByKey(key)); !slices.Equal(got, rows) || count != len(rows) || (count > 0 && oldest != rows[0]) {
			t.Fatalf("key %d has %d rows, %d counted, want %d", n, len(got), count, len(rows))
		}
		for i := range 30 {
			var want *engine.BouncerRow
			for _, r := range rows {
				if b := r.Load(); want == nil && (b.Shared || b.IP == from(i)) {
					want = r
				}
			}
			if got := v.BouncerFor(&key, from(i)); got != want {
				t.Fatalf("key %d from %v has another row", n, from(i))
			}
		}
	}
	if v.Bouncer("nobody") != nil || v.BouncerFor(&engine.KeyHash{}, netip.Addr{}) != nil {
		t.Fatal("somebody is there who never was")
	}
}

// TestBouncersAgainstSlice makes, changes and drops rows at random, and holds what
// every question gives against a slice; views that were held are what they were;
// and a restart finds the same, from the journal and from a snapshot.
func TestBouncersAgainstSlice(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 20))
		r := enginetest.NewRig(t, nil)
		var model rowModel
		type moment struct {
			view  *engine.View
			model rowModel
		}
		var held []moment
		for step := range 400 {
			name, key, at := fmt.Sprintf("b%d", rnd.IntN(8)), rnd.IntN(5), from(rnd.IntN(30))
			switch rnd.IntN(8) {
			case 0, 1:
				b := &engine.Bouncer{Name: name, KeyHash: keyOf(key), AuthType: engine.AuthAPIKey, Shared: rnd.IntN(6) == 0}
				if rnd.IntN(5) == 0 {
					b.KeyHash, b.AuthType = engine.KeyHash{}, engine.AuthTLS
				}
				if model.named(name) != nil {
					break
				}
				if rnd.IntN(2) == 0 { // a server before may have given one key to several
					b.Software = &engine.Software{}
					if r.BringBouncer(ctx, b, 0) == nil {
						model = append(model, r.View().Bouncer(name))
					}
				} else if row, err := r.AddBouncer(ctx, b); err == nil {
					model = append(model, row)
				}
			case 2, 3, 4:
				row, err := r.AdmitBouncer(ctx, &engine.Bouncer{Name: name, KeyHash: keyOf(key), AuthType: engine.AuthAPIKey, IP: at})
				if err == nil && !slices.Contains(model, row) {
					model = append(model, row)
				}
			case 5:
				_ = r.ChangeBouncer(ctx, name, func(b *engine.Bouncer) { b.IP, b.Type, b.Shared = at, fmt.Sprint(step), step%7 == 0 })
			case 6:
				if row := model.named(name); row != nil {
					of := *row.Load()
					wants(t, r.DeleteBouncer(ctx, name), nil)
					model = model.without(func(b *engine.Bouncer) bool {
						return b.Name == name || (of.AuthType == engine.AuthAPIKey && b.AutoCreated && b.KeyHash == of.KeyHash && engine.BaseName(b.Name) == engine.BaseName(name))
					})
				}
			case 7:
				names := []string{name, fmt.Sprintf("b%d@%v", rnd.IntN(8), at)}
				wants(t, r.PruneBouncers(ctx, names), nil)
				model = model.without(func(b *engine.Bouncer) bool { return slices.Contains(names, b.Name) })
			}
			model.same(t, r.View())
			if step%40 == 39 {
				held = append(held, moment{r.View(), slices.Clone(model)})
			}
		}
		for _, m := range held {
			if !slices.Equal(m.view.Bouncers(), m.model) {
				t.Fatal("a view that was held has changed")
			}
			for _, row := range m.model {
				if m.view.Bouncer(row.Load().Name) != row {
					t.Fatalf("a view that was held lacks %s", row.Load().Name)
				}
			}
		}
		wants(t, r.Check(), nil)
		r.Restart() // and compares
		wants(t, r.Snapshot(ctx), nil)
		r.Restart()
	}
}

// TestRowsBesideReaders is the race detector's: readers ask every question while
// rows come, change and go.
func TestRowsBesideReaders(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.BouncersPerKey = 20 })
	key := keyOf(1)
	addKey(t, r, "fw", key)
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for n := 0; !stop.Load(); n++ {
				v := r.View()
				seen := 0
				v.EachBouncer(func(row *engine.BouncerRow) bool {
					seen++
					row.Visit(int64(n))
					if b := row.Load(); v.Bouncer(b.Name) == nil || (b.IP.IsValid() && v.BouncerFor(&b.KeyHash, b.IP) == nil) {
						t.Errorf("%s is listed, not found", b.Name)
					}
					return true
				})
				if seen != v.BouncerCount() {
					t.Errorf("%d listed, %d counted", seen, v.BouncerCount())
				}
				v.EachMachine(func(m *engine.Machine) bool {
					r.Heartbeat(m.ID, int64(n))
					return v.Machine(m.ID) != nil
				})
			}
		})
	}
	for n := range 300 {
		admit(t, r, "fw", key, from(n))
		id := fmt.Sprintf("m%d", n%40)
		wants(t, r.AddMachine(ctx, &engine.Machine{ID: id, Validated: n%2 == 0}, true), nil)
		if n%5 == 0 {
			wants(t, r.DeleteMachine(ctx, id), nil)
		}
		if n%50 == 0 {
			r.Advance(6 * time.Second) // visits are written down
		}
	}
	stop.Store(true)
	readers.Wait()
}

// TestBouncerRowBytes holds what a row takes in memory, of one key or of many.
func TestBouncerRowBytes(t *testing.T) {
	n := sized(100_000)
	rows := func(from int) func(int) engine.Bouncer {
		return func(i int) engine.Bouncer {
			b := engine.Bouncer{Name: fmt.Sprintf("bouncer-%d", i), KeyHash: keyOf(i), AuthType: engine.AuthAPIKey, IP: netip.IPv6Loopback(),
				Software: &engine.Software{Type: "crowdsec-firewall-bouncer", Version: "v0.0.34"}}
			if from != 0 {
				ip := netip.MustParseAddr("2001:db8:1234:5678::").As16()
				binary.BigEndian.PutUint64(ip[8:], uint64(i)<<32|0x12345678)
				b.KeyHash, b.IP, b.AutoCreated = keyOf(0), netip.AddrFrom16(ip), true
				if from == 4 {
					b.IP = netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}).Next()
				}
				b.Name = "fw@" + b.IP.String()
			}
			return b
		}
	}
	for name, row := range map[string]func(int) engine.Bouncer{"many keys": rows(0), "one key, IPv4": rows(4), "one key, IPv6": rows(6)} {
		for _, shown := range []int{1, n} {
			size := n
			if name == "one key, IPv4" {
				size = min(n, 1<<16)
			}
			before := heapInUse()
			kept := engine.BuildRows(size, shown, row)
			each := float64(heapInUse()-before) / float64(size)
			runtime.KeepAlive(kept)
			t.Logf("%s, %d in a commit: %.0f bytes a row", name, shown, each)
			if each > 450 {
				t.Errorf("%s: %.0f bytes a row, promised are 450", name, each)
			}
		}
	}
}
