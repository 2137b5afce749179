package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/persist"
)

var quiet = slog.New(slog.DiscardHandler)

// clock is moved by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// desk is an operator in front of an engine on a memory disk.
type desk struct {
	*Client
	t      *testing.T
	engine *engine.Engine
	clock  *clock
}

func newEngine(t *testing.T, now func() time.Time) *engine.Engine {
	t.Helper()
	e, err := engine.Open(&engine.Options{Dir: "store", FS: persist.NewMemFS(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, e.Check(), e.Close()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, clock: &clock{now: time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)}}
	d.engine = newEngine(t, d.clock.read)
	d.Client = Local(NewHandler(d.engine, "test", quiet))
	t.Cleanup(d.Close)
	return d
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// kindOf checks that an error kept its kind and says so much.
func (d *desk) kindOf(err error, kind error, text string) {
	d.t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		d.t.Errorf("%v, want %q of kind %v", err, text, kind)
	}
}

func TestMachines(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), t.Context()
	d.must(d.AddMachine(ctx, &NewMachine{ID: "m1", PasswordHash: []byte("h")}))
	d.kindOf(d.AddMachine(ctx, &NewMachine{ID: "m1"}), engine.ErrExists, "machine m1: already exists")
	d.must(d.AddMachine(ctx, &NewMachine{ID: "m1", PasswordHash: []byte("other"), Replace: true}))
	d.must(d.engine.AddMachine(ctx, &engine.Machine{ID: "pending", CreatedAt: d.engine.Now()}, false))
	list, err := d.Machines(ctx)
	d.must(err)
	if len(list.Machines) != 2 || !list.Machines[0].Validated || list.Machines[1].Validated || list.Now != d.engine.Now() {
		t.Errorf("%+v", list)
	}
	stale, err := d.StaleMachines(ctx, &Prune{Silence: int64(time.Hour)})
	d.must(err)
	if len(stale.Machines) != 1 || stale.Machines[0].ID != "pending" {
		t.Errorf("not validated is stale at any age: %+v", stale)
	}
	d.must(d.ValidateMachine(ctx, "pending"))
	d.kindOf(d.ValidateMachine(ctx, "nope"), engine.ErrNotFound, "")
	d.clock.move(2 * time.Hour)
	d.engine.Heartbeat("m1", d.engine.Now())
	p := Prune{Silence: int64(time.Hour)}
	stale, err = d.StaleMachines(ctx, &p)
	d.must(err)
	if len(stale.Machines) != 1 || stale.Machines[0].ID != "pending" {
		t.Errorf("silent from its creation: %+v", stale)
	}
	n, err := d.PruneMachines(ctx, &PruneNamed{Prune: p, Names: []string{"m1", "pending", "nope"}})
	if err != nil || n != 1 {
		t.Errorf("only what is still stale goes: %d, %v", n, err)
	}
	if m, err := d.Machine(ctx, "m1"); err != nil || m.LastHeartbeat == 0 || m.UpdatedAt != m.LastHeartbeat {
		t.Errorf("%+v, %v", m, err)
	}
	_, err = d.Machine(ctx, "pending")
	d.kindOf(err, engine.ErrNotFound, "machine pending: not found")
	d.must(d.DeleteMachine(ctx, "m1"))
	d.kindOf(d.DeleteMachine(ctx, "m1"), engine.ErrNotFound, "")
}

func TestBouncers(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), t.Context()
	hash := make([]byte, 64)
	d.must(d.AddBouncer(ctx, &NewBouncer{Name: "b1", KeyHash: hash}))
	d.kindOf(d.AddBouncer(ctx, &NewBouncer{Name: "pod", KeyHash: hash, Shared: true}), engine.ErrExists, "the bouncer 'b1'")
	d.must(d.AddBouncer(ctx, &NewBouncer{Name: "pod", KeyHash: bytes.Repeat([]byte{1}, 64), Shared: true}))
	d.kindOf(d.AddBouncer(ctx, &NewBouncer{Name: "b1", KeyHash: hash}), engine.ErrExists, "")
	d.kindOf(d.AddBouncer(ctx, &NewBouncer{Name: "b2", KeyHash: hash[:63]}), engine.ErrInvalid, "64 bytes")
	row := d.engine.View().Bouncer("b1")
	at := d.engine.View().Revision()
	row.Advance(at, d.engine.Now())
	d.must(d.AddBouncer(ctx, &NewBouncer{Name: "b3", KeyHash: bytes.Repeat([]byte{3}, 64)}))
	b, err := d.Bouncer(ctx, "b1")
	d.must(err)
	if !b.Pulled || b.Cursor != at || b.Behind == 0 || b.LastPull == 0 || b.UpdatedAt < b.LastPull {
		t.Errorf("%+v", b)
	}
	list, err := d.Bouncers(ctx)
	d.must(err)
	if len(list.Bouncers) != 3 || !list.Bouncers[1].Shared || list.Bouncers[1].Pulled {
		t.Errorf("%+v", list)
	}
	d.clock.move(2 * time.Hour)
	row.Visit(d.engine.Now())
	p := Prune{Silence: int64(time.Hour)}
	stale, err := d.StaleBouncers(ctx, &p)
	d.must(err)
	if len(stale.Bouncers) != 2 {
		t.Errorf("%+v", stale)
	}
	if n, err := d.PruneBouncers(ctx, &PruneNamed{Prune: p, Names: []string{"b1", "b3"}}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	_, err = d.Bouncer(ctx, "b3")
	d.kindOf(err, engine.ErrNotFound, "bouncer b3: not found")
	child := &engine.Bouncer{Name: "b1@192.0.2.5", AutoCreated: true, AuthType: engine.AuthAPIKey}
	copy(child.KeyHash[:], hash)
	_, err = d.engine.AddBouncer(ctx, child)
	d.must(err)
	if names, err := d.DeleteBouncer(ctx, "b1"); err != nil || len(names) != 2 || names[0] != "b1" || names[1] != child.Name {
		t.Errorf("deleted %q, %v", names, err)
	}
	_, err = d.DeleteBouncer(ctx, "b1")
	d.kindOf(err, engine.ErrNotFound, "bouncer b1: not found")
	if e := (*engine.Error)(nil); !errors.As(err, &e) || e.Noun != engine.NounBouncer || e.Name != "b1" {
		t.Errorf("%#v does not say which bouncer", err)
	}
}

func text(s string) *string { return &s }

func TestDecisions(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), t.Context()
	add := func(scope, value, duration string) error {
		return second(d.AddDecision(ctx, &NewDecision{Scope: scope, Value: value, Type: "ban", Duration: duration, Reason: "why"}))
	}
	d.must(add("ip", "192.0.2.1", "4h"))
	d.must(add("Range", "192.0.2.0/24", "1d"))
	d.must(add("user", "bob", "4h"))
	d.kindOf(add("ip", "bob", "4h"), engine.ErrInvalid, "invalid ip address 'bob'")
	d.kindOf(add("ip", "192.0.2.1", "soon"), engine.ErrInvalid, "decision duration 'soon'")
	for f, want := range map[*AlertFilter]int{
		{}: 3, {Active: true}: 3, {Address: "192.0.2.1"}: 2, {Address: "192.0.2.0/24", Inside: true}: 2, {Limit: 1}: 1,
		{Value: text("bob")}: 1, {Origin: text("cscli"), HideCommunity: true}: 3, {Kind: text("x")}: 0,
		{DecisionType: text("captcha")}: 0, {Since: int64(time.Hour)}: 3, {Until: int64(time.Hour)}: 0,
	} {
		n := 0
		for a, err := range d.Alerts(ctx, f) {
			d.must(err)
			if n++; a.MachineID != "N/A" || len(a.Decisions) != 1 {
				t.Errorf("%+v", a)
			}
		}
		if n != want {
			t.Errorf("%+v: %d alerts, want %d", f, n, want)
		}
	}
	for range d.Alerts(ctx, &AlertFilter{}) {
		break // reading may stop early
	}
	for _, err := range d.Alerts(ctx, &AlertFilter{Address: "bob"}) {
		d.kindOf(err, engine.ErrInvalid, "invalid ip address 'bob'")
	}
	if n, err := d.DeleteDecisions(ctx, &DecisionFilter{Address: "192.0.2.1"}); err != nil || n.N != 2 {
		t.Errorf("the range that contains it too: %+v, %v", n, err)
	}
	_, err := d.DeleteDecisions(ctx, &DecisionFilter{ID: 99})
	d.kindOf(err, engine.ErrNotFound, "")
	shown, err := d.Alert(ctx, 3)
	d.must(err)
	if len(shown.Running) != 1 || shown.Alert.Decisions[0].Duration != "4h0m0s" || shown.Alert.Source.Scope != "user" {
		t.Errorf("%+v", shown)
	}
	if n, err := d.DeleteDecisions(ctx, &DecisionFilter{ID: 3}); err != nil || n.N != 1 {
		t.Errorf("%+v, %v", n, err)
	}
	if n, err := deleted(d.DeleteAlerts(ctx, &AlertDeletion{ID: 3})); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := deleted(d.DeleteAlerts(ctx, &AlertDeletion{Filter: AlertFilter{Limit: 1}})); n != 2 || err != nil {
		t.Errorf("a limit does not limit deletion: %d, %v", n, err)
	}
	_, err = d.Alert(ctx, 3)
	d.kindOf(err, engine.ErrNotFound, "")
	_, err = d.FlushAlerts(ctx, &Flush{MaxItems: 1, MaxAge: int64(time.Hour)})
	d.must(err)
}

func TestImportChunk(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), t.Context()
	d.must(d.AddMachine(ctx, &NewMachine{ID: "m"}))
	d.must(failureIn(d.CreateAllowlist(ctx, &NewAllowlist{Name: "office", Description: "d"})))
	_, err := d.AddToAllowlist(ctx, &AllowlistAddition{Name: "office", Items: []NewAllowlistItem{{Value: "192.0.2.0/30", Comment: "HQ"}}})
	d.must(err)
	head := &ImportHead{Machine: "m", Source: "f.csv", Scope: "ip", Type: "ban", Duration: "4h", Reason: "manual"}
	done, err := d.importOne(ctx, head, []Item{
		{Value: "192.0.2.1"}, {Value: "192.0.2.8", Type: "captcha", Reason: "scanner", Duration: "1d"},
		{Value: "bob", Scope: "user"}, {Value: "10.0.0.0/8", Scope: "range"},
	})
	d.must(err)
	if done.Stored != 3 || len(done.Allowlisted) != 1 || done.Allowlisted[0].Reasons[0] != "192.0.2.0/30 from office (HQ)" {
		t.Errorf("%+v", done)
	}
	for a, err := range d.Alerts(ctx, &AlertFilter{}) {
		d.must(err)
		if a.Scenario != "import f.csv: 3 IPs" || a.EventsCount != 3 || a.MachineID != "m" || len(a.Decisions) != 3 || a.Kind != "cscli" {
			t.Errorf("%+v", a)
		}
		x := a.Decisions[0]
		if x.Type != "captcha" || x.Scenario != "scanner" || x.Duration != "24h0m0s" || x.Origin != "cscli-import" || x.Scope != "Ip" {
			t.Errorf("%+v", x)
		}
	}
	for _, bad := range []Item{{Value: "zzz"}, {Value: "192.0.2.9", Duration: "soon"}} {
		_, err := d.importOne(ctx, &ImportHead{Scope: "ip", Type: "ban", Duration: "4h"}, []Item{{Value: "192.0.2.8"}, bad})
		d.kindOf(err, engine.ErrInvalid, "")
	}
	_, err = d.importOne(ctx, &ImportHead{Scope: "ip", Duration: "4h"}, make([]Item, MaxChunk+1))
	d.kindOf(err, engine.ErrInvalid, "at most")
	if done, err := d.importOne(ctx, &ImportHead{Scope: "ip", Duration: "4h"}, []Item{{Value: "192.0.2.2"}}); err != nil || done.Stored != 0 {
		t.Errorf("nothing left is no alert: %+v, %v", done, err)
	}
	alerts := 0
	for range d.Alerts(ctx, &AlertFilter{}) {
		alerts++
	}
	if alerts != 1 {
		t.Errorf("a refused chunk left something behind: %d alerts", alerts)
	}
}

// importOne imports one chunk.
func (c *Client) importOne(ctx context.Context, head *ImportHead, items []Item) (done *Imported, err error) {
	err = c.Import(ctx, head, func(to *Chunks) error {
		for i := range items {
			if err := to.Add(&items[i]); err != nil {
				return err
			}
		}
		return to.End()
	}, func(a *Imported) { done = a })
	return done, err
}

func TestAllowlists(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), t.Context()
	d.must(failureIn(d.CreateAllowlist(ctx, &NewAllowlist{Name: "a", Description: "x"})))
	d.kindOf(failureIn(d.CreateAllowlist(ctx, &NewAllowlist{Name: "a"})), engine.ErrExists, "")
	d.must(second(d.AddDecision(ctx, &NewDecision{Scope: "ip", Value: "192.0.2.1", Type: "ban", Duration: "4h"})))
	done, err := d.AddToAllowlist(ctx, &AllowlistAddition{Name: "a", Items: []NewAllowlistItem{
		{Value: "192.0.2.0/24", Comment: "c"}, {Value: "192.0.2.0/24"}, {Value: "zzz"}, {Value: "::1", Lasts: int64(time.Hour)},
	}})
	d.must(err)
	if done.Added != 2 || done.Ended != 1 || !slices.Equal(done.Present, []string{"192.0.2.0/24"}) || len(done.Bad) != 1 {
		t.Errorf("%+v", done)
	}
	_, err = d.AddDecision(ctx, &NewDecision{Scope: "ip", Value: "192.0.2.1", Type: "ban", Duration: "4h"})
	d.kindOf(err, engine.ErrRefused, "192.0.2.1 is allowlisted by item 192.0.2.0/24 from a (c)")
	d.must(second(d.AddDecision(ctx, &NewDecision{Scope: "ip", Value: "192.0.2.1", Type: "ban", Duration: "4h", Bypass: true})))
	for value, want := range map[string]string{"192.0.2.9": "192.0.2.0/24 from a (c)", "::/64": "::1 from a", "10.0.0.1": ""} {
		if got, err := d.CheckAllowlists(ctx, value); err != nil || got != want {
			t.Errorf("%s: %q, %v", value, got, err)
		}
	}
	_, err = d.CheckAllowlists(ctx, "zzz")
	d.kindOf(err, engine.ErrInvalid, "invalid ip address 'zzz'")
	d.clock.move(2 * time.Hour)
	if l, err := d.Allowlist(ctx, "a"); err != nil || len(l.Items) != 1 {
		t.Errorf("an expired item is not shown: %+v, %v", l, err)
	}
	if n, err := d.RemoveFromAllowlist(ctx, &AllowlistRemoval{Name: "a", Values: []string{"192.0.2.0/24", "1.1.1.1"}}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, err := range []error{
		failureIn(d.Allowlist(ctx, "nope")), failureIn(d.AddToAllowlist(ctx, &AllowlistAddition{Name: "nope"})),
		failureIn(d.RemoveFromAllowlist(ctx, &AllowlistRemoval{Name: "nope"})),
	} {
		d.kindOf(err, engine.ErrNotFound, "allowlist nope: not found")
	}
	d.must(failureIn(d.DeleteAllowlist(ctx, &AllowlistDeletion{Name: "a"})))
	d.kindOf(failureIn(d.DeleteAllowlist(ctx, &AllowlistDeletion{Name: "a"})), engine.ErrNotFound, "")
	if l, err := d.Allowlists(ctx); err != nil || len(l.Allowlists) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

// A list of the console's is shown as such, and what would change it is refused, also where
// nothing would change.
func TestAllowlistOfTheConsole(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), t.Context()
	_, err := d.engine.PutConsoleAllowlist(ctx, &engine.Allowlist{Name: "c", ConsoleID: "7", Items: []engine.AllowlistItem{
		{Value: "::1", Prefix: netip.MustParsePrefix("::1/128")}}}, d.engine.Now())
	d.must(err)
	const says = "allowlist 'c' is managed by the console"
	for _, values := range [][]NewAllowlistItem{nil, {{Value: "::1"}}, {{Value: "::2"}}, {{Value: "zzz"}}} {
		d.kindOf(failureIn(d.AddToAllowlist(ctx, &AllowlistAddition{Name: "c", Items: values})), engine.ErrRefused, says)
	}
	for _, value := range []string{"::1", "::2", "zzz"} {
		d.kindOf(failureIn(d.RemoveFromAllowlist(ctx, &AllowlistRemoval{Name: "c", Values: []string{value}})), engine.ErrRefused, says)
	}
	d.kindOf(failureIn(d.DeleteAllowlist(ctx, &AllowlistDeletion{Name: "c"})), engine.ErrRefused, says)
	if l, err := d.Allowlist(ctx, "c"); err != nil || !l.FromConsole || l.ConsoleID != "7" || len(l.Items) != 1 {
		t.Errorf("%+v, %v", l, err)
	}
}

func failureIn[T any](_ T, err error) error { return err }

func TestUsage(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), t.Context()
	d.must(d.AddBouncer(ctx, &NewBouncer{Name: "b", KeyHash: make([]byte, 64)}))
	for i := range 3 {
		d.must(d.engine.AddUsage(ctx, &engine.Usage{Kind: engine.UsageBouncer, Name: "b", ReceivedAt: d.engine.Now() + int64(i), Payload: []byte("[]")}))
	}
	n := 0
	for r, err := range d.Usage(ctx, &UsageRequest{Kind: "bouncer"}) {
		d.must(err)
		if n++; r.Name != "b" || string(r.Payload) != "[]" {
			t.Errorf("%+v", r)
		}
	}
	for range d.Usage(ctx, &UsageRequest{Kind: "machine"}) {
		n++
	}
	if n != 3 {
		t.Errorf("%d reports", n)
	}
}

// TestSilentServer: one that takes connections and says nothing is told of after a while, with what to do; one that is
// asked for by somebody who waits no longer ends with that.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path) // nobody accepts: the system takes connections, as for a process that is stopped
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := dialWithin(t.Context(), path, time.Millisecond); err == nil || !strings.Contains(err.Error(), "does not answer: nothing came within 1ms") || !strings.Contains(err.Error(), "kill -CONT") {
		t.Errorf("silent: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(gone, path); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

// TestSocket: the door on the file system, at paths of any length.
func TestSocket(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	for _, name := range []string{"a", strings.Repeat("long/", 30)} {
		path := filepath.Join(t.TempDir(), name, "admin.sock")
		if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNotRunning) {
			t.Errorf("nobody there: %v", err)
		}
		for range 2 { // the second finds what the first has left
			s, err := Listen(path, NewHandler(e, "test", quiet), quiet)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			c, err := Dial(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if st, err := c.Status(t.Context()); err != nil || st.Program != "test" || st.PID != os.Getpid() {
				t.Errorf("%+v, %v", st, err)
			}
			c.Close()
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("the socket is still there")
			}
		}
	}
}

// TestDeadSocket: what a killed server left is removed, anything else is not.
func TestDeadSocket(t *testing.T) {
	t.Parallel()
	e, dir := newEngine(t, nil), t.TempDir()
	path := filepath.Join(dir, "admin.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a dead socket: %v", err)
	}
	s, err := Listen(path, NewHandler(e, "test", quiet), quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(precious, NewHandler(e, "test", quiet), quiet); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

// TestManyClients: more at once than are served at once.
func TestManyClients(t *testing.T) {
	t.Parallel()
	e, path := newEngine(t, nil), filepath.Join(t.TempDir(), "admin.sock")
	s, err := Listen(path, NewHandler(e, "test", quiet), quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var all sync.WaitGroup
	for i := range maxVerbs + 20 {
		all.Go(func() {
			c, err := Dial(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if err := c.AddBouncer(t.Context(), &NewBouncer{Name: fmt.Sprint(i), KeyHash: bytes.Repeat([]byte{byte(i)}, 64)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestStrangers: what is no verb, no JSON, too large, or makes a verb panic.
func TestStrangers(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), t.Context()
	_, err := ask[Done](ctx, d.Client, "/machines/explode", struct{}{})
	d.kindOf(err, engine.ErrNotFound, "unknown verb")
	_, err = ask[Done](ctx, d.Client, "/machines/add", map[string]int{"Unknown": 1})
	d.kindOf(err, engine.ErrInvalid, "unreadable request")
	_, err = ask[Done](ctx, d.Client, "/machines/add", []int{1})
	d.kindOf(err, engine.ErrInvalid, "unreadable request")
	if w, err := d.http.Get("http://lapid/status"); err != nil || w.StatusCode != http.StatusNotFound {
		t.Errorf("GET is no verb: %v, %v", w, err)
	}
	h := NewHandler(d.engine, "test", quiet)
	h.verbs["/panic"] = func(http.ResponseWriter, *http.Request) { panic("x") }
	h.most = 1000
	c := Local(h)
	defer c.Close()
	_, err = ask[Done](ctx, c, "/machines/get", Name{strings.Repeat("x", 1000)})
	d.kindOf(err, engine.ErrInvalid, "too large")
	if _, err := ask[Done](ctx, c, "/panic", struct{}{}); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("%v", err)
	}
	if _, err := c.Status(ctx); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

// TestOtherVersion: a command of another version is told so.
func TestOtherVersion(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	h := NewHandler(e, "old", quiet)
	h.verbs["/status"] = verb(func(context.Context, *struct{}) (*Status, error) {
		return &Status{Version: Version + 1, Program: "old", PID: 7}, nil
	})
	c := Local(h)
	defer c.Close()
	if err := c.greet(t.Context()); err == nil || !strings.Contains(err.Error(), "use the same program") {
		t.Errorf("%v", err)
	}
}

// TestTimeLeft: whole seconds, half away from zero, hours without limit.
func TestTimeLeft(t *testing.T) {
	t.Parallel()
	for ns, want := range map[int64]string{
		0: "0s", 5e9: "5s", 4 * 3600e9: "4h0m0s", 1499e6: "1s", 1500e6: "2s", -1500e6: "-2s", -26 * 3600e9: "-26h0m0s",
		2399999*3600e9 + 59*60e9 + 59e9: "2399999h59m59s",
	} {
		if got := TimeLeft(ns); got != want {
			t.Errorf("%d: %s, want %s", ns, got, want)
		}
	}
}

// deleted counts; what is counted is named, too, while it is few.
func deleted(d *DeletedAlerts, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	if len(d.First) != min(d.N, ShownEnded) {
		return -1, nil
	}
	return d.N, nil
}

// TestStarvedServer: a server that comes to read a request after its time hangs up on
// a client that has sent it whole, and that is a reset. The client greets again, and
// is let in; a server that always hangs up is not asked for ever.
func TestStarvedServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		hangups int
		in      bool
	}{{0, true}, {1, true}, {regreet, true}, {1000, false}} {
		path := filepath.Join(t.TempDir(), "admin.sock")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		d := newDesk(t)
		server := newHTTP(NewHandler(d.engine, "test", quiet), quiet)
		defer server.Close()
		seen := &tardy{Listener: l}
		seen.left.Store(int64(c.hangups))
		go func() { _ = server.Serve(seen) }()
		client, err := Dial(t.Context(), path)
		if (err == nil) != c.in {
			t.Errorf("after %d hang-ups: %v", c.hangups, err)
		}
		if err == nil {
			client.Close()
		} else if !hungUp(err) {
			t.Error(err)
		}
	}
}

// tardy is a listener whose first connections are past their time when they are read,
// although everything has come.
type tardy struct {
	net.Listener
	left atomic.Int64
}

func (l *tardy) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil && l.left.Add(-1) >= 0 {
		return late{c}, nil
	}
	return c, err
}

type late struct{ net.Conn }

// Read finds that the deadline was before the bytes came.
func (c late) Read(b []byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// second is the error of a call that gives something else too.
func second[T any](_ T, err error) error { return err }

// TestAlertParts: the parts of a list are the list, with what was asked for of an alert's
// decisions, or their counts; and a server that knows no parts is asked for all.
func TestAlertParts(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), t.Context()
	for _, n := range []int{1, partSize - 1, partSize, partSize + 1, 3 * partSize} {
		items := make([]Item, n)
		for i := range items {
			items[i] = Item{Value: fmt.Sprintf("10.%d.%d.%d", n%250, i/250, i%250), Type: []string{"ban", "captcha"}[i%2]}
		}
		_, err := d.importOne(ctx, &ImportHead{Scope: "ip", Type: "ban", Duration: "4h"}, items)
		d.must(err)
	}
	for _, f := range []*AlertFilter{
		{}, {Active: true, Limit: 1}, {Active: true, Limit: 2}, {DecisionType: text("captcha"), Active: true, Concerned: true},
		{Address: "10.1.0.0", Active: true, Concerned: true}, {Origin: text("nobody"), Concerned: true}, {Scenario: text("nobody")},
		{Scenario: text(fmt.Sprintf("import : %d IPs", partSize))},
	} {
		var whole, joined []*Alert
		for a, err := range d.Alerts(ctx, f) {
			d.must(err)
			whole = append(whole, a)
		}
		for p, err := range d.AlertParts(ctx, f) {
			d.must(err)
			if p.Alert != nil {
				joined = append(joined, p.Alert)
			}
			last := joined[len(joined)-1]
			if last.Decisions = append(last.Decisions, p.More...); len(p.More) > partSize {
				t.Errorf("a part of %d", len(p.More))
			}
		}
		if !reflect.DeepEqual(joined, whole) {
			t.Errorf("%+v: %d alerts in parts, %d as a whole", f, len(joined), len(whole))
		}
		counted := *f
		counted.Counted = true
		i := 0
		for p, err := range d.AlertParts(ctx, &counted) {
			d.must(err)
			want := map[string]int{}
			for j := range whole[i].Decisions {
				want[whole[i].Decisions[j].CountedAs()]++
			}
			if i++; p.Alert == nil || p.Alert.Decisions != nil || !maps.Equal(p.Counts, want) {
				t.Errorf("%+v: %v, want %v", f, p.Counts, want)
			}
		}
		d.Client.wholeAlerts(ctx, f, func(p *AlertPart, err error) bool {
			d.must(err)
			if !reflect.DeepEqual(p.Alert, whole[0]) {
				t.Errorf("of a server that knows no parts: %+v", p)
			}
			return false
		})
	}
	for _, err := range d.AlertParts(ctx, &AlertFilter{Address: "bob"}) {
		d.kindOf(err, engine.ErrInvalid, "invalid ip address 'bob'")
	}
	for range d.AlertParts(ctx, &AlertFilter{}) {
		break // reading may stop early
	}
}
