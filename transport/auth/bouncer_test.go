package auth

import (
	"context"
	"crypto/sha512"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
)

// A key that was rotated is good for its grace and no longer, also where it was recognised before; the
// new one leads to the same row.
func TestRotatedKeys(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	ctx, old, now := context.Background(), []byte("the old key"), []byte("the new key")
	_, err := d.AddBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: sha512.Sum512(old)})
	d.must(err)
	enters := func(key []byte, want bool) {
		t.Helper()
		for range 2 { // found, then recognised
			row, err := d.Bouncer(ctx, key, here, agent, false)
			if (err == nil) != want || want && row.Load().Name != "fw" {
				t.Errorf("%s: %v", key, err)
			}
			if quick := d.KnownBouncer(key, here, agent); quick != nil && !want || quick != nil && quick != row {
				t.Errorf("%s is recognised", key)
			}
		}
	}
	enters(old, true)
	enters(now, false)
	d.must(d.RotateBouncer(ctx, "fw", sha512.Sum512(now), time.Hour))
	enters(old, true)
	enters(now, true)
	d.Advance(time.Hour)
	enters(old, false)
	enters(now, true)
	d.must(d.RotateBouncer(ctx, "fw", sha512.Sum512([]byte("another")), 0))
	enters(now, false)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addBouncer("fw", "key", false)
	for _, key := range []string{"", "wrong", "Key", "key ", strings.Repeat("k", 1000)} {
		if _, err := d.Bouncer(t.Context(), []byte(key), here, agent, false); err == nil {
			t.Fatalf("%q is let in", key)
		} else {
			d.refused(err, Forbidden, "access forbidden")
		}
	}
	long := strings.Repeat("long", 200)
	d.addBouncer("long", long, false)
	row, err := d.Bouncer(t.Context(), []byte(long), here, agent, false)
	d.must(err)
	if row.Load().Name != "long" {
		t.Errorf("a long key is %s", row.Load().Name)
	}
}

// TestOneKeyManyAddresses holds http-api.md section 5.
func TestOneKeyManyAddresses(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addBouncer("fw@office", "key", false)
	ask := func(from string, readOnly bool) *engine.BouncerRow {
		t.Helper()
		row, err := d.Bouncer(t.Context(), []byte("key"), netip.MustParseAddr(from), agent, readOnly)
		d.must(err)
		return row
	}
	if row := ask("192.0.2.1", true); row.Load().IP.IsValid() {
		t.Error("a HEAD gave the row an address")
	}
	first := ask("192.0.2.1", false)
	if b := first.Load(); b.Name != "fw@office" || b.IP != here || b.Type != "tester" || b.Version != "1.0" {
		t.Errorf("adopted: %+v", b)
	}
	second := ask("192.0.2.2", false)
	if b := second.Load(); b.Name != "fw@office@192.0.2.2" || !b.AutoCreated || b.IP != there {
		t.Errorf("created: %+v", b)
	}
	if ask("192.0.2.7", true); len(d.names()) != 2 {
		t.Error("a HEAD made a row")
	}
	if ask("2001:db8::1", false).Load().Name != "fw@office@2001:db8::1" {
		t.Error("IPv6")
	}
	for range 3 {
		if ask("192.0.2.1", false) != first || ask("192.0.2.2", false) != second {
			t.Fatal("another row at another time")
		}
	}
	d.must(d.DeleteBouncer(t.Context(), "fw@office"))
	if _, err := d.Bouncer(t.Context(), []byte("key"), here, agent, false); err == nil {
		t.Error("a deleted key is let in")
	}
	d.addBouncer("again", "key", false)
	if ask("192.0.2.1", false).Load().Name != "again" {
		t.Error("the deleted row is remembered")
	}
}

func TestSharedRow(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addBouncer("pods", "key", true)
	rows := map[*engine.BouncerRow]bool{}
	for i := range 50 {
		row, err := d.Bouncer(t.Context(), []byte("key"), netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i)), agent, false)
		d.must(err)
		rows[row] = true
	}
	if len(rows) != 1 || len(d.names()) != 1 {
		t.Errorf("rows: %v", d.names())
	}
}

// TestRush has many requests come at once for a key that has no row for them
// yet: every address gets one row.
func TestRush(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addBouncer("fw", "key", false)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			from := netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i%8+1))
			row, err := d.Bouncer(t.Context(), []byte("key"), from, agent, false)
			if err != nil || row.Load().IP != from {
				t.Errorf("%v: %v", from, err)
			}
		})
	}
	all.Wait()
	if names := d.names(); len(names) != 8 {
		t.Errorf("%d rows: %v", len(names), names)
	}
}

func TestUserAgents(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addBouncer("fw", "key", false)
	for _, c := range []struct{ agent, kind, version string }{
		{"crowdsec-firewall-bouncer/v1.2.3", "crowdsec-firewall-bouncer", "v1.2.3"},
		{"crowdsec-firewall-bouncer/", "crowdsec-firewall-bouncer", ""},
		{"/", "", ""},
		{"noslash", "noslash", "N/A"},
		{"a/b/c", "a/b/c", "N/A"},
		{"", "", "N/A"},
		{strings.Repeat("x", 300) + "/1", strings.Repeat("x", 255), "1"},
		{"bad\xff/1", "bad\uFFFD", "1"},
	} {
		d.Advance(2 * time.Minute)
		row, err := d.Bouncer(t.Context(), []byte("key"), here, []byte(c.agent), false)
		d.must(err)
		if b := row.Load(); b.Type != c.kind || b.Version != c.version {
			t.Errorf("%.40q: type %.40q version %q", c.agent, b.Type, b.Version)
		}
	}
}

// TestTwoPrograms has two programs share a key and an address: they must not
// turn every request into a write, however long the key is and whichever asks.
func TestTwoPrograms(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"key", strings.Repeat("long", 200)} {
		d := newDoor(t, nil)
		d.addBouncer("fw", key, false)
		for minute := range 3 {
			before := d.View().Revision()
			for i := range 100 {
				program := []byte(fmt.Sprintf("program/%d", i%2))
				if i%3 == 0 && d.KnownBouncer([]byte(key), here, program) != nil {
					continue
				}
				_, err := d.Bouncer(t.Context(), []byte(key), here, program, false)
				d.must(err)
			}
			if n := d.View().Revision() - before; n > 4 {
				t.Errorf("minute %d, a key of %d bytes: %d commits", minute, len(key), n)
			}
			d.Advance(2 * time.Minute)
		}
	}
}

// TestSoftwareIsToldAtOnce has a bouncer say ever new things of itself, on every way
// by which it is recognised: what it said last is told at once, and is written down
// in the end.
func TestSoftwareIsToldAtOnce(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addBouncer("fw", "key", false)
	says := func(row *engine.BouncerRow, kind, version string) {
		t.Helper()
		if k, v := row.Says(); k != kind || v != version {
			t.Errorf("it says %q %q, want %q %q", k, v, kind, version)
		}
	}
	var row *engine.BouncerRow
	for i := range 9 {
		program := fmt.Appendf(nil, "program/v%d", i)
		known := d.KnownBouncer([]byte("key"), here, program)
		if known == nil || i%2 == 0 {
			var err error
			known, err = d.Bouncer(t.Context(), []byte("key"), here, program, false)
			d.must(err)
		}
		row = known
		says(row, "program", fmt.Sprintf("v%d", i))
	}
	if b := row.Load(); b.Version == "v8" {
		t.Error("each was written down")
	}
	d.Advance(2 * time.Minute)
	if d.KnownBouncer([]byte("key"), here, []byte("program/v8")) != nil {
		t.Error("one that has to be written down was answered without")
	}
	_, err := d.Bouncer(t.Context(), []byte("key"), here, []byte("program/v8"), false)
	d.must(err)
	says(row, "program", "v8")
	if b := row.Load(); b.Version != "v8" {
		t.Errorf("%q is written down", b.Version)
	}
	// A bouncer that says something else once, and then what is written down, says the latter.
	for _, program := range []string{"other/v1", "program/v8"} {
		if d.KnownBouncer([]byte("key"), here, []byte(program)) != row {
			t.Errorf("%s is not known", program)
		}
	}
	says(row, "program", "v8")
	_, err = d.Bouncer(t.Context(), []byte("key"), here, []byte("for a check"), true)
	d.must(err)
	says(row, "program", "v8")
	// What cannot be kept as it is, is no news each time.
	d.Advance(2 * time.Minute)
	for i := range 3 {
		before := d.View().Revision()
		_, err := d.Bouncer(t.Context(), []byte("key"), here, []byte("\xff/1"), false)
		d.must(err)
		if n := d.View().Revision() - before; n != 0 && i > 0 {
			t.Errorf("%d commits for a name that is known", n)
		}
		d.Advance(2 * time.Minute)
	}
}

func TestKnownBouncerAllocatesNothing(t *testing.T) {
	d := newDoor(t, nil)
	d.addBouncer("fw", "key", false)
	key := []byte("key")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Bouncer(t.Context(), key, here, agent, false); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestCache fills it far beyond its size.
func TestCache(t *testing.T) {
	t.Parallel()
	c := newCache[int](64)
	h, err := newHasher()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		mark := h.sum([]byte(fmt.Sprint(i)))
		c.put(mark, i)
		if got := c.get(mark); got == nil || *got != i {
			t.Fatalf("%d is forgotten at once", i)
		}
		c.put(mark, -i)
		if got := c.get(mark); got == nil || *got != -i {
			t.Fatalf("%d is not replaced", i)
		}
	}
	kept := slices.DeleteFunc(slices.Collect(func(yield func(int) bool) {
		for i := range 1000 {
			if c.get(h.sum([]byte(fmt.Sprint(i)))) != nil && !yield(i) {
				return
			}
		}
	}), func(int) bool { return false })
	if len(kept) < 32 || len(kept) > 64 {
		t.Errorf("%d of 64 places are used", len(kept))
	}
}

func BenchmarkKnownBouncer(b *testing.B) {
	d := newDoor(b, nil)
	d.addBouncer("fw", "contract-bouncer-key-1-8f1d2c", false)
	key := []byte("contract-bouncer-key-1-8f1d2c")
	for b.Loop() {
		if _, err := d.Bouncer(b.Context(), key, here, agent, false); err != nil {
			b.Fatal(err)
		}
	}
}
