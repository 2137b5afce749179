package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// wants fails unless err is of the kind; nil wants success.
func wants(t *testing.T, err, kind error) {
	t.Helper()
	if (kind == nil && err != nil) || !errors.Is(err, kind) {
		t.Errorf("got %v, want %v", err, kind)
	}
}

// everyOtherRestart runs the steps on a rig that restarts between them, and on
// one that does not, one after the other: steps may share what they remember.
func everyOtherRestart(t *testing.T, steps ...func(t *testing.T, r *enginetest.Rig)) {
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarts=%v", restarts), func(t *testing.T) {
			r := enginetest.NewRig(t, nil)
			for _, step := range steps {
				step(t, r)
				if restarts {
					r.Restart()
				}
			}
		})
	}
}

func TestMachines(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var id engine.AlertID
	owner := func(t *testing.T, r *enginetest.Rig, want string) {
		t.Helper()
		a, _, err := r.Alert(r.View(), id)
		if err != nil || a.MachineID != want {
			t.Errorf("alert %d belongs to %+v, %v; want %q", id, a, err, want)
		}
	}
	everyOtherRestart(t,
		func(t *testing.T, r *enginetest.Rig) {
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1", PasswordHash: []byte("one"), AuthType: engine.AuthPassword}, false), nil)
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-2"}, false), nil)
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1"}, false), engine.ErrExists)
			wants(t, r.DeleteMachine(ctx, "edge-9"), engine.ErrNotFound)
			wants(t, r.ChangeMachine(ctx, "edge-9", func(*engine.Machine) { t.Error("changed nobody") }), engine.ErrNotFound)
			wants(t, r.ChangeMachine(ctx, "edge-1", func(m *engine.Machine) { m.ID, m.Validated = "other", true }), nil)
			r.Heartbeat("edge-9", 1)
			id = populated{r, t}.add("192.0.2.1", "4h")
		},
		func(t *testing.T, r *enginetest.Rig) {
			m := r.View().Machine("edge-1")
			if m == nil || !m.Validated || string(m.PasswordHash) != "one" || r.View().Machine("other") != nil {
				t.Errorf("edge-1 is %+v", m)
			}
			owner(t, r, "edge-1")
			r.Heartbeat("edge-1", 12345)
		},
		func(t *testing.T, r *enginetest.Rig) {
			if m := r.View().Machine("edge-1"); m.LastHeartbeat != 12345 {
				t.Errorf("last heartbeat %d", m.LastHeartbeat)
			}
			// A new machine under the old name does not inherit the alerts.
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1", PasswordHash: []byte("two")}, true), nil)
			owner(t, r, "")
		},
		func(t *testing.T, r *enginetest.Rig) {
			owner(t, r, "")
			id = populated{r, t}.add("192.0.2.2", "4h")
			owner(t, r, "edge-1")
			wants(t, r.DeleteMachine(ctx, "edge-1"), nil)
			owner(t, r, "")
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1"}, false), nil)
			owner(t, r, "")
		},
		func(t *testing.T, r *enginetest.Rig) {
			owner(t, r, "")
			wants(t, r.PruneMachines(ctx, []string{"edge-2", "never was"}), nil)
			names := []string{}
			for _, m := range r.View().Machines() {
				names = append(names, m.ID)
			}
			if !slices.Equal(names, []string{"edge-1"}) {
				t.Errorf("machines %v", names)
			}
		},
	)
}

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

// A deletion is final, whoever changes the same thing in the same moment.
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

func TestAllowlists(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := enginetest.Epoch.UnixNano()
	items := func(values ...string) (list []engine.AllowlistItem) {
		for _, v := range values {
			p, err := engine.ParseTarget(v)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, engine.AllowlistItem{Value: v, Prefix: p})
		}
		return list
	}
	matches := func(r *enginetest.Rig, value string) (lists []string) {
		p, _ := engine.ParseTarget(value)
		for _, m := range r.View().Allowlisted(nil, p, r.Now().UnixNano()) {
			lists = append(lists, m.List+" "+m.Item.Value)
		}
		return lists
	}
	everyOtherRestart(t,
		func(t *testing.T, r *enginetest.Rig) {
			wants(t, r.CreateAllowlist(ctx, "ours", "", now), nil)
			wants(t, r.CreateAllowlist(ctx, "alike", "", now), nil)
			wants(t, r.CreateAllowlist(ctx, "ours", "", now), engine.ErrExists)
			wants(t, r.DeleteAllowlist(ctx, "nobody's"), engine.ErrNotFound)
			_, _, err := r.AddToAllowlist(ctx, "nobody's", items("192.0.2.1"), now)
			wants(t, err, engine.ErrNotFound)
			_, err = r.RemoveFromAllowlist(ctx, "nobody's", []string{"192.0.2.1"}, now)
			wants(t, err, engine.ErrNotFound)
			p := populated{r, t}
			p.add("192.0.2.1", "4h")
			p.add("192.0.2.0/26", "4h")
			p.add("198.51.100.1", "4h")
		},
		func(t *testing.T, r *enginetest.Rig) {
			passing := items("192.0.2.1", "192.0.2.64/26", "192.0.2.1")
			passing[1].ExpiresAt = now + int64(time.Hour)
			added, ended, err := r.AddToAllowlist(ctx, "ours", passing, now)
			if err != nil || added != 2 || ended != 2 {
				t.Errorf("added %d, ended %d, %v", added, ended, err)
			}
			added, ended, err = r.AddToAllowlist(ctx, "ours", passing, now)
			if err != nil || added != 0 || ended != 0 {
				t.Errorf("a second time: added %d, ended %d, %v", added, ended, err)
			}
			_, _, err = r.AddToAllowlist(ctx, "alike", items("192.0.2.0/24"), now)
			wants(t, err, nil)
		},
		func(t *testing.T, r *enginetest.Rig) {
			for value, want := range map[string][]string{
				"192.0.2.1": {"alike 192.0.2.0/24", "ours 192.0.2.1"}, "192.0.2.99": {"alike 192.0.2.0/24", "ours 192.0.2.64/26"},
				"192.0.0.0/16": {"alike 192.0.2.0/24", "ours 192.0.2.1", "ours 192.0.2.64/26"}, "198.51.100.1": nil,
			} {
				got := matches(r, value)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%s is on %v, want %v", value, got, want)
				}
			}
			if n, err := r.RemoveFromAllowlist(ctx, "ours", []string{"192.0.2.1", "never was"}, now); n != 1 || err != nil {
				t.Errorf("removed %d, %v", n, err)
			}
			if n, err := r.RemoveFromAllowlist(ctx, "ours", []string{"192.0.2.1"}, now); n != 0 || err != nil {
				t.Errorf("removed %d a second time, %v", n, err)
			}
			wants(t, r.DeleteAllowlist(ctx, "alike"), nil)
			r.Advance(2 * time.Hour)
		},
		func(t *testing.T, r *enginetest.Rig) {
			if got := matches(r, "192.0.0.0/16"); got != nil {
				t.Errorf("192.0.0.0/16 is still on %v", got)
			}
		},
	)
}

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

func TestUsage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := enginetest.Epoch.UnixNano()
	read := func(t *testing.T, r *enginetest.Rig, kind engine.UsageKind, name string) (texts []string) {
		for u, err := range r.Usage(ctx, kind, name) {
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, u.Name+" "+string(u.Payload))
		}
		return texts
	}
	everyOtherRestart(t,
		func(t *testing.T, r *enginetest.Rig) {
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1"}, false), nil)
			_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "fw", Software: &engine.Software{Type: "firewall"}})
			wants(t, err, nil)
			report := func(kind engine.UsageKind, name string, at int64, text string) error {
				return r.AddUsage(ctx, &engine.Usage{Kind: kind, Name: name, ReceivedAt: at, Version: "v" + text, HasOS: true, OS: engine.OS{Name: "debian"}, Payload: []byte(text)})
			}
			wants(t, report(engine.UsageMachine, "nobody", now, "x"), engine.ErrNotFound)
			wants(t, report(engine.UsageBouncer, "nobody", now, "x"), engine.ErrNotFound)
			wants(t, report(engine.UsageMachine, "edge-1", now, "1"), nil)
			wants(t, report(engine.UsageMachine, "edge-1", now+1, "2"), nil)
			wants(t, report(engine.UsageBouncer, "fw", now, "3"), nil)
		},
		func(t *testing.T, r *enginetest.Rig) {
			if got := read(t, r, engine.UsageMachine, ""); !slices.Equal(got, []string{"edge-1 1", "edge-1 2"}) {
				t.Errorf("machines reported %v", got)
			}
			if got := read(t, r, engine.UsageBouncer, "fw"); !slices.Equal(got, []string{"fw 3"}) {
				t.Errorf("fw reported %v", got)
			}
			if got := read(t, r, engine.UsageBouncer, "edge-1"); got != nil {
				t.Errorf("edge-1 as a bouncer reported %v", got)
			}
			b, m := r.View().Bouncer("fw").Load(), r.View().Machine("edge-1")
			if b.Type != "firewall" || b.Version != "v3" || b.OS.Name != "debian" || m.Version != "v2" {
				t.Errorf("senders are %+v and %+v", b, m)
			}
		},
	)
}

// What was not heard is told again, whatever was heard since and whatever was
// written down meanwhile; a kill at any moment changes nothing about that.
func TestUnheardIsToldAgain(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(r *enginetest.Rig, first, second *engine.Delivery) (told bool){
		"both are heard": func(_ *enginetest.Rig, first, second *engine.Delivery) bool {
			second.Heard()
			first.Heard()
			return true
		},
		"the first is lost": func(_ *enginetest.Rig, first, second *engine.Delivery) bool {
			first.Lost()
			second.Heard()
			return false
		},
		"the first is lost, late": func(r *enginetest.Rig, first, second *engine.Delivery) bool {
			second.Heard()
			r.Advance(10 * time.Second)
			first.Lost()
			first.Heard() // nobody can say so any more
			return false
		},
		"a kill before anybody knows": func(r *enginetest.Rig, _, second *engine.Delivery) bool {
			second.Heard()
			return false
		},
		"the first is seen to be missed": func(_ *enginetest.Rig, first, second *engine.Delivery) bool {
			first.Watch(missed{})
			second.Row.Review(nil, 3) // it may come yet
			second.Row.Review(nil, 3_000_000_000)
			second.Heard()
			return false
		},
	} {
		for _, wait := range []time.Duration{0, 10 * time.Second} { // cursors are written down, or not yet
			t.Run(fmt.Sprint(name, " ", wait), func(t *testing.T) {
				t.Parallel()
				r := enginetest.NewRig(t, nil)
				row, err := r.AddBouncer(context.Background(), &engine.Bouncer{Name: "fw"})
				wants(t, err, nil)
				place := func() engine.Revision { at, _ := r.View().Bouncer("fw").Cursor(); return at }
				before := r.View().Revision()
				row.Advance(before, 1)
				answer := func() *engine.Delivery {
					after := place()
					populated{r, t}.add("192.0.2.1", "4h")
					d := &engine.Delivery{Row: row, After: after, To: r.View().Revision()}
					if !d.Offer(nil, 2) || place() != d.To {
						t.Fatal("the cursor does not move")
					}
					return d
				}
				first := answer()
				r.Advance(wait)
				second := answer()
				r.Advance(wait)
				if err := r.Snapshot(context.Background()); err != nil {
					t.Fatal(err)
				}
				want := before
				if end(r, first, second) {
					want = second.To
				}
				r.Advance(wait)
				r.Restart()
				if at := place(); at != want {
					t.Errorf("the cursor is at %d, want %d", at, want)
				}
			})
		}
	}
}

type missed struct{}

func (missed) Missed(late bool) bool { return late }

// TestOffer has answers overlap.
func TestOffer(t *testing.T) {
	t.Parallel()
	row := engine.NewGuest(&engine.Bouncer{Name: "fw"})
	offer := func(after, to engine.Revision, all bool) *engine.Delivery {
		d := &engine.Delivery{Row: row, After: after, To: to, All: all}
		if !d.Offer(nil, 1) {
			return nil
		}
		return d
	}
	at := func(want engine.Revision) {
		t.Helper()
		if got, _ := row.Cursor(); got != want {
			t.Fatalf("the cursor is at %d, want %d", got, want)
		}
	}
	start := offer(0, 10, true)
	at(10)
	next := offer(10, 20, false)
	row.Pass(20, 21, 1)
	at(21)
	start.Lost()
	if _, pulled := row.Cursor(); pulled {
		t.Fatal("it knows something")
	}
	row.Pass(21, 22, 1) // asked before the loss was noticed
	if late := offer(20, 30, false); late != nil {
		t.Fatal("what was made before the loss moves the cursor over it")
	}
	if _, pulled := row.Cursor(); pulled {
		t.Fatal("it knows something")
	}
	next.Heard()
	offer(0, 25, true).Heard()
	at(25)
	offer(0, 15, true).Heard() // of an older state: what came since is told again
	at(15)
	offer(10, 12, false).Heard() // told twice, and nothing back
	at(15)
	var many []*engine.Delivery
	for d := offer(15, 16, false); d != nil; d = offer(15, 16, false) {
		many = append(many, d)
	}
	if len(many) != 64 {
		t.Errorf("%d answers are under way", len(many))
	}
	for _, d := range many {
		d.Lost()
	}
	at(15)
}
