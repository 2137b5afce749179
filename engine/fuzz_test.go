package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"math"
	"math/big"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// written is everything a short life with every kind of write leaves on disk.
type written struct {
	rev                    uint64
	records, bodies, usage [][]byte
	sections               []engine.Section
}

func lifeOnDisk(t testing.TB) *written {
	r := enginetest.NewRig(t, nil)
	everyKindOfWrite(t, r)
	if err := r.Snapshot(context.Background()); err != nil {
		t.Fatal(err)
	}
	w := &written{rev: uint64(r.View().Revision())}
	r.Stop()
	s, err := persist.Open(&persist.Options{Dir: r.Options.Dir, FS: r.Options.FS, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	keep := func(into *[][]byte) func(key, value []byte) (bool, error) {
		return func(_, value []byte) (bool, error) {
			*into = append(*into, bytes.Clone(value))
			return true, nil
		}
	}
	_, loaded := s.LoadSnapshot(func(rev uint64, sections iter.Seq2[uint16, []byte]) error {
		w.sections = nil
		for kind, body := range sections {
			w.sections = append(w.sections, engine.Section{Kind: kind, Body: body})
		}
		return nil
	})
	err = errors.Join(loaded, s.ScanRows(1, nil, nil, false, keep(&w.bodies)), s.ScanRows(2, nil, nil, false, keep(&w.usage)),
		s.Replay(0, func(_ uint64, record []byte) error {
			w.records = append(w.records, bytes.Clone(record))
			return nil
		}))
	if err != nil || len(w.sections) != 11 || len(w.bodies) == 0 || len(w.usage) == 0 {
		t.Fatalf("%d sections, %d bodies, %d reports: %v", len(w.sections), len(w.bodies), len(w.usage), err)
	}
	return w
}

// everyKindOfWrite makes one of each.
func everyKindOfWrite(t testing.TB, r *enginetest.Rig) {
	ctx, now := context.Background(), r.Now().UnixNano()
	a := &engine.Alert{
		Scenario: "ssh-bf", Message: "six failures", Kind: "crowdsec", Capacity: 5, EventsCount: 6, Leakspeed: "10s",
		StartAt: engine.StampOf(r.Now()), StopAt: engine.StampOf(r.Now().In(time.FixedZone("", 5*3600))),
		Source: engine.Source{Scope: "Ip", Value: "192.0.2.7", AsName: "A", Cn: "FR", Latitude: 1.5, Longitude: -2},
		Meta:   []engine.Meta{{Key: "user", Value: "root"}}, Events: []engine.Event{{Timestamp: engine.StampOf(r.Now()), Meta: []engine.Meta{{Key: "k", Value: "v"}}}, {NoMeta: true}},
	}
	for _, d := range [][3]string{{"Ip", "192.0.2.7", "4h"}, {"Range", "192.0.2.0/24", "4h"}, {"Ip", "2001:DB8::7", "1s"}, {"Range", "2001:db8::/48", "-1h"}, {"Country", "FR", "400d"}, {"username", "", "4h"}} {
		a.Decisions = append(a.Decisions, engine.NewDecision{Scope: d[0], Value: d[1], Duration: d[2], Type: "ban", Origin: "crowdsec", Scenario: "ssh-bf"})
	}
	b := *a
	id, err := r.AddAlerts(ctx, "edge-1", []*engine.Alert{a, &b}, now)
	if err != nil || len(id) != 2 {
		t.Fatal(id, err)
	}
	item := engine.AllowlistItem{Value: "198.51.100.0/24", Prefix: netip.MustParsePrefix("198.51.100.0/24"), Comment: "us", ExpiresAt: now + 1e15}
	bouncer := &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{1}, IP: netip.MustParseAddr("10.0.0.1")}
	row, err := r.AddBouncer(ctx, bouncer)
	steps := []func() error{
		func() error { return err },
		func() error { return r.EndDecision(ctx, 2, now) },
		func() error { return r.DeleteAlert(ctx, id[1], now) },
		func() error {
			return r.AddMachine(ctx, &engine.Machine{ID: "edge-1", PasswordHash: []byte("hash"), AuthType: engine.AuthPassword, Validated: true}, false)
		},
		func() error { return r.AddMachine(ctx, &engine.Machine{ID: "edge-2"}, false) },
		func() error { return r.DeleteMachine(ctx, "edge-2") },
		func() error { _, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "gone"}); return err },
		func() error { return r.DeleteBouncer(ctx, "gone") },
		func() error { return r.CreateAllowlist(ctx, "trusted", "ours", now) },
		func() error {
			_, _, err := r.AddToAllowlist(ctx, "trusted", []engine.AllowlistItem{item}, now)
			return err
		},
		func() error {
			other := item
			other.Value, other.ExpiresAt = "198.51.100.0/024", now+1e9 // runs out before the last step
			_, _, err := r.AddToAllowlist(ctx, "trusted", []engine.AllowlistItem{other, {Value: "::1", Prefix: netip.MustParsePrefix("::1/128")}}, now)
			return err
		},
		func() error { _, err := r.RemoveFromAllowlist(ctx, "trusted", []string{"::1", "::2"}, now); return err },
		func() error { return r.CreateAllowlist(ctx, "passing", "", now) },
		func() error { return r.DeleteAllowlist(ctx, "passing", false) },
		func() error {
			return r.AddUsage(ctx, &engine.Usage{Kind: engine.UsageMachine, Name: "edge-1", ReceivedAt: now, HasOS: true, OS: engine.OS{Name: "debian"},
				DataSources: []engine.Count{{Name: "file", N: 2}}, HubItems: map[string][]engine.HubItem{"parsers": {{Name: "p", Version: "1", Status: "ok"}}}, Payload: []byte("{}")})
		},
		func() error {
			_, err := r.Secret(ctx, "tokens", func() ([]byte, error) { return []byte("secret"), nil })
			return err
		},
		func() error { _, err := r.RotateSecret(ctx, "tokens", []byte("another"), time.Hour); return err },
		func() error {
			_, err := r.ReplaceList(ctx, &engine.List{Origin: engine.OriginLists, Name: "pulled", Groups: []engine.ListGroup{
				{Scope: "Ip", Type: "ban", Scenario: "pulled", Values: []engine.ListValue{{Value: "192.0.2.99", Lasts: time.Hour}, {Value: "2001:db8::/40", Lasts: time.Hour}}}}}, now)
			return err
		},
		func() error {
			return r.AddExport(ctx, &engine.Export{Name: "edge.txt", Path: "/lists/edge", Format: "plain_text", Options: []string{"a=b"}, Types: []string{"ban"}, Allowlists: []string{"trusted"},
				Limit: 10, Auth: engine.ExportBasic, User: "edge", AllowFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Secrets: []engine.ExportSecret{{Hash: engine.KeyHash{2}, At: now}}, CreatedAt: now})
		},
		func() error { return r.AddExport(ctx, &engine.Export{Name: "passing", Format: "f5"}) },
		func() error { return r.DeleteExport(ctx, "passing") },
		func() error {
			return r.AddOperator(ctx, &engine.Operator{Name: "alice", Role: engine.RoleAdmin, PasswordHash: "hash", CreatedAt: now, UpdatedAt: now})
		},
		func() error { return r.AddOperator(ctx, &engine.Operator{Name: "bob", Role: engine.RoleViewer}) },
		func() error { return r.DeleteOperator(ctx, "bob") },
		func() error {
			_, err := r.GrantToken(ctx, "alice", &engine.OperatorToken{Hash: engine.SecretHash{1}, Comment: "laptop", CreatedAt: now, ExpiresAt: now + 1e15})
			return err
		},
		func() error {
			return r.ChangeOperator(ctx, "alice", func(o *engine.Operator) error {
				o.Link = engine.OperatorLink{Hash: engine.SecretHash{2}, ExpiresAt: now + 1e12}
				return nil
			})
		},
		func() error { r.NoteLogin("alice", now); return nil },
		func() error { _, err := r.Compare(ctx); return err },
		func() error {
			other := *a
			asked := engine.ForRequest(ctx, engine.RequestID{After: 1, Name: [8]byte{1, 2, 3}})
			_, err := r.AddAlerts(asked, "edge-1", []*engine.Alert{&other}, now)
			return err
		},
		func() error {
			return r.NoteVisits(engine.ForRequest(ctx, engine.RequestID{After: 2, Name: [8]byte{9}}), engine.NoteOf("b", "fw", "edge-1", "alice"))
		},
		func() error { row.Advance(r.View().Revision(), now); r.Heartbeat("edge-1", now); return nil },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
	}
	r.Advance(10 * time.Second)
}

// What is on disk is what is written again: no encoder has two ways to say a
// thing.
func TestRecordsAreCanonical(t *testing.T) {
	t.Parallel()
	w := lifeOnDisk(t)
	for i, record := range w.records {
		if again, err := engine.RecodeCommit(record); err != nil || !bytes.Equal(again, record) {
			t.Errorf("record %d: %x became %x, %v", i+1, record, again, err)
		}
	}
	for _, body := range w.bodies {
		if again, err := engine.RecodeBody(body); err != nil || !bytes.Equal(again, body) {
			t.Errorf("body %x became %x, %v", body, again, err)
		}
	}
	again, err := engine.RecodeSections(w.rev, w.sections)
	if err != nil || !slices.EqualFunc(again, w.sections, func(a, b engine.Section) bool { return a.Kind == b.Kind && bytes.Equal(a.Body, b.Body) }) {
		t.Errorf("sections %x became %x, %v", w.sections, again, err)
	}
}

// stable checks a decoder with its encoder: whatever it reads is written so that
// it is read as the same, and reading costs memory in proportion to the input.
func stable(t *testing.T, in []byte, factor uint64, recode func([]byte) ([]byte, error)) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	once, err := recode(in)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20+factor*uint64(len(in)) {
		t.Errorf("%d bytes of input cost %d of memory", len(in), used)
	}
	if err != nil {
		return
	}
	if twice, err := recode(once); err != nil || !bytes.Equal(once, twice) {
		t.Errorf("%x was read, written as %x, and that as %x: %v", in, once, twice, err)
	}
}

func FuzzRecord(f *testing.F) {
	for _, record := range slices.Concat(lifeOnDisk(f).records, engine.YoungCommits()) {
		f.Add(record)
	}
	f.Fuzz(func(t *testing.T, record []byte) { stable(t, record, 256, engine.RecodeCommit) })
}

func FuzzAlertBody(f *testing.F) {
	for _, body := range lifeOnDisk(f).bodies {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { stable(t, body, 256, engine.RecodeBody) })
}

func FuzzUsageRow(f *testing.F) {
	for _, row := range lifeOnDisk(f).usage {
		f.Add(row)
	}
	f.Fuzz(func(t *testing.T, row []byte) { stable(t, row, 256, engine.RecodeUsage) })
}

// mostIDs is what a fuzzed header may claim: memory for ids is had in proportion
// to their range, which a checksum vouches for.
const mostIDs = 1 << 20

func FuzzSnapshot(f *testing.F) {
	w := lifeOnDisk(f)
	f.Add(framed(w.sections))
	for _, name := range []string{"snapshot", "format2/snapshot"} {
		_, old := frozenSections(f, name)
		f.Add(framed(old))
	}
	young, err := engine.YoungSections(w.rev, w.sections)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(framed(young))
	f.Add(framed(withTails(f, w.sections)))
	f.Add(framed(inParts(w.sections)))
	f.Fuzz(func(t *testing.T, all []byte) {
		if headerClaimsTooMuch(unframed(all)) {
			return
		}
		stable(t, all, 1024, func(b []byte) ([]byte, error) {
			out, err := engine.RecodeSections(w.rev, unframed(b))
			return framed(out), err
		})
	})
}

// framed is the sections in a row: kind, length, body.
func framed(list []engine.Section) (all []byte) {
	for _, s := range list {
		all = binary.AppendUvarint(append(all, byte(s.Kind)), uint64(len(s.Body)))
		all = append(all, s.Body...)
	}
	return all
}

// unframed is the mirror; what is cut at the end is left out.
func unframed(all []byte) (list []engine.Section) {
	for len(all) > 1 {
		length, n := binary.Uvarint(all[1:])
		if n <= 0 || length > uint64(len(all)-1-n) {
			break
		}
		list = append(list, engine.Section{Kind: uint16(all[0]), Body: all[1+n:][:length:length]})
		all = all[1+n+int(length):]
	}
	return list
}

// frozenSections is the newest snapshot of a frozen store, in the form of its time.
func frozenSections(t testing.TB, name string) (rev uint64, list []engine.Section) {
	t.Helper()
	disk := persist.NewMemFS()
	thaw(t, disk, "store", name)
	s, err := persist.Open(&persist.Options{Dir: "store", FS: disk, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rev, err = s.LoadSnapshot(func(_ uint64, sections iter.Seq2[uint16, []byte]) error {
		list = nil
		for kind, body := range sections {
			list = append(list, engine.Section{Kind: kind, Body: bytes.Clone(body)})
		}
		return nil
	})
	if err != nil || len(list) == 0 {
		t.Fatal(len(list), err)
	}
	return rev, list
}

// inParts cuts every body in two.
func inParts(list []engine.Section) (cut []engine.Section) {
	for _, s := range list {
		half := len(s.Body) / 2
		cut = append(cut, engine.Section{Kind: 9, Body: s.Body[:half]}, engine.Section{Kind: s.Kind, Body: s.Body[half:]})
	}
	return cut
}

// Older forms, in which machines, bouncers, allowlists and secrets were one section, or rows had no lengths, are read, and
// written in today's; and so are bodies in parts.
func TestSectionsOfOtherForms(t *testing.T) {
	t.Parallel()
	w := lifeOnDisk(t)
	again, err := engine.RecodeSections(w.rev, inParts(w.sections))
	if err != nil || !bytes.Equal(framed(again), framed(w.sections)) {
		t.Errorf("parts became %x: %v", again, err)
	}
	for _, name := range []string{"snapshot", "format2/snapshot"} {
		rev, old := frozenSections(t, name)
		once, err := engine.RecodeSections(rev, old)
		wants(t, err, nil)
		twice, err := engine.RecodeSections(rev, once)
		if err != nil || !bytes.Equal(framed(once), framed(twice)) || bytes.Equal(framed(once), framed(old)) {
			t.Errorf("%s: %x became %x: %v", name, once, twice, err)
		}
	}
}

// withTails is sections as a newer program writes them: rows, and the header, have
// fields at the end that this program does not know.
func withTails(t testing.TB, list []engine.Section) (tailed []engine.Section) {
	t.Helper()
	tail := []byte{7, 1, 2, 3, 4, 5, 6, 7}
	for i, s := range list {
		if i == 0 {
			tailed = append(tailed, engine.Section{Kind: s.Kind, Body: append(bytes.Clone(s.Body), tail...)})
			continue
		}
		body, rest := bytes.Clone(s.Body[:1]), s.Body[1:]
		count, n := binary.Uvarint(rest)
		body, rest = append(body, rest[:n]...), rest[n:]
		for range count {
			length, n := binary.Uvarint(rest)
			row := append(bytes.Clone(rest[n:][:length]), tail...)
			body = append(binary.AppendUvarint(body, uint64(len(row))), row...)
			rest = rest[n+int(length):]
		}
		if len(rest) != 0 {
			t.Fatalf("section %d: %x is no row", s.Kind, rest)
		}
		tailed = append(tailed, engine.Section{Kind: s.Kind, Body: body})
	}
	return tailed
}

// What a newer program adds at the end of rows, sections' headers and operations is
// skipped by this one, and all else is read as ever.
func TestUnknownFieldsAreSkipped(t *testing.T) {
	t.Parallel()
	w := lifeOnDisk(t)
	again, err := engine.RecodeSections(w.rev, withTails(t, w.sections))
	if err != nil || !bytes.Equal(framed(again), framed(w.sections)) {
		t.Errorf("rows with tails became %x: %v", again, err)
	}
	for i, record := range w.records {
		again, err := engine.RecodeCommit(engine.WithTails(record))
		if err != nil || !bytes.Equal(again, record) {
			t.Errorf("record %d with tails became %x, not %x: %v", i+1, again, record, err)
		}
	}
}

// Whatever can be read can be replayed, and leaves a state that agrees with
// itself.
func FuzzReplay(f *testing.F) {
	w := lifeOnDisk(f)
	for _, record := range slices.Concat(w.records, engine.YoungCommits()) {
		f.Add(record)
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		if err := engine.ApplyTo(w.rev, w.sections, record); err != nil {
			t.Errorf("%x: %v", record, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"", " ", "soon", "5", "2x", "1d-2h", "1h2d", "d", "1.5d", "1d2d", "-", "90m", "1.5h", "1d2h30m", "+3h", " 4h ", "-1d2h", "0", "2562047h", "2562048h", "106751d", "106752d", "-106752d", "106751d24h", "-106751d24h", "9999999999999d", "1dd", "-d", "+-1d", "µs", "1d+2h", "-+1h", "--1d", "1h-1m", "2 days", "second"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := engine.ParseDuration(s)
		want, ok := slowDuration(s)
		if (err == nil) != ok || (ok && got != want) {
			t.Errorf("%q: %v, %v; want %v, %v", s, got, err, want, ok)
		}
	})
}

var durationForm = regexp.MustCompile(`^(-?)(?:([+-]?[0-9]+)d)?([^d-]*)$`)

// slowDuration reads the grammar of the contract the obvious way.
func slowDuration(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	parts := durationForm.FindStringSubmatch(s)
	if s == "" || parts == nil {
		return 0, false
	}
	total := new(big.Int)
	if parts[2] != "" {
		days, ok := new(big.Int).SetString(parts[2], 10)
		if !ok || !days.IsInt64() {
			return 0, false
		}
		total = nearestCountable(days.Mul(days, big.NewInt(int64(24*time.Hour))))
	}
	if parts[3] != "" {
		d, err := time.ParseDuration(parts[3])
		if err != nil {
			return 0, false
		}
		total = nearestCountable(total.Add(total, big.NewInt(int64(d))))
	}
	if parts[1] == "-" {
		total.Neg(total)
	}
	return time.Duration(total.Int64()), true
}

// nearestCountable is n, or the number of 64 bits that is nearest to it.
func nearestCountable(n *big.Int) *big.Int {
	most := big.NewInt(math.MaxInt64)
	if n.CmpAbs(most) <= 0 {
		return n
	}
	if n.Sign() < 0 {
		return most.Neg(most)
	}
	return most
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"192.0.2.7", "192.0.2.7/24", "192.0.02.7", "::ffff:192.0.2.1", "::ffff:192.0.2.0/120", "::ffff:0:0/95", "2001:db8::/48", "fe80::1%eth0", " 192.0.2.7", "192.0.2.7:80", "192.0.2.0/33", "192.0.2.0/08", "::/0", "0.0.0.0/0", "1/2/3", "/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := engine.ParseTarget(s)
		want, ok := slowTarget(s)
		if (err == nil) != ok || (ok && got != want) {
			t.Errorf("%q: %v, %v; want %v, %v", s, got, err, want, ok)
		}
		if err == nil && (got != got.Masked() || got.Addr().Is4In6() && got.Bits() >= 96) {
			t.Errorf("%q: %v is not in its usual form", s, got)
		}
		if err != nil && !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%q: %v is not of kind ErrInvalid", s, err)
		}
	})
}

// slowTarget asks the older packages for addresses.
func slowTarget(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		ip := net.ParseIP(s)
		if ip == nil {
			return netip.Prefix{}, false
		}
		a, _ := netip.AddrFromSlice(ip)
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	bits, size := n.Mask.Size()
	var b [16]byte
	copy(b[:], n.IP)
	if size == 32 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(b[:4])), bits), true
	}
	a := netip.AddrFrom16(b)
	if binary.BigEndian.Uint64(b[:8]) == 0 && a.Is4In6() && bits >= 96 {
		return netip.PrefixFrom(a.Unmap(), bits-96), true
	}
	return netip.PrefixFrom(a, bits), true
}
