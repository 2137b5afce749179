package engine_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// Equal sights are one, in whatever order they were said, and have one fingerprint.
func TestSights(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	a := engine.Sight{Origins: []string{"lists", "CAPI", "lists"}, Scopes: []string{"RANGE", "ip", "Ip"}}
	b := engine.Sight{Origins: []string{"CAPI", "lists"}, Scopes: []string{"Ip", "Range"}}
	for name, s := range map[string]*engine.Sight{"a": &a, "b": &b, "c": {}, "d": nil} {
		if _, err := r.AddBouncer(ctx, &engine.Bouncer{Name: name, KeyHash: engine.KeyHash{name[0]}, AuthType: engine.AuthAPIKey, Sight: s}); err != nil {
			t.Fatal(err)
		}
	}
	sight := func(name string) *engine.Sight { return r.View().Bouncer(name).Load().Sight }
	if sight("a") != sight("b") || sight("a") == nil {
		t.Error("equal sights are not one")
	}
	if tidy, _ := a.Tidy(); tidy.Fingerprint() != sight("b").Fingerprint() || tidy.Fingerprint() == 0 {
		t.Error("equal sights have two fingerprints")
	}
	if sight("c") != nil || sight("d") != nil || sight("c").Fingerprint() != 0 {
		t.Error("who sees everything has a sight")
	}
	if !slices.Equal(a.Origins, []string{"lists", "CAPI", "lists"}) {
		t.Error("the caller's list was changed")
	}
	r.Restart()
	if sight("a") != sight("b") || !slices.Equal(sight("a").Scopes, []string{"Ip", "Range"}) {
		t.Errorf("after a restart: %+v and %+v", sight("a"), sight("b"))
	}
}

// What is out of bounds is refused, with what to do.
func TestSightsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	many := make([]string, 65)
	for i := range many {
		many[i] = strings.Repeat("x", i+1)
	}
	for what, s := range map[string]engine.Sight{
		"64 are the most":              {Origins: many},
		"1024 are the most":            {NotContaining: []string{strings.Repeat("x", 1025)}},
		"leave it out":                 {Types: []string{""}},
		"1 or more":                    {MaxEntries: -1},
		"local-first":                  {MaxEntries: 1, Priority: 9},
		"without max-entries":          {Priority: engine.Newest},
		"is negative":                  {MinDuration: -1},
		"between two polls":            {MaxDuration: time.Second},
		"the first must not be longer": {MaxDuration: time.Hour, MinDuration: 2 * time.Hour},
	} {
		_, err := r.AddBouncer(context.Background(), &engine.Bouncer{Name: "fw", Sight: &s})
		if wants(t, err, engine.ErrInvalid); err != nil && !strings.Contains(err.Error(), what) {
			t.Errorf("%v: it does not say %q", err, what)
		}
	}
	_, err := r.AddBouncer(context.Background(), &engine.Bouncer{Name: "fw", Hold: 60_001})
	wants(t, err, engine.ErrInvalid)
}

// A row made from a key has the sight and hold of the one it came from, whenever those are
// edited, and cannot be edited alone.
func TestSightsAreInherited(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	key := engine.KeyHash{7}
	addKey(t, r, "fw", key)
	at := netip.MustParseAddr("192.0.2.1")
	early := admit(t, r, "fw", key, at)
	follow, err := r.EditBouncer(ctx, "fw", func(b *engine.Bouncer) error {
		b.Sight, b.Hold, b.Name = &engine.Sight{Types: []string{"ban"}}, engine.HoldOff, "other"
		return nil
	})
	if err != nil || !slices.Equal(follow, []string{"fw@192.0.2.1"}) {
		t.Fatal(follow, err)
	}
	late := admit(t, r, "fw", key, at.Next())
	sameAs := func(when string) {
		t.Helper()
		parent := r.View().Bouncer("fw").Load()
		for _, row := range []*engine.BouncerRow{early, late} {
			child := r.View().Bouncer(row.Load().Name).Load()
			if child.Sight != parent.Sight || child.Hold != parent.Hold || parent.Sight == nil {
				t.Errorf("%s: %s has %+v, its parent %+v", when, child.Name, child.Sight, parent.Sight)
			}
		}
	}
	sameAs("edited, then made")
	if err := r.ChangeBouncer(ctx, "fw@192.0.2.1", func(b *engine.Bouncer) { b.Sight, b.Version = nil, "2" }); err != nil {
		t.Fatal(err)
	}
	sameAs("described")
	_, err = r.EditBouncer(ctx, "fw@192.0.2.1", func(*engine.Bouncer) error { return nil })
	if wants(t, err, engine.ErrRefused); !strings.Contains(err.Error(), "edit 'fw' instead") {
		t.Error(err)
	}
	r.Restart()
	sameAs("restarted")
}

// A row keeps the sights that it was told by until its cursor has passed them.
func TestEarlierSights(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	row := addKey(t, r, "fw", engine.KeyHash{7})
	edit := func(n int) engine.Revision {
		t.Helper()
		_, err := r.EditBouncer(ctx, "fw", func(b *engine.Bouncer) error { b.Sight = &engine.Sight{MaxEntries: n}; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return r.View().Revision()
	}
	before := r.View().Revision()
	at := []engine.Revision{edit(1), edit(2), edit(3)}
	look := func(rev engine.Revision, want int) {
		t.Helper()
		s, known := r.View().SightAt(row, rev)
		if got := 0; s != nil {
			if got = s.MaxEntries; got != want {
				t.Errorf("at %d it had %d entries, not %d", rev, got, want)
			}
		} else if want != 0 {
			t.Errorf("at %d it saw everything", rev)
		}
		if !known {
			t.Errorf("at %d it is not known", rev)
		}
	}
	all := func() {
		t.Helper()
		for i, rev := range append([]engine.Revision{before}, at...) {
			look(rev, i)
		}
	}
	all()
	r.Restart()
	row = r.View().Bouncer("fw")
	all()
	if err := r.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	r.Restart()
	row = r.View().Bouncer("fw")
	all()
	for n := 4; n < 20; n++ {
		edit(n)
	}
	if _, known := r.View().SightAt(row, before); known {
		t.Error("sights are kept without bound")
	}
	look(r.View().Revision(), 19)
}

// What has left a sight is told as deleted, what has come in as new, and nothing else; but
// where durations were cut and are not any more, everything is told again.
func TestChangesOfASight(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	row := addKey(t, r, "fw", engine.KeyHash{7})
	for _, kind := range []string{"ban", "captcha"} {
		value := map[string]string{"ban": "192.0.2.1", "captcha": "192.0.2.2"}[kind]
		a := banOn(r, value, "4h")
		a[0].Decisions[0].Type = kind
		if _, err := r.AddAlerts(ctx, "", a, r.Now().UnixNano()); err != nil {
			t.Fatal(err)
		}
	}
	step := func(s *engine.Sight, wantNew, wantDeleted int) {
		t.Helper()
		before := r.View().Revision()
		if _, err := r.EditBouncer(ctx, "fw", func(b *engine.Bouncer) error { b.Sight = s; return nil }); err != nil {
			t.Fatal(err)
		}
		v := r.View()
		was, known := v.SightAt(row, before)
		q := r.Ask()
		q.Sight, _ = v.SightAt(row, v.Revision())
		var d engine.Delta
		if !v.ChangesFrom(&d, before, q, was, known) || len(d.New) != wantNew || len(d.Deleted) != wantDeleted {
			t.Errorf("to %+v: %d new and %d deleted, want %d and %d", s, len(d.New), len(d.Deleted), wantNew, wantDeleted)
		}
	}
	step(&engine.Sight{Types: []string{"ban"}}, 0, 1)
	step(&engine.Sight{Types: []string{"captcha"}}, 1, 1)
	step(&engine.Sight{MaxDuration: time.Hour}, 1, 0)
	step(nil, 2, 0)
	step(&engine.Sight{NotOrigins: []string{"nobody"}}, 0, 0)
	step(&engine.Sight{MaxEntries: 1}, 0, 1)
	step(nil, 1, 0)
}

// TestLetGoByTheOtherSight: a bouncer that may hold one entry has perhaps heard that it is to let go of it for another, and
// may hold many from then on. It is told of both, for which answers have reached it is not known.
func TestLetGoByTheOtherSight(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ban := func(value, duration string) {
		t.Helper()
		if _, err := r.AddAlerts(t.Context(), "", banOn(r, value, duration), r.Now().UnixNano()); err != nil {
			t.Fatal(err)
		}
	}
	ban("192.0.2.1", "1h")
	before := r.View().Revision()
	ban("192.0.2.2", "2h")
	v, q := r.View(), r.Ask()
	q.Sight = &engine.Sight{MaxEntries: 50, Priority: engine.Longest}
	for range 2 { // made then, and kept since
		var d engine.Delta
		if !v.ChangesFrom(&d, before, q, &engine.Sight{MaxEntries: 1, Priority: engine.Longest}, true) || len(d.New) != 2 || len(d.Deleted) != 0 {
			t.Errorf("%d new and %d deleted, want both told anew", len(d.New), len(d.Deleted))
		}
	}
}
