package movein

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"lapid/engine"
)

// filling writes what one view of an engine shows.
type filling struct {
	*Back
	engine   *engine.Engine
	view     *engine.View
	central  Central
	progress func(done, all int64)
	machine  map[string]int64 // the number of each machine's row
	done     int64
	all      int64
}

// count asks the store how much there is.
func (f *filling) count(context.Context) error {
	alerts, decisions := f.view.Counts()
	f.all = int64(alerts + decisions)
	machines, _ := f.view.MachineCount()
	lists := f.view.Allowlists()
	items := 0
	for _, l := range lists {
		items += len(l.Items)
	}
	for t, n := range map[*table]int{machinesMade: machines, bouncersMade: f.view.BouncerCount(), listsMade: len(lists), itemsMade: items, joinMade: items,
		alertsMade: alerts, decisionsMade: decisions, configMade: len(f.central.Items)} {
		f.made[t].tally.Rows = int64(n)
	}
	alert, decision := f.view.NextIDs()
	f.Tally.Counters = Counters{Alert: int64(alert) - 1, Decision: int64(decision) - 1}
	return nil
}

func (f *filling) machines(ctx context.Context) error {
	rows := f.made[machinesMade]
	for _, m := range f.view.Machines() {
		id := rows.next()
		f.machine[m.ID] = id
		hub, err := hubOf(m.HubItems)
		if err != nil {
			return err
		}
		sources, err := sourcesOf(m.DataSources)
		if err != nil {
			return err
		}
		password := string(m.PasswordHash)
		if m.AuthType == engine.AuthTLS {
			password = nobodysPassword()
		}
		if err := rows.put(ctx, id, id, moment64(m.CreatedAt), moment64(m.UpdatedAt), moment64(m.LastPush), moment64(m.LastHeartbeat), m.ID, password, m.IP,
			orNull(m.Scenarios), orNull(m.Version), m.Validated, nil, string(m.AuthType), orNull(m.OS.Name), orNull(m.OS.Family), orNull(m.OS.Version),
			orNull(strings.Join(m.FeatureFlags, ",")), hub, sources); err != nil {
			return err
		}
	}
	return nil
}

// hubOf writes the state of hub items; nothing where there is none.
func hubOf(items map[string][]engine.HubItem) (any, error) {
	if len(items) == 0 {
		return nil, nil
	}
	type item struct {
		Name    string `json:"name"`
		Status  string `json:"status"`
		Version string `json:"version"`
	}
	kinds := make(map[string][]item, len(items))
	for kind, list := range items {
		kinds[kind] = []item{}
		for _, i := range list {
			kinds[kind] = append(kinds[kind], item{i.Name, i.Status, i.Version})
		}
	}
	return json.Marshal(kinds)
}

func sourcesOf(counts []engine.Count) (any, error) {
	if len(counts) == 0 {
		return nil, nil
	}
	sources := make(map[string]int64, len(counts))
	for _, c := range counts {
		sources[c.Name] += c.N
	}
	return json.Marshal(sources)
}

// nobodysPassword has the form of a hash, and no password is known for it: the machines
// that get it log in by a certificate.
func nobodysPassword() string {
	const letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	var b [53]byte
	_, _ = rand.Read(b[:])
	for i := range b {
		b[i] = letters[b[i]&63]
	}
	return "$2a$10$" + string(b[:])
}

func (f *filling) bouncers(ctx context.Context) error {
	rows := f.made[bouncersMade]
	for _, row := range f.view.Bouncers() {
		b, id := row.Load(), rows.next()
		hash := f.view.CurrentKey(b.KeyHash)
		if b.AuthType == engine.AuthTLS {
			_, _ = rand.Read(hash[:])
		} else if !b.AutoCreated && len(f.view.KeysOf(b.KeyHash, f.now)) > 1 {
			add(&rows.tally.Remarks, id, "has an older key that is still good here: there only its newest one is", false)
			f.Tally.OlderKeys = append(f.Tally.OlderKeys, b.Name)
		}
		pulled, address := moment64(row.LastPull()), ""
		if pulled == nil && bouncersMade.requires("last_pull", f.schema) {
			pulled = moment64(b.CreatedAt)
		}
		if b.IP.IsValid() {
			address = b.IP.String()
		}
		if b.Shared {
			add(&rows.tally.Remarks, id, "is shared by all addresses that come with its key: there each new one gets a row of its own", false)
		}
		if err := rows.put(ctx, id, id, moment64(b.CreatedAt), moment64(b.UpdatedAt), b.Name, hex.EncodeToString(hash[:]), false, address, orNull(b.Type),
			orNull(b.Version), moment64(b.CreatedAt), pulled, string(b.AuthType), orNull(b.OS.Name), orNull(b.OS.Family), orNull(b.OS.Version),
			orNull(strings.Join(b.FeatureFlags, ",")), b.AutoCreated); err != nil {
			return err
		}
	}
	return nil
}

// requires tells whether a column may not be NULL in a version.
func (t *table) requires(column string, v Schema) bool {
	i := slices.IndexFunc(t.columns, func(c written) bool { return c.name == column })
	return t.columns[i].required.in(v)
}

func (f *filling) allowlists(ctx context.Context) error {
	lists, items, joins := f.made[listsMade], f.made[itemsMade], f.made[joinMade]
	for _, l := range f.view.Allowlists() {
		list := lists.next()
		if err := lists.put(ctx, list, list, moment64(l.CreatedAt), moment64(l.UpdatedAt), l.Name, l.FromConsole, l.Description, l.ConsoleID); err != nil {
			return err
		}
		for i := range l.Items {
			item, id := &l.Items[i], items.next()
			b := boundsOf(item.Prefix)
			if err := items.put(ctx, id, id, moment64(item.CreatedAt), moment64(item.CreatedAt), moment64(item.ExpiresAt), item.Comment, item.Value,
				b.start, b.end, b.startSuffix, b.endSuffix, b.size); err != nil {
				return err
			}
			if err := joins.put(ctx, id, list, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// alerts writes them in the order of their numbers, each with all that is its own.
func (f *filling) alerts(ctx context.Context) error {
	var failed error
	err := f.engine.Alerts(ctx, f.view, &engine.AlertQuery{Now: f.engine.Now(), Ascending: true}, func(a *engine.Alert, decisions []engine.Decision) bool {
		failed = f.alert(ctx, a, decisions)
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

func (f *filling) alert(ctx context.Context, a *engine.Alert, decisions []engine.Decision) error {
	id, created := int64(a.ID), moment64(a.CreatedAt)
	var machine any
	if n, ok := f.machine[a.MachineID]; ok && a.MachineID != "" {
		machine = n
	}
	s := &a.Source
	if err := f.made[alertsMade].put(ctx, id, id, created, created, a.Scenario, "", a.Message, int64(a.EventsCount), stamped(a.StartAt), stamped(a.StopAt), s.IP, s.Range,
		s.AsNumber, s.AsName, s.Cn, float64(s.Latitude), float64(s.Longitude), s.Scope, s.Value, int64(a.Capacity), a.Leakspeed, a.ScenarioVersion,
		a.ScenarioHash, a.Simulated, uuidText(a.UUID), a.Remediation, a.Kind, machine); err != nil {
		return err
	}
	for i := range a.Events {
		serialized, err := serializedOf(&a.Events[i])
		if err != nil {
			return err
		}
		n := f.made[eventsMade].next()
		f.made[eventsMade].tally.Rows++
		if err := f.made[eventsMade].put(ctx, n, n, created, created, timeText(a.Events[i].Timestamp), serialized, id); err != nil {
			return err
		}
	}
	for _, m := range a.Meta {
		n := f.made[metaMade].next()
		f.made[metaMade].tally.Rows++
		if err := f.made[metaMade].put(ctx, n, n, created, created, m.Key, m.Value, id); err != nil {
			return err
		}
	}
	for i := range decisions {
		if err := f.decision(ctx, &decisions[i], id, created); err != nil {
			return err
		}
	}
	f.step(1 + int64(len(decisions)))
	return nil
}

func (f *filling) decision(ctx context.Context, d *engine.Decision, alert int64, created any) error {
	var b bounds
	id, scope := int64(d.ID()), d.Scope().S
	rows := f.made[decisionsMade]
	if engine.HoldsAddress(scope) {
		if target := d.Target(); target.IsValid() {
			b = boundsOf(target)
		} else {
			add(&rows.tally.Remarks, id, "the value is no address, so it never matches", false)
		}
	}
	until := moment64(d.Until())
	if d.Until() > lastMoment {
		add(&rows.tally.Remarks, id, "ends after the year 9999, and is written to end with it", false)
	}
	return rows.put(ctx, id, id, created, created, until, d.Scenario().S, d.Type().S, b.start, b.end, b.startSuffix, b.endSuffix, b.size, scope, d.Value(),
		d.Origin().S, d.Simulated(), uuidText(d.UUID()), alert)
}

func (f *filling) step(n int64) {
	const now = 1000
	before := f.done / now
	if f.done += n; f.progress != nil && (f.done/now != before || f.done == f.all) {
		f.progress(f.done, f.all)
	}
}

// serializedOf is the metadata of an event as it stands in a row; "" is what was dropped.
func serializedOf(e *engine.Event) (string, error) {
	if e.NoMeta {
		return "", nil
	}
	type pair struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	list := make([]pair, len(e.Meta))
	for i, m := range e.Meta {
		list[i] = pair(m)
	}
	text, err := json.Marshal(list)
	return string(text), err
}

// usage writes the reports of usage metrics, oldest first.
func (f *filling) usage(ctx context.Context) error {
	rows := f.made[metricsMade]
	for _, kind := range []engine.UsageKind{engine.UsageMachine, engine.UsageBouncer} {
		for u, err := range f.engine.Usage(ctx, kind, "") {
			if err != nil {
				return err
			}
			word, payload := "LP", `{"metrics":`+string(u.Payload)
			if kind == engine.UsageBouncer {
				word, payload = "RC", payload+`,"type":`+f.softwareOf(u)
			}
			var pushed any
			if u.ReceivedAt <= f.central.UsagePushed {
				pushed = moment64(f.central.UsagePushed)
			}
			id := rows.next()
			rows.tally.Rows++
			if err := rows.put(ctx, id, id, word, u.Name, moment64(u.ReceivedAt), pushed, payload+"}"); err != nil {
				return err
			}
		}
	}
	return nil
}

// softwareOf is the type of a bouncer in JSON, as it said or as its row has it.
func (f *filling) softwareOf(u *engine.Usage) string {
	kind := u.Type
	if row := f.view.Bouncer(u.Name); kind == "" && row != nil {
		kind = row.Load().Type
	}
	text, _ := json.Marshal(kind) // a string has no error
	return string(text)
}

// items writes the state of the connection to the Central API.
func (f *filling) items(ctx context.Context) error {
	rows := f.made[configMade]
	names := make([]string, 0, len(f.central.Items))
	for name := range f.central.Items {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		id := rows.next()
		if err := rows.put(ctx, id, id, moment64(f.now), moment64(f.now), name, f.central.Items[name]); err != nil {
			return err
		}
	}
	return nil
}

// lastMoment is the last that has a year of four digits.
var lastMoment = engine.StampOf(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)).At

// moment64 is a moment as it stands in a row, in UTC, where times are compared as texts;
// nothing for 0.
func moment64(at int64) any {
	if at == 0 {
		return nil
	}
	return timeText(engine.Stamp{At: min(at, lastMoment)})
}

// stamped is a time with its zone; nothing for one that was not there.
func stamped(s engine.Stamp) any {
	if s == engine.StampOf(time.Time{}) {
		return nil
	}
	return timeText(s)
}

func timeText(s engine.Stamp) string { return s.Time().Format("2006-01-02 15:04:05.999999999-07:00") }

func uuidText(u engine.UUID) any {
	if u == (engine.UUID{}) {
		return nil
	}
	return u.String()
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
