package engine_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// TestAcceptedLoss: a store whose journal is gone goes on from its snapshot once the
// loss was accepted. Alerts without bodies are counted from then on, by a check, in a
// backup and where it was restored, and are no damage; the next body that is missing
// is.
func TestAcceptedLoss(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	p := populated{r, t}
	const many = 5
	for i := range many {
		p.add("192.0.2."+string(rune('1'+i)), "4h")
	}
	wants(t, r.Snapshot(ctx), nil)
	p.add("198.51.100.1", "4h") // only the journal knows of it
	r.Stop()
	o := r.Options
	found := func(o engine.Options, damage, bodiless, accepted int) {
		t.Helper()
		i, err := engine.Inspect(ctx, &o)
		if err != nil || len(i.Damage) != damage || i.Bodiless != bodiless || i.Accepted != accepted {
			t.Fatalf("%v: %d of damage, %d bodiless, %d accepted: %v", err, len(i.Damage), i.Bodiless, i.Accepted, i.Damage)
		}
	}
	accept := func(missing bool, want int) {
		t.Helper()
		loss, bodies, err := engine.AcceptLoss(ctx, &o)
		if err != nil || bodies != want || (len(loss.Missing) > 0) != missing {
			t.Fatalf("accepting: %+v, %d bodies, %v", loss, bodies, err)
		}
	}
	found(o, 0, 0, 0)
	accept(false, 0)
	wants(t, o.FS.RemoveAll(o.FS.PathJoin(o.Dir, "store")), nil)
	if _, err := engine.Open(&o); !errors.Is(err, persist.ErrCorrupt) || !strings.Contains(err.Error(), "lapid check --accept-loss") {
		t.Fatalf("a start: %v", err)
	}
	found(o, 1, 0, 0)
	accept(true, many)
	for range 2 {
		found(o, 0, 0, many)
		accept(false, 0)
	}
	var backup bytes.Buffer
	e, err := engine.Open(&o)
	wants(t, err, nil)
	running := start(e)
	if _, _, err := e.Backup(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	a, decisions, err := e.Alert(e.View(), 1)
	if err != nil || len(decisions) != 1 || !strings.Contains(a.Message, "is lost") {
		t.Errorf("%+v, %v, %v", a, decisions, err)
	}
	if len(e.Troubles()) > 0 {
		t.Errorf("it is not ready: %v", e.Troubles())
	}
	wants(t, e.DeleteAlert(ctx, 1, r.Now().UnixNano()), nil)
	wants(t, running(), nil)
	found(o, 0, 0, many-1)

	restored := o
	restored.Dir = "restored"
	_, err = engine.Restore(&restored, engine.Actor{}, bytes.NewReader(backup.Bytes()))
	wants(t, err, nil)
	found(restored, 0, 0, many)

	// One more is lost, in silence.
	s, err := persist.Open(&persist.Options{Dir: o.Dir, FS: o.FS})
	wants(t, err, nil)
	rows := s.NewRows()
	rows.Delete(1, []byte{0, 0, 0, 0, 0, 0, 0, 2})
	wants(t, s.WriteRows(rows), nil)
	wants(t, s.Close(), nil)
	found(o, 1, 1, many-2)
	accept(false, 1)
	found(o, 0, 0, many-1)
}

// start has an engine run; the returned function ends it and closes it.
func start(e *engine.Engine) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	return func() error { cancel(); return errors.Join(<-ended, e.Close()) }
}
