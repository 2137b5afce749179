package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

var root = engine.Actor{Kind: engine.ActorOperator, Name: "root"}

func auditedRig(t *testing.T, o *engine.AuditOptions) *enginetest.Rig {
	return enginetest.NewRig(t, func(options *engine.Options) { options.Audit = o })
}

// audited are the rows that fit, after all that was committed is told.
func audited(t *testing.T, e *engine.Engine, q *engine.AuditQuery) (rows []*engine.AuditRow) {
	t.Helper()
	ctx := context.Background()
	wants(t, e.Trail().Follow(ctx, false), nil)
	wants(t, e.Trail().Each(ctx, q, func(r *engine.AuditRow) bool { rows = append(rows, r); return true }), nil)
	return rows
}

// inWords are rows, one a line.
func inWords(rows []*engine.AuditRow) string {
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%s | %s | %s | %s | %s | %s\n", r.By, r.Action, r.Target, r.Before, r.After, r.Outcome)
	}
	return b.String()
}

// whole fails unless the chain is.
func whole(t *testing.T, e *engine.Engine) *engine.AuditVerdict {
	t.Helper()
	v, err := e.Trail().Verify(context.Background(), nil)
	wants(t, err, nil)
	for _, f := range v.Faults {
		t.Errorf("verify: %s", f.Text)
	}
	return v
}

// Everything an operator does has its row, with who, what it was and what it is, and without
// a secret; what machines and bouncers do by themselves is counted.
func TestAuditTellsWhoDidWhat(t *testing.T) {
	t.Parallel()
	r := auditedRig(t, &engine.AuditOptions{})
	by := engine.As(context.Background(), root)
	ctx, now := context.Background(), r.Now().UnixNano()
	key := engine.KeyHash{1, 2, 3}
	steps := []func() error{
		func() error {
			return r.AddMachine(by, &engine.Machine{ID: "edge-1", PasswordHash: []byte("$2a$hash"), AuthType: engine.AuthPassword, IP: "192.0.2.9"}, false)
		},
		func() error { return r.ChangeMachine(by, "edge-1", func(m *engine.Machine) { m.Validated = true }) },
		func() error {
			return r.ChangeMachine(engine.As(ctx, engine.Actor{Kind: engine.ActorMachine, Name: "edge-1"}), "edge-1", func(m *engine.Machine) { m.Version = "2" })
		},
		func() error {
			_, err := r.AddBouncer(by, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: key})
			return err
		},
		func() error {
			_, err := r.EditBouncer(by, "fw", func(b *engine.Bouncer) error {
				b.Hold = engine.HoldOff
				b.Sight = &engine.Sight{Origins: []string{"cscli"}}
				return nil
			})
			return err
		},
		func() error { _, err := r.AddAlerts(ctx, "edge-1", banOn(r, "192.0.2.1", "4h"), now); return err },
		func() error { _, err := r.AddAlerts(ctx, "edge-1", banOn(r, "192.0.2.2", "4h"), now); return err },
		func() error { _, err := r.AddAlerts(by, "edge-1", banOn(r, "192.0.2.3", "4h"), now); return err },
		func() error { return r.EndDecision(by, 1, now) },
		func() error { return r.CreateAllowlist(by, "office", "ours", now) },
		func() error {
			_, _, err := r.AddToAllowlist(by, "office", []engine.AllowlistItem{{Value: "192.0.2.2", Prefix: netip.MustParsePrefix("192.0.2.2/32")}}, now)
			return err
		},
		func() error { _, err := r.RemoveFromAllowlist(by, "office", []string{"192.0.2.2"}, now); return err },
		func() error { return r.DeleteAllowlist(by, "office", false) },
		func() error { return r.DeleteAlert(by, 2, now) },
		func() error { return r.DeleteBouncer(by, "fw") },
		func() error { return r.DeleteMachine(by, "edge-1") },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	want := `operator root | machine.add | edge-1 |  | {"auth":"password","password":"#PRINT","validated":false} | ok
operator root | machine.change | edge-1 | {"validated":false} | {"validated":true} | ok
operator root | bouncer.add | fw |  | {"auth":"api-key","key":"#PRINT","shared":false} | ok
operator root | bouncer.change | fw | {} | {"hold":"off","origins":["cscli"],"priority":"local-first"} | ok
operator root | decision.add | Ip:192.0.2.3 |  | {"alert":3,"origin":"crowdsec","scenario":"s","type":"ban","until":"2026-07-01T14:00:00Z"} | ok
operator root | decision.delete | Ip:192.0.2.1 | {"decision":1,"origin":"crowdsec","type":"ban","until":"2026-07-01T14:00:00Z"} |  | ok
operator root | allowlist.create | office |  | {"description":"ours"} | ok
operator root | allowlist.add | office |  | {"ended":1,"items":["192.0.2.2"]} | ok
operator root | allowlist.remove | office | {"items":["192.0.2.2"]} |  | ok
operator root | allowlist.delete | office | {"description":"ours"} |  | ok
operator root | alert.delete | 1 alert | {"alerts":[2],"count":1} |  | ok
operator root | bouncer.delete | fw | {"auth":"api-key","hold":"off","key":"#PRINT","origins":["cscli"],"priority":"local-first","shared":false} |  | ok
operator root | machine.delete | edge-1 | {"auth":"password","password":"#PRINT","validated":true} |  | ok
`
	deeds := audited(t, r.Engine, &engine.AuditQuery{Deeds: true, Oldest: true})
	got := masked(inWords(deeds))
	if got != want {
		t.Errorf("told:\n%s\nnot:\n%s", got, want)
	}
	for _, d := range deeds {
		if d.Revision == 0 || d.At == 0 {
			t.Errorf("%s has no revision or time", d.Action)
		}
	}
	if len(audited(t, r.Engine, &engine.AuditQuery{Action: "alert.push"})) != 0 {
		t.Error("pushes are told before their minute is over")
	}
	r.Advance(time.Minute)
	counted := inWords(audited(t, r.Engine, &engine.AuditQuery{Kind: "machine", Oldest: true}))
	if want := `machine edge-1 | alert.push |  |  | {"first":"2026-07-01T10:00:00Z","things":2,"times":2} | ok
machine edge-1 | machine.report |  |  | {"first":"2026-07-01T10:00:00Z","times":1} | ok
`; counted != want {
		t.Errorf("counted:\n%s\nnot:\n%s", counted, want)
	}
	whole(t, r.Engine)
}

// masked hides what hashes begin with.
func masked(text string) string {
	var b strings.Builder
	for {
		head, tail, ok := strings.Cut(text, `"#`)
		b.WriteString(head)
		if !ok {
			return b.String()
		}
		b.WriteString(`"#PRINT`)
		text = tail[8:]
	}
}

// One of each operation is told, or is on the list of those that are not.
func TestEveryOperationIsAudited(t *testing.T) {
	t.Parallel()
	for _, name := range engine.UnauditedOps() {
		t.Errorf("operation %s is neither audited (audit_deeds.go, auditedOp) nor silent (silentOps)", name)
	}
	r := auditedRig(t, &engine.AuditOptions{})
	everyKindOfWrite(t, r)
	if rows := audited(t, r.Engine, &engine.AuditQuery{}); len(rows) < 10 {
		t.Errorf("%d rows: %s", len(rows), inWords(rows))
	}
	whole(t, r.Engine)
}

// Whenever the power fails, each commit that was answered has its row, once.
func TestAuditSurvivesPowerFailures(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			chance := rand.New(rand.NewPCG(seed, 1))
			r := enginetest.NewRig(t, func(o *engine.Options) {
				o.Audit, o.FS = &engine.AuditOptions{}, persist.NewCrashFS()
				o.SnapshotEvery = time.Minute
			})
			by, ctx := engine.As(context.Background(), root), context.Background()
			lists, pushes := 0, map[bool]int{}
			wants(t, r.AddMachine(by, &engine.Machine{ID: "m"}, false), nil)
			for range 120 {
				switch chance.IntN(7) {
				case 0, 1:
					wants(t, r.CreateAllowlist(by, fmt.Sprint("list-", lists), "", r.Now().UnixNano()), nil)
					lists++
				case 2, 3:
					_, err := r.AddAlerts(ctx, "m", banOn(r, "192.0.2.1", "4h"), r.Now().UnixNano())
					wants(t, err, nil)
					pushes[true]++
				case 4:
					wants(t, r.Trail().Follow(ctx, chance.IntN(4) == 0), nil)
				case 5:
					r.Step(time.Duration(chance.IntN(90)) * time.Second)
				default:
					if chance.IntN(3) == 0 {
						wants(t, r.Snapshot(ctx), nil)
					} else {
						r.Crash()
					}
				}
			}
			r.Crash()
			r.Step(2 * time.Minute)
			seen := map[string]int{}
			for _, row := range audited(t, r.Engine, &engine.AuditQuery{Action: "allowlist"}) {
				seen[row.Target]++
			}
			for i := range lists {
				if n := seen[fmt.Sprint("list-", i)]; n != 1 {
					t.Errorf("list %d was told %d times", i, n)
				}
			}
			if len(seen) != lists {
				t.Errorf("%d lists were told, %d made", len(seen), lists)
			}
			n := 0
			for _, row := range audited(t, r.Engine, &engine.AuditQuery{Action: "alert.push"}) {
				var times int
				_, tail, _ := strings.Cut(row.After, `"times":`)
				_, err := fmt.Sscanf(tail, "%d", &times)
				wants(t, err, nil)
				n += times
			}
			if n != pushes[true] {
				t.Errorf("%d pushes were counted, %d made", n, pushes[true])
			}
			whole(t, r.Engine)
		})
	}
}

// A row that is changed, removed or put in between shows, and where; so does a chain that
// was made anew, to whoever has kept a hash.
func TestAuditShowsWhatWasChanged(t *testing.T) {
	t.Parallel()
	disk := persist.NewMemFS()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.Audit, o.FS, o.Dir = &engine.AuditOptions{}, disk, "store" })
	by, ctx := engine.As(context.Background(), root), context.Background()
	for i := range 8 {
		wants(t, r.CreateAllowlist(by, fmt.Sprint("list-", i), "", r.Now().UnixNano()), nil)
	}
	rows := audited(t, r.Engine, &engine.AuditQuery{Oldest: true})
	seal := whole(t, r.Engine).Seals[0]
	r.Stop()
	tamper := func(what string, change func(batch *persist.Rows, values map[uint64][]byte, key func(uint64) []byte)) string {
		s, err := persist.Open(&persist.Options{Dir: "store", FS: disk})
		wants(t, err, nil)
		values, keys := map[uint64][]byte{}, map[uint64][]byte{}
		wants(t, s.ScanRows(3, nil, nil, false, func(key, value []byte) (bool, error) {
			n := uint64(key[8])
			values[n], keys[n] = bytes.Clone(value), bytes.Clone(key)
			return true, nil
		}), nil)
		batch := s.NewRows()
		change(batch, values, func(n uint64) []byte { return append([]byte{0, 0, 0, 0, 0, 0, 0, 0}, byte(n)) })
		wants(t, s.WriteRows(batch), nil)
		wants(t, s.Close(), nil)
		r.Start()
		v, err := r.Trail().Verify(ctx, map[uint64]string{seal.Last: seal.Hash})
		wants(t, err, nil)
		r.Stop()
		s, err = persist.Open(&persist.Options{Dir: "store", FS: disk}) // as it was
		wants(t, err, nil)
		batch.DeleteRange(3, nil, nil)
		for n, value := range values {
			batch.Set(3, keys[n], value)
		}
		wants(t, s.WriteRows(batch), nil)
		wants(t, s.Close(), nil)
		var texts []string
		for _, f := range v.Faults {
			texts = append(texts, f.Text)
		}
		if len(texts) == 0 {
			t.Errorf("%s: nothing shows", what)
		}
		return strings.Join(texts, "; ")
	}
	third, last := rows[2].Number, rows[len(rows)-1].Number
	for what, c := range map[string]struct {
		change func(*persist.Rows, map[uint64][]byte, func(uint64) []byte)
		names  uint64
	}{
		"changed": {func(b *persist.Rows, values map[uint64][]byte, key func(uint64) []byte) {
			b.Set(3, key(third), bytes.Replace(values[third], []byte("root"), []byte("toor"), 1))
		}, third},
		"removed":   {func(b *persist.Rows, _ map[uint64][]byte, key func(uint64) []byte) { b.Delete(3, key(third)) }, third + 1},
		"the last":  {func(b *persist.Rows, _ map[uint64][]byte, key func(uint64) []byte) { b.Delete(3, key(last)) }, last},
		"the first": {func(b *persist.Rows, _ map[uint64][]byte, key func(uint64) []byte) { b.Delete(3, key(rows[0].Number)) }, rows[1].Number},
		"garbage":   {func(b *persist.Rows, _ map[uint64][]byte, key func(uint64) []byte) { b.Set(3, key(third), []byte("x")) }, third},
		"put there": {func(b *persist.Rows, values map[uint64][]byte, key func(uint64) []byte) {
			b.Set(3, append(key(0), 7)[:9], values[third])
		}, 0},
		"behind": {func(b *persist.Rows, values map[uint64][]byte, key func(uint64) []byte) {
			b.Set(3, key(last+1), values[third])
		}, last + 1},
		"behind, and no row": {func(b *persist.Rows, _ map[uint64][]byte, key func(uint64) []byte) {
			b.Set(3, key(last+9), []byte("x"))
		}, last + 9},
		"exchanged": {func(b *persist.Rows, values map[uint64][]byte, key func(uint64) []byte) {
			b.Set(3, key(third), values[third+1])
			b.Set(3, key(third+1), values[third])
		}, third},
	} {
		if text := tamper(what, c.change); c.names != 0 && !strings.Contains(text, fmt.Sprintf("row %d", c.names)) && !strings.Contains(text, fmt.Sprintf("the last row is %d", last-1)) {
			t.Errorf("%s: %s does not name row %d", what, text, c.names)
		}
	}
	r.Start()
	whole(t, r.Engine)
}

// What is too old or too much is forgotten from the beginning, and the rest is still whole.
func TestAuditIsForgotten(t *testing.T) {
	t.Parallel()
	r := auditedRig(t, &engine.AuditOptions{MaxAge: time.Hour, MaxRows: 10})
	by, ctx := engine.As(context.Background(), root), context.Background()
	for i := range 30 {
		wants(t, r.CreateAllowlist(by, fmt.Sprint("list-", i), "", r.Now().UnixNano()), nil)
	}
	rows := audited(t, r.Engine, &engine.AuditQuery{})
	n, err := r.Trail().Retain(ctx)
	wants(t, err, nil)
	left := audited(t, r.Engine, &engine.AuditQuery{})
	if len(left) != 10 || n != len(rows)-10 || left[0].Number != rows[0].Number {
		t.Errorf("%d rows are left of %d, %d forgotten", len(left), len(rows), n)
	}
	whole(t, r.Engine)
	r.Restart()
	whole(t, r.Engine)
	r.Advance(2 * time.Hour)
	if _, err := r.Trail().Retain(ctx); err != nil {
		t.Error(err)
	}
	wants(t, r.CreateAllowlist(by, "last", "", r.Now().UnixNano()), nil)
	if left := audited(t, r.Engine, &engine.AuditQuery{Deeds: true}); len(left) != 1 || left[0].Target != "last" {
		t.Errorf("left: %s", inWords(left))
	}
	whole(t, r.Engine)
}

// A row at the front that cannot be read goes with those behind it that are old, and a row says so.
func TestAuditForgetsWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	disk := persist.NewMemFS()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.Audit, o.FS, o.Dir = &engine.AuditOptions{MaxRows: 4}, disk, "store" })
	by, ctx := engine.As(context.Background(), root), context.Background()
	for i := range 8 {
		wants(t, r.CreateAllowlist(by, fmt.Sprint("list-", i), "", r.Now().UnixNano()), nil)
	}
	first := audited(t, r.Engine, &engine.AuditQuery{Oldest: true})[0].Number
	r.Stop()
	s, err := persist.Open(&persist.Options{Dir: "store", FS: disk})
	wants(t, err, nil)
	batch := s.NewRows()
	for _, number := range []uint64{first, first + 1} {
		batch.Set(3, append([]byte{0, 0, 0, 0, 0, 0, 0, 0}, byte(number)), []byte("no row"))
	}
	wants(t, s.WriteRows(batch), nil)
	wants(t, s.Close(), nil)
	r.Start()
	n, err := r.Trail().Retain(ctx)
	wants(t, err, nil)
	rows := audited(t, r.Engine, &engine.AuditQuery{})
	if n != 4 || len(rows) != 5 || rows[0].Action != "audit.forget" || rows[0].Before != `{"unreadable":2}` {
		t.Errorf("%d were forgotten, left: %s", n, inWords(rows))
	}
	whole(t, r.Engine)
}

// From where an operator asked, and with which token, is told beside what was done; it is kept
// for the audit alone, and the state does not know it.
func TestAuditTellsFromWhere(t *testing.T) {
	t.Parallel()
	r := auditedRig(t, &engine.AuditOptions{})
	ctx := context.Background()
	alice := engine.As(ctx, engine.Actor{Kind: engine.ActorNamedOperator, Name: "alice"})
	wants(t, r.AddOperator(alice, &engine.Operator{Name: "alice", Role: engine.RoleAdmin}), nil)
	for range 2 {
		_, err := r.GrantToken(alice, "alice", &engine.OperatorToken{Hash: engine.SecretHash{byte(r.View().Revision())}})
		wants(t, err, nil)
	}
	for i, from := range []engine.Sender{{}, {Address: netip.MustParseAddr("192.0.2.7"), Token: 2}, {Address: netip.MustParseAddr("2001:db8::1")}} {
		wants(t, r.CreateAllowlist(engine.From(alice, from), fmt.Sprint("list-", i), "", r.Now().UnixNano()), nil)
	}
	wants(t, r.AddMachine(engine.From(alice, engine.Sender{Address: netip.MustParseAddr("192.0.2.7")}), &engine.Machine{ID: "m", IP: "198.51.100.1"}, false), nil)
	var told []string
	for _, row := range audited(t, r.Engine, &engine.AuditQuery{Deeds: true, Oldest: true}) {
		told = append(told, fmt.Sprintf("%s %s %s %d %s", row.Action, row.Target, row.Address, row.Token, row.After))
	}
	want := []string{
		`operator.add alice  0 {"role":"admin","tokens":[]}`,
		`operator.token alice  0 {"comment":"","token":1}`,
		`operator.token alice  0 {"comment":"","token":2}`,
		`allowlist.create list-0  0 {"description":""}`,
		`allowlist.create list-1 192.0.2.7 2 {"description":""}`,
		`allowlist.create list-2 2001:db8::1 0 {"description":""}`,
		`machine.add m 192.0.2.7 0 {"auth":"","validated":false}`,
	}
	if !slices.Equal(told, want) {
		t.Errorf("told:\n%s\nnot:\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	digest := r.Digest()
	r.Restart()
	if r.Digest() != digest {
		t.Error("a restart made another state")
	}
	whole(t, r.Engine)
}

// What a machine takes away is counted as what it pushes, however often it does.
func TestAuditCountsDeletionsByMachines(t *testing.T) {
	t.Parallel()
	r := auditedRig(t, &engine.AuditOptions{})
	ctx := context.Background()
	machine := engine.As(ctx, engine.Actor{Kind: engine.ActorMachine, Name: "edge-1"})
	for i := range 3 {
		_, err := r.AddAlerts(ctx, "edge-1", banOn(r, fmt.Sprint("192.0.2.", i), "4h"), r.Now().UnixNano())
		wants(t, err, nil)
		wants(t, r.EndDecision(machine, engine.DecisionID(i+1), r.Now().UnixNano()), nil)
	}
	wants(t, r.DeleteAlert(machine, 1, r.Now().UnixNano()), nil)
	if deeds := audited(t, r.Engine, &engine.AuditQuery{Deeds: true}); len(deeds) != 0 {
		t.Errorf("told one by one: %s", inWords(deeds))
	}
	r.Advance(time.Minute)
	counted := inWords(audited(t, r.Engine, &engine.AuditQuery{Oldest: true}))
	if want := `machine edge-1 | alert.delete |  |  | {"first":"2026-07-01T10:00:00Z","things":1,"times":1} | ok
machine edge-1 | alert.push |  |  | {"first":"2026-07-01T10:00:00Z","things":3,"times":3} | ok
machine edge-1 | decision.delete |  |  | {"first":"2026-07-01T10:00:00Z","things":3,"times":3} | ok
`; counted != want {
		t.Errorf("counted:\n%s\nnot:\n%s", counted, want)
	}
	m := r.Metrics().Audit
	if !m.On || m.Lag != 0 || m.Rows != [2]uint64{0, 3} || m.Bytes == 0 {
		t.Errorf("metrics: %+v", m)
	}
}

// Filters and pages give each row that fits once, in order.
func TestAuditPages(t *testing.T) {
	t.Parallel()
	r := auditedRig(t, &engine.AuditOptions{})
	ctx := context.Background()
	for i := range 40 {
		by := engine.As(ctx, engine.Actor{Kind: engine.ActorOperator, Name: fmt.Sprint("op-", i%3)})
		wants(t, r.CreateAllowlist(by, fmt.Sprint("list-", i), "", r.Now().UnixNano()), nil)
		wants(t, r.Trail().Add(ctx, []engine.AuditRow{{Series: engine.AuditCounted, At: r.Now().UnixNano(), By: engine.Actor{Kind: engine.ActorStranger}, Action: "bouncer.refused", Outcome: "key_unknown", After: "{}"}}), nil)
		r.Advance(time.Second)
	}
	all := audited(t, r.Engine, &engine.AuditQuery{})
	if !slices.IsSortedFunc(all, func(a, b *engine.AuditRow) int { return int(b.Number) - int(a.Number) }) {
		t.Error("rows are not in order")
	}
	for _, q := range []engine.AuditQuery{{}, {Oldest: true}, {Actor: "op-1"}, {Action: "bouncer"}, {Target: "list-1*"}, {Kind: "stranger"},
		{Since: r.Now().Add(-20 * time.Second).UnixNano()}, {Until: r.Now().Add(-20 * time.Second).UnixNano(), Oldest: true}, {Deeds: true}} {
		at := audited(t, r.Engine, &q)
		var paged []uint64
		for page := q; ; {
			n := 0
			wants(t, r.Trail().Each(ctx, &page, func(row *engine.AuditRow) bool {
				paged, page.Before = append(paged, row.Number), row.Number
				n++
				return n < 7
			}), nil)
			if n < 7 {
				break
			}
		}
		if len(at) == 0 || len(at) != len(paged) || !slices.EqualFunc(at, paged, func(a *engine.AuditRow, n uint64) bool { return a.Number == n }) {
			t.Errorf("%+v: %d rows, in pages %d", q, len(at), len(paged))
		}
	}
}

// A backup has the audit up to its moment, and what is restored goes on from there; one that
// never had any begins there.
func TestAuditIsRestored(t *testing.T) {
	t.Parallel()
	disk := persist.NewMemFS()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.Audit, o.FS, o.Dir = &engine.AuditOptions{}, disk, "store" })
	by, ctx := engine.As(context.Background(), root), context.Background()
	wants(t, r.CreateAllowlist(by, "before", "", r.Now().UnixNano()), nil)
	_, err := r.AddAlerts(ctx, "m", banOn(r, "192.0.2.1", "4h"), r.Now().UnixNano())
	wants(t, err, nil)
	b := backup(t, r)
	wants(t, r.CreateAllowlist(by, "after", "", r.Now().UnixNano()), nil)
	for _, o := range []*engine.AuditOptions{{}, nil} {
		dir := fmt.Sprintf("restored-%t", o == nil)
		_, err = engine.Restore(&engine.Options{Dir: dir, FS: disk, Now: r.Now, Audit: o}, root, bytes.NewReader(b))
		wants(t, err, nil)
		again := enginetest.NewRig(t, func(options *engine.Options) {
			options.Audit, options.FS, options.Dir = &engine.AuditOptions{}, disk, dir
		})
		wants(t, again.CreateAllowlist(by, "then", "", r.Now().UnixNano()), nil)
		rows := audited(t, again.Engine, &engine.AuditQuery{Oldest: true})
		targets := map[string]int{}
		for _, row := range rows {
			targets[row.Action+" "+row.Target]++
		}
		want := map[string]int{"allowlist.create before": 1, "allowlist.create then": 1, "alert.push ": 1}
		if o != nil {
			want["store.restore revision 3"] = 1
		}
		if !maps.Equal(targets, want) {
			t.Errorf("told: %v", targets)
		}
		whole(t, again.Engine)
	}
}

// Where the history does not reach back to where the audit stands a row says so, and what
// comes then is told with what was before.
func TestAuditGap(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.Audit, o.BookmarkBytes = &engine.AuditOptions{}, -1 })
	by, ctx := engine.As(context.Background(), root), context.Background()
	for i := range 4 { // the journal is cut behind the older of two snapshots
		wants(t, r.CreateAllowlist(by, fmt.Sprint("list-", i), "here", r.Now().UnixNano()), nil)
		wants(t, r.Snapshot(ctx), nil)
	}
	wants(t, r.DeleteAllowlist(by, "list-0", false), nil)
	rows := audited(t, r.Engine, &engine.AuditQuery{Oldest: true})
	if len(rows) != 1 || rows[0].Action != "audit.gap" || !strings.HasPrefix(rows[0].Target, "revisions 1 to ") {
		t.Fatalf("told: %s", inWords(rows))
	}
	wants(t, r.DeleteAllowlist(by, "list-1", false), nil)
	if rows := audited(t, r.Engine, &engine.AuditQuery{}); rows[0].Before != `{"description":"here"}` {
		t.Errorf("told: %s", inWords(rows))
	}
	whole(t, r.Engine)
}

// The journal is kept for the audit as for any reader of the history.
func TestAuditKeepsTheJournal(t *testing.T) {
	t.Parallel()
	r := auditedRig(t, &engine.AuditOptions{})
	by, ctx := engine.As(context.Background(), root), context.Background()
	for i := range 4 {
		wants(t, r.CreateAllowlist(by, fmt.Sprint("list-", i), "", r.Now().UnixNano()), nil)
		wants(t, r.Snapshot(ctx), nil)
	}
	r.Restart()
	if rows := audited(t, r.Engine, &engine.AuditQuery{Deeds: true}); len(rows) != 4 {
		t.Errorf("told: %s", inWords(rows))
	}
}

// A store of before begins its audit with what there is, and without one nothing is written.
func TestAuditBegins(t *testing.T) {
	t.Parallel()
	disk := persist.NewMemFS()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.FS, o.Dir = disk, "store" })
	by, ctx := engine.As(context.Background(), root), context.Background()
	for i := range 3 {
		wants(t, r.CreateAllowlist(by, fmt.Sprint("list-", i), "here", r.Now().UnixNano()), nil)
		wants(t, r.Snapshot(ctx), nil)
	}
	if err := r.Trail().Follow(ctx, false); !errors.Is(err, engine.ErrRefused) {
		t.Errorf("without an audit: %v", err)
	}
	r.Stop()
	r.Options.Audit = &engine.AuditOptions{}
	r.Start()
	wants(t, r.DeleteAllowlist(by, "list-0", false), nil)
	rows := audited(t, r.Engine, &engine.AuditQuery{Oldest: true})
	if len(rows) != 2 || rows[0].Action != "audit.begin" || rows[1].Before != `{"description":"here"}` {
		t.Errorf("told: %s", inWords(rows))
	}
}
