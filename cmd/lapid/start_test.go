package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lapid/engine"
)

// TestStartObeysSIGTERM ends a start while it replays a long journal.
func TestStartObeysSIGTERM(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	store := filepath.Join(h.dir, "lapid", "store")
	longJournal(t, store)
	p := start(t, nil, "-c", h.file, "serve")
	await(t, "the journal is being replayed", func() bool { return strings.Contains(p.out.String(), "replaying the journal") })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code := p.wait(t)
	out := p.out.String()
	if code != 0 || !strings.Contains(out, "the start was ended before the store had been read") || strings.Contains(out, "lapid is ready") {
		t.Errorf("exit code %d", code)
	}
	e, err := engine.Open(&engine.Options{Dir: store})
	if err != nil {
		t.Fatalf("the next start: %v", err)
	}
	if err := e.Check(); err != nil || e.View().Revision() < journalAlerts {
		t.Errorf("revision %d, %v", e.View().Revision(), err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	// Without a process: whoever opens may give up, and nothing stays open.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := engine.OpenContext(ctx, &engine.Options{Dir: store}); !errors.Is(err, context.Canceled) {
		t.Errorf("opening after the end: %v", err)
	}
	if e, err = engine.Open(&engine.Options{Dir: store}); err != nil {
		t.Fatalf("the store is still open: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

const journalAlerts = 1000

// longJournal makes a store without snapshot that takes a second or so to read.
func longJournal(t *testing.T, dir string) {
	t.Helper()
	e, err := engine.Open(&engine.Options{Dir: dir, NoSync: true, SnapshotBytes: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for i := range journalAlerts {
		a := &engine.Alert{Scenario: "import", StopAt: engine.Stamp{At: e.Now()}}
		for j := range 1000 {
			ip := netip.AddrFrom4([4]byte{byte(10 + i>>8), byte(i), byte(j >> 8), byte(j)})
			a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: ip.String(), Type: "ban", Origin: "cscli-import", Scenario: fmt.Sprint("import ", i), Duration: "4h"})
		}
		if _, err := e.AddAlerts(ctx, "", []*engine.Alert{a}, e.Now()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := errors.Join(<-ended, e.Close()); err != nil {
		t.Fatal(err)
	}
}
