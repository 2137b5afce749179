package engine_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// backedUp is a rig with every kind of thing in it, and its backup.
func backedUp(t testing.TB) (*enginetest.Rig, []byte) {
	r := enginetest.NewRig(t, nil)
	everyKindOfWrite(t, r)
	return r, backup(t, r)
}

func backup(t testing.TB, r *enginetest.Rig) []byte {
	t.Helper()
	var b bytes.Buffer
	rev, size, err := r.Backup(context.Background(), &b)
	if err != nil || size != int64(b.Len()) || rev == 0 {
		t.Fatalf("backup of revision %d: %d bytes, said to be %d: %v", rev, b.Len(), size, err)
	}
	return b.Bytes()
}

// What is restored is what was backed up: the state to the last bit, bodies,
// reports; and it goes on. But the places of bouncers are forgotten, durably.
func TestBackup(t *testing.T) {
	t.Parallel()
	r, b := backedUp(t)
	want := tell(t, r.Engine)
	if at, ok := r.View().Bouncer("fw").Cursor(); !ok {
		t.Errorf("the bouncer is at %d, %v before the backup", at, ok)
	}
	r.Stop()
	rev, err := engine.Restore(&engine.Options{Dir: "restored", FS: r.Options.FS}, engine.Actor{}, bytes.NewReader(b))
	wants(t, err, nil)
	r.Options.Dir = "restored"
	r.Start()
	if r.View().Revision() <= rev || tell(t, r.Engine) != want {
		t.Errorf("restored revision %d:\n%s\nwant\n%s", rev, tell(t, r.Engine), want)
	}
	for _, row := range r.View().Bouncers() {
		if at, ok := row.Cursor(); ok {
			t.Errorf("%s goes on from %d", row.Load().Name, at)
		}
	}
	populated{r, t}.add("192.0.2.77", "4h")
	wants(t, r.Snapshot(context.Background()), nil)
	r.Restart()
	if b2 := backup(t, r); bytes.Equal(b, b2) {
		t.Error("a later backup is the same")
	}
}

// tell spells everything that a caller can ask for. Fields are named one by one:
// a field more must not change what it says of an old fixture.
func tell(t testing.TB, e *engine.Engine) string {
	var b strings.Builder
	v := e.View()
	err := e.Alerts(context.Background(), v, &engine.AlertQuery{Ascending: true}, func(a *engine.Alert, ds []engine.Decision) bool {
		fmt.Fprintf(&b, "alert %d %v by %q at %d: %q %q %q %q %q %q %d %d %v %v %v %v\n", a.ID, a.UUID, a.MachineID, a.CreatedAt, a.Scenario,
			a.ScenarioHash, a.ScenarioVersion, a.Message, a.Kind, a.Leakspeed, a.Capacity, a.EventsCount, a.Simulated, a.Remediation, a.StartAt, a.StopAt)
		s := a.Source
		fmt.Fprintf(&b, "  %q %q %q %q %q %q %q %v %v %v\n", s.Scope, s.Value, s.IP, s.Range, s.AsName, s.AsNumber, s.Cn, s.Latitude, s.Longitude, a.Meta)
		for _, event := range a.Events {
			fmt.Fprintf(&b, "  event %v %v %v\n", event.Timestamp, event.Meta, event.NoMeta)
		}
		for _, d := range ds {
			fmt.Fprintf(&b, "  #%d %v %s %q %s %s %s until %d, ended %v\n", d.ID(), d.UUID(), d.Scope().S, d.Value(), d.Type().S, d.Origin().S, d.Scenario().S, d.Until(), d.Ended())
		}
		return true
	})
	for _, kind := range []engine.UsageKind{engine.UsageBouncer, engine.UsageMachine} {
		for u, failed := range e.Usage(context.Background(), kind, "") {
			fmt.Fprintf(&b, "usage %c %s at %d %q %q %s\n", u.Kind, u.Name, u.ReceivedAt, u.Type, u.Version, u.Payload)
			err = errors.Join(err, failed)
		}
	}
	for _, m := range v.Machines() {
		fmt.Fprintf(&b, "machine %q %q %s %v %q %q %q %v %v %v %v %d %d %d %d\n", m.ID, m.PasswordHash, m.AuthType, m.Validated, m.IP, m.Version, m.Scenarios,
			m.OS, m.FeatureFlags, m.DataSources, m.HubItems, m.CreatedAt, m.UpdatedAt, m.LastPush, m.LastHeartbeat)
	}
	for _, r := range v.Bouncers() {
		x := r.Load()
		fmt.Fprintf(&b, "bouncer %q %x %s %v %q %q %v %v %v %v %d %d pulled %d\n", x.Name, x.KeyHash, x.AuthType, x.IP, x.Type, x.Version, x.OS, x.FeatureFlags,
			x.AutoCreated, x.Shared, x.CreatedAt, x.UpdatedAt, r.LastPull())
	}
	for _, l := range v.Allowlists() {
		fmt.Fprintf(&b, "allowlist %q %q %d %d\n", l.Name, l.Description, l.CreatedAt, l.UpdatedAt)
		for _, it := range l.Items {
			fmt.Fprintf(&b, "  %q %v %q %d %d\n", it.Value, it.Prefix, it.Comment, it.CreatedAt, it.ExpiresAt)
		}
	}
	secret, failed := e.Secret(context.Background(), "tokens", func() ([]byte, error) { return nil, errors.New("none") })
	fmt.Fprintf(&b, "secret %s\n", secret)
	if err = errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A backup of a server in full swing is one moment of it. What is taken while
// others write must restore (Restore compares digests), again and again.
func TestBackupBesideWriters(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.History = 200 })
	writing, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for w := range 3 {
		all.Go(func() {
			for i := 0; writing.Err() == nil; i++ {
				ids, err := r.AddAlerts(ctx, "", one(r, fmt.Sprintf("10.%d.0.%d", w, i%50)), r.Now().UnixNano())
				wants(t, err, nil)
				if i%3 > 0 {
					wants(t, r.DeleteAlert(ctx, ids[0], r.Now().UnixNano()), nil)
				}
				if i%7 == 0 {
					if err := r.EndDecision(ctx, engine.DecisionID(1+i), r.Now().UnixNano()); err != nil && !errors.Is(err, engine.ErrNotFound) {
						t.Error(err)
					}
				}
				r.Step(50 * time.Millisecond)
			}
		})
	}
	disk := persist.NewMemFS()
	for i := range 12 {
		var b bytes.Buffer
		taken, _, err := r.Backup(ctx, &b)
		wants(t, err, nil)
		rev, err := engine.Restore(&engine.Options{Dir: fmt.Sprint("restored-", i), FS: disk}, engine.Actor{}, &b)
		if err != nil || rev != taken {
			t.Errorf("backup %d of revision %d is restored as %d: %v", i, taken, rev, err)
		}
	}
	stop()
	all.Wait()
}

// A backup that was cut, or has one bit wrong, is never restored.
func TestDamagedBackup(t *testing.T) {
	t.Parallel()
	_, b := backedUp(t)
	disk := persist.NewMemFS()
	for i, d := range damages(len(b)) {
		_, err := engine.Restore(&engine.Options{Dir: fmt.Sprint("damaged-", i), FS: disk}, engine.Actor{}, bytes.NewReader(d.apply(b)))
		if !errors.Is(err, persist.ErrCorrupt) && !errors.Is(err, persist.ErrFormat) {
			t.Errorf("%v: %v", d, err)
		}
	}
	for name, in := range map[string][]byte{
		"nothing": nil, "text": []byte("config_paths: {data_dir: /var/lib/crowdsec/data}\n"), "twice": append(bytes.Clone(b), b...), "more": append(bytes.Clone(b), 0),
	} {
		if _, err := engine.Restore(&engine.Options{Dir: name, FS: disk}, engine.Actor{}, bytes.NewReader(in)); !errors.Is(err, persist.ErrFormat) && !errors.Is(err, persist.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing is overwritten.
func TestRestoreOverAStore(t *testing.T) {
	t.Parallel()
	r, b := backedUp(t)
	for _, running := range []bool{true, false} {
		if _, err := engine.Restore(&r.Options, engine.Actor{}, bytes.NewReader(b)); !errors.Is(err, persist.ErrFormat) {
			t.Errorf("running: %v: %v", running, err)
		}
		r.Stop()
	}
	r.Start()
	if r.View().Machine("edge-1") == nil {
		t.Error("the store is another")
	}
}

// A client that reads a backup slowly, or goes away, costs nothing.
func TestBackupThatFails(t *testing.T) {
	t.Parallel()
	r, _ := backedUp(t)
	broken := errors.New("gone away")
	pipe, into := io.Pipe()
	pipe.CloseWithError(broken)
	_, _, err := r.Backup(context.Background(), into)
	wants(t, err, broken)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err = r.Backup(ctx, io.Discard)
	wants(t, err, context.Canceled)
	r.Restart()
}

// What is restored is another history: it has an id of its own, and the backup says
// which store it is of.
func TestRestoredStoreHasItsOwnID(t *testing.T) {
	t.Parallel()
	r, b := backedUp(t)
	r.Stop()
	ids := map[string]persist.ID{}
	_, err := persist.Restore(&persist.Options{Dir: "noted", FS: r.Options.FS}, bytes.NewReader(b), func(kind uint16, body []byte) error {
		if kind == 2 {
			ids["note"] = persist.ID(body)
		}
		return nil
	})
	wants(t, err, nil)
	for _, dir := range []string{r.Options.Dir, "noted"} {
		found, err := engine.Inspect(context.Background(), &engine.Options{Dir: dir, FS: r.Options.FS})
		wants(t, err, nil)
		ids[dir] = found.ID
	}
	if ids["note"] != ids[r.Options.Dir] || ids["noted"] == ids["note"] || ids["noted"] == (persist.ID{}) {
		t.Errorf("the ids are %v", ids)
	}
	r.Start()
}

var freeze = flag.Bool("freeze", false, "write the fixture of the current backup format; only for a new format, beside the old ones")

// Every released format is read for ever. A fixture must never be made anew: a
// format that changes gets a fixture of its own. The first has machines, bouncers, allowlists and secrets in one
// section.
func TestBackupFormats(t *testing.T) {
	t.Parallel()
	const newest = 2
	file := func(format int, suffix string) string {
		return fmt.Sprintf("testdata/backup/format-%d.%s", format, suffix)
	}
	if *freeze {
		r, b := backedUp(t)
		if err := errors.Join(os.WriteFile(file(newest, "backup"), b, 0o600), os.WriteFile(file(newest, "txt"), []byte(tell(t, r.Engine)), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for format := 1; format <= newest; format++ {
		b, err := os.ReadFile(file(format, "backup"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(file(format, "txt"))
		if err != nil {
			t.Fatal(err)
		}
		r := enginetest.NewRig(t, nil)
		r.Stop()
		r.Options.Dir = "restored"
		_, err = engine.Restore(&r.Options, engine.Actor{}, bytes.NewReader(b))
		wants(t, err, nil)
		r.Start()
		if got := tell(t, r.Engine); got != string(want) {
			t.Errorf("format %d: restored\n%s\nwant\n%s", format, got, want)
		}
	}
}

// What a node adopts is the same history at the same revision: bouncers keep their places, and nothing is behind it.
func TestAdopt(t *testing.T) {
	t.Parallel()
	at, b := backedUp(t)
	disk := persist.NewMemFS()
	rev, err := engine.Adopt(&engine.Options{Dir: "adopted", FS: disk}, bytes.NewReader(b))
	wants(t, err, nil)
	e, err := engine.Open(&engine.Options{Dir: "adopted", FS: disk})
	wants(t, err, nil)
	if rev != at.View().Revision() || e.View().Revision() != rev || e.Digest() != at.Digest() {
		t.Errorf("revision %d was adopted as %d, and is opened as %d", at.View().Revision(), rev, e.View().Revision())
	}
	wants(t, e.Close(), nil)
	if _, err := engine.Adopt(&engine.Options{Dir: "adopted", FS: disk}, bytes.NewReader(b)); err == nil {
		t.Error("a store was written over")
	}
	if _, err := engine.Adopt(&engine.Options{Dir: "cut", FS: disk}, bytes.NewReader(b[:len(b)/2])); err == nil {
		t.Error("half a backup was adopted")
	}
}
