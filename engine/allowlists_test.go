package engine_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

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
