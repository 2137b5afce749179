package program

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"lapid/persist/stream"
)

// writings is a log that may be read while it is written.
type writings struct {
	mu  sync.Mutex
	out bytes.Buffer
}

// Write implements io.Writer.
func (w *writings) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(b)
}

func (w *writings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.String()
}

// TestWrongCluster: what is wrong with a cluster is said at /ready with what to do: what keeps this node from serving, and what it serves
// in spite of; the log has the latter once.
func TestWrongCluster(t *testing.T) {
	t.Parallel()
	seal, err := stream.ParseSeal([]byte(stream.NewSealLine()))
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	history, err := stream.Open(stream.Options{Endpoints: []string{"http://" + free.Addr().String()}, Prefix: "/x", Node: "a", Seal: seal})
	if err != nil {
		t.Fatal(err)
	}
	defer history.Close()
	c := &cluster{history: history, ownMember: newEstate().member}
	var at condition
	at.cluster.Store(c)
	ready := func() (int, string) {
		w := httptest.NewRecorder()
		at.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ready", nil))
		return w.Code, w.Body.String()
	}
	if code, text := ready(); code != http.StatusServiceUnavailable || !strings.Contains(text, "etcd has not answered yet") {
		t.Errorf("before it was asked: %d, %s", code, text)
	}
	if _, err := history.Confirm(t.Context()); err == nil {
		t.Fatal("nobody confirmed it")
	}
	lost := errors.New("its data was lost: etcdctl member remove")
	c.memberless.Store(&lost)
	code, text := ready()
	for _, words := range []string{"start that etcd, or correct cluster.etcd.endpoints", `"kind":"cluster"`, `"kind":"nodes"`, "etcdctl member remove"} {
		if code != http.StatusServiceUnavailable || !strings.Contains(text, words) {
			t.Errorf("/ready says %d and no %q: %s", code, words, text)
		}
	}
	if said := c.aside(); said == nil || !said.Kind.Aside() {
		t.Errorf("what a node serves in spite of: %+v", said)
	}

	log, done := &writings{}, make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		c.tellAilments(ctx, slog.New(slog.NewTextHandler(log, nil)))
	}()
	await(t, "the log tells of it", func() bool { return strings.Contains(log.String(), "etcdctl member remove") })
	c.memberless.Store(nil)
	await(t, "the log tells that it is over", func() bool { return strings.Contains(log.String(), "is over") })
	stop()
	<-done
	if n := strings.Count(log.String(), "member remove"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
	for _, alike := range [][2]string{{"the clock of node a1 is 5m0.2s off", "the clock of node a1 is -4m59.9s off"}, {"member e1 uses 61 of 100 MiB", "member e1 uses 62 of 100 MiB"}} {
		if one, other := measures.ReplaceAllString(alike[0], ""), measures.ReplaceAllString(alike[1], ""); one != other || !strings.Contains(one, "1 ") {
			t.Errorf("%q and %q", one, other)
		}
	}
}
