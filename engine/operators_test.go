package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// An operator, its tokens, its link and its last login live through a restart from the journal and
// one from a snapshot, and numbers of tokens are given once.
func TestOperators(t *testing.T) {
	t.Parallel()
	r, ctx := enginetest.NewRig(t, nil), context.Background()
	now := r.Now().UnixNano()
	wants(t, r.AddOperator(ctx, &engine.Operator{Name: "alice", Role: engine.RoleAdmin, PasswordHash: "hash", CreatedAt: now}), nil)
	wants(t, r.AddOperator(ctx, &engine.Operator{Name: "alice", Role: engine.RoleViewer}), engine.ErrExists)
	wants(t, r.AddOperator(ctx, &engine.Operator{Name: "bob"}), engine.ErrInvalid)
	wants(t, r.AddOperator(ctx, &engine.Operator{Name: strings.Repeat("x", engine.LongestOperator+1), Role: engine.RoleViewer}), engine.ErrInvalid)
	grant := func(n byte, expires int64) uint32 {
		t.Helper()
		id, err := r.GrantToken(ctx, "alice", &engine.OperatorToken{Hash: engine.SecretHash{n}, CreatedAt: r.Now().UnixNano(), ExpiresAt: expires})
		wants(t, err, nil)
		return id
	}
	first, second := grant(1, 0), grant(2, now+int64(time.Hour))
	wants(t, r.RevokeToken(ctx, "alice", second, now), nil)
	wants(t, r.RevokeToken(ctx, "alice", second, now), engine.ErrNotFound)
	if third := grant(3, 0); first != 1 || second != 2 || third != 3 {
		t.Errorf("tokens are %d, %d, %d", first, second, third)
	}
	_, err := r.GrantToken(ctx, "alice", &engine.OperatorToken{Hash: engine.SecretHash{3}})
	wants(t, err, engine.ErrInvalid)
	_, err = r.GrantToken(ctx, "nobody", &engine.OperatorToken{Hash: engine.SecretHash{4}})
	wants(t, err, engine.ErrNotFound)
	before := r.View().Revision()
	for range 100 {
		r.NoteLogin("alice", now+5)
	}
	r.NoteLogin("nobody", now)
	r.Advance(10 * time.Second)
	if n := r.View().Revision() - before; n > 10 {
		t.Errorf("100 logins took %d commits", n)
	}
	holds := func(how string) {
		t.Helper()
		v := r.View()
		o, token := v.TokenOwner(&engine.SecretHash{3})
		if o == nil || o.Name != "alice" || token.ID != 3 || o.LastLogin() != now+5 || o.PasswordHash != "hash" {
			t.Errorf("%s: %+v, %+v", how, o, token)
		}
		if gone, _ := v.TokenOwner(&engine.SecretHash{2}); gone != nil {
			t.Errorf("%s: a token that was revoked is found", how)
		}
	}
	holds("at first")
	r.Restart()
	holds("from the journal")
	wants(t, r.Snapshot(ctx), nil)
	r.Restart()
	holds("from a snapshot")
	if id := grant(9, 0); id != 4 {
		t.Errorf("after a restart the next token is %d", id)
	}
	wants(t, r.DeleteOperator(ctx, "alice"), nil)
	wants(t, r.DeleteOperator(ctx, "alice"), engine.ErrNotFound)
	if o, _ := r.View().TokenOwner(&engine.SecretHash{3}); o != nil {
		t.Error("a token outlives its operator")
	}
}

// A link is good once, for its time, and says nothing of why it is not.
func TestOperatorLinks(t *testing.T) {
	t.Parallel()
	r, ctx := enginetest.NewRig(t, nil), context.Background()
	now := r.Now().UnixNano()
	wants(t, r.AddOperator(ctx, &engine.Operator{Name: "alice", Role: engine.RoleAdmin}), nil)
	link := func(o *engine.Operator) error {
		o.Link = engine.OperatorLink{Hash: engine.SecretHash{7}, ExpiresAt: now + int64(time.Minute)}
		return nil
	}
	redeem := func(hash engine.SecretHash, at int64) error {
		_, err := r.RedeemLink(ctx, &hash, at)
		return err
	}
	wants(t, redeem(engine.SecretHash{}, now), engine.ErrRefused)
	wants(t, r.ChangeOperator(ctx, "alice", link), nil)
	wants(t, redeem(engine.SecretHash{8}, now), engine.ErrRefused)
	wants(t, redeem(engine.SecretHash{7}, now+int64(time.Minute)), engine.ErrRefused)
	wants(t, redeem(engine.SecretHash{7}, now+1), nil)
	wants(t, redeem(engine.SecretHash{7}, now+1), engine.ErrRefused)
	r.Restart()
	wants(t, redeem(engine.SecretHash{7}, now+1), engine.ErrRefused)
}

// There are bounds to both, and what is over makes room.
func TestMostOperators(t *testing.T) {
	t.Parallel()
	r, ctx := enginetest.NewRig(t, nil), context.Background()
	var err error
	for i := 0; err == nil; i++ {
		if err = r.AddOperator(ctx, &engine.Operator{Name: fmt.Sprint(i), Role: engine.RoleViewer}); i > 1000 {
			t.Fatal("there is no bound to operators")
		}
	}
	wants(t, err, engine.ErrInvalid)
	n := 0
	for err = nil; err == nil; n++ {
		if _, err = r.GrantToken(ctx, "0", &engine.OperatorToken{Hash: engine.SecretHash{byte(n), 1}, CreatedAt: 1, ExpiresAt: 2}); n > 1000 {
			t.Fatal("there is no bound to tokens")
		}
	}
	wants(t, err, engine.ErrInvalid)
	_, err = r.GrantToken(ctx, "0", &engine.OperatorToken{Hash: engine.SecretHash{255, 1}, CreatedAt: 2})
	if wants(t, err, nil); len(r.View().Operator("0").Tokens) != 1 {
		t.Errorf("%d tokens are there after others were over", len(r.View().Operator("0").Tokens))
	}
	wants(t, r.ChangeOperator(ctx, "0", func(*engine.Operator) error { return errors.ErrUnsupported }), errors.ErrUnsupported)
}
