package program

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/persist"
	"lapid/transport/admin"
)

// TestConditionAtTheEnd: an end that has begun is never taken back.
func TestConditionAtTheEnd(t *testing.T) {
	t.Parallel()
	var c condition
	c.starting("something")
	since := c.troubles()[0].Since
	c.starting("something else")
	if list := c.troubles(); len(list) != 1 || list[0].Text != "something else" || list[0].Since != since {
		t.Errorf("%+v", list)
	}
	c.stopping()
	c.serving()
	if list := c.troubles(); len(list) != 1 || list[0].Kind != engine.TroubleStopping {
		t.Errorf("%+v", list)
	}
}

// hand is a clock that is set by hand.
type hand struct{ ns atomic.Int64 }

func (h *hand) now() time.Time { return time.Unix(0, h.ns.Load()).UTC() }

func (h *hand) advance(d time.Duration) { h.ns.Add(int64(d)) }

// TestStuckCommitter: a disk that does not answer turns /live red and ends the
// feeding of the watchdog; one that refuses does neither.
func TestStuckCommitter(t *testing.T) {
	t.Parallel()
	var disk sync.Mutex // held: the disk does not answer
	var refuses atomic.Bool
	var asked atomic.Int64
	fs := persist.NewFaultyFS(persist.NewMemFS(), func(op persist.Op) error {
		if refuses.Load() && op.Kind.Writes() {
			return syscall.ENOSPC
		}
		if op.Kind == persist.OpSync && filepath.Ext(op.Path) == ".log" {
			asked.Add(1)
			disk.Lock()
			defer disk.Unlock()
		}
		return nil
	})
	clock := &hand{}
	clock.ns.Store(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	e, err := engine.Open(&engine.Options{Dir: "store", FS: fs, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
		_ = e.Close()
	}()
	var c condition
	c.engine.Store(e)
	live := func() int { return get(t, &c, "/live", "committer") }
	ready := func(kind string) int { return get(t, &c, "/ready", kind) }
	pulse := &pulse{engine: e}
	alive := func(what string) {
		t.Helper()
		await(t, "the watchdog is fed "+what, pulse.felt)
		await(t, "/live is green "+what, func() bool { return live() == 200 })
	}
	alive("at rest")
	clock.advance(time.Hour) // the committer looks at the clock by itself
	alive("an hour later")

	refuses.Store(true)
	if err := e.AddMachine(ctx, &engine.Machine{ID: "m"}, false); err == nil {
		t.Error("a write on a full disk")
	}
	clock.advance(time.Hour)
	alive("on a full disk")
	if code := ready("disk"); code != 503 {
		t.Errorf("/ready on a full disk: %d", code)
	}
	refuses.Store(false)
	await(t, "the disk is tried again though nobody writes", func() bool {
		clock.advance(time.Second)
		e.Wake()
		return ready("") == 200
	})

	disk.Lock()
	before := asked.Load()
	write := make(chan error, 1)
	go func() { write <- e.AddMachine(context.Background(), &engine.Machine{ID: "m"}, false) }()
	await(t, "the write is at the disk", func() bool { return asked.Load() > before })
	pulse.felt()
	if code := live(); code != 200 {
		t.Errorf("/live at once: %d", code)
	}
	clock.advance(engine.CommitterPatience + time.Second)
	for range 3 {
		if pulse.felt() {
			t.Error("the watchdog is fed while the disk does not answer")
		}
		if code := live(); code != 503 {
			t.Errorf("/live while the disk does not answer: %d", code)
		}
	}
	if code := ready("committer"); code != 503 {
		t.Errorf("/ready while the disk does not answer: %d", code)
	}
	disk.Unlock()
	if err := <-write; err != nil {
		t.Error(err)
	}
	alive("again")
}

// get asks a condition, which must name the kind if it is red, and only that.
func get(t *testing.T, c *condition, path, kind string) int {
	t.Helper()
	w := httptest.NewRecorder()
	c.handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	var said struct{ Reasons []admin.Reason }
	if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	for _, r := range said.Reasons {
		if r.Kind != kind && kind != "" {
			t.Errorf("%s names %+v", path, r)
		}
	}
	if (w.Code == 200) != (len(said.Reasons) == 0) {
		t.Errorf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Code
}

// TestReadyNamesWhatIsRead: what a start does is what /ready tells.
func TestReadyNamesWhatIsRead(t *testing.T) {
	t.Parallel()
	p := &program{}
	for _, doing := range []string{"reading the snapshot of revision 7", "replaying the journal: 2000 of 5000 commits, 12 MiB"} {
		p.noteStart(doing)
		if list := p.condition.troubles(); len(list) != 1 || list[0].Kind != engine.TroubleStarting || list[0].Text != doing {
			t.Errorf("%+v", list)
		}
	}
}
