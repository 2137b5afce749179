package auth

import (
	"sync/atomic"
	"syscall"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// A disk that refuses to write keeps no bouncer out: from an address that has no
// row yet it is served without one, does not touch the places of others, and gets
// its row when the disk is well again.
func TestDiskKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	d := &door{t: t, Rig: enginetest.NewRig(t, func(o *engine.Options) {
		o.FS = persist.NewFaultyFS(persist.NewMemFS(), func(op persist.Op) error {
			if full.Load() && op.Kind.Writes() {
				return syscall.ENOSPC
			}
			return nil
		})
	})}
	a := newAuthority(t)
	var err error
	d.Gate, err = NewGate(d.Engine, &Options{Secret: secret, Rules: Rules{BouncerUnits: []string{"bouncers"}}})
	d.must(err)
	d.addBouncer("old", "key", false)
	d.addBouncer("new", "other", false)
	old, err := d.Bouncer(t.Context(), []byte("key"), here, agent, false)
	d.must(err)
	old.Advance(3, d.Now().UnixNano())
	p := a.client("cert", "bouncers", nil)
	ask := func() (rows []*engine.BouncerRow) {
		t.Helper()
		for _, key := range []string{"key", "other"} {
			row, err := d.Bouncer(t.Context(), []byte(key), there, agent, false)
			d.must(err)
			rows = append(rows, row)
		}
		row, err := d.CertifiedBouncer(t.Context(), p, there, agent, false)
		d.must(err)
		return append(rows, row)
	}
	full.Store(true)
	for range 2 {
		for _, row := range ask() {
			if _, pulled := row.Cursor(); pulled {
				t.Errorf("%s goes on from a place that is not its own", row.Load().Name)
			}
			row.Advance(7, d.Now().UnixNano())
		}
	}
	if _, err := d.Bouncer(t.Context(), []byte("wrong"), there, agent, false); err == nil {
		t.Error("a wrong key is let in")
	}
	if at, _ := old.Cursor(); at != 3 || len(d.names()) != 2 {
		t.Errorf("the place is %d, the rows are %q", at, d.names())
	}
	full.Store(false)
	d.Step(2e9)
	for i, name := range []string{"old@192.0.2.2", "new", "cert@192.0.2.2"} {
		if b := ask()[i].Load(); b.Name != name || b.IP != there {
			t.Errorf("with room again %q from %v is %q", name, b.IP, b.Name)
		}
	}
}
