package engine_test

import (
	"context"
	"fmt"
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
			wants(t, r.DeleteAllowlist(ctx, "nobody's", false), engine.ErrNotFound)
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
			wants(t, r.DeleteAllowlist(ctx, "alike", false), nil)
			r.Advance(2 * time.Hour)
		},
		func(t *testing.T, r *enginetest.Rig) {
			if got := matches(r, "192.0.0.0/16"); got != nil {
				t.Errorf("192.0.0.0/16 is still on %v", got)
			}
		},
	)
}

// TestNamedAllowlists are not deleted unless that is forced: a sight that names one would tell of what it covers.
func TestNamedAllowlists(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	wants(t, r.CreateAllowlist(ctx, "office", "", enginetest.Epoch.UnixNano()), nil)
	if by := r.View().AllowlistUsers("office"); by != "" {
		t.Errorf("named by %s", by)
	}
	for n := range 7 {
		_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: fmt.Sprint("b", n), AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{byte(n + 1)}, Sight: &engine.Sight{Allowlists: []string{"office"}}})
		wants(t, err, nil)
	}
	admit(t, r, "b0", engine.KeyHash{1}, from(1))
	admit(t, r, "b0", engine.KeyHash{1}, from(2)) // a row made by itself is not counted
	r.Restart()
	if by, want := r.View().AllowlistUsers("office"), "the sights of 7 bouncers ('b0', 'b1', 'b2', 'b3', 'b4', …)"; by != want {
		t.Errorf("named by %s, want %s", by, want)
	}
	wants(t, r.DeleteAllowlist(ctx, "office", false), engine.ErrRefused)
	wants(t, r.DeleteAllowlist(ctx, "office", true), nil)
	wants(t, r.DeleteAllowlist(ctx, "office", true), engine.ErrNotFound)
	if r.View().AllowlistUsers("office") == "" {
		t.Error("the sights still name it")
	}
}
