package movein

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// now is the moment of all takings over here: after what is over in the fixtures, and
// before the end of what runs.
var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// keeper takes everything and keeps it.
type keeper struct {
	machines map[string]*Machine
	bouncers map[string]*Bouncer
	lists    map[string]*Allowlist
	alerts   []*Alert
	usage    []*engine.Usage
	central  map[string]string
	counters Counters
	largest  int
}

func newKeeper() *keeper {
	return &keeper{machines: map[string]*Machine{}, bouncers: map[string]*Bouncer{}, lists: map[string]*Allowlist{}}
}

func (k *keeper) Machine(_ context.Context, m *Machine) error     { k.machines[m.ID] = m; return nil }
func (k *keeper) Bouncer(_ context.Context, b *Bouncer) error     { k.bouncers[b.Name] = b; return nil }
func (k *keeper) Allowlist(_ context.Context, l *Allowlist) error { k.lists[l.Name] = l; return nil }
func (k *keeper) Usage(_ context.Context, u *engine.Usage) error {
	k.usage = append(k.usage, u)
	return nil
}
func (k *keeper) Central(_ context.Context, items map[string]string) error {
	k.central = items
	return nil
}
func (k *keeper) Counters(_ context.Context, c Counters) error { k.counters = c; return nil }
func (k *keeper) Alerts(_ context.Context, list []*Alert) error {
	k.alerts, k.largest = append(k.alerts, list...), max(k.largest, len(list))
	return nil
}

func (k *keeper) alert(t *testing.T, number int64) *Alert {
	t.Helper()
	for _, a := range k.alerts {
		if a.Number == number {
			return a
		}
	}
	t.Fatalf("alert %d was not taken over", number)
	return nil
}

func (k *keeper) decisions() map[int64]Decision {
	all := map[int64]Decision{}
	for _, a := range k.alerts {
		for _, d := range a.Taken {
			all[d.Number] = d
		}
	}
	return all
}

// taken reads a database whole.
func taken(t *testing.T, p Place) (*keeper, *Tally) {
	t.Helper()
	s, err := Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k := newKeeper()
	tally, err := s.Read(t.Context(), Options{Now: now}, k)
	if err != nil {
		t.Fatal(err)
	}
	if wrong := tally.Balance(); wrong != nil {
		text, _ := json.MarshalIndent(tally, "", " ")
		t.Errorf("rows are missing in the account of %v:\n%s", wrong, text)
	}
	return k, tally
}

// fixtures are the same rows in each database.
var fixtures = []struct {
	name string
	kind Kind
	file string
	old  bool // 1.4: without what came later
}{
	{"sqlite 1.4", SQLite, "sqlite-1.4.sql", true}, {"sqlite 1.7", SQLite, "sqlite-1.7.sql", false},
	{"postgres 1.7", Postgres, "postgres-1.7.sql", false}, {"mariadb 1.7", MySQL, "mysql-1.7.sql", false},
}

func each(t *testing.T, test func(t *testing.T, p Place, kind Kind, old bool)) {
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p, _ := filled(t, f.kind, f.file)
			test(t, p, f.kind, f.old)
		})
	}
}

// TestFixturesAreReadWhole has the numbers that a correct reading gives.
func TestFixturesAreReadWhole(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p Place, kind Kind, old bool) {
		k, tally := taken(t, p)
		want := map[string][2]int64{"machines": {3, 3}, "bouncers": {5, 5}, "alerts": {15, 15}, "decisions": {22, 20}, "events": {4, 3}, "meta": {3, 2},
			"allow_lists": {3, 3}, "allow_list_items": {5, 3}, "metrics": {2, 2}, "config_items": {3, 3}, "locks": {1, 0}}
		if old {
			want = map[string][2]int64{"machines": {3, 3}, "bouncers": {4, 4}, "alerts": {14, 14}, "decisions": {21, 19}, "events": {4, 3}, "meta": {3, 2}}
		}
		for name, n := range want {
			if table := tally.Table(name); table == nil || table.Read != n[0] || table.Taken != n[1] {
				t.Errorf("%s: %+v, want %d read and %d taken over", name, table, n[0], n[1])
			}
		}
		if tally.Damaged() != 0 {
			t.Errorf("%d rows count as damaged", tally.Damaged())
		}
		if version := map[bool]string{true: "1.4.0", false: "1.7.7"}[old]; tally.Version != version {
			t.Errorf("it counts as version %s", tally.Version)
		}
		if (k.counters != Counters{40, 90}) {
			t.Errorf("the counters are %+v", k.counters)
		}
		var running []int64
		for id, d := range k.decisions() {
			if d.Until > unix(now) {
				running = append(running, id)
			}
		}
		slices.Sort(running)
		ids := []int64{1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 18, 21, 25}
		if old {
			ids = ids[:len(ids)-1]
		}
		if !slices.Equal(running, ids) {
			t.Errorf("running are %v, want %v", running, ids)
		}
		origins := "CAPI 3 crowdsec 10 cscli 1 cscli-import 1 lists 2"
		if !old {
			origins = "CAPI 3 console 1 crowdsec 10 cscli 1 cscli-import 1 lists 2"
		}
		var got []string
		for _, o := range tally.Running {
			got = append(got, fmt.Sprintf("%s %d", o.Origin, o.Decisions))
		}
		if text := strings.Join(got, " "); text != origins {
			t.Errorf("running by origin: %s, want %s", text, origins)
		}
		for _, table := range tally.Tables {
			for _, r := range table.Remarks {
				if strings.Contains(r.Text, "integers") {
					t.Errorf("%s: the check of addresses fails: %+v", table.Table, r)
				}
			}
		}
	})
}

// TestFixturesSayTheSame looks at what the rows hold.
func TestFixturesSayTheSame(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p Place, kind Kind, old bool) {
		k, _ := taken(t, p)
		fraction := 123456 * int64(time.Microsecond)
		if kind == MySQL {
			fraction = 0
		}
		created := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC).UnixNano() + fraction
		end := time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
		a := k.alert(t, 1)
		if a.MachineID != "lp-main" || a.CreatedAt != created || a.Source.Latitude != 48.85 || a.Source.AsNumber != "64496" || a.Capacity != 5 || a.EventsCount != 6 {
			t.Errorf("alert 1: %+v", a)
		}
		if len(a.Meta) != 2 || a.Meta[0] != (engine.Meta{Key: "target_user", Value: `["root","admin"]`}) || len(a.Events) != 2 || a.Events[0].Meta[1].Value != "root" {
			t.Errorf("alert 1 has %+v %+v", a.Meta, a.Events)
		}
		if got := a.UUID.String(); !old && got != "00000000-0000-4000-8000-000000000001" {
			t.Errorf("its uuid is %s", got)
		}
		if e := k.alert(t, 2).Events; len(e) != 1 || !e[0].NoMeta {
			t.Errorf("an event whose metadata was dropped: %+v", e)
		}
		all := k.decisions()
		for id, d := range all {
			if id == 2 && kind != MySQL {
				d.Until += int64(time.Second / 2)
			}
			if d.Until > unix(now) && d.Until != end {
				t.Errorf("decision %d ends at %d", id, d.Until)
			}
		}
		if d := all[7]; d.Value != "Ünal" || d.Scope != "username" || d.Type != "throttle" {
			t.Errorf("decision 7: %+v", d)
		}
		if d := all[15]; d.Scenario != "manual 'ban' from 'lp-main'" {
			t.Errorf("decision 15: %+v", d)
		}
		if d := all[25]; !old && d.Scope != "Ip" {
			t.Errorf("decision 25: %+v", d)
		}
		if !all[8].Simulated || !k.alert(t, 7).Simulated {
			t.Error("decision 8 is not simulated any more")
		}
		if kind == SQLite {
			if at := k.alert(t, 12).StopAt; at.Offset != 300 || at.At != created-fraction {
				t.Errorf("alert 12 ends at %v", at.Time())
			}
		}
		made := k.alerts[len(k.alerts)-1]
		if made.Number != 0 || made.Taken[0].Number != 18 || made.Source.Value != "192.0.2.90" || made.Scenario != "test/orphan-running" || made.MachineID != "" {
			t.Errorf("decision 18 is under %+v", made)
		}
	})
}

// TestFixturesHaveTheSamePeople looks at machines, bouncers and allowlists.
func TestFixturesHaveTheSamePeople(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p Place, kind Kind, old bool) {
		k, _ := taken(t, p)
		if m := k.machines["lp-main"]; m == nil || !m.Validated || !isBcrypt(m.PasswordHash) || m.AuthType != engine.AuthPassword {
			t.Errorf("lp-main: %+v", m)
		}
		if m := k.machines["lp-pending"]; m == nil || m.Validated {
			t.Errorf("lp-pending: %+v", m)
		}
		if m := k.machines["agent.example@192.0.2.10"]; m == nil || m.AuthType != engine.AuthTLS || m.PasswordHash != nil {
			t.Errorf("agent.example: %+v", m)
		}
		b := k.bouncers["fw-edge"]
		if b == nil || b.KeyHash == (engine.KeyHash{}) || b.LastPull == 0 {
			t.Fatalf("fw-edge: %+v", b)
		}
		if x := k.bouncers["all-null"]; x == nil || x.IP.IsValid() {
			t.Errorf("all-null: %+v", x)
		}
		if x := k.bouncers["web.example@192.0.2.30"]; x == nil || x.AuthType != engine.AuthTLS || x.KeyHash != (engine.KeyHash{}) {
			t.Errorf("web.example: %+v", x)
		}
		if old {
			return
		}
		if m := k.machines["lp-main"]; len(m.DataSources) == 0 || len(m.HubItems) == 0 || m.OS.Name == "" {
			t.Errorf("lp-main says nothing of itself: %+v", m)
		}
		twins := 0
		for _, x := range k.bouncers {
			if x.KeyHash == b.KeyHash {
				twins++
			}
		}
		if twins != 2 {
			t.Errorf("%d bouncers have the key of fw-edge", twins)
		}
		if l := k.lists["office"]; l == nil || len(l.Items) != 2 || l.Items[0].Comment != "printer" || l.Items[1].Value != "2001:db8:aaaa::/48" {
			t.Errorf("office: %+v", l)
		}
		if l := k.lists["console-list"]; l == nil || !l.Console || len(l.Items) != 1 || l.Items[0].ExpiresAt == 0 {
			t.Errorf("console-list: %+v", l)
		}
		if l := k.lists["empty-null"]; l == nil || len(l.Items) != 0 {
			t.Errorf("empty-null: %+v", l)
		}
		if len(k.usage) != 2 || !strings.HasPrefix(string(k.usage[0].Payload), `[{"items"`) && !strings.HasPrefix(string(k.usage[0].Payload), `[{"meta"`) || string(k.usage[1].Payload) != "[]" {
			t.Errorf("usage: %+v", k.usage)
		}
	})
}
