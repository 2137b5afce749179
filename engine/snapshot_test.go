package engine_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// survives takes a snapshot and a backup of all that a rig holds, and starts from
// each: nothing may be lost.
func survives(t *testing.T, r *enginetest.Rig) {
	t.Helper()
	ctx := context.Background()
	for range 2 { // the second trims the journal: then the snapshot is all there is
		wants(t, r.AddMachine(ctx, &engine.Machine{ID: "one more"}, true), nil)
		wants(t, r.Snapshot(ctx), nil)
	}
	_, err := r.Secret(ctx, "tokens", func() ([]byte, error) { return []byte("s"), nil })
	wants(t, err, nil)
	want := tell(t, r.Engine)
	b := backup(t, r)
	r.Restart() // compares digests
	if tell(t, r.Engine) != want {
		t.Error("a restart changed what is told")
	}
	disk := persist.NewMemFS()
	_, err = engine.Restore(&engine.Options{Dir: "restored", FS: disk}, engine.Actor{}, bytes.NewReader(b)) // compares digests
	wants(t, err, nil)
	restored := enginetest.NewRig(t, func(o *engine.Options) { o.Dir, o.FS = "restored", disk })
	if tell(t, restored.Engine) != want {
		t.Error("what was restored tells something else")
	}
	inspected, err := engine.Inspect(ctx, &engine.Options{Dir: "restored-copy", FS: copyOf(t, b)})
	if err != nil || len(inspected.Damage) > 0 {
		t.Errorf("a check of what was restored: %v, %v", inspected, err)
	}
}

// copyOf is a disk with a backup restored to "restored-copy", closed.
func copyOf(t *testing.T, b []byte) persist.FS {
	t.Helper()
	disk := persist.NewMemFS()
	_, err := engine.Restore(&engine.Options{Dir: "restored-copy", FS: disk}, engine.Actor{}, bytes.NewReader(b))
	wants(t, err, nil)
	return disk
}

// What a program without bounds let in is larger than any section may be, each
// text alone and all of them together. It is snapshotted and backed up like
// everything else.
func TestGiantsOfOlderPrograms(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	giant := func(letter string, mib int) string { return strings.Repeat(letter, mib<<20) }
	m := &engine.Machine{ID: "m", Scenarios: giant("s", 3), FeatureFlags: []string{giant("f", 2), giant("g", 1)}}
	b := &engine.Bouncer{Name: "b", KeyHash: engine.KeyHash{1}, AuthType: engine.AuthAPIKey, Software: &engine.Software{FeatureFlags: []string{giant("h", 9)}}}
	a := &engine.Alert{Scenario: giant("S", 5), Message: giant("m", 1), Decisions: []engine.NewDecision{
		{Scope: "user", Value: giant("v", 3), Type: "ban", Duration: "4h", Scenario: giant("t", 3)},
	}}
	wants(t, r.StoreUnbounded(context.Background(), m, b, a), nil)
	survives(t, r)
}

// Many, each of a size that a door lets in, are more than a section may hold.
func TestManySections(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx, long := context.Background(), strings.Repeat("x", 300<<10)
	for i := range 7 {
		name := string(rune('a' + i))
		m := &engine.Machine{ID: name, Scenarios: long}
		b := &engine.Bouncer{Name: name, KeyHash: engine.KeyHash{byte(i)}, AuthType: engine.AuthAPIKey, Software: &engine.Software{FeatureFlags: []string{long}}}
		a := &engine.Alert{Scenario: name + long, Decisions: []engine.NewDecision{{Scope: "user", Value: name + long, Type: "ban", Duration: "4h"}}}
		wants(t, r.StoreUnbounded(ctx, m, b, a), nil)
	}
	sections, err := r.Sections()
	wants(t, err, nil)
	kinds := map[uint16]int{}
	for _, s := range sections {
		kinds[s.Kind]++
		if len(s.Body) > 2<<20 {
			t.Errorf("a section of kind %d has %d bytes", s.Kind, len(s.Body))
		}
	}
	for _, kind := range []uint16{11, 12, 15, 16} {
		if kinds[kind] < 2 {
			t.Errorf("%d sections of kind %d", kinds[kind], kind)
		}
	}
	survives(t, r)
}

// A list may go on over any number of sections, beside others.
func TestAllowlistOverSections(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx, now := context.Background(), r.Now().UnixNano()
	for _, name := range []string{"before", "long", "after", "empty"} {
		wants(t, r.CreateAllowlist(ctx, name, "", now), nil)
	}
	add := func(list string, n int) {
		items := make([]engine.AllowlistItem, n)
		for i := range items {
			value := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
			p, err := engine.ParseTarget(value)
			wants(t, err, nil)
			items[i] = engine.AllowlistItem{Value: value, Prefix: p, Comment: strings.Repeat("c", 60)}
		}
		added, _, err := r.AddToAllowlist(ctx, list, items, now)
		if added != n || err != nil {
			t.Fatal(added, err)
		}
	}
	add("before", 3)
	add("long", 30_000)
	add("after", 3)
	sections, err := r.Sections()
	wants(t, err, nil)
	pieces := 0
	for _, s := range sections {
		if s.Kind == 13 {
			pieces++
		}
	}
	if pieces < 3 {
		t.Errorf("the lists are %d sections", pieces)
	}
	survives(t, r)
}

// A snapshot that cannot be written is a trouble that can be seen, until
// one can be; nothing else suffers.
func TestSnapshotThatFails(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	disk := persist.NewFaultyFS(persist.NewMemFS(), func(op persist.Op) error {
		if full.Load() && op.Kind == persist.OpCreate && strings.Contains(op.Path, "snapshots") {
			return syscall.ENOSPC
		}
		return nil
	})
	var log lockedBuffer
	r := enginetest.NewRig(t, func(o *engine.Options) {
		o.FS, o.Logger = disk, slog.New(slog.NewTextHandler(&log, nil))
		o.SnapshotEvery = time.Minute
	})
	ctx := context.Background()
	wants(t, r.Snapshot(ctx), nil)
	full.Store(true)
	wants(t, r.AddMachine(ctx, &engine.Machine{ID: "m"}, false), nil)
	r.Advance(2 * time.Minute)
	until(func() bool { return r.Metrics().SnapshotFailures > 0 && len(r.Troubles()) == 1 })
	trouble := r.Troubles()[0]
	if trouble.Kind != engine.TroubleSnapshot || !strings.Contains(trouble.Text, "cannot write a snapshot") || !strings.Contains(trouble.Text, "no space left") {
		t.Errorf("%+v", trouble)
	}
	if !strings.Contains(log.String(), "level=ERROR msg=\"cannot write a snapshot: the journal is kept and grows\"") {
		t.Errorf("the log is\n%s", log.String())
	}
	wants(t, r.AddMachine(ctx, &engine.Machine{ID: "n"}, false), nil)
	if err := r.Snapshot(ctx); !errors.Is(err, persist.ErrDisk) || r.Troubles()[0].Since != trouble.Since {
		t.Errorf("again: %v, %+v", err, r.Troubles())
	}
	full.Store(false)
	r.Advance(31 * time.Second) // a failed one is tried again soon, not when the next is due
	until(func() bool { return len(r.Troubles()) == 0 })
	if m := r.Metrics(); m.SnapshotAt == 0 || m.Snapshots < 2 {
		t.Errorf("%+v", m)
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
