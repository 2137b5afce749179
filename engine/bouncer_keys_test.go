package engine_test

import (
	"context"
	"errors"
	"net/netip"
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
		_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: name, AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{1}})
		wants(t, err, nil)
	}
	if err := r.RotateBouncer(ctx, "a", engine.KeyHash{2}, 0); !errors.Is(err, engine.ErrRefused) {
		t.Errorf("shared: %v", err)
	}
}
