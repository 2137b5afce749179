package admin

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// counter is a running server whose connections can be made to look like those
// of another user.
type counter struct {
	t    *testing.T
	path string
	s    *Server
	user atomic.Int64 // of connections from now on
	came atomic.Int64 // connections so far
}

func newCounter(t *testing.T, h *Handler, prepare func(*Server)) *counter {
	t.Helper()
	d := &counter{t: t, path: filepath.Join(t.TempDir(), "admin.sock")}
	var err error
	if d.s, err = Listen(d.path, h, quiet); err != nil {
		t.Fatal(err)
	}
	d.s.places.who = func(net.Conn) int {
		defer d.came.Add(1)
		return int(d.user.Load())
	}
	if prepare != nil {
		prepare(d.s)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return d
}

// say connects and sends a text.
func (d *counter) say(text string) net.Conn {
	d.t.Helper()
	before := d.came.Load()
	c, err := net.Dial("unix", d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, text)                            // it may have been closed to make room
	await(d.t, func() bool { return d.came.Load() > before }) // the user must not change before
	return c
}

func (d *counter) admitted() int {
	d.s.places.mu.Lock()
	defer d.s.places.mu.Unlock()
	return d.s.places.conns.Len()
}

// await looks until something is so, for a minute at most.
func await(t *testing.T, so func() bool) {
	t.Helper()
	for end := time.After(time.Minute); !so(); {
		select {
		case <-end:
			t.Fatal("it never came to that")
		case <-time.After(time.Millisecond):
		}
	}
}

// status asks as the command line does.
func (d *counter) status() error {
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	c, err := Dial(ctx, d.path)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Status(ctx)
	return err
}

const (
	halfHead = "POST /status HTTP/1.1\r\nHost: x\r\n"
	halfBody = halfHead + "Content-Length: 100\r\n\r\n{"
	request  = halfHead + "Content-Length: 2\r\n\r\n{}"
)

// TestHalfRequests: however many connections say half of what they have to say,
// verbs go on.
func TestHalfRequests(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"nothing": "", "head": halfHead, "body": halfBody} {
		d := newCounter(t, NewHandler(newEngine(t, nil), "test", quiet), nil)
		for range maxConns + 50 {
			d.say(text)
		}
		if err := d.status(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		await(t, func() bool { return d.admitted() <= maxConns })
	}
}

// TestHalfRequestIsLeft: the other half is not waited for for ever.
func TestHalfRequestIsLeft(t *testing.T) {
	t.Parallel()
	d := newCounter(t, NewHandler(newEngine(t, nil), "test", quiet), func(s *Server) { s.places.stall = time.Millisecond })
	c := d.say(halfBody)
	answer, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(answer), "less than") {
		t.Errorf("%q, %v", answer, err)
	}
	await(t, func() bool { return d.admitted() == 0 })
}

// TestOthersAreNotClosed: the user with most connections loses one, and no other.
func TestOthersAreNotClosed(t *testing.T) {
	t.Parallel()
	d := newCounter(t, NewHandler(newEngine(t, nil), "test", quiet), nil)
	d.user.Store(0)
	mine := d.say(halfHead)
	d.user.Store(4711)
	for range 2 * maxConns {
		d.say(halfBody)
	}
	if _, err := io.WriteString(mine, "Content-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	w, err := http.ReadResponse(bufio.NewReader(mine), nil)
	if err != nil || w.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", w, err)
	}
	_ = w.Body.Close()
}

// TestReserve: with as many verbs under way as the others of the group may have,
// and more that wait, root's verb is answered.
func TestReserve(t *testing.T) {
	t.Parallel()
	h := NewHandler(newEngine(t, nil), "test", quiet)
	var under atomic.Int64
	release := make(chan struct{})
	h.verbs["/slow"] = func(http.ResponseWriter, *http.Request) {
		under.Add(1)
		<-release
	}
	d := newCounter(t, h, nil)
	defer close(release)
	d.user.Store(4711)
	for range maxVerbs + 10 {
		d.say(strings.Replace(request, "/status", "/slow", 1))
	}
	await(t, func() bool { return under.Load() == maxVerbs-reservedVerbs })
	d.user.Store(0)
	if err := d.status(); err != nil {
		t.Error(err)
	}
	if n := under.Load(); n != maxVerbs-reservedVerbs {
		t.Errorf("%d verbs of others are under way", n)
	}
}

// paced notes when a deadline was moved.
type paced struct {
	http.ResponseWriter
	deadlines []time.Time
}

func (p *paced) SetReadDeadline(at time.Time) error {
	p.deadlines = append(p.deadlines, at)
	return nil
}

// TestLongBody: a body has its time for every piece, not for the whole, and what
// comes after it has no deadline.
func TestLongBody(t *testing.T) {
	t.Parallel()
	const pieces = 20
	text := bytes.Repeat([]byte("x"), pieces*bodyPace+1)
	w := &paced{ResponseWriter: httptest.NewRecorder()}
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(text))
	got, err := readPaced(w, r, time.Minute)
	if err != nil || !bytes.Equal(got, text) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if n := len(w.deadlines); n != pieces+2 || !w.deadlines[n-1].IsZero() {
		t.Errorf("%d deadlines, the last %v", n, w.deadlines[n-1])
	}
	for i := range pieces {
		if w.deadlines[i+1].Before(w.deadlines[i]) {
			t.Error(fmt.Sprint("deadline ", i, " goes back"))
		}
	}
}
