package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// A rotated bouncer is found by its new key and, until the grace is over, by the old one, with the
// same rows; a restart by journal and by snapshot knows that too, and the keys go with it.
func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	first, second, third, other := engine.KeyHash{1}, engine.KeyHash{2}, engine.KeyHash{3}, engine.KeyHash{9}
	for name, key := range map[string]engine.KeyHash{"fw": first, "other": other} {
		_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: name, AuthType: engine.AuthAPIKey, KeyHash: key})
		wants(t, err, nil)
	}
	_, err := r.AdmitBouncer(ctx, &engine.Bouncer{Name: "fw", KeyHash: first, AuthType: engine.AuthAPIKey, IP: netip.MustParseAddr("192.0.2.1"), Software: &engine.Software{}})
	wants(t, err, nil)
	good := func(keys ...engine.KeyHash) {
		t.Helper()
		for again := range 3 {
			for _, k := range []engine.KeyHash{first, second, third} {
				want, hash := false, k
				for _, g := range keys {
					want = want || g == k
				}
				_, ok := r.View().ResolveKey(&hash, r.Now().UnixNano())
				row, n := r.View().OldestBouncer(&hash)
				if found := ok && row != nil && n > 0; found != want || found && engine.BaseName(row.Load().Name) != "fw" {
					t.Errorf("key %d is good: %v, want %v (look %d)", k[0], found, want, again)
				}
			}
			wants(t, r.Check(), nil)
			switch again {
			case 0:
				r.Restart()
			case 1:
				wants(t, r.Snapshot(ctx), nil)
				r.Restart()
			}
		}
	}
	good(first)
	wants(t, r.RotateBouncer(ctx, "fw", second, time.Hour), nil)
	good(first, second)
	if keys := r.View().KeysOf(first, r.Now().UnixNano()); len(keys) != 2 || keys[0].Until != 0 || keys[1].Until == 0 {
		t.Errorf("keys: %+v", keys)
	}
	if r.View().CurrentKey(first) != second || r.View().CurrentKey(other) != other {
		t.Error("the present key is another")
	}
	for name, c := range map[string]struct {
		bouncer string
		key     engine.KeyHash
		grace   time.Duration
		want    error
	}{
		"nobody": {"nobody", third, 0, engine.ErrNotFound}, "its own": {"fw", second, 0, engine.ErrExists}, "the old one": {"fw", first, 0, engine.ErrExists},
		"another's": {"fw", other, 0, engine.ErrExists}, "too long": {"fw", third, engine.LongestGrace + 1, engine.ErrInvalid}, "less": {"fw", third, -1, engine.ErrInvalid},
	} {
		if err := r.RotateBouncer(ctx, c.bouncer, c.key, c.grace); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, key := range []engine.KeyHash{first, second} {
		if _, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "new", AuthType: engine.AuthAPIKey, KeyHash: key}); !errors.Is(err, engine.ErrExists) {
			t.Errorf("a rotated key is given to another: %v", err)
		}
	}
	r.Advance(time.Hour)
	good(second)
	wants(t, r.RotateBouncer(ctx, "fw", third, 0), nil)
	good(third)
	wants(t, r.DeleteBouncer(ctx, "fw"), nil)
	good()
	_, err = r.AddBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: first})
	wants(t, err, nil)
	good(first)
}

// A key that two bouncers share is not rotated, nor is that of a row made by itself.
func TestSharedKeysAreNotRotated(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	for _, name := range []string{"a", "b"} {
		wants(t, r.BringBouncer(ctx, &engine.Bouncer{Name: name, AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{1}, Software: &engine.Software{}}, 0), nil)
	}
	if err := r.RotateBouncer(ctx, "a", engine.KeyHash{2}, 0); !errors.Is(err, engine.ErrRefused) {
		t.Errorf("shared: %v", err)
	}
}

// TestOneKeyOneBouncer: of many that are added at once with one key one is, and later ones are told its name; rows of
// the same bouncer are not refused, nor are those that another server has, which are told of.
func TestOneKeyOneBouncer(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	with := func(name string, key byte) *engine.Bouncer {
		return &engine.Bouncer{Name: name, AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{key}, Software: &engine.Software{}}
	}
	refused := func(err error, whose string) {
		t.Helper()
		if !errors.Is(err, engine.ErrExists) || !strings.Contains(err.Error(), "the bouncer '"+whose+"'") {
			t.Errorf("got %v, want the name of %s", err, whose)
		}
	}
	const many = 32
	var wg sync.WaitGroup
	errs := make([]error, many)
	for i := range many {
		wg.Go(func() { _, errs[i] = r.AddBouncer(ctx, with(fmt.Sprint("b", i), 1)) })
	}
	wg.Wait()
	won := slices.Index(errs, nil)
	if won < 0 || r.View().BouncerCount() != 1 {
		t.Fatalf("%d are there, the first of them %d", r.View().BouncerCount(), won)
	}
	winner := fmt.Sprint("b", won)
	for i, err := range errs {
		if i != won {
			refused(err, winner)
		}
	}
	r.Restart()
	_, err := r.AddBouncer(ctx, with("later", 1))
	refused(err, winner)
	_, err = r.AddBouncer(ctx, with(winner+"@192.0.2.1", 1))
	wants(t, err, nil)
	admit(t, r, winner, engine.KeyHash{1}, from(9))

	_, err = r.AddBouncer(ctx, with("other", 2))
	wants(t, err, nil)
	refused(r.RotateBouncer(ctx, "other", engine.KeyHash{1}, 0), winner)
	wants(t, r.RotateBouncer(ctx, "other", engine.KeyHash{3}, 0), nil)
	for _, key := range []byte{2, 3} { // the one that it had counts too
		_, err = r.AddBouncer(ctx, with("more", key))
		refused(err, "other")
	}
	for name, oldest := range r.View().SharedKeys {
		t.Errorf("%s has the key of %s", name, oldest)
	}

	wants(t, r.BringBouncer(ctx, with("brought", 1), 0), nil)
	r.Restart()
	told := map[string]string{}
	for name, oldest := range r.View().SharedKeys {
		told[name] = oldest
	}
	if len(told) != 1 || told["brought"] != winner {
		t.Errorf("told is %v", told)
	}
	wants(t, r.DeleteBouncer(ctx, "brought"), nil)
	if r.View().Bouncer(winner) == nil {
		t.Error("the one with the same key is gone too")
	}
}

// A key that is over stays so when the clock is set back: one without a grace, and one whose grace
// was over; what was good goes on being so. Journal and snapshot know it too.
func TestKeysStayOverWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	c := newClocks(t, nil)
	ctx := context.Background()
	key := func(n byte) engine.KeyHash { return engine.KeyHash{n} }
	for n, name := range map[byte]string{10: "at-once", 20: "graced", 30: "good"} {
		_, err := c.AddBouncer(ctx, &engine.Bouncer{Name: name, AuthType: engine.AuthAPIKey, KeyHash: key(n)})
		wants(t, err, nil)
	}
	wants(t, c.RotateBouncer(ctx, "at-once", key(11), time.Hour), nil)
	wants(t, c.RotateBouncer(ctx, "at-once", key(12), 0), nil)
	wants(t, c.RotateBouncer(ctx, "graced", key(21), time.Minute), nil)
	wants(t, c.RotateBouncer(ctx, "good", key(31), 48*time.Hour), nil)
	good := func(when string) {
		t.Helper()
		for n, want := range map[byte]bool{10: false, 11: false, 12: true, 20: false, 21: true, 30: true, 31: true} {
			hash := key(n)
			_, ok := c.View().ResolveKey(&hash, c.Engine.Now())
			row, _ := c.View().OldestBouncer(&hash)
			if (ok && row != nil) != want {
				t.Errorf("%s: key %d is good: %v, want %v", when, n, !want, want)
			}
		}
		wants(t, c.Check(), nil)
	}
	c.pass(5 * time.Minute)
	c.ban("192.0.2.1", enginetest.Epoch.Add(5*time.Minute), "1h")
	good("before")
	changed := c.View().KeysChanged()
	c.set(-24 * time.Hour)
	c.pass(11 * time.Minute)
	c.ban("192.0.2.2", enginetest.Epoch.Add(-23*time.Hour), "1h")
	if c.Engine.Now() > enginetest.Epoch.UnixNano() || c.View().KeysChanged() == changed {
		t.Fatal("the clock was not set back, or nobody hears of it")
	}
	good("set back")
	c.Restart()
	good("after a restart")
	wants(t, c.Snapshot(ctx), nil)
	c.Restart()
	good("after one by a snapshot")
}

// However many bouncers are rotated, each is found, listed and forgotten by itself, also by a start that
// replays it all, and by one that reads half of it.
func TestManyRotatedKeys(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	const bouncers = 300
	key := func(n, generation int) (k engine.KeyHash) {
		binary.BigEndian.PutUint32(k[:], uint32(n)<<4|uint32(generation))
		return k
	}
	name := func(n int) string { return fmt.Sprintf("fw-%d", n) }
	for n := range bouncers {
		_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: name(n), AuthType: engine.AuthAPIKey, KeyHash: key(n, 0)})
		wants(t, err, nil)
	}
	for generation := 1; generation <= 3; generation++ {
		for n := range bouncers {
			wants(t, r.RotateBouncer(ctx, name(n), key(n, generation), time.Hour), nil)
		}
		if generation == 2 {
			wants(t, r.Snapshot(ctx), nil)
		}
	}
	for n := range bouncers {
		if n%3 == 0 {
			wants(t, r.DeleteBouncer(ctx, name(n)), nil)
		}
		if n%6 == 0 { // its first key is free again
			_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: name(n), AuthType: engine.AuthAPIKey, KeyHash: key(n, 0)})
			wants(t, err, nil)
		}
	}
	for range 2 {
		v, now := r.View(), r.Now().UnixNano()
		for n := range bouncers {
			keys, current := 4, key(n, 3)
			if n%3 == 0 {
				keys, current = 0, key(n, 0)
			}
			if list := v.KeysOf(key(n, 0), now); len(list) != keys || v.CurrentKey(key(n, 0)) != current {
				t.Fatalf("%s has %d keys, want %d", name(n), len(list), keys)
			}
			for generation := range 4 {
				hash := key(n, generation)
				_, ok := v.ResolveKey(&hash, now)
				row, _ := v.OldestBouncer(&hash)
				if found, want := ok && row != nil, n%3 != 0 || n%6 == 0 && generation == 0; found != want || found && row.Load().Name != name(n) {
					t.Fatalf("%s, key %d is good: %v, want %v", name(n), generation, found, want)
				}
			}
		}
		wants(t, r.Check(), nil)
		r.Restart()
	}
}
