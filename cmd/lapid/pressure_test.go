package main

import (
	"context"
	"crypto/sha512"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"lapid/engine"
	"lapid/persist"
	"lapid/transport"
	"lapid/transport/auth"
)

// slowDisk is one whose journal is synced only while it is open.
type slowDisk struct {
	closed sync.RWMutex
	waits  atomic.Int64 // syncs that wait
}

func (d *slowDisk) fs() persist.FS {
	return persist.NewFaultyFS(persist.NewMemFS(), func(op persist.Op) error {
		if op.Kind == persist.OpSync && strings.HasSuffix(op.Path, ".log") {
			d.waits.Add(1)
			d.closed.RLock()
			d.waits.Add(-1)
			d.closed.RUnlock()
		}
		return nil
	})
}

// slowHouse is a whole server in this process, on a slow disk.
type slowHouse struct {
	*engine.Engine
	*slowDisk
	t     *testing.T
	url   string
	token string
}

const pressureQueue = 16

func newSlowHouse(t *testing.T) *slowHouse {
	t.Helper()
	h := &slowHouse{slowDisk: &slowDisk{}, t: t}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	h.Engine, err = engine.Open(&engine.Options{Dir: "store", FS: h.fs(), MaxQueued: pressureQueue})
	must(err)
	gate, err := auth.NewGate(h.Engine, &auth.Options{Secret: []byte(strings.Repeat("secret", 16))})
	must(err)
	server, err := transport.New(&transport.Options{Engine: h.Engine, Gate: gate, Listen: "127.0.0.1:0"})
	must(err)
	must(server.Listen())
	h.url = "http://" + server.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = h.Run(ctx) })
	serving, close := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Run(serving) }()
	t.Cleanup(func() {
		close()
		if err := <-served; err != nil {
			t.Error(err)
		}
		stop()
		all.Wait()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	must(err)
	must(h.AddMachine(ctx, &engine.Machine{ID: "m", PasswordHash: hash, AuthType: engine.AuthPassword, Validated: true}, false))
	_, err = h.AddBouncer(ctx, &engine.Bouncer{Name: "b", KeyHash: sha512.Sum512([]byte("key")), AuthType: engine.AuthAPIKey})
	must(err)
	status, text, _ := h.ask("POST", "/v1/watchers/login", `{"machine_id":"m","password":"secret"}`)
	if _, rest, ok := strings.Cut(text, `"token":"`); status == 200 && ok {
		h.token, _, _ = strings.Cut(rest, `"`)
	} else {
		t.Fatalf("login: %d %s", status, text)
	}
	return h
}

func (h *slowHouse) ask(method, path, body string) (status int, text string, header http.Header) {
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Error(err)
		return 0, "", nil
	}
	r.Header.Set("X-Api-Key", "key")
	r.Header.Set("User-Agent", "test/1")
	r.Header.Set("Authorization", "Bearer "+h.token)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Error(err)
		return 0, "", nil
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		h.t.Error(err)
	}
	return w.StatusCode, string(b), w.Header
}

// TestWritersFasterThanTheDisk has many more writers than may wait. Those beyond
// the limit are told at once to come back, as log processors do; who asks is
// answered meanwhile; and in the end every write is stored once.
func TestWritersFasterThanTheDisk(t *testing.T) {
	t.Parallel()
	h := newSlowHouse(t)
	const writers, writes = 3 * pressureQueue, 10
	h.ask("GET", "/v1/decisions?ip=192.0.2.1", "") // the bouncer has its row
	h.closed.Lock()
	var all sync.WaitGroup
	var told atomic.Int64
	var open atomic.Bool
	for w := range writers {
		all.Go(func() {
			for i := 0; i < writes && !t.Failed(); {
				status, text, header := h.ask("POST", "/v1/alerts", alertText(fmt.Sprintf("w%d-%d", w, i), w*writes+i, 1))
				switch {
				case status == http.StatusCreated && open.Load():
					i++
				case status == http.StatusServiceUnavailable && header.Get("Retry-After") != "":
					told.Add(1)
					<-time.After(time.Millisecond)
				default:
					t.Errorf("an alert is answered with %d: %s", status, text)
				}
			}
		})
	}
	await(t, "the queue is full and the rest is refused", func() bool {
		m := h.Metrics()
		return m.Queued == pressureQueue && told.Load() > 10*writers && h.waits.Load() > 0
	})
	if m := h.Metrics(); m.Queued > pressureQueue || m.Refused < uint64(told.Load()) {
		t.Errorf("%d wait, %d of %d were refused", m.Queued, m.Refused, told.Load())
	}
	if status, text, _ := h.ask("GET", "/v1/decisions?ip=10.0.0.0", ""); status != 200 || strings.TrimSpace(text) != "null" {
		t.Errorf("a live query beside them: %d %s", status, text)
	}
	open.Store(true)
	h.closed.Unlock()
	all.Wait()
	stored := map[string]int{}
	for _, d := range h.View().Find(nil, &engine.Query{Now: h.Now(), Limit: -1}) {
		stored[d.Scenario().S]++
	}
	for w := range writers {
		for i := range writes {
			if n := stored[fmt.Sprintf("w%d-%d", w, i)]; n != 1 {
				t.Errorf("write %d of writer %d is stored %d times", i, w, n)
			}
		}
	}
	t.Logf("%d writes stored, %d times told to come back", len(stored), told.Load())
}
