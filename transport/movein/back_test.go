package movein

import (
	"context"
	"crypto/sha512"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// back writes what a store holds to a new file.
func (h *house) back(s Schema) (Place, *BackTally) {
	h.t.Helper()
	p := Place{Kind: SQLite, Path: filepath.Join(h.t.TempDir(), "crowdsec.db")}
	b, err := NewBack(h.t.Context(), p.Path, s)
	if err != nil {
		h.t.Fatal(err)
	}
	defer b.Discard()
	if err = b.Fill(h.t.Context(), h.e, Central{}, nil); err == nil {
		err = b.Finish(h.t.Context())
	}
	if err != nil {
		h.t.Fatal(err)
	}
	if wrong := b.Tally.Balance(); wrong != nil {
		text, _ := json.MarshalIndent(b.Tally, "", " ")
		h.t.Errorf("rows are missing in the account of %v:\n%s", wrong, text)
	}
	return p, &b.Tally
}

// shape is what a database says of its tables, a line for each column, index and key.
func shape(t *testing.T, db *sql.DB) (lines []string) {
	t.Helper()
	for _, query := range []string{
		`SELECT 'column', m.name, c.cid, c.name, c.type, c."notnull", c.dflt_value, c.pk FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'`,
		`SELECT 'index', m.name, l.name, l."unique", l.origin, l.partial, i.seqno, i.name FROM sqlite_master m, pragma_index_list(m.name) l, pragma_index_info(l.name) i WHERE m.type = 'table'`,
		`SELECT 'key', m.name, k.seq, k."table", k."from", k."to", k.on_update, k.on_delete FROM sqlite_master m, pragma_foreign_key_list(m.name) k WHERE m.type = 'table'`,
		`SELECT 'number', name, sql LIKE '%AUTOINCREMENT%', '', '', '', '', '' FROM sqlite_master WHERE type = 'table'`,
	} {
		rows, err := db.Query(query)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var v [8]sql.NullString
			to := make([]any, len(v))
			for i := range v {
				to[i] = &v[i]
			}
			if err := rows.Scan(to...); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fmt.Sprint(v))
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(lines)
	return lines
}

// TestBackHasTheReferencesTables compares columns, indexes and foreign keys.
func TestBackHasTheReferencesTables(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for fixture, s := range map[string]Schema{"sqlite-1.4.sql": oldest, "sqlite-1.7.sql": Newest} {
		_, owner := filled(t, SQLite, fixture)
		p, _ := h.back(s)
		db, err := sql.Open("sqlite", p.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		got, want := shape(t, db), shape(t, owner)
		for _, line := range want {
			if !slices.Contains(got, line) {
				t.Errorf("%s: lacks %s", s, line)
			}
		}
		for _, line := range got {
			if !slices.Contains(want, line) {
				t.Errorf("%s: has %s", s, line)
			}
		}
	}
}

// TestBackHasWhatEachVersionHas: a column that a version does not have is thrown away by
// its server, so none is written.
func TestBackHasWhatEachVersionHas(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range firsts {
		schema, err := ParseSchema(firsts[i].version)
		if err != nil {
			continue // before 1.4
		}
		p, _ := h.back(schema)
		s, err := Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if s.Version != schema.String() {
			t.Errorf("one for %s counts as %s", schema, s.Version)
		}
		s.Close()
	}
	for text, want := range map[string]string{"1.4": "1.4.0", "1.7": Newest.String(), "1.6.4": "1.6.4", "v1.7.8-debian": "1.7.8", "1.4.6": "1.4.6",
		"1.6": "", "1.3.9": "", "2.0.0": "", "": "", "x": "", "1.7.-1": ""} {
		s, err := ParseSchema(text)
		if got := s.String(); err == nil && got != want || (err != nil) != (want == "") {
			t.Errorf("%q is %s, %v, want %s", text, got, err, want)
		}
	}
}

// told is everything that a store says which a schema has room for, a line for each thing.
func (h *house) told(s Schema) (lines []string) {
	h.t.Helper()
	say := func(kind string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			h.t.Fatal(err)
		}
		lines = append(lines, kind+" "+string(text))
	}
	v := h.e.View()
	for _, m := range v.Machines() {
		c := *m
		if s.before(v171.since) {
			c.OS.Family = ""
		}
		if s.before(v163.since) {
			c.OS, c.FeatureFlags, c.HubItems, c.DataSources = engine.OS{}, nil, nil, nil
		}
		slices.SortFunc(c.DataSources, func(a, b engine.Count) int { return strings.Compare(a.Name, b.Name) })
		say("machine", c)
	}
	for _, row := range v.Bouncers() {
		c, pulled := *row.Load(), row.LastPull()
		c.Shared = false
		if s.before(v171.since) {
			c.Software = &engine.Software{Type: c.Type, Version: c.Version, OS: engine.OS{Name: c.OS.Name, Version: c.OS.Version}, FeatureFlags: c.FeatureFlags}
		}
		if s.before(v163.since) {
			c.Software = &engine.Software{Type: c.Type, Version: c.Version}
			c.AutoCreated = false
			if pulled == 0 {
				pulled = c.CreatedAt
			}
		}
		say("bouncer", []any{c, pulled})
	}
	if !s.before(v166.since) {
		for _, l := range v.Allowlists() {
			c := *l
			c.UpdatedAt = 0
			c.Items = slices.Clone(l.Items)
			for i := range c.Items {
				c.Items[i].CreatedAt -= c.Items[i].CreatedAt % second // as they are taken over
			}
			say("allowlist", c)
		}
		for _, kind := range []engine.UsageKind{engine.UsageBouncer, engine.UsageMachine} {
			for u, err := range h.e.Usage(h.t.Context(), kind, "") {
				if err != nil {
					h.t.Fatal(err)
				}
				say("usage", []any{u.Kind, u.Name, u.ReceivedAt, string(u.Payload)})
			}
		}
	}
	if err := h.e.Alerts(h.t.Context(), v, &engine.AlertQuery{Ascending: true}, func(a *engine.Alert, decisions []engine.Decision) bool {
		c := *a
		if pulled := strings.HasPrefix(a.Source.Scope, "lists:") || strings.HasPrefix(a.Source.Scope, "crowdsecurity/"); pulled || s.before(v150.since) { // pulled lists have none, and get one when they are taken over
			c.UUID = engine.UUID{}
		}
		if s.before(v163.since) {
			c.Remediation = false
		}
		if s.before(v177.since) {
			c.Kind = ""
		}
		say("alert", c)
		for _, d := range decisions {
			u := d.UUID()
			if s.before(v150.since) {
				u = engine.UUID{}
			}
			say("decision", []any{d.ID(), d.AlertID(), u, d.Scope().S, d.Value(), d.Type().S, d.Origin().S, d.Scenario().S, d.Until(), d.Simulated(), d.CreatedAt(), d.Running(h.e.Now())})
		}
		return true
	}); err != nil {
		h.t.Fatal(err)
	}
	alert, decision := v.NextIDs()
	say("next", []any{alert, decision})
	return lines
}

// same takes what a store holds back and into another one, and compares the two.
func (h *house) same(s Schema) {
	h.t.Helper()
	p, _ := h.back(s)
	other := newHouse(h.t)
	other.must(p)
	want, got := h.told(s), other.told(s)
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			h.t.Fatalf("%s: %d and %d lines, the first that differs:\n%s\n%s", s, len(want), len(got), slices.Concat(want[min(i, len(want)):], []string{"-"})[0], slices.Concat(got[min(i, len(got)):], []string{"-"})[0])
		}
	}
}

// TestThereAndBackAgain takes each fixture over, back and over again.
func TestThereAndBackAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p Place, _ Kind, _ bool) {
		h := newHouse(t)
		h.must(p)
		for _, s := range []Schema{Newest, oldest, {1, 6, 4}} {
			h.same(s)
		}
	})
}

// TestBackAtRandom goes there and back with what a store came to by itself.
func TestBackAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			if seed%2 == 1 {
				p, _ := filled(t, SQLite, "sqlite-1.7.sql")
				h.must(p)
			}
			l := &life{house: h, r: rand.New(rand.NewPCG(seed, 1)), ctx: t.Context()}
			l.begin()
			for range 150 {
				l.step()
			}
			h.same(Newest)
			h.same(oldest)
		})
	}
}

// life does at random what happens to a store.
type life struct {
	*house
	r   *rand.Rand
	ctx context.Context
	n   int
}

func (l *life) must(err error) {
	l.t.Helper()
	var known *engine.Error
	if err != nil && !(errors.As(err, &known) && known.Kind == engine.ErrNotFound) {
		l.t.Fatal(err)
	}
}

func (l *life) begin() {
	l.t.Helper()
	hash := []byte("$2a$10$6Da3xeyG.LWvauCG5KyJU.1bc7z.fK/xtTfN7GOi42j6PQeI.PuV.")
	now := l.e.Now()
	for i, how := range []engine.AuthType{engine.AuthPassword, engine.AuthTLS, engine.AuthPassword} {
		m := engine.Machine{ID: fmt.Sprintf("m%d", i), AuthType: how, Validated: i != 2, IP: "192.0.2.1", Scenarios: "a,b", Version: "v1", CreatedAt: now, UpdatedAt: now,
			OS: engine.OS{Name: "debian", Version: "12", Family: "linux"}, FeatureFlags: []string{"x", "y"}, DataSources: []engine.Count{{Name: "file", N: 2}},
			HubItems: map[string][]engine.HubItem{"parsers": {{Name: "p", Version: "1", Status: "official"}}}}
		if how == engine.AuthPassword {
			m.PasswordHash = hash
		}
		l.must(l.e.AddMachine(l.ctx, &m, false))
	}
	for i, how := range []engine.AuthType{engine.AuthAPIKey, engine.AuthTLS, engine.AuthAPIKey} {
		b := engine.Bouncer{Name: fmt.Sprintf("b%d", i), AuthType: how, Shared: i == 2, AutoCreated: i == 1, CreatedAt: now, UpdatedAt: now,
			Software: &engine.Software{Type: "t", Version: "v", OS: engine.OS{Name: "o", Version: "2", Family: "f"}, FeatureFlags: []string{"z"}}}
		if how == engine.AuthAPIKey {
			b.KeyHash = sha512.Sum512([]byte(b.Name))
		}
		if i == 0 {
			b.IP = netip.MustParseAddr("2001:db8::20")
		}
		_, err := l.e.AddBouncer(l.ctx, &b)
		l.must(err)
	}
	l.must(l.e.CreateAllowlist(l.ctx, "own", "described", now))
	l.must(l.e.CreateAllowlist(l.ctx, "empty", "", now))
	_, err := l.e.PutConsoleAllowlist(l.ctx, &engine.Allowlist{Name: "theirs", ConsoleID: "id-1", Items: []engine.AllowlistItem{item(l.t, "198.18.0.0/15")}}, now)
	l.must(err)
}

func (l *life) step() {
	l.t.Helper()
	now := l.e.Now()
	switch l.r.IntN(12) {
	default:
		_, err := l.e.AddAlerts(l.ctx, fmt.Sprintf("m%d", l.r.IntN(3)), l.alerts(), now)
		l.must(err)
	case 0:
		l.must(l.e.DeleteAlert(l.ctx, engine.AlertID(1+l.r.IntN(l.n+1)), now))
	case 1, 2:
		l.must(l.e.EndDecision(l.ctx, engine.DecisionID(1+l.r.IntN(3*l.n+1)), now))
	case 3:
		item := item(l.t, fmt.Sprintf("10.%d.0.0/16", l.r.IntN(256)))
		if item.Comment = "c,\"'"; l.r.IntN(2) == 0 {
			item.ExpiresAt = now + int64(time.Hour)
		}
		_, _, err := l.e.AddToAllowlist(l.ctx, "own", []engine.AllowlistItem{item}, now)
		l.must(err)
	case 4:
		_, err := l.e.ReplaceList(l.ctx, &engine.List{Origin: engine.OriginLists, Name: "pulled", Shrunken: true, Groups: []engine.ListGroup{
			{Scope: "Ip", Type: "ban", Scenario: "pulled", Values: []engine.ListValue{{Value: l.value(), Lasts: time.Hour}, {Value: l.value(), Lasts: time.Hour}}}}}, now)
		l.must(err)
	case 5:
		l.must(l.e.AddUsage(l.ctx, &engine.Usage{Kind: engine.UsageBouncer, Name: "b0", ReceivedAt: now, Type: "t", Version: "v", FeatureFlags: []string{"z"}, Payload: []byte(`[{"items":[{"name":"<&>"}]}]`)}))
	}
}

func (l *life) value() string {
	switch l.r.IntN(5) {
	case 0:
		return fmt.Sprintf("2001:DB8::%x", l.r.IntN(1<<16))
	case 1:
		return fmt.Sprintf("::ffff:10.0.%d.9", l.r.IntN(256))
	}
	return fmt.Sprintf("10.%d.%d.7", l.r.IntN(256), l.r.IntN(256))
}

// alerts makes some, with everything that an alert can have.
func (l *life) alerts() (list []*engine.Alert) {
	for range 1 + l.r.IntN(3) {
		l.n++
		at := engine.StampOf(time.Now().Add(-time.Duration(l.r.IntN(1e9))).In(time.FixedZone("", l.r.IntN(9)*900-3600)))
		a := &engine.Alert{Scenario: fmt.Sprintf("crowdsecurity/s%d", l.r.IntN(5)), ScenarioHash: "h", ScenarioVersion: "0.1", Message: "it's \"said\" — ünal\n", Kind: "crowdsec",
			Leakspeed: "10s", Capacity: 5, EventsCount: int32(l.r.IntN(9)), Simulated: l.r.IntN(6) == 0, Remediation: l.r.IntN(2) == 0, StartAt: at, StopAt: at,
			Source: engine.Source{Scope: "Ip", Value: l.value(), IP: "1.2.3.4", Range: "1.2.3.0/24", AsName: "AS", AsNumber: "64496", Cn: "FR", Latitude: l.r.Float32(), Longitude: -l.r.Float32()}}
		for i := range l.r.IntN(3) {
			a.Meta = append(a.Meta, engine.Meta{Key: "k", Value: fmt.Sprintf(`["%d"]`, i)})
			a.Events = append(a.Events, engine.Event{Timestamp: at, NoMeta: i == 1, Meta: []engine.Meta{{Key: "a<b", Value: "ü"}}[:1-i%2]})
		}
		for range l.r.IntN(4) {
			d := engine.NewDecision{Duration: []string{"1h", "1ms", "240h", "20000h"}[l.r.IntN(4)], Origin: []string{"crowdsec", "cscli"}[l.r.IntN(2)], Scenario: a.Scenario, Scope: "Ip", Type: "ban", Value: l.value()}
			switch l.r.IntN(6) {
			case 0:
				d.Scope, d.Value = "Range", fmt.Sprintf("172.16.%d.0/24", l.r.IntN(256))
			case 1:
				d.Scope, d.Value, d.Type = "username", "Ünal", "captcha"
			}
			a.Decisions = append(a.Decisions, d)
		}
		list = append(list, a)
	}
	return list
}

// TestBackHasTheConsolesLists looks at what marks them.
func TestBackHasTheConsolesLists(t *testing.T) {
	t.Parallel()
	l := &life{house: newHouse(t), ctx: t.Context()}
	l.begin()
	p, _ := l.back(Newest)
	db, err := sql.Open("sqlite", p.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, want := range map[string]string{"own": "0:", "theirs": "1:id-1"} {
		var got string
		if err := db.QueryRow("SELECT from_console || ':' || allowlist_id FROM allow_lists WHERE name = ?", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestBackWithoutRoom: what cannot be written to its end is not there, and the error says
// what to do.
func TestBackWithoutRoom(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p, _ := filled(t, SQLite, "sqlite-1.7.sql")
	h.must(p)
	l := &life{house: h, r: rand.New(rand.NewPCG(9, 1)), ctx: t.Context()}
	l.begin()
	for range 100 {
		l.step()
	}
	for _, pages := range []int{31, 40, 60} {
		path := filepath.Join(t.TempDir(), "crowdsec.db")
		b, err := NewBack(t.Context(), path, Newest)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.exec(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
		if err = b.Fill(t.Context(), h.e, Central{}, nil); err == nil {
			err = b.Finish(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), "make room, or name a folder on another disk") {
			t.Errorf("%d pages: %v", pages, err)
		}
		b.Discard()
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d pages: the file is there: %v", pages, err)
		}
	}
}

// TestBackIsNobodyElses: the file is for its owner alone, and one that is there stays.
func TestBackIsNobodyElses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p, _ := h.back(Newest)
	if info, err := os.Stat(p.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	before, err := os.ReadFile(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewBack(t.Context(), p.Path, Newest); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that is there: %v", err)
	}
	if after, err := os.ReadFile(p.Path); err != nil || string(after) != string(before) {
		t.Error("the file that was there is another one")
	}
}
