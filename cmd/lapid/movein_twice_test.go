package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// heldMoveIn is a taking over without a server that has begun, and stands still.
func (h *house) heldMoveIn(db string) (p *process, goOn func()) {
	h.t.Helper()
	p = start(h.t, nil, "-c", h.file, "movein", "--from", "sqlite:"+db)
	await(h.t, "it has begun", func() bool { return sizeBelow(h.store()+".movingin") > 0 || !running(p) })
	h.must(p.cmd.Process.Signal(syscall.SIGSTOP))
	return p, func() { h.must(p.cmd.Process.Signal(syscall.SIGCONT)) }
}

// TestMoveInTwice has others come while a taking over without a server is under way: whoever
// would make a store too is told who does, whoever wants to open it waits, and the first comes
// through.
func TestMoveInTwice(t *testing.T) {
	t.Parallel()
	for _, there := range []bool{false, true} {
		h, db := emptyHouse(t), largeDatabase(t, 3000)
		backup := write(t, t.TempDir(), "backup", "read by nobody")
		if there {
			h.expect(h.do("", "bouncers", "add", "b", "-k", "key", "-o", "raw", "--init"), exitGood, "key", "")
		}
		first, goOn := h.heldMoveIn(db)
		const told = "~another lapid is making a store there (movein, restore, or a first start)"
		h.expect(h.do("", "movein", "--from", "sqlite:"+db), exitFails, "", told)
		h.expect(h.do("", "movein", "--from", "sqlite:"+db), exitFails, "", "~run this again when that has ended")
		h.expect(h.do("", "restore", "--force", backup), exitFails, "", told)
		server := start(t, nil, "-c", h.file, "serve")
		await(t, "the server waits", func() bool { return strings.Contains(server.out.String(), "it is waited for") })
		goOn()
		if code := first.wait(t); code != exitGood {
			t.Errorf("there %v: the first ends with %d", there, code)
		}
		h.awaitHealth(server)
		h.header = map[string][]string{"X-Api-Key": {"import-key-2"}}
		if n := (holding{}).poll(h, "?startup=true", "172."); n != 3000 {
			t.Errorf("there %v: %d decisions are there", there, n)
		}
		kill(t, server)
		h.expect(h.do("", "check"), exitGood, "~no damage found", "")
	}
}

// TestMoveInInterrupted: a signal is answered in one line, and leaves nothing.
func TestMoveInInterrupted(t *testing.T) {
	t.Parallel()
	db := largeDatabase(t, 3000)
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		h := emptyHouse(t)
		p, goOn := h.heldMoveIn(db)
		h.must(p.cmd.Process.Signal(signal))
		goOn()
		if code, text := p.wait(t), p.out.String(); code != exitInterrupted || strings.Count(text, "\n") != 1 || !strings.Contains(text, "interrupted: nothing was taken over, and nothing was changed") {
			t.Errorf("%v: it ends with %d", signal, code)
		}
		for _, name := range []string{h.store(), h.store() + ".movingin"} {
			if _, err := os.Stat(name); err == nil {
				t.Errorf("%v: there is %s", signal, name)
			}
		}
	}
}

// TestMoveBackTwice has another come while a database is being written into the folder, and a
// signal: the other is told, and nothing is left behind.
func TestMoveBackTwice(t *testing.T) {
	t.Parallel()
	h, dir := emptyHouse(t), t.TempDir()
	h.expect(h.do("", "movein", "--from", "sqlite:"+largeDatabase(t, 5000)), exitGood, "~| decisions", "~taken over into")
	work := filepath.Join(dir, ".lapid-movein-back")
	p := start(t, nil, "-c", h.file, "movein", "--back", dir)
	await(t, "it has begun", func() bool { return sizeBelow(work) > 0 || !running(p) })
	h.must(p.cmd.Process.Signal(syscall.SIGSTOP))
	h.expect(h.do("", "movein", "--back", dir), exitFails, "", "~another lapid is writing a database into "+dir)
	h.must(p.cmd.Process.Signal(syscall.SIGTERM))
	h.must(p.cmd.Process.Signal(syscall.SIGCONT))
	if code, text := p.wait(t), p.out.String(); code != exitInterrupted || !strings.Contains(text, "interrupted: no database was written") {
		t.Errorf("it ends with %d", code)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("it leaves %v, %v", entries, err)
	}
	h.expect(h.do("", "movein", "--back", dir), exitGood, "~| decisions", "~wrote "+dir)
}
