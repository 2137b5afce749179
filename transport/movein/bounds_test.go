package movein

import (
	"fmt"
	"strings"
	"testing"

	"lapid/engine"
)

// accounts reports whether a table's account has a reason, with how many rows and the first of them.
func accounts(list []Reason, text string, rows, first int64) bool {
	for _, r := range list {
		if strings.Contains(r.Text, text) && r.Rows == rows && r.Example == first {
			return true
		}
	}
	return false
}

// TestLongerThanIsKept: a decision that would be dropped, or would mean something else when cut,
// is left out and counted; what else is cut is said; and a second time changes nothing.
func TestLongerThanIsKept(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	decision := func(id int, column string, bytes int) {
		exec1(t, owner, decisionRow(id, "192.0.2.99", "1"))
		exec1(t, owner, fmt.Sprintf("UPDATE decisions SET scope = 'y', %s = '%s' WHERE id = %d", column, strings.Repeat("x", bytes), id))
	}
	decision(60, "value", 4096)
	decision(61, "value", 4097)
	decision(62, "value", 70_000)
	decision(63, "type", 1025)
	decision(64, "origin", 1025)
	decision(65, "scope", 1025)
	decision(66, "scenario", 1025)
	exec1(t, owner, "UPDATE alerts SET message = hex(zeroblob(200000)) WHERE id = 1")
	exec1(t, owner, "UPDATE alerts SET scenario = hex(zeroblob(600)), source_value = hex(zeroblob(3000)) WHERE id = 2")
	exec1(t, owner, `UPDATE events SET serialized = '[{"key":"k","value":"' || hex(zeroblob(5000)) || '"}]' WHERE id = 1`)
	exec1(t, owner, "UPDATE meta SET value = hex(zeroblob(5000)) WHERE id = 1")
	h := newHouse(t)
	c, tally, err := h.bring(p)
	if err != nil {
		t.Fatal(err)
	}
	decisions, alerts := tally.Table("decisions"), tally.Table("alerts")
	for _, want := range []struct {
		list        []Reason
		text        string
		rows, first int64
	}{
		{decisions.Left, "value is longer than 4096 bytes", 2, 61}, {decisions.Left, "type is longer than 1024 bytes", 1, 63},
		{decisions.Left, "origin is longer", 1, 64}, {decisions.Left, "scope is longer", 1, 65}, {decisions.Remarks, "its scenario is longer", 1, 66},
		{alerts.Remarks, "has texts that are longer", 2, 1}, {alerts.Remarks, "its source has an address or value", 1, 2},
		{tally.Table("events").Remarks, "are cut", 1, 1}, {tally.Table("meta").Remarks, "is cut", 1, 1},
	} {
		if !accounts(want.list, want.text, want.rows, want.first) {
			t.Errorf("nothing says %q of %d, the first %d: %+v", want.text, want.rows, want.first, want.list)
		}
	}
	if c.NewDecisions != decisions.Taken {
		t.Errorf("%d decisions are new, and %d count as taken over", c.NewDecisions, decisions.Taken)
	}
	running := h.running()
	for id := engine.DecisionID(60); id <= 66; id++ {
		if _, there := running[id]; there != (id == 60 || id == 66) {
			t.Errorf("decision %d runs: %v", id, there)
		}
	}
	if c, _, err := h.bring(p); err != nil || c != (Changes{}) {
		t.Errorf("a second time: %+v, %v", c, err)
	}
}

// TestMoreEventsThanAreKept has an alert with events of more than 16 MiB.
func TestMoreEventsThanAreKept(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	exec1(t, owner, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
		INSERT INTO events (created_at, updated_at, time, serialized, alert_events) SELECT '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00',
		'[{"key":"k","value":"' || hex(zeroblob(4000)) || '"}]', 1 FROM n`)
	_, tally := taken(t, p)
	events := tally.Table("events")
	if events.Taken < 2000 || events.Taken > 2200 || !accounts(events.Left, "more than is kept of one alert", 2504-1-events.Taken, 1) {
		t.Errorf("of 2504 events: %+v", *events)
	}
}

// TestNoNumbers: a coordinate that JSON cannot say is 0, and is said; what belongs to the alert
// is there.
func TestNoNumbers(t *testing.T) {
	t.Parallel()
	for kind, file := range map[Kind]string{SQLite: "sqlite-1.7.sql", Postgres: "postgres-1.7.sql"} {
		p, owner := filled(t, kind, file)
		infinite, large := "9e999", "1e300"
		if kind == Postgres {
			infinite, large = "'Infinity'", "'NaN'"
		}
		exec1(t, owner, "UPDATE alerts SET source_latitude = "+infinite+" WHERE id = 1")
		exec1(t, owner, "UPDATE alerts SET source_longitude = "+large+" WHERE id = 2")
		k, tally := taken(t, p)
		for id := int64(1); id <= 2; id++ {
			if s := k.alert(t, id).Source; s.Latitude-s.Latitude != 0 || s.Longitude-s.Longitude != 0 {
				t.Errorf("%s: alert %d is at %v %v", kind, id, s.Latitude, s.Longitude)
			}
		}
		remarks := tally.Table("alerts").Remarks
		if !accounts(remarks, "source_latitude is no number", 1, 1) || !accounts(remarks, "source_longitude is no number", 1, 2) || tally.Table("alerts").Taken != 15 {
			t.Errorf("%s: %+v", kind, *tally.Table("alerts"))
		}
	}
}
