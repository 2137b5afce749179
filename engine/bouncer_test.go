package engine_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

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

// rowModel is the slow twin of who the bouncers are: a slice.
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
				if row, err := r.AddBouncer(ctx, b); err == nil {
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

// TestRowsPerKey has one key come from ever new addresses: what was heard of
// longest ago makes room, whoever comes by stays, other keys are left alone, and
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

// TestTakenNames: somebody else has the name that a row would get.
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

// TestBouncerRowBytes holds what a row takes in memory, of one key or of many.
func TestBouncerRowBytes(t *testing.T) {
	const n = 100_000
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
				size = 1 << 16
			}
			before := heapInUse()
			kept := engine.BuildRows(size, shown, row)
			each := float64(heapInUse()-before) / float64(size)
			runtime.KeepAlive(kept)
			t.Logf("%s, %d in a commit: %.0f bytes a row", name, shown, each)
			if each > 400 {
				t.Errorf("%s: %.0f bytes a row, promised are 400", name, each)
			}
		}
	}
}

// TestMachineBytes holds what a machine takes in memory: one that has just been
// registered, and one of a fleet that reports the same 300 hub items as all others,
// or but for one.
func TestMachineBytes(t *testing.T) {
	plain := func(i int) *engine.Machine {
		return &engine.Machine{ID: fmt.Sprintf("lp-%08d", i), PasswordHash: bytes.Repeat([]byte("h"), 60), AuthType: engine.AuthPassword,
			Validated: true, IP: fmt.Sprint("10.0.0.", i%250), CreatedAt: 1, UpdatedAt: 2}
	}
	differs := func(i int) *engine.Machine {
		m := fleetMachine(i)
		m.HubItems["collections"][0].Version = fmt.Sprint("0.", i)
		return m
	}
	for _, c := range []struct {
		name    string
		n       int
		machine func(int) *engine.Machine
		most    float64
	}{{"plain", 100_000, plain, 700}, {"fleet", 2000, fleetMachine, 1800}, {"fleet, each with a list of its own", 2000, differs, 5000}} {
		for _, shown := range []int{1, c.n} {
			before := heapInUse()
			kept := engine.BuildMachines(c.n, shown, c.machine)
			each := float64(heapInUse()-before) / float64(c.n)
			runtime.KeepAlive(kept)
			t.Logf("%s, %d in a commit: %.0f bytes a machine", c.name, shown, each)
			if each > c.most {
				t.Errorf("%s: %.0f bytes a machine, promised are %.0f", c.name, each, c.most)
			}
		}
	}
}

// TestMachinesShare: what machines report is kept once, however it changes, and is
// forgotten with the last one that has it. Check compares the counts.
func TestMachinesShare(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	const many = 5
	for i := range many {
		wants(t, r.AddMachine(ctx, fleetMachine(i), false), nil)
	}
	for _, again := range []func(){func() {}, r.Restart, func() { wants(t, r.Snapshot(ctx), nil); r.Restart() }} {
		again()
		first := r.View().Machine("lp-00000000")
		for i := range many {
			m := r.View().Machine(fmt.Sprintf("lp-%08d", i))
			for kind, items := range first.HubItems {
				if &items[0] != &m.HubItems[kind][0] || len(items) != len(m.HubItems[kind]) {
					t.Errorf("%s has %s of its own", m.ID, kind)
				}
			}
		}
	}
	held := r.View().Machine("lp-00000001")
	tainted := slices.Clone(held.HubItems["parsers"])
	tainted[3].Status = "tainted"
	wants(t, r.ChangeMachine(ctx, "lp-00000001", func(m *engine.Machine) {
		m.HubItems, m.FeatureFlags = maps.Clone(m.HubItems), []string{"one", "two"}
		m.HubItems["parsers"] = tainted
		m.HubItems["contexts"] = []engine.HubItem{}
		delete(m.HubItems, "collections")
	}), nil)
	if held.HubItems["parsers"][3].Status == "tainted" {
		t.Error("what was published has changed")
	}
	if m := r.View().Machine("lp-00000001"); m.HubItems["parsers"][3].Status != "tainted" || len(m.HubItems["collections"]) != 0 {
		t.Errorf("%v", m.HubItems)
	}
	wants(t, r.Check(), nil)
	wants(t, r.AddMachine(ctx, fleetMachine(2), true), nil) // anew, in place of itself
	wants(t, r.Check(), nil)
	for i := range many {
		wants(t, r.DeleteMachine(ctx, fmt.Sprintf("lp-%08d", i)), nil)
		wants(t, r.Check(), nil)
	}
	if words, lists := r.SharedByMachines(); words != 0 || lists != 0 {
		t.Errorf("%d texts and %d lists are kept for nobody", words, lists)
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMachineCounts: how many wait for validation is counted, not looked for.
func TestMachineCounts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	counts := func(all, waiting int) {
		t.Helper()
		for range 2 {
			if a, w := r.View().MachineCount(); a != all || w != waiting {
				t.Errorf("%d machines, %d waiting; want %d and %d", a, w, all, waiting)
			}
			r.Restart()
		}
	}
	for _, id := range []string{"a", "b", "c"} {
		wants(t, r.AddMachine(ctx, &engine.Machine{ID: id}, false), nil)
	}
	counts(3, 3)
	wants(t, r.ChangeMachine(ctx, "a", func(m *engine.Machine) { m.Validated = true }), nil)
	counts(3, 2)
	wants(t, r.AddMachine(ctx, &engine.Machine{ID: "a"}, true), nil)
	counts(3, 3)
	wants(t, r.AddMachine(ctx, &engine.Machine{ID: "b", Validated: true}, true), nil)
	wants(t, r.Snapshot(ctx), nil)
	counts(3, 2)
	wants(t, r.DeleteMachine(ctx, "c"), nil)
	counts(2, 1)
	var order []string
	r.View().EachMachine(func(m *engine.Machine) bool { order = append(order, m.ID); return true })
	if !slices.Equal(order, []string{"a", "b"}) {
		t.Errorf("order %v", order)
	}
}
