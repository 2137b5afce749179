package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// away is the end of a shared history at a node that was cut off: it follows nothing until it is back.
type away struct {
	engine.Journal
	back chan struct{} // closed when it is

	forgotten atomic.Int32 // how often the history did not lead on
}

// Follow follows once this node is back.
func (a *away) Follow(ctx context.Context, after engine.Revision, deliver func(engine.Revision, []byte) error) error {
	select {
	case <-a.back:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := a.Journal.Follow(ctx, after, deliver)
	if errors.Is(err, engine.ErrForgotten) {
		a.forgotten.Add(1)
	}
	return err
}

// TestFarBehind: a follower whose revision the shared history has forgotten goes on answering from what it has, and says so; with a
// copy of what the writer has it goes on in the same history: same digest and name, and a bouncer that polled there
// is told what it missed, from the place that its row has, or from one before.
func TestFarBehind(t *testing.T) {
	t.Parallel()
	p, ctx := newPair(t, 0), context.Background()
	p.lead(0)
	writer := p.rigs[0]
	_, err := writer.NameHistory(ctx)
	p.must(err)
	row, err := writer.AddBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{1}, Software: &engine.Software{}})
	p.must(err)
	name := row.Load().Name
	for i := range 20 {
		p.ban(fmt.Sprintf("192.0.2.%d", i))
	}
	cut := &away{Journal: p.agreed.Node(), back: make(chan struct{})}
	behind := adopted(t, writer, cut)
	heard := &enginetest.Client{Query: behind.Ask()}
	d, err := heard.StartAs(behind.Engine, behind.View().Bouncer(name), behind.Now().UnixNano())
	p.must(err)
	d.Heard()
	rev := behind.View().Revision()
	for i := range 20 {
		p.ban(fmt.Sprintf("192.0.3.%d", i))
	}
	p.must(p.nodes[0].Trim(writer.View().Revision() - 1))
	close(cut.back)
	until(func() bool { return cut.forgotten.Load() > 0 })
	until(func() bool {
		for _, trouble := range behind.Troubles() {
			if trouble.Kind == engine.TroubleFollowing && strings.Contains(trouble.Text, fmt.Sprint(rev)) {
				return true
			}
		}
		return false
	})
	if n := len(heard.Holds); n != 20 || behind.View().Revision() != rev {
		t.Errorf("it answers with %d decisions at revision %d", n, behind.View().Revision())
	}
	p.must(heard.Poll(behind.Engine, behind.Now().UnixNano()))

	next := adopted(t, writer, &away{Journal: p.agreed.Node(), back: cut.back})
	p.ban("192.0.4.1")
	newest, _ := p.nodes[0].Newest(ctx)
	p.must(next.Reach(ctx, newest))
	a, _ := writer.HistoryNamed()
	if b, named := next.HistoryNamed(); !named || a != b || next.Digest() != writer.Digest() {
		t.Errorf("histories %v and %v, digests %x and %x", a, b, next.Digest(), writer.Digest())
	}
	if place, _ := next.View().Bouncer(name).Cursor(); place > rev {
		t.Errorf("its row says that it has heard all up to revision %d, and it is at %d", place, rev)
	}
	d, err = heard.PollAs(next.Engine, next.View().Bouncer(name), next.Now().UnixNano())
	p.must(err)
	d.Heard()
	if len(heard.Holds) != 41 {
		t.Errorf("a bouncer holds %d decisions of 41", len(heard.Holds))
	}
}

// adopted is an engine that begins with what another has, and follows a journal from there.
func adopted(t *testing.T, from *enginetest.Rig, journal engine.Journal) *enginetest.Rig {
	t.Helper()
	var backup bytes.Buffer
	if _, _, err := from.Backup(context.Background(), &backup); err != nil {
		t.Fatal(err)
	}
	disk := persist.NewMemFS()
	if _, err := engine.Adopt(&engine.Options{Dir: "store", FS: disk, Now: from.Now}, &backup); err != nil {
		t.Fatal(err)
	}
	return enginetest.NewRig(t, func(o *engine.Options) { o.FS, o.Journal, o.Now = disk, journal, from.Now })
}
