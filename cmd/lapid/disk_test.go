package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A mountRoom is a thread with mounts of its own, which nobody else sees and
// which vanish with the thread and the processes it started.
type mountRoom struct{ orders chan func() }

// newMountRoom needs root.
func newMountRoom(t *testing.T) *mountRoom {
	t.Helper()
	r := &mountRoom{make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		err := syscall.Unshare(syscall.CLONE_NEWNS)
		if err == nil {
			err = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
		}
		ready <- err
		for do := range r.orders {
			do()
		}
	}()
	t.Cleanup(func() { close(r.orders) })
	if err := <-ready; err != nil {
		t.Fatalf("this test fills a small disk of its own and may not mount one (it needs root, or CAP_SYS_ADMIN): %v", err)
	}
	return r
}

// do runs something on the thread.
func (r *mountRoom) do(t *testing.T, what string, something func() error) {
	t.Helper()
	done := make(chan error)
	r.orders <- func() { done <- something() }
	if err := <-done; err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// smallHouse is a house whose store is on a disk of its own.
type smallHouse struct {
	*house
	room   *mountRoom
	p      *process
	ledger *ledger
	known  *follower
	n      int // of writes
}

func newSmallHouse(t *testing.T) *smallHouse {
	t.Helper()
	h := &smallHouse{house: emptyHouse(t), room: newMountRoom(t), known: &follower{key: "known", holds: map[string]bool{}}, ledger: &ledger{alerts: map[string]int{}, asked: map[string]int{}}}
	if err := os.MkdirAll(h.store(), 0o700); err != nil {
		t.Fatal(err)
	}
	h.room.do(t, "a small disk", func() error { return syscall.Mount("lapid-test", h.store(), "tmpfs", 0, "size=64m,mode=0700") })
	h.begin()
	h.steps([]step{
		{"machines add m -p secret -f @DIR@/credentials.yaml", 0, "", "~successfully added"},
		{"bouncers add b -k key -o raw", 0, "key", ""},
		{"bouncers add k -k known -o raw", 0, "known", ""},
	})
	h.login()
	return h
}

// begin starts the server, as a process that sees the disk. It takes no snapshots:
// one that fails gives back room, and the disk would not stay full.
func (h *smallHouse) begin() {
	h.t.Helper()
	h.room.do(h.t, "a server", func() error {
		h.p = start(h.t, []string{"LAPID_SNAPSHOT_EVERY=1h"}, "-c", h.file, "serve")
		return nil
	})
	h.awaitHealth(h.p)
}

// add asks for an alert. What is refused must never be seen.
func (h *smallHouse) add(many int) (status int, text string) {
	h.t.Helper()
	h.n++
	scenario := fmt.Sprint("s", h.n)
	status, text, err := h.ask("POST", "/v1/alerts", alertText(scenario, h.ledger.begin(scenario, many), many))
	switch {
	case err != nil:
		h.t.Fatal(err)
	case status == http.StatusCreated:
		h.ledger.alerts[scenario] = many
	case status == http.StatusInternalServerError:
		delete(h.ledger.asked, scenario)
	default:
		h.t.Fatalf("an alert is answered with %d: %s", status, text)
	}
	return status, text
}

// What the log says when writes begin to be refused, and when they are from the start.
const (
	saidWhenRefused = "cannot write the journal: writes are refused, reads go on"
	saidAtStart     = "started on a disk that takes no writes: reads are served, writes are refused"
)

// refuses makes sure that all writes are refused, in words, and that everybody
// who only asks is answered as ever.
func (h *smallHouse) refuses(reason, said string) {
	t := h.t
	t.Helper()
	for range 3 {
		if status, text := h.add(1); status != 500 || !strings.Contains(text, `{"message":"the change could not be stored"`) {
			t.Errorf("a write is answered with %d: %s", status, text)
		}
	}
	for _, verb := range []string{"decisions add -i 192.0.2.1", "bouncers add late", "allowlists create late -d x"} {
		r := h.do("", words(verb)...)
		h.expect(r, exitFails, "", "~could not be stored: ")
		h.expect(r, exitFails, "", "~"+reason+"\nNothing was stored. Make room in "+h.store()+", or make it writable, and try again")
	}
	h.says(said)
	if code, text := h.condition("/ready"); code != 503 || !strings.Contains(text, `"kind":"disk"`) || !strings.Contains(text, reason) {
		t.Errorf("/ready: %d %s", code, text)
	}
	if code, text := h.condition("/live"); code != 200 {
		t.Errorf("/live on a disk that refuses: %d %s", code, text)
	}
	h.expect(h.do("", "ready"), exitFails, "~disk since ", "~not ready")
	h.compare(h.ledger) // the bouncer has never asked before, so it has no place yet
	code, text, err := h.ask("GET", "/v1/decisions?ip=10.0.0.0", "")
	if code != 200 || !strings.Contains(text, `"value":"10.0.0.0"`) {
		t.Errorf("a live query: %d %s %v", code, text, err)
	}
	h.hear()
}

// says waits until the log says something.
func (h *smallHouse) says(what string) {
	h.t.Helper()
	await(h.t, "the log says: "+what, func() bool { return strings.Contains(h.p.out.String(), what) })
}

// hear has the bouncer that was there before ask for what is new: it then knows
// of everything that was answered.
func (h *smallHouse) hear() {
	h.t.Helper()
	if err := (&oracle{house: h.house}).hear(h.known); err != nil {
		h.t.Fatal(err)
	}
	want := 0
	for _, many := range h.ledger.alerts {
		want += many
	}
	if len(h.known.holds) != want {
		h.t.Errorf("the bouncer holds %d decisions, not %d", len(h.known.holds), want)
	}
}

// recovers waits until writes are taken again, and makes sure that everything
// answered is there, and nothing refused, now and after a crash.
func (h *smallHouse) recovers() {
	t := h.t
	t.Helper()
	began := time.Now()
	await(t, "the server notices though nobody writes", func() bool { code, _ := h.condition("/ready"); return code == 200 })
	await(t, "writes are taken again", func() bool { status, _ := h.add(1); return status == http.StatusCreated })
	t.Logf("writes are taken again after %v", time.Since(began).Round(time.Millisecond))
	h.says("the journal can be written again")
	h.steps([]step{{"decisions add -i 192.0.2.2 -R back -t " + fmt.Sprint("t", h.n), 0, "", "~successfully added"}})
	h.ledger.asked["back"]++
	h.ledger.alerts["back"]++
	h.compare(h.ledger)
	h.hear()
	kill(t, h.p)
	h.begin()
	h.compare(h.ledger)
	h.hear()
}

// TestDiskFull fills the disk under a running server: writes are refused and say
// why, everybody else is served. A server that is started then does the same. When
// there is room again it goes on by itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	h := newSmallHouse(t)
	for range 2 {
		h.add(50)
		h.hear()
		ballast := filepath.Join(h.store(), "ballast")
		h.room.do(t, "filling the disk", func() error { return fill(ballast) })
		await(t, "the disk is full", func() bool { status, _ := h.add(1000); return status == 500 })
		h.refuses("no space left on device", saidWhenRefused)
		kill(t, h.p)
		h.begin()
		h.refuses("no space left on device", saidAtStart)
		if code, text := h.condition("/ready"); code != 503 || !strings.Contains(text, `"kind":"readonly"`) {
			t.Errorf("/ready: %d %s", code, text)
		}
		h.room.do(t, "making room", func() error { return os.Remove(ballast) })
		h.recovers()
	}
}

// fill writes until nothing more fits.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for chunk := make([]byte, 64<<10); ; {
		if _, err := file.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// TestDiskReadOnly makes the disk read-only under a running server, which hits it
// with its next new file. A server that is started meanwhile serves reads, a check
// finds nothing.
func TestDiskReadOnly(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	h := newSmallHouse(t)
	h.add(50)
	h.hear()
	cover := func() error { // the disk itself cannot be made so while files are open for writing
		return errors.Join(syscall.Mount(h.store(), h.store(), "", syscall.MS_BIND, ""),
			syscall.Mount("", h.store(), "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
	}
	uncover := func() error { return syscall.Unmount(h.store(), syscall.MNT_DETACH) }
	h.room.do(t, "a read-only disk", cover)
	await(t, "the disk is read-only", func() bool { status, _ := h.add(10_000); return status == 500 })
	h.refuses("read-only file system", saidWhenRefused)
	h.room.do(t, "a disk that can be written", uncover)
	h.recovers()

	kill(t, h.p)
	readOnly := func(flags uintptr) func() error {
		return func() error { return syscall.Mount("", h.store(), "", syscall.MS_REMOUNT|flags, "") }
	}
	h.room.do(t, "a read-only disk", readOnly(syscall.MS_RDONLY))
	h.begin()
	h.refuses("read-only file system", saidAtStart)
	kill(t, h.p)
	h.room.do(t, "a check", func() error { h.p = start(t, nil, "-c", h.file, "check"); return nil })
	if code := h.p.wait(t); code != exitGood || !strings.Contains(h.p.out.String(), "no damage found") {
		t.Errorf("a check on a read-only disk ends with %d:\n%s", code, h.p.out)
	}
	h.begin()
	h.room.do(t, "a disk that can be written", readOnly(0))
	h.recovers()
}
