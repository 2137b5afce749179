package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// relayed is the history of another engine as a relay is sent it.
type relayed struct {
	from *engine.Engine
	cut  chan struct{} // closed: nothing comes any more
}

func (r *relayed) stop() { close(r.cut) }

func (r *relayed) Append(context.Context, engine.Revision, []byte) error { return engine.ErrNotWriter }
func (r *relayed) Newest(context.Context) (engine.Revision, error)       { return 0, nil }
func (r *relayed) Trim(engine.Revision) error                            { return nil }
func (r *relayed) Follow(ctx context.Context, after engine.Revision, deliver func(engine.Revision, []byte) error) error {
	for {
		select {
		case <-r.cut:
			<-ctx.Done()
			return ctx.Err()
		default:
		}
		changed := r.from.Changed()
		err := r.from.StoredCommits(after, func(rev engine.Revision, record []byte) error {
			commit, err := engine.Redact(nil, record)
			if err == nil {
				err = deliver(rev, commit)
			}
			if err == nil {
				after = rev
			}
			return err
		})
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-r.cut:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

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

// newNode is a node of a cluster, which writes.
func newNode(t testing.TB) *enginetest.Rig {
	node := enginetest.NewRig(t, func(o *engine.Options) { o.Journal = &alone{} })
	if err := node.Lead(context.Background()); err != nil {
		t.Fatal(err)
	}
	return node
}

// behind is a relay of a node, which has what that has now.
func behind(t *testing.T, node *enginetest.Rig, change func(*engine.Options)) *enginetest.Rig {
	var backup bytes.Buffer
	if _, _, err := node.BackupForRelay(context.Background(), &backup); err != nil {
		t.Fatal(err)
	}
	options := engine.Options{Dir: "store", FS: persist.NewMemFS(), Now: node.Now, Relay: true, Journal: &relayed{from: node.Engine, cut: make(chan struct{})}}
	if change != nil {
		change(&options)
	}
	adopt := engine.Options{Dir: options.Dir, FS: options.FS, Now: options.Now}
	if _, err := engine.Adopt(&adopt, bytes.NewReader(backup.Bytes())); err != nil {
		t.Fatal(err)
	}
	return enginetest.NewRig(t, func(o *engine.Options) { *o = options })
}

// reach waits until a relay has what its node has.
func reach(t *testing.T, relay, node *enginetest.Rig) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := relay.Reach(ctx, node.View().Revision()); err != nil {
		t.Fatal(err)
	}
}

// secrets of a node, none of which may be at a relay.
var nodeSecrets = []string{"hash-of-a-password", "hash-of-an-operator", "secret-of-tokens", "secret-of-another", "message-of-an-alert", "meta-of-an-alert", "payload-of-usage"}

// busy has every kind of secret in a node's history.
func busy(t *testing.T, node *enginetest.Rig, round int) {
	ctx, now := context.Background(), node.Now().UnixNano()
	name := fmt.Sprint("m", round)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := node.NameHistory(ctx)
	check(err)
	check(node.AddMachine(ctx, &engine.Machine{ID: name, PasswordHash: []byte(nodeSecrets[0]), AuthType: engine.AuthPassword, Validated: true}, false))
	check(node.AddOperator(ctx, &engine.Operator{Name: name, Role: engine.RoleAdmin, PasswordHash: nodeSecrets[1]}))
	_, err = node.Secret(ctx, engine.TokenSecret, func() ([]byte, error) { return []byte(nodeSecrets[2]), nil })
	check(err)
	_, err = node.RotateSecret(ctx, engine.TokenSecret, []byte(nodeSecrets[2]+name), time.Minute)
	check(err)
	check(node.KeepSecret(ctx, "another", []byte(nodeSecrets[3]+name)))
	id, err := node.NewRequest()
	check(err)
	for _, ctx := range []context.Context{ctx, engine.ForRequest(ctx, id)} {
		a := &engine.Alert{Scenario: "ssh", Message: nodeSecrets[4], MachineID: name, StopAt: engine.StampOf(node.Now()), Meta: []engine.Meta{{Key: "k", Value: nodeSecrets[5]}},
			Source: engine.Source{Scope: "Ip", Value: "192.0.2.1"}}
		for i := range 5 {
			a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: fmt.Sprintf("192.0.%d.%d", round, i), Type: "ban", Origin: "crowdsec", Scenario: "ssh", Duration: "4h"})
		}
		_, err = node.AddAlerts(ctx, name, []*engine.Alert{a}, now)
		check(err)
	}
	_, err = node.AddBouncer(ctx, &engine.Bouncer{Name: "b" + name, AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{byte(round + 1)}, Software: &engine.Software{}})
	check(err)
	check(node.AddUsage(ctx, &engine.Usage{Kind: engine.UsageBouncer, Name: "b" + name, ReceivedAt: now, Payload: []byte(`"` + nodeSecrets[6] + `"`)}))
	_, err = node.EndDecisions(ctx, &engine.Query{Now: now, Value: engine.Word{Given: true, Text: fmt.Sprintf("192.0.%d.1", round)}})
	check(err)
}

// TestRelayRedacted: a relay has the decisions of its node, in a snapshot and commit by commit, the same state whichever way, and
// none of the node's secrets on its disk.
func TestRelayRedacted(t *testing.T) {
	t.Parallel()
	if list := engine.UnredactedOps(); len(list) > 0 {
		t.Errorf("nobody has said what a relay may have of operations %v (redact.go)", list)
	}
	node, dir := newNode(t), t.TempDir()
	busy(t, node, 1)
	relay := behind(t, node, func(o *engine.Options) { o.Dir, o.FS = filepath.Join(dir, "store"), nil })
	busy(t, node, 2)
	reach(t, relay, node)
	if want, _ := node.HistoryNamed(); want == (engine.HistoryName{}) || historyOf(t, relay) != want {
		t.Errorf("the relay's history is %s, and not %s", historyOf(t, relay), want)
	}
	if got, want := holds(relay), holds(node); !maps.Equal(got, want) || len(got) < 8 {
		t.Errorf("the relay has %v, and the node %v", got, want)
	}
	if whole := behind(t, node, nil); whole.Digest() != relay.Digest() {
		t.Error("who follows has another state than who was given all of it at once")
	}
	if relay.Digest() == node.Digest() {
		t.Error("nothing was redacted")
	}
	a, _, err := relay.Alert(relay.View(), relay.View().NewestAlert())
	if err != nil || a.Message == "" || a.Meta != nil {
		t.Errorf("an alert at a relay: %+v, %v", a, err)
	}
	_, err = relay.AddAlerts(context.Background(), "", []*engine.Alert{{Scenario: "x"}}, node.Now().UnixNano())
	if !errors.Is(err, engine.ErrNotWriter) {
		t.Errorf("a relay takes alerts: %v", err)
	}
	if err := relay.Snapshot(context.Background()); err != nil {
		t.Fatal(err)
	}
	relay.Restart()
	relay.Stop()
	scanned := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, secret := range nodeSecrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds %q", path, secret)
			}
		}
		scanned += len(text)
		return err
	})
	if err != nil || scanned < 1000 {
		t.Errorf("%d bytes were looked at: %v", scanned, err)
	}
}

func historyOf(t *testing.T, r *enginetest.Rig) engine.HistoryName {
	t.Helper()
	name, ok := r.HistoryNamed()
	if !ok {
		t.Error("a history has no name")
	}
	return name
}

func holds(r *enginetest.Rig) map[enginetest.Target]bool {
	all := map[enginetest.Target]bool{}
	running, _ := enginetest.FullState(r.View(), r.Ask())
	for _, d := range running {
		all[enginetest.TargetOf(d)] = true
	}
	return all
}

// TestRedactTwice: what was redacted may be so again, what cannot be read is refused, and dst comes back as it was then.
func TestRedactTwice(t *testing.T) {
	t.Parallel()
	for i, record := range append(lifeOnDisk(t).records, engine.YoungCommits()...) {
		once, err := engine.Redact([]byte("head"), record)
		if errors.Is(err, engine.ErrBeforeRedaction) {
			continue
		}
		if err != nil || string(once[:4]) != "head" {
			t.Fatalf("commit %d: %v", i, err)
		}
		twice, err := engine.Redact(nil, once[4:])
		if err != nil || !bytes.Equal(twice, once[4:]) {
			t.Errorf("commit %d, redacted twice: %v", i, err)
		}
		for cut := range len(record) {
			if got, err := engine.Redact([]byte("head"), record[:cut]); err != nil && string(got) != "head" {
				t.Fatalf("commit %d cut at %d leaves %q behind", i, cut, got)
			}
		}
	}
}

// TestRelayRows: bouncers from addresses that no node knows have rows and places at a relay, which outlive a kill, follow what
// nodes do with the key, and are sent to nobody.
func TestRelayRows(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	node := newNode(t)
	busy(t, node, 1)
	key := engine.KeyHash{7}
	if _, err := node.AddBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: key, Software: &engine.Software{}}); err != nil {
		t.Fatal(err)
	}
	relay := behind(t, node, func(o *engine.Options) { o.BouncersPerKey = 3 })
	admit := func(host byte) *engine.BouncerRow {
		t.Helper()
		row, err := relay.AdmitBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: key, IP: netip.AddrFrom4([4]byte{10, 0, 0, host}), Software: &engine.Software{}, CreatedAt: int64(host)})
		if err != nil {
			t.Fatal(err)
		}
		return row
	}
	row := admit(1)
	if again := admit(1); again != row || !row.IsOwn() || relay.View().BouncerFor(&key, row.Load().IP) != row {
		t.Fatal("a bouncer comes twice, and has two rows")
	}
	at := relay.View().Revision()
	row.Advance(at, relay.Now().UnixNano())
	relay.Stop()
	relay.Start()
	row = relay.View().BouncerFor(&key, netip.MustParseAddr("10.0.0.1"))
	if row == nil || !row.IsOwn() {
		t.Fatal("a row of the relay's own is gone after a restart")
	}
	if got, ok := row.Cursor(); !ok || got != at {
		t.Errorf("its place is %d, and not %d", got, at)
	}
	if theirs, _ := node.View().OldestBouncer(&key); theirs == nil || node.View().Bouncer("fw@10.0.0.1") != nil {
		t.Error("a row of the relay's own is at the node")
	}
	var all bytes.Buffer
	if _, _, err := relay.BackupForRelay(ctx, &all); err != nil || bytes.Contains(all.Bytes(), []byte("fw@10.0.0.1")) {
		t.Errorf("a row of the relay's own would be sent: %v", err)
	}

	if _, err := node.EditBouncer(ctx, "fw", func(b *engine.Bouncer) error { b.Hold = 5; return nil }); err != nil {
		t.Fatal(err)
	}
	reach(t, relay, node)
	if hold := row.Load().Hold; hold != 5 || !row.IsOwn() {
		t.Errorf("the row does not follow that of its key: hold %d", hold)
	}
	for host := byte(2); host < 8; host++ {
		admit(host)
	}
	if _, n := relay.View().OldestBouncer(&key); n > 4 {
		t.Errorf("there are %d rows of one key", n)
	}
	// The node hears of an address by itself: the row is the history's from there on.
	if _, err := node.AdmitBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: key, IP: netip.MustParseAddr("10.0.0.7"), Software: &engine.Software{}}); err != nil {
		t.Fatal(err)
	}
	reach(t, relay, node)
	if shared := relay.View().Bouncer("fw@10.0.0.7"); shared == nil || shared.IsOwn() {
		t.Error("a row that came from the node is still the relay's own")
	}
	if err := node.DeleteBouncer(ctx, "fw"); err != nil {
		t.Fatal(err)
	}
	reach(t, relay, node)
	if row, n := relay.View().OldestBouncer(&key); row != nil {
		t.Errorf("%d rows of a key that was deleted are left", n)
	}
	relay.Restart()
	if row, _ := relay.View().OldestBouncer(&key); row != nil {
		t.Error("a row of a key that was deleted has come back")
	}
	if _, err := relay.AdmitBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: key, IP: netip.MustParseAddr("10.0.0.9"), Software: &engine.Software{}}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("a deleted key is admitted: %v", err)
	}
}

// TestRelayCutOff: a relay that hears nothing goes on by its own clock: decisions that are over are found no longer, deltas do
// not end them, and when it hears again its bouncer gets one delta.
func TestRelayCutOff(t *testing.T) {
	t.Parallel()
	node := newNode(t)
	busy(t, node, 1)
	journal := &relayed{from: node.Engine, cut: make(chan struct{})}
	relay := behind(t, node, func(o *engine.Options) { o.Journal = journal })
	client := &enginetest.Client{Query: relay.Ask()}
	if err := client.Poll(relay.Engine, node.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	held := len(client.Holds)
	journal.stop()
	busy(t, node, 2)
	node.Advance(5 * time.Hour)
	now := node.Now().UnixNano()
	if err := client.Poll(relay.Engine, now); err != nil || len(client.Holds) != held || held == 0 {
		t.Errorf("a delta of a relay that is cut off: %d of %d held, %v", len(client.Holds), held, err)
	}
	q := relay.Ask()
	q.Now = now
	if running, _ := enginetest.FullState(relay.View(), q); len(running) != 0 {
		t.Errorf("%d decisions that are over run at a relay that is cut off", len(running))
	}
	revision := relay.View().Revision()
	relay.Stop()
	relay.Options.Journal = &relayed{from: node.Engine, cut: make(chan struct{})}
	relay.Start()
	reach(t, relay, node)
	if relay.View().Revision() <= revision {
		t.Error("nothing was heard")
	}
	if err := client.Poll(relay.Engine, now); err != nil || !maps.Equal(client.Holds, holds(relay)) {
		t.Errorf("after it was back a bouncer holds %v, and not %v: %v", client.Holds, holds(relay), err)
	}
}

// TestRelayPowerCut: a relay that comes back while no node is reached has what it had a second before.
func TestRelayPowerCut(t *testing.T) {
	t.Parallel()
	node := newNode(t)
	busy(t, node, 1)
	relay := behind(t, node, func(o *engine.Options) { o.FS = persist.NewCrashFS() })
	busy(t, node, 2)
	reach(t, relay, node)
	row := relay.View().Bouncer("bm1")
	row.Advance(relay.View().Revision(), relay.Now().UnixNano())
	for range 3 { // visits are written, and then synced
		node.Step(10 * time.Second)
		relay.Wake()
		for range 2 { // what is done behind the first is done before the second
			if _, _, err := relay.BackupForRelay(context.Background(), io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	}
	had := relay.View().Revision()
	relay.Options.Journal.(*relayed).stop()
	relay.Crash()
	if got := relay.View().Revision(); got < had {
		t.Errorf("a power cut takes revision %d back to %d", had, got)
	}
	if at, ok := relay.View().Bouncer("bm1").Cursor(); !ok || at > had {
		t.Errorf("a bouncer is at %d, %t", at, ok)
	}
}

// BenchmarkRedact is what one commit of 1000 decisions costs to be redacted, once for all relays.
func BenchmarkRedact(b *testing.B) {
	r := filled(b, 1000)
	var commit []byte
	if err := r.StoredCommits(0, func(_ engine.Revision, record []byte) error {
		if len(record) > len(commit) {
			commit = bytes.Clone(record)
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(commit)))
	for b.Loop() {
		if _, err := engine.Redact(commit[:0:0], commit); err != nil {
			b.Fatal(err)
		}
	}
}
