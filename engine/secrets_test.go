package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	never := func() ([]byte, error) { t.Error("made twice"); return nil, nil }
	everyOtherRestart(t,
		func(t *testing.T, r *enginetest.Rig) {
			broken := errors.New("no chance left")
			_, err := r.Secret(ctx, "tokens", func() ([]byte, error) { return nil, broken })
			wants(t, err, broken)
			s, err := r.Secret(ctx, "tokens", func() ([]byte, error) { return []byte("first"), nil })
			if err != nil || string(s) != "first" {
				t.Errorf("%q, %v", s, err)
			}
		},
		func(t *testing.T, r *enginetest.Rig) {
			if s, err := r.Secret(ctx, "tokens", never); err != nil || string(s) != "first" {
				t.Errorf("%q, %v", s, err)
			}
			made := make(chan string)
			for i := range 8 {
				go func() {
					s, _ := r.Secret(ctx, "other", func() ([]byte, error) { return []byte{byte(i)}, nil })
					made <- string(s)
				}()
			}
			one := <-made
			for range 7 {
				if s := <-made; s != one {
					t.Errorf("secrets %q and %q under one name", s, one)
				}
			}
		},
	)
}

// A secret that was rotated is good until its grace is over, at most so many at once; one that is over stays so when the
// clock is set back, and a restart knows it all.
func TestRotatedSecrets(t *testing.T) {
	t.Parallel()
	c := newClocks(t, nil)
	ctx := context.Background()
	rotate := func(value string, grace time.Duration, want error) {
		t.Helper()
		if _, err := c.RotateSecret(ctx, "s", []byte(value), grace); !errors.Is(err, want) {
			t.Errorf("rotate to %q: %v, want %v", value, err, want)
		}
	}
	has := func(when, present string, earlier ...string) {
		t.Helper()
		var got []string
		for _, s := range c.View().EarlierSecrets("s") {
			if s.Until > c.Engine.Now() {
				got = append(got, string(s.Value))
			}
		}
		if now := string(c.View().Secret("s")); now != present || !slices.Equal(got, earlier) {
			t.Errorf("%s: %q behind %q, want %q behind %q", when, got, now, earlier, present)
		}
		wants(t, c.Check(), nil)
	}
	rotate("", time.Hour, engine.ErrInvalid)
	rotate("x", engine.TokenLife+1, engine.ErrInvalid)
	rotate("x", -1, engine.ErrInvalid)
	rotate(strings.Repeat("x", 4097), 0, engine.ErrInvalid)
	has("nothing", "")
	rotate("0", time.Hour, nil)
	has("the first", "0")
	for i := 1; i <= 7; i++ {
		rotate(fmt.Sprint(i), time.Hour, nil)
	}
	rotate("8", time.Hour, engine.ErrRefused)
	has("many", "7", "6", "5", "4", "3", "2", "1", "0")
	rotate("9", 0, nil)
	has("none", "9")
	rotate("a", time.Minute, nil)
	rotate("b", time.Hour, nil)
	has("two", "b", "a", "9")
	c.pass(5 * time.Minute)
	c.ban("192.0.2.1", enginetest.Epoch.Add(5*time.Minute), "1h")
	has("one is over", "b", "a")
	c.set(-24 * time.Hour)
	c.pass(11 * time.Minute)
	c.ban("192.0.2.2", enginetest.Epoch.Add(-23*time.Hour), "1h")
	has("set back", "b", "a")
	c.Restart()
	has("after a restart", "b", "a")
	wants(t, c.Snapshot(ctx), nil)
	c.Restart()
	has("after one by a snapshot", "b", "a")
}
