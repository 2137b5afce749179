package movein

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"lapid/engine"
)

// Alert is an alert with all that belongs to it. Its own field Decisions is empty.
type Alert struct {
	engine.Alert
	Number  int64 // of its row, which is its id; 0: it was made up for a decision without one
	Taken   []Decision
	Unread  bool   // decisions of it are not among them, because they could not be read
	Spoiled bool   // it was made up for a decision whose alert could not be read
	Refused string // set by a Taker: why it does not take it
}

// Decision is a decision, which may be over.
type Decision struct {
	Number    int64
	UUID      engine.UUID // zero: none
	Scope     engine.Scope
	Value     string
	Type      string
	Origin    string
	Scenario  string
	Until     int64 // Unix nanoseconds
	Simulated bool

	created int64
}

// alertPage is how many alerts are in memory at a time, with all that belongs to them.
const alertPage = 256

// Columns of alerts.
const (
	alertID = iota
	alertCreated
	alertScenario
	alertMessage
	alertEvents
	alertStarted
	alertStopped
	alertIP
	alertRange
	alertASNumber
	alertASName
	alertCountry
	alertLatitude
	alertLongitude
	alertScope
	alertValue
	alertCapacity
	alertSpeed
	alertVersion
	alertHash
	alertSimulated
	alertUUID
	alertRemediation
	alertKind
	alertMachine
)

// page is the alerts that are in memory.
type page struct {
	alerts  []*Alert
	byID    map[int64]*Alert
	spoiled map[int64]bool // alerts that are left out
}

// alerts hands over the alerts in the order of their numbers. Their decisions, events
// and metadata are read by ranges of the same numbers: what lies between two alerts
// belongs to none that is there.
func (r *reader) alerts(ctx context.Context) error {
	var kin [3]*children
	for i, of := range []struct {
		of    *relation
		owner string
	}{{decisionsTable, "alert_decisions"}, {eventsTable, "alert_events"}, {metaTable, "alert_metas"}} {
		c, err := r.source.children(ctx, of.of, of.owner)
		if err != nil {
			return err
		}
		kin[i] = c
		defer c.close()
	}
	for after := int64(math.MinInt64); ; {
		p, upTo, err := r.page(ctx, after)
		if err != nil {
			return err
		}
		var made []*Alert
		if err := kin[0].between(ctx, after, upTo, func(row *row) error { r.decision(row, p, &made); return nil }); err != nil {
			return err
		}
		if err := kin[1].between(ctx, after, upTo, func(row *row) error { r.event(row, p); return nil }); err != nil {
			return err
		}
		if err := kin[2].between(ctx, after, upTo, func(row *row) error { r.meta(row, p); return nil }); err != nil {
			return err
		}
		if err := r.give(ctx, append(p.alerts, made...)); err != nil {
			return err
		}
		if upTo == math.MaxInt64 {
			break
		}
		after = upTo
	}
	return r.orphans(ctx, kin)
}

// page reads the next alerts. upTo is the number up to which everything is in it.
func (r *reader) page(ctx context.Context, after int64) (p *page, upTo int64, err error) {
	p = &page{byID: make(map[int64]*Alert, alertPage), spoiled: map[int64]bool{}}
	tally := r.tally.table(alertsTable)
	n := 0
	id := r.source.quote("id")
	query := r.source.where("SELECT " + r.source.selection(alertsTable) + " FROM " + r.source.quote(alertsTable.name) + " WHERE " + id + " > ? ORDER BY " + id + " LIMIT ?")
	err = r.source.scan(ctx, alertsTable, query, []any{after, alertPage}, func(row *row) error {
		tally.Read++
		n++
		a := r.readAlert(row)
		if upTo = a.Number; a.Number == 0 {
			row.fault(alertID, "is 0")
		}
		if row.bad != "" {
			tally.damage(a.Number, row.bad)
			p.spoiled[a.Number] = true
			r.spareAlert(a)
			return nil
		}
		if row.odd != "" {
			tally.remark(a.Number, row.odd)
		}
		p.alerts, p.byID[a.Number] = append(p.alerts, a), a
		return nil
	})
	if n < alertPage {
		upTo = math.MaxInt64
	}
	return p, upTo, err
}

func (r *reader) readAlert(row *row) *Alert {
	a := &Alert{Number: row.id(alertID)}
	a.ID, a.UUID = engine.AlertID(a.Number), row.uuid(alertUUID)
	a.Scenario, a.ScenarioHash, a.ScenarioVersion = row.text(alertScenario), row.text(alertHash), row.text(alertVersion)
	a.Message, a.Kind, a.Leakspeed = row.text(alertMessage), row.text(alertKind), row.text(alertSpeed)
	a.Capacity, a.EventsCount = row.small(alertCapacity), row.small(alertEvents)
	a.Simulated, a.Remediation = row.flag(alertSimulated), row.flag(alertRemediation)
	a.StartAt, a.StopAt = row.stamp(alertStarted), row.stamp(alertStopped)
	a.Source = engine.Source{Scope: row.text(alertScope), Value: row.text(alertValue), IP: row.text(alertIP), Range: row.text(alertRange),
		AsName: row.text(alertASName), AsNumber: row.text(alertASNumber), Cn: row.text(alertCountry), Latitude: row.float(alertLatitude), Longitude: row.float(alertLongitude)}
	a.CreatedAt = row.moment(alertCreated)
	if a.CreatedAt == 0 {
		a.CreatedAt = r.now
		if !row.null(alertStopped) {
			a.CreatedAt = a.StopAt.At
		}
	}
	if machine := row.number(alertMachine); machine != 0 {
		name, there := r.machine[machine]
		if a.MachineID = name; !there {
			r.tally.table(alertsTable).remark(a.Number, "its machine is not there any more")
		}
	}
	return a
}

// Columns of decisions.
const (
	decisionID = iota
	decisionAlert
	decisionCreated
	decisionUntil
	decisionScenario
	decisionType
	decisionStart
	decisionEnd
	decisionStartSuffix
	decisionEndSuffix
	decisionSize
	decisionScope
	decisionValue
	decisionOrigin
	decisionSimulated
	decisionUUID
)

// decision puts a decision to its alert. One whose alert is not there, or says otherwise
// whether it is simulated, gets one of its own if it runs.
func (r *reader) decision(row *row, p *page, made *[]*Alert) {
	tally := r.tally.table(decisionsTable)
	tally.Read++
	d, owner := readDecision(row), row.number(decisionAlert)
	if row.bad != "" {
		tally.damage(d.Number, row.bad)
		if a := p.byID[owner]; a != nil {
			a.Unread = true
		} else if !p.spoiled[owner] {
			r.tally.spare(alertsTable, "") // it may have one that was made up for it
			r.tally.spare(decisionsTable, "")
		}
		return
	}
	if len(d.Scenario) > engine.LongestName {
		tally.remark(d.Number, fmt.Sprintf("its scenario is longer than %d bytes, and is cut there", engine.LongestName))
	}
	if d.Until == 0 {
		d.Until = max(d.created, 1)
		tally.remark(d.Number, "has no end, so it is over")
	}
	stored := bounds{row.number(decisionStart), row.number(decisionEnd), row.number(decisionStartSuffix), row.number(decisionEndSuffix), row.number(decisionSize)}
	row.bad = "" // the integers are a check, no more
	if what := remarkOn(d.Scope, d.Value, stored, !row.null(decisionSize)); what != "" {
		tally.remark(d.Number, what)
	}
	a := p.byID[owner]
	switch {
	case a != nil && a.Simulated == d.Simulated:
		a.Taken = append(a.Taken, d)
	case a != nil:
		tally.remark(d.Number, "is simulated and its alert is not, or the other way round: it gets an alert of its own")
		*made = append(*made, alertFor(d, a.MachineID))
	case d.Until <= r.now && p.spoiled[owner]:
		tally.leave(d.Number, "over, and its alert is left out")
	case d.Until <= r.now:
		tally.leave(d.Number, "over, and without an alert")
	default:
		tally.remark(d.Number, "runs without an alert: it gets one")
		alone := alertFor(d, "")
		alone.Spoiled = p.spoiled[owner]
		*made = append(*made, alone)
	}
}

// spareAlert notes an alert that could not be read.
func (r *reader) spareAlert(a *Alert) {
	name := ""
	if a.UUID != (engine.UUID{}) {
		name = a.UUID.String()
	}
	r.tally.spare(alertsTable, name)
}

func readDecision(row *row) Decision {
	d := Decision{Number: row.id(decisionID), UUID: row.uuid(decisionUUID), Scope: engine.CanonicalScope(row.word(decisionScope, engine.LongestName)),
		Value: row.word(decisionValue, engine.LongestValue), Type: row.word(decisionType, engine.LongestName), Origin: row.word(decisionOrigin, engine.LongestName), Scenario: row.text(decisionScenario),
		Until: row.moment(decisionUntil), Simulated: row.flag(decisionSimulated), created: row.moment(decisionCreated)}
	if d.Number == 0 {
		row.fault(decisionID, "is 0")
	}
	return d
}

// alertFor makes up an alert for a decision.
func alertFor(d Decision, machine string) *Alert {
	a := &Alert{Taken: []Decision{d}}
	a.Scenario, a.Simulated, a.Remediation, a.MachineID = d.Scenario, d.Simulated, true, machine
	a.Source = engine.Source{Scope: d.Scope, Value: d.Value}
	a.CreatedAt = max(d.created, 1)
	a.StartAt, a.StopAt = engine.Stamp{At: a.CreatedAt}, engine.Stamp{At: a.CreatedAt}
	return a
}

// Columns of events and of metadata: both begin with their number and their alert's.
const (
	kinID = iota
	kinAlert
	eventTime
	eventText
	metaKey   = eventTime
	metaValue = eventText
)

func (r *reader) event(row *row, p *page) {
	tally := r.tally.table(eventsTable)
	tally.Read++
	id, at, text := row.id(kinID), row.stamp(eventTime), row.text(eventText)
	a := r.ownerOf(row, p, tally)
	if a == nil {
		return
	}
	event := engine.Event{Timestamp: at, NoMeta: text == ""}
	if text != "" {
		var list []struct{ Key, Value string }
		if json.Unmarshal([]byte(text), &list) != nil {
			tally.remark(id, "its metadata is no JSON, and is left out")
			event.NoMeta = true
		}
		for _, m := range list {
			event.Meta = append(event.Meta, engine.Meta{Key: m.Key, Value: m.Value})
		}
	}
	if event.Bound() {
		tally.remark(id, "its metadata has texts that are longer than is kept, and are cut")
	}
	a.Events = append(a.Events, event)
}

func (r *reader) meta(row *row, p *page) {
	tally := r.tally.table(metaTable)
	tally.Read++
	id := row.id(kinID)
	if a := r.ownerOf(row, p, tally); a != nil {
		m := engine.Meta{Key: row.text(metaKey), Value: row.text(metaValue)}
		if m.Bound() {
			tally.remark(id, "is longer than is kept, and is cut")
		}
		a.Meta = append(a.Meta, m)
	}
}

// ownerOf is the alert that a row belongs to; nil: there is none, and that is counted.
func (r *reader) ownerOf(row *row, p *page, tally *TableTally) *Alert {
	id, owner := row.number(kinID), row.number(kinAlert)
	a := p.byID[owner]
	switch {
	case row.bad != "":
		tally.damage(id, row.bad)
		return nil
	case a == nil && p.spoiled[owner]:
		tally.leave(id, "its alert is left out")
	case a == nil:
		tally.leave(id, "without an alert")
	}
	return a
}

// give hands alerts to the Taker and counts what became of them and of all that is theirs.
func (r *reader) give(ctx context.Context, alerts []*Alert) error {
	if len(alerts) == 0 {
		return nil
	}
	for _, a := range alerts {
		r.bound(a)
	}
	if err := r.to.Alerts(ctx, alerts); err != nil {
		return err
	}
	of, decisions, events, meta := r.tally.table(alertsTable), r.tally.table(decisionsTable), r.tally.table(eventsTable), r.tally.table(metaTable)
	for _, a := range alerts {
		if a.Refused != "" {
			r.refused(a)
			continue
		}
		if a.Number != 0 {
			of.took()
		}
		decisions.Taken += int64(len(a.Taken))
		events.Taken += int64(len(a.Events))
		meta.Taken += int64(len(a.Meta))
		for i := range a.Taken {
			if a.Taken[i].Until > r.now {
				r.tally.running(a.Taken[i].Origin)
			}
		}
	}
	r.progress()
	return nil
}

// bound cuts an alert to what the store keeps of it, and counts what that is not.
func (r *reader) bound(a *Alert) {
	lost := a.Bound()
	tally := r.tally.table(alertsTable)
	if lost.Texts > 0 && a.Number != 0 {
		tally.remark(a.Number, "has texts that are longer than is kept, and are cut")
	}
	if lost.Values > 0 {
		tally.remark(a.Number, fmt.Sprintf("its source has an address or value that is longer than %d bytes, and is left out", engine.LongestValue))
	}
	for range lost.Events {
		r.tally.table(eventsTable).leave(a.Number, "more than is kept of one alert; the id is the alert's")
	}
	for range lost.Meta {
		r.tally.table(metaTable).leave(a.Number, "more than is kept of one alert; the id is the alert's")
	}
}

// refused counts an alert that the Taker did not take.
func (r *reader) refused(a *Alert) {
	r.spareAlert(a)
	if a.Number != 0 {
		r.tally.table(alertsTable).damage(a.Number, a.Refused)
	}
	for _, d := range a.Taken {
		r.tally.table(decisionsTable).damage(d.Number, fmt.Sprintf("its alert is left out: %s", a.Refused))
	}
	for range a.Events {
		r.tally.table(eventsTable).damage(0, "its alert is left out")
	}
	for range a.Meta {
		r.tally.table(metaTable).damage(0, "its alert is left out")
	}
}

// orphans reads what belongs to no alert at all.
func (r *reader) orphans(ctx context.Context, kin [3]*children) error {
	p := &page{}
	var made []*Alert
	for i, take := range []func(*row){func(row *row) { r.decision(row, p, &made) }, func(row *row) { r.event(row, p) }, func(row *row) { r.meta(row, p) }} {
		if err := kin[i].without(ctx, func(row *row) error { take(row); return nil }); err != nil {
			return err
		}
	}
	for len(made) > 0 {
		n := min(len(made), alertPage)
		if err := r.give(ctx, made[:n]); err != nil {
			return err
		}
		made = made[n:]
	}
	return nil
}

// children is a table whose rows belong to alerts.
type children struct {
	source *Source
	of     *relation
	owner  string // the column with the alert's number
	ranged bool   // by an index, rows of a range of alerts are found quickly

	// Without one: everything in order, from one query that goes on as long as the
	// reading. Rows that were fetched and not handed over yet wait in ahead.
	next  func(context.Context) ([][][]byte, error)
	ahead [][][]byte
	ended bool
	end   func()
}

// orderedPage is how many rows of such a query are fetched at a time.
const orderedPage = 1000

func (s *Source) children(ctx context.Context, of *relation, owner string) (*children, error) {
	c := &children{source: s, of: of, owner: owner, end: func() {}}
	var err error
	c.ranged, err = s.indexed(ctx, of.name, owner)
	return c, err
}

func (c *children) close() { c.end() }

func (c *children) query(where string) string {
	owner := c.source.quote(c.owner)
	return c.source.where("SELECT " + c.source.selection(c.of) + " FROM " + c.source.quote(c.of.name) + " WHERE " +
		strings.ReplaceAll(where, "owner", owner) + " ORDER BY " + owner + ", " + c.source.quote("id"))
}

// between hands over the rows that belong to alerts after one number up to another.
// Calls go on where the one before ended.
func (c *children) between(ctx context.Context, after, upTo int64, each func(*row) error) error {
	if c.ranged && upTo == math.MaxInt64 {
		return c.source.scan(ctx, c.of, c.query("owner > ?"), []any{after}, each) // what is no number in SQLite, too
	}
	if c.ranged {
		return c.source.scan(ctx, c.of, c.query("owner > ? AND owner <= ?"), []any{after, upTo}, each)
	}
	for {
		for len(c.ahead) > 0 {
			row := rowOf(c.of, c.ahead[0])
			if row.number(kinAlert) > upTo {
				return nil
			}
			c.ahead, row.bad = c.ahead[1:], ""
			if err := each(row); err != nil {
				return err
			}
		}
		if c.ended {
			return nil
		}
		if err := c.fetch(ctx); err != nil {
			return err
		}
	}
}

// without hands over the rows that belong to no alert.
func (c *children) without(ctx context.Context, each func(*row) error) error {
	return c.source.scan(ctx, c.of, c.query("owner IS NULL"), nil, each)
}

// fetch reads on in the one ordered query.
func (c *children) fetch(ctx context.Context) (err error) {
	if c.next == nil {
		if c.source.Place.Kind == Postgres {
			err = c.byCursor(ctx)
		} else {
			err = c.byRows(ctx)
		}
		if err != nil {
			return err
		}
	}
	c.ahead, err = c.next(ctx)
	c.ended = len(c.ahead) == 0
	return err
}

// byCursor is for PostgreSQL, where one connection answers one query at a time.
func (c *children) byCursor(ctx context.Context) error {
	name := "movein_" + c.of.name
	if _, err := c.source.conn.ExecContext(ctx, "DECLARE "+name+" CURSOR FOR "+c.query("owner IS NOT NULL")); err != nil {
		return err
	}
	c.next = func(ctx context.Context) (list [][][]byte, err error) {
		err = c.source.scan(ctx, c.of, fmt.Sprintf("FETCH %d FROM %s", orderedPage, name), nil, func(r *row) error {
			list = append(list, r.copy())
			return nil
		})
		return list, err
	}
	return nil
}

// byRows is for SQLite, where queries may be open side by side.
func (c *children) byRows(ctx context.Context) error {
	rows, err := c.source.conn.QueryContext(ctx, c.query("owner IS NOT NULL"))
	if err != nil {
		return err
	}
	c.end = func() { rows.Close() }
	r := newRow(c.of)
	to := r.targets()
	c.next = func(context.Context) (list [][][]byte, err error) {
		for len(list) < orderedPage && rows.Next() {
			if err := rows.Scan(to...); err != nil {
				return nil, err
			}
			list = append(list, r.copy())
		}
		return list, rows.Err()
	}
	return nil
}
