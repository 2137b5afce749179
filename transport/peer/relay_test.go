package peer_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
	"lapid/transport/peer"
	"lapid/transport/peer/peertest"
)

// alone is a journal that one engine shares with nobody.
type alone struct{ newest atomic.Uint64 }

func (a *alone) Append(_ context.Context, after engine.Revision, _ []byte) error {
	a.newest.Store(uint64(after) + 1)
	return nil
}
func (a *alone) Newest(context.Context) (engine.Revision, error) {
	return engine.Revision(a.newest.Load()), nil
}
func (a *alone) Trim(engine.Revision) error { return nil }
func (a *alone) Follow(ctx context.Context, _ engine.Revision, _ func(engine.Revision, []byte) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// edge is nodes and what relays need to follow them.
type edge struct {
	t             testing.TB
	nodes, relays *peertest.Authority
	relay         *peer.Credentials
}

func newEdge(t testing.TB) *edge {
	e := &edge{t: t, nodes: peertest.NewAuthority(t), relays: peertest.NewAuthority(t)}
	cert, key, _ := e.relays.Files("edge1", false)
	var err error
	if e.relay, err = peer.LoadRelayCredentials(cert, key, e.nodes.File(), time.Now()); err != nil {
		t.Fatal(err)
	}
	return e
}

// sender is a node that relays follow.
type sender struct {
	*enginetest.Rig
	node *peer.Node
	stop func()
}

// serve has an engine be followed.
func (e *edge) serve(rig *enginetest.Rig) *sender {
	e.t.Helper()
	cert, key, ca := e.nodes.Files("a", true)
	by, err := peer.LoadCredentials(cert, key, ca, time.Now())
	if err == nil {
		err = by.AdmitRelays(e.relays.File())
	}
	if err != nil {
		e.t.Fatal(err)
	}
	n, err := peer.New(&peer.Options{Name: "a", Listen: "127.0.0.1:0", Credentials: by, Engine: rig.Engine, Version: "v9", Writer: func() (string, string, bool) { return "a", "", true }})
	if err == nil {
		err = n.Listen()
	}
	if err != nil {
		e.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := n.Run(ctx); err != nil {
			e.t.Errorf("running a node: %v", err)
		}
	})
	s := &sender{rig, n, sync.OnceFunc(func() { cancel(); done.Wait() })}
	e.t.Cleanup(s.stop)
	return s
}

func (s *sender) at() string { return s.node.Addr().String() }

// writer is an engine whose history can be followed.
func (e *edge) writer() *enginetest.Rig {
	e.t.Helper()
	rig := enginetest.NewRig(e.t, func(o *engine.Options) { o.Journal = &alone{} })
	if err := rig.Lead(context.Background()); err != nil {
		e.t.Fatal(err)
	}
	if _, err := rig.NameHistory(context.Background()); err != nil {
		e.t.Fatal(err)
	}
	return rig
}

// ban adds n decisions in one commit.
func ban(t testing.TB, rig *enginetest.Rig, from, n int) {
	t.Helper()
	a := &engine.Alert{Scenario: "ssh", Message: "message-of-an-alert", StopAt: engine.StampOf(rig.Now())}
	for i := from; i < from+n; i++ {
		a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: fmt.Sprintf("10.%d.%d.%d", byte(i>>16), byte(i>>8), byte(i)), Type: "ban", Origin: "crowdsec", Scenario: "ssh", Duration: "4h"})
	}
	if _, err := rig.AddAlerts(context.Background(), "", []*engine.Alert{a}, rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
}

// behind is a relay that has what a node gives it, and follows from.
func (e *edge) behind(anew func(context.Context, string, engine.HistoryName) error, first string, from ...string) (*enginetest.Rig, *peer.Relay) {
	e.t.Helper()
	r, err := peer.NewRelay(&peer.RelayOptions{From: from, Credentials: e.relay, Version: "v1", Anew: anew}, engine.HistoryName{})
	if err != nil {
		e.t.Fatal(err)
	}
	peer.SetStrangerPatience(r, 50*time.Millisecond)
	backup, name, err := r.Backup(context.Background(), first, engine.HistoryName{})
	if err != nil {
		e.t.Fatal(err)
	}
	defer backup.Close()
	options := engine.Options{Dir: "store", FS: persist.NewMemFS(), Relay: true, Journal: r}
	adopt := engine.Options{Dir: options.Dir, FS: options.FS}
	if _, err := engine.Adopt(&adopt, backup); err != nil {
		e.t.Fatal(err)
	}
	r.SetHistory(name)
	return enginetest.NewRig(e.t, func(o *engine.Options) { now := o.Now; *o = options; o.Now = now }), r
}

func reach(t testing.TB, relay *enginetest.Rig, rev engine.Revision) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := relay.Reach(ctx, rev); err != nil {
		t.Fatal(err)
	}
}

// await waits until something is so.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("waited in vain until " + what)
		}
	}
}

// TestRelayFollows: a relay gets everything, and then what comes; its node dies, and it goes on at another, which lists it
// or reads its journal; what it holds is what the nodes do.
func TestRelayFollows(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	rig := e.writer()
	ban(t, rig, 0, 10)
	a, b := e.serve(rig), e.serve(rig)
	relay, r := e.behind(nil, a.at(), a.at(), b.at())
	ban(t, rig, 10, 1000)
	reach(t, relay, rig.View().Revision())
	await(t, "it is connected", func() bool {
		s := r.Status()
		return s.Connected && s.From == a.at() && s.Age >= 0 && s.Age < time.Minute
	})
	a.stop()
	ban(t, rig, 2000, 10)
	reach(t, relay, rig.View().Revision())
	if s := r.Status(); s.From != b.at() {
		t.Errorf("it follows %q, and not the other node", s.From)
	}
	if got, want := relay.View().Revision(), rig.View().Revision(); got != want {
		t.Errorf("revision %d, and not %d", got, want)
	}
	if got := len(full(relay)); got != 1020 {
		t.Errorf("%d decisions at the relay", got)
	}
}

func full(r *enginetest.Rig) []engine.Decision {
	running, _ := enginetest.FullState(r.View(), r.Ask())
	return running
}

// TestRelayMayOnlyFollow: with a relay's certificate everything else is refused, and without relay_ca_file following, too.
func TestRelayMayOnlyFollow(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	a := e.serve(e.writer())
	if err := a.AddMachine(context.Background(), &engine.Machine{ID: "m", PasswordHash: []byte("hash-of-a-password")}, false); err != nil {
		t.Fatal(err)
	}
	cert, key, _ := e.relays.Files("edge2", false)
	as, err := peer.LoadRelayCredentials(cert, key, e.nodes.File(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	asker, err := peer.New(&peer.Options{Name: "edge2", Credentials: as, Writer: func() (string, string, bool) { return "a", a.at(), true }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asker.Backup(context.Background(), "a", a.at()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a relay gets a whole backup: %v", err)
	}
	if _, err := asker.Ask(context.Background(), "a", a.at()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a relay gets a node's state: %v", err)
	}
	if err := asker.PassSoon(context.Background(), &peer.Request{Method: "POST", Target: "/v1/alerts"}, noAnswer{t}, 5*time.Second); err == nil {
		t.Error("a relay's request is passed on")
	}
	r, err := peer.NewRelay(&peer.RelayOptions{From: []string{a.at()}, Credentials: as}, engine.HistoryName{})
	if err != nil {
		t.Fatal(err)
	}
	backup, _, err := r.Backup(context.Background(), a.at(), engine.HistoryName{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(backup)
	if err != nil || len(text) == 0 || bytes.Contains(text, []byte("hash-of-a-password")) {
		t.Errorf("a relay's backup of %d bytes: %v", len(text), err)
	}
	_ = backup.Close()
	plain := e.nodes.Credentials("a")
	a.node.Renew(plain) // no relays any more
	r, err = peer.NewRelay(&peer.RelayOptions{From: []string{a.at()}, Credentials: as}, engine.HistoryName{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Backup(context.Background(), a.at(), engine.HistoryName{}); err == nil {
		t.Error("a relay is let in that nobody lets in")
	}
	if err := e.nodes.Credentials("b").AdmitRelays(e.nodes.File()); err == nil {
		t.Error("the authority of nodes is taken for that of relays")
	}
}

// TestRelayIsTakenOut: a relay that follows, and whose authority a reload takes away, follows no longer and is told why: a stolen
// certificate is of no use from then on.
func TestRelayIsTakenOut(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	a := e.serve(e.writer())
	cert, key, _ := e.relays.Files("edge2", false)
	as, err := peer.LoadRelayCredentials(cert, key, e.nodes.File(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r, err := peer.NewRelay(&peer.RelayOptions{From: []string{a.at()}, Credentials: as}, engine.HistoryName{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Follow(ctx, a.View().Revision(), func(engine.Revision, []byte) error { return nil })
	}()
	await(t, "it follows", func() bool { return r.Status().Connected })
	by := e.nodes.Credentials("a")
	if err := by.AdmitRelays(peertest.NewAuthority(t).File()); err != nil {
		t.Fatal(err)
	}
	a.node.Renew(by)
	await(t, "it follows no longer", func() bool { return !r.Status().Connected && r.Status().Problem != "" })
	cancel()
	<-ended
}

type noAnswer struct{ t *testing.T }

func (noAnswer) Header() http.Header { return http.Header{} }
func (n noAnswer) Write([]byte) (int, error) {
	n.t.Error("a relay's request was answered")
	return 0, io.ErrClosedPipe
}
func (noAnswer) WriteHeader(int) {}

// TestRelayOtherHistory: an address with another history is passed by; when only that one answers it is taken, by name, and what the
// journal no longer has is got anew.
func TestRelayOtherHistory(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	a, other := e.serve(e.writer()), e.serve(e.writer())
	ban(t, a.Rig, 0, 3)
	taken := make(chan engine.HistoryName, 1)
	relay, r := e.behind(func(_ context.Context, address string, history engine.HistoryName) error {
		if address != other.at() {
			t.Errorf("everything is asked of %s", address)
		}
		taken <- history
		return nil
	}, a.at(), other.at(), a.at())
	ban(t, a.Rig, 10, 3)
	reach(t, relay, a.View().Revision())
	select {
	case <-taken:
		t.Error("another history is taken while its own answers")
	default:
	}
	a.stop()
	want, _ := other.HistoryNamed()
	select {
	case got := <-taken:
		if got != want || r.Status().History == want.String() {
			t.Errorf("history %s is taken, and not %s", got, want)
		}
	case <-time.After(time.Minute):
		t.Error("the only history that answers is not taken")
	}
}

// TestRelayGone: a relay that is further behind than the journal goes gets everything anew.
func TestRelayGone(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	rig := e.writer()
	a := e.serve(rig)
	anew := make(chan string, 1)
	relay, _ := e.behind(func(_ context.Context, address string, _ engine.HistoryName) error {
		anew <- address
		return nil
	}, a.at(), a.at())
	relay.Stop()
	for i := range 3 {
		ban(t, rig, 10*i, 3)
		if err := rig.Snapshot(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	relay.Start()
	select {
	case from := <-anew:
		if from != a.at() {
			t.Errorf("everything is got from %s", from)
		}
	case <-time.After(time.Minute):
		t.Error("nothing is got anew")
	}
}

// TestRelayTooOld: a relay that could not read what is sent is told which version it needs.
func TestRelayTooOld(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	a := e.serve(e.writer())
	r, err := peer.NewRelay(&peer.RelayOptions{From: []string{a.at()}, Credentials: e.relay}, engine.HistoryName{})
	if err != nil {
		t.Fatal(err)
	}
	peer.AtLevel(r, "0")
	if _, _, err := r.Backup(context.Background(), a.at(), engine.HistoryName{}); !errors.Is(err, peer.ErrTooOld) || !strings.Contains(err.Error(), "lapid v9 or newer") {
		t.Errorf("a relay that is too old is told: %v", err)
	}
}

// listener is a relay without an engine: it counts what it is sent.
type listener struct {
	relay *peer.Relay
	at    atomic.Uint64
	stop  func()
}

// crowd has n relays follow a node behind a revision, and returns once all do. They have no store and apply nothing.
func crowd(t testing.TB, n int, by *peer.Credentials, at string, after engine.Revision) []*listener {
	t.Helper()
	list := make([]*listener, n)
	for i := range list {
		r, err := peer.NewRelay(&peer.RelayOptions{From: []string{at}, Credentials: by}, engine.HistoryName{})
		if err != nil {
			t.Fatal(err)
		}
		l := &listener{relay: r}
		list[i] = l
		ctx, cancel := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Go(func() {
			_ = r.Follow(ctx, after, func(rev engine.Revision, _ []byte) error {
				l.at.Store(uint64(rev))
				return nil
			})
		})
		l.stop = sync.OnceFunc(func() { cancel(); done.Wait() })
		t.Cleanup(l.stop)
	}
	for _, l := range list {
		await(t, "all follow", func() bool { return l.relay.Status().Connected })
	}
	return list
}

// TestManyRelays: many relays behind one node get every commit, some of them leave meanwhile. What is simulated: the relays are in
// this process and only count; the node, its store and TLS are real.
func TestManyRelays(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	a := e.serve(e.writer())
	list := crowd(t, 40, e.relay, a.at(), a.View().Revision())
	for i := range 20 {
		ban(t, a.Rig, 100*i, 20)
		if i%5 == 0 {
			list[len(list)-1].stop()
			list = list[:len(list)-1]
		}
	}
	want := uint64(a.View().Revision())
	for _, l := range list {
		await(t, "all relays have everything", func() bool { return l.at.Load() == want })
	}
}

// crowdVariable has this program be the relays of BenchmarkRelays: how many, of which address, behind which revision, and the files
// of their certificate.
const crowdVariable = "LAPID_TEST_CROWD"

// TestCrowd is nothing but in the process that BenchmarkRelays starts. There it says which revision all relays have, whenever
// they have another one, until its standard input ends.
func TestCrowd(t *testing.T) {
	words := strings.Fields(os.Getenv(crowdVariable))
	if len(words) != 6 {
		return
	}
	n, _ := strconv.Atoi(words[0])
	after, _ := strconv.ParseUint(words[2], 10, 64)
	by, err := peer.LoadRelayCredentials(words[3], words[4], words[5], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	list := crowd(t, n, by, words[1], engine.Revision(after))
	over := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	fmt.Println("at", after)
	for said := after; ; {
		least := list[0].at.Load()
		for _, l := range list {
			least = min(least, l.at.Load())
		}
		if least > said {
			said = least
			fmt.Println("at", said)
		}
		select {
		case <-over:
			return
		case <-time.After(200 * time.Microsecond):
		}
	}
}

// BenchmarkRelays is the processor time that a node spends on one commit of 1000 decisions: making it, and sending it to so many
// relays. The relays are all in one other process and count what they get.
func BenchmarkRelays(b *testing.B) {
	for _, n := range []int{0, 1, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := newEdge(b)
			a := e.serve(e.writer())
			reached := func(engine.Revision) {}
			if n > 0 {
				reached = e.outside(b, n, a)
			}
			var before, after syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			commits := 0
			for b.Loop() {
				ban(b, a.Rig, 1000*commits, 1000)
				commits++
				reached(a.View().Revision())
			}
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			spent := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			b.ReportMetric(spent.Seconds()*1000/float64(commits), "cpu-ms/commit")
		})
	}
}

// outside starts a process with n relays of a node. What it returns waits until all have a revision.
func (e *edge) outside(b *testing.B, n int, a *sender) func(engine.Revision) {
	cert, key, _ := e.relays.Files("crowd", false)
	c := exec.Command(os.Args[0], "-test.run=^TestCrowd$")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %d %s %s %s", crowdVariable, n, a.at(), a.View().Revision(), cert, key, e.nodes.File()))
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = c.Wait()
	})
	lines := bufio.NewScanner(out)
	reached := func(rev engine.Revision) {
		for lines.Scan() {
			var at uint64
			if _, err := fmt.Sscanf(lines.Text(), "at %d", &at); err == nil && at >= uint64(rev) {
				return
			}
		}
		b.Fatal("the relays have ended")
	}
	reached(0)
	return reached
}
