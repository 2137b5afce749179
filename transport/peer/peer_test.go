package peer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/peer"
	"lapid/transport/peer/peertest"
)

// pair is two nodes, each with an engine, and what both believe of who writes.
type pair struct {
	t      *testing.T
	a, b   *peer.Node
	writer atomic.Pointer[[2]string] // nil: nobody
	ofA    *enginetest.Rig
}

func newPair(t *testing.T, change func(*peer.Options)) *pair {
	p := &pair{t: t, ofA: enginetest.NewRig(t, nil)}
	authority := peertest.NewAuthority(t)
	p.a = p.node("a", p.ofA, authority, change)
	p.b = p.node("b", enginetest.NewRig(t, nil), authority, change)
	p.writes("a")
	return p
}

func (p *pair) node(name string, rig *enginetest.Rig, authority *peertest.Authority, change func(*peer.Options)) *peer.Node {
	o := &peer.Options{Name: name, Listen: "127.0.0.1:0", Credentials: authority.Credentials(name), Engine: rig.Engine, Version: "v1", Writer: func() (string, string, bool) {
		if w := p.writer.Load(); w != nil {
			return w[0], w[1], true
		}
		return "", "", false
	}}
	if change != nil {
		change(o)
	}
	n, err := peer.New(o)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := n.Listen(); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// run serves a node until the test ends.
func (p *pair) run(n *peer.Node) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := n.Run(ctx); err != nil {
			p.t.Errorf("running node %s: %v", n.Name(), err)
		}
	})
	p.t.Cleanup(func() { cancel(); done.Wait() })
}

func (p *pair) writes(name string) {
	at := p.a
	if name == "b" {
		at = p.b
	}
	p.writer.Store(&[2]string{name, at.Addr().String()})
}

// echo answers with what it was asked.
var echo = peer.HandlerFunc(func(_ context.Context, r *peer.Request, w http.ResponseWriter) error {
	body := r.Body
	if r.Stream != nil {
		var err error
		if body, err = io.ReadAll(r.Stream); err != nil {
			return err
		}
	}
	w.Header().Set("X-Seen", r.Method+" "+r.Target+" of "+r.Who+" at "+r.Client.String())
	w.WriteHeader(http.StatusTeapot)
	_, err := w.Write(body)
	return err
})

func TestPass(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(o *peer.Options) { o.Handlers[peer.API], o.Handlers[peer.Verb] = echo, echo })
	p.run(p.a)
	for name, r := range map[string]*peer.Request{
		"whole":    {Method: "POST", Target: "/v1/alerts?x=%00", Who: "m a\xff\r\n", Agent: "\x01", Body: []byte("a body")},
		"nothing":  {Method: "DELETE", Target: "/"},
		"long":     {Method: "POST", Target: "/v1/alerts", Body: bytes.Repeat([]byte("0123456789abcdef"), 1<<19)},
		"streamed": {Kind: peer.Verb, Method: "POST", Target: "/verb", Stream: strings.NewReader(strings.Repeat("of no length", 1000))},
	} {
		want := string(r.Body)
		if r.Stream != nil {
			want = strings.Repeat("of no length", 1000)
		}
		w := httptest.NewRecorder()
		if err := p.b.Pass(t.Context(), r, w); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if seen := r.Method + " " + r.Target + " of " + r.Who + " at invalid IP"; w.Code != http.StatusTeapot || w.Header().Get("X-Seen") != strings.NewReplacer("\r", " ", "\n", " ").Replace(seen) || w.Body.String() != want {
			t.Errorf("%s: %d, %q, %d bytes", name, w.Code, w.Header(), w.Body.Len())
		}
		for _, ours := range []string{"Lapid-Status", "Trailer", "Date", "Content-Type"} {
			if got := w.Header()[ours]; got != nil {
				t.Errorf("%s: the answer has %s %q", name, ours, got)
			}
		}
	}
	if err := p.a.Pass(t.Context(), &peer.Request{}, httptest.NewRecorder()); !errors.Is(err, peer.ErrHere) {
		t.Errorf("passing on at the writer: %v", err)
	}
	if err := p.b.Pass(t.Context(), &peer.Request{Body: make([]byte, peer.BodyAtMost+1)}, httptest.NewRecorder()); !errors.Is(err, peer.ErrTooLarge) {
		t.Errorf("a body that is too large: %v", err)
	}
	if err := p.b.Pass(t.Context(), &peer.Request{Target: strings.Repeat("x", 1<<17)}, httptest.NewRecorder()); !errors.Is(err, peer.ErrTooLarge) {
		t.Errorf("a head that is too large: %v", err)
	}
}

// What a writer does not answer goes to it again, or to the next, under one id, if it has one.
func TestPassAgain(t *testing.T) {
	t.Parallel()
	var p *pair
	var asked atomic.Int32
	flaky := peer.HandlerFunc(func(ctx context.Context, r *peer.Request, w http.ResponseWriter) error {
		switch asked.Add(1) {
		case 1:
			return fmt.Errorf("deposed: %w", engine.ErrNotWriter)
		case 2:
			return fmt.Errorf("deposed: %w", engine.ErrUnsure)
		case 3:
			panic(http.ErrAbortHandler) // its answer is lost
		case 4:
			p.writer.Store(nil)
			p.writes("b")
			<-ctx.Done() // it hangs, but another writes now
			return ctx.Err()
		}
		return echo(ctx, r, w)
	})
	p = newPair(t, func(o *peer.Options) { o.Handlers[peer.API] = flaky })
	p.run(p.a)
	id, err := p.ofA.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.b.Pass(t.Context(), &peer.Request{ID: id, Method: "POST"}, httptest.NewRecorder()); !errors.Is(err, peer.ErrHere) || asked.Load() != 4 {
		t.Errorf("%v after %d attempts", err, asked.Load())
	}
	p.writes("a")
	asked.Store(0)
	if err := p.b.Pass(t.Context(), &peer.Request{Method: "POST"}, httptest.NewRecorder()); !errors.Is(err, peer.ErrPerhaps) || asked.Load() != 2 {
		t.Errorf("without an id: %v after %d attempts", err, asked.Load())
	}
}

func TestNoWriter(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(o *peer.Options) { o.Hold = 10 * time.Millisecond; o.Handlers[peer.API] = echo })
	p.run(p.a)
	p.writer.Store(nil)
	if err := p.b.Pass(t.Context(), &peer.Request{}, httptest.NewRecorder()); !errors.Is(err, peer.ErrNoWriter) {
		t.Errorf("nobody writes: %v", err)
	}
	p.writer.Store(&[2]string{"c", "127.0.0.1:1"})
	if err := p.b.Pass(t.Context(), &peer.Request{}, httptest.NewRecorder()); !errors.Is(err, peer.ErrNoWriter) {
		t.Errorf("the writer is not there: %v", err)
	}
	late := time.AfterFunc(time.Millisecond, func() { p.writes("a") })
	defer late.Stop()
	w := httptest.NewRecorder()
	for w.Code != http.StatusTeapot { // it comes back while somebody waits for it, or before
		if err := p.b.Pass(t.Context(), &peer.Request{}, w); err != nil && !errors.Is(err, peer.ErrNoWriter) {
			t.Fatalf("it is back: %v", err)
		}
	}
}

// Only nodes with a certificate of the authority are heard, and only those whose certificate is
// for them are told anything.
func TestStrangers(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(o *peer.Options) { o.Handlers[peer.API] = echo })
	p.run(p.a)
	at := p.a.Addr().String()
	foreign := peertest.NewAuthority(t)
	c := p.node("c", enginetest.NewRig(t, nil), foreign, nil)
	if s, err := c.Ask(t.Context(), "a", at); err == nil {
		t.Errorf("a stranger was told %+v", s)
	}
	if _, err := p.b.Ask(t.Context(), "elsewhere", at); err == nil || !strings.Contains(err.Error(), "neither for node") {
		t.Errorf("another node was asked for: %v", err)
	}
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	if r, err := plain.Get("https://" + at + "/state"); err == nil {
		t.Errorf("without a certificate: %s", r.Status)
	}
	cert, key, _ := foreign.Files("x", true)
	if _, err := peer.LoadCredentials(cert, key, cert, time.Now().Add(48*time.Hour)); err == nil {
		t.Error("a certificate that is over is taken")
	}
	other := foreign.Credentials("x")
	if other.IsFor("x", "192.0.2.1:7422") != nil || other.IsFor("y", "x:7422") != nil || other.IsFor("y", "192.0.2.1:7422") == nil {
		t.Error("a certificate is good for its node's name or host, and nothing else")
	}
	p.b.Renew(foreign.Credentials("b"))
	if _, err := p.b.Ask(t.Context(), "a", at); err == nil {
		t.Error("with other credentials it is still heard")
	}
}

func TestStateAndBackup(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(o *peer.Options) { o.Describe = func(s *peer.State) { s.Term = 7 } })
	p.run(p.a)
	at := p.a.Addr().String()
	s, err := p.b.Ask(t.Context(), "a", at)
	if err != nil || !s.Writes || s.Term != 7 || s.Version != "v1" || s.Revision != p.ofA.View().Revision() || s.Store != p.ofA.StoreID().String() || s.Now != p.ofA.Engine.Now() {
		t.Errorf("state: %+v, %v", s, err)
	}
	body, err := p.b.Backup(t.Context(), "a", at)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	o := p.ofA.Options
	o.Dir = "copy"
	if rev, err := engine.Restore(&o, engine.Actor{Kind: engine.ActorServer}, body); err != nil || rev != p.ofA.View().Revision() {
		t.Errorf("a backup that was restored: revision %d, %v", rev, err)
	}
}
