package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
)

// TestStartObeysSIGTERM ends a start while it replays a long journal.
func TestStartObeysSIGTERM(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	store := filepath.Join(h.dir, "lapid", "store")
	longJournal(t, store, journalAlerts)
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

// TestStartTells: a start says what it reads, with counts and seconds, in the log
// and to the service manager, and at its end what is there.
func TestStartTells(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	store := filepath.Join(h.dir, "lapid", "store")
	longJournal(t, store, 20)
	h.steps([]step{{"bouncers add b -k key -o raw", 0, "key", ""}})
	manager := newManager(t, h.dir)
	begin := func() *process {
		return start(t, []string{"LAPID_SNAPSHOT_EVERY=1s", "NOTIFY_SOCKET=" + manager.path}, "-c", h.file, "serve")
	}
	end := func(p *process, lines ...string) {
		t.Helper()
		await(t, "it is ready", func() bool { return strings.Contains(p.out.String(), "lapid is ready") })
		await(t, "there is a snapshot of everything", func() bool {
			found, _ := filepath.Glob(filepath.Join(store, "snapshots", "*"))
			return len(found) > 0 && !strings.HasSuffix(found[len(found)-1], ".tmp")
		})
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(t); code != exitGood {
			t.Errorf("exit %d", code)
		}
		for _, line := range lines {
			if !regexp.MustCompile(line).MatchString(p.out.String()) {
				t.Errorf("no line %s", line)
			}
		}
	}
	end(begin(), `msg="replaying the journal: \d+ commits after revision 0"`,
		`msg="the journal is replayed" commits=\d+ revision=\d+ decisions=20000 bytes=\d+ seconds=[0-9.]+\n`,
		`msg="lapid is ready" version=\S+ revision=\d+ decisions=20000 alerts=20 bouncers=1 machines=0 seconds=[0-9.]+ store=`)
	manager.heard("STATUS=the store in "+store+" is being opened and read\nEXTEND_TIMEOUT_USEC=", "STATUS=replaying the journal: ",
		"STATUS=the listeners are being opened\n", "READY=1\nSTATUS=serving 20000 decisions", "STOPPING=1\nSTATUS=")
	end(begin(), `msg="reading the snapshot of revision \d+"`,
		`msg="the snapshot is read" revision=\d+ decisions=20000 alerts=20 bouncers=1 machines=0 bytes=\d+ seconds=[0-9.]+\n`)
	manager.heard("STATUS=reading the snapshot of revision ", "READY=1\n")
}

// manager is what a server tells the service manager.
type manager struct {
	t    *testing.T
	path string
	says chan string
}

func newManager(t *testing.T, dir string) *manager {
	t.Helper()
	m := &manager{t: t, path: filepath.Join(dir, "notify"), says: make(chan string, 1000)}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := socket.Read(buffer)
			if err != nil {
				return
			}
			m.says <- string(buffer[:n])
		}
	}()
	return m
}

// heard waits until all has been told, in this order, each beginning as written.
func (m *manager) heard(want ...string) {
	m.t.Helper()
	for _, w := range want {
		end := time.After(deadline)
		for found := false; !found; {
			select {
			case said := <-m.says:
				found = strings.HasPrefix(said, w)
			case <-end:
				m.t.Fatalf("never told: %s", w)
			}
		}
	}
}

// TestStartObeysSIGTERMInOneCommit ends a start while it is at the last commit of the
// journal, which is a giant.
func TestStartObeysSIGTERMInOneCommit(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	store := filepath.Join(h.dir, "lapid", "store")
	e, err := engine.Open(&engine.Options{Dir: store, NoSync: true, SnapshotBytes: 1 << 40, MaxQueuedBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for i := range 120 { // or the log is silent
		if _, err := e.AddBouncer(ctx, &engine.Bouncer{Name: fmt.Sprint("b", i), AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	giant := &engine.Alert{Scenario: "import", StopAt: engine.Stamp{At: e.Now()}}
	for i := range giantDecisions {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		giant.Decisions = append(giant.Decisions, engine.NewDecision{Scope: "Ip", Value: ip.String(), Type: "ban", Origin: "cscli-import", Scenario: "import", Duration: "4h"})
	}
	if _, err := e.AddAlerts(ctx, "", []*engine.Alert{giant}, e.Now()); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := errors.Join(<-ended, e.Close()); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "-c", h.file, "serve")
	await(t, "the journal is being replayed", func() bool { return strings.Contains(p.out.String(), "replaying the journal") })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code := p.wait(t)
	if out := p.out.String(); code != 0 || !strings.Contains(out, "the start was ended before the store had been read") || strings.Contains(out, "lapid is ready") {
		t.Errorf("exit code %d", code)
	}
	if e, err = engine.Open(&engine.Options{Dir: store}); err != nil {
		t.Fatalf("the next start: %v", err)
	}
	if err := errors.Join(e.Check(), e.Close()); err != nil {
		t.Error(err)
	}
}

const (
	journalAlerts  = 1000
	giantDecisions = 700_000
)

// longJournal makes a store without snapshot, of so many alerts with a thousand
// decisions each: with a thousand of them it takes a second or so to read.
func longJournal(t *testing.T, dir string, alerts int) {
	t.Helper()
	e, err := engine.Open(&engine.Options{Dir: dir, NoSync: true, SnapshotBytes: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for i := range alerts {
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
