package program

import (
	"crypto/sha512"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// A bouncer is known to the shadow by each of its keys that is good: the one it was rotated to, and the one
// before until its grace is over.
func TestShadowKnowsRotatedKeys(t *testing.T) {
	t.Parallel()
	e := enginetest.NewRig(t, nil).Engine
	p := &program{engine: e}
	is := func(key, want string) {
		t.Helper()
		if name := p.bouncerName(key); name != want {
			t.Errorf("the key %s is that of %q, want %q", key, name, want)
		}
	}
	hash := func(key string) engine.KeyHash { return sha512.Sum512([]byte(key)) }
	if _, err := e.AddBouncer(t.Context(), &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: hash("first")}); err != nil {
		t.Fatal(err)
	}
	is("first", "fw")
	if err := e.RotateBouncer(t.Context(), "fw", hash("second"), time.Hour); err != nil {
		t.Fatal(err)
	}
	is("first", "fw")
	is("second", "fw")
	if err := e.RotateBouncer(t.Context(), "fw", hash("third"), 0); err != nil {
		t.Fatal(err)
	}
	is("first", "")
	is("second", "")
	is("third", "fw")
	is("none", "")
}
