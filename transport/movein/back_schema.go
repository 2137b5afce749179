package movein

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Schema is the version of the server for which a database is written: it gets what that
// one knows and nothing more, for a server that meets newer columns throws them away.
type Schema struct{ major, minor, patch int }

// Newest is the newest schema that is written.
var Newest = Schema{1, 7, 8}

// oldest is the oldest.
var oldest = Schema{1, 4, 0}

// ParseSchema reads a version: 1.4 and 1.7 are the schemas of Debian's server and of the
// newest; others have three parts, as crowdsec -version says them, with or without what a
// distribution writes in front of and behind them. ErrSchema says what may stand there.
func ParseSchema(text string) (Schema, error) {
	switch text {
	case "1.4":
		return oldest, nil
	case "1.7":
		return Newest, nil
	}
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "v"), "-")
	words := strings.Split(text, ".")
	if len(words) != 3 {
		return Schema{}, ErrSchema
	}
	var n [3]int
	for i, word := range words {
		var err error
		if n[i], err = strconv.Atoi(word); err != nil || n[i] < 0 {
			return Schema{}, ErrSchema
		}
	}
	s := Schema{n[0], n[1], n[2]}
	if s.before(oldest) || !s.before(Schema{2, 0, 0}) {
		return Schema{}, ErrSchema
	}
	return s, nil
}

// ErrSchema is what ParseSchema says.
var ErrSchema = errors.New("is no version of a server that a database can be written for: write 1.4, 1.7, or what crowdsec -version says, such as 1.6.4; there is none before 1.4.0")

func (s Schema) String() string { return fmt.Sprintf("%d.%d.%d", s.major, s.minor, s.patch) }

func (s Schema) before(o Schema) bool {
	return slices.Compare([]int{s.major, s.minor, s.patch}, []int{o.major, o.minor, o.patch}) < 0
}

// span is the versions that have something: from one on, up to another that has not.
type span struct{ since, until Schema }

func (s span) in(v Schema) bool {
	return !v.before(s.since) && (s.until == Schema{} || v.before(s.until))
}

// form of a table that is written. Rows are given in the order of all columns, with those
// that a version does not have.
type table struct {
	span
	name    string
	columns []written
	primary string // of several columns; "": id
	links   []link
	indexes []index
}

// written is a column of such a table.
type written struct {
	span
	name, kind string
	required   span   // versions in which it may not be NULL
	preset     string // its default, as SQL; "": none
}

// link is a foreign key.
type link struct{ name, column, to, gone string }

// index is an index, over columns that are joined by commas.
type index struct {
	span
	name, columns string
	unique        bool
}

// Versions that changed something, and what they brought.
var (
	always = span{}
	v150   = span{since: Schema{1, 5, 0}}
	v161   = span{since: Schema{1, 6, 1}}
	v162   = span{since: Schema{1, 6, 2}}
	v163   = span{since: Schema{1, 6, 3}}
	v164   = span{since: Schema{1, 6, 4}}
	v166   = span{since: Schema{1, 6, 6}}
	v171   = span{since: Schema{1, 7, 1}}
	v177   = span{since: Schema{1, 7, 7}}
	v178   = span{since: Schema{1, 7, 8}}
	until3 = span{until: Schema{1, 6, 3}}
	never  = span{until: Schema{0, 0, 1}}
)

// has makes a column that may not be NULL, can one that may, later one that came later.
func has(name, kind string) written   { return written{name: name, kind: kind, required: always} }
func can(name, kind string) written   { return written{name: name, kind: kind, required: never} }
func (w written) or(p string) written { w.preset = p; return w }
func (w written) of(s span) written   { w.span = s; return w }
func (w written) must(s span) written { w.required = s; return w }

// rowTimes are the times of each row. Before 1.6.2 they may be missing.
func rowTimes() []written {
	return []written{can("created_at", "datetime").must(v162), can("updated_at", "datetime").must(v162)}
}

// numbered begins a table whose rows have a number and times.
func numbered(columns ...written) []written {
	return slices.Concat([]written{has("id", "integer")}, rowTimes(), columns)
}

// The integers beside a value.
func boundColumns() []written {
	return []written{can("start_ip", "integer"), can("end_ip", "integer"), can("start_suffix", "integer"), can("end_suffix", "integer"), can("ip_size", "integer")}
}

// The tables, as a server makes them. The order of columns and the names of indexes and of
// foreign keys are part of what a server compares with its own at a start.
var (
	machinesMade = &table{name: "machines", columns: numbered(can("last_push", "datetime"), can("last_heartbeat", "datetime"), has("machine_id", "text"),
		has("password", "text"), has("ip_address", "text"), can("scenarios", "text"), can("version", "text"), has("is_validated", "bool").or("false"),
		can("status", "text").of(until3), has("auth_type", "text").or("'password'"), can("osname", "text").of(v163), can("osfamily", "text").of(v171),
		can("osversion", "text").of(v163), can("featureflags", "text").of(v163), can("hubstate", "json").of(v163), can("datasources", "json").of(v163)),
		indexes: []index{{name: "machines_machine_id_key", columns: "machine_id", unique: true},
			{v178, "machine_last_heartbeat_created_at", "last_heartbeat,created_at", false}, {v178, "machine_is_validated", "is_validated", false}}}

	bouncersMade = &table{name: "bouncers", columns: numbered(has("name", "text"), has("api_key", "text"), has("revoked", "bool"),
		can("ip_address", "text").or("''"), can("type", "text"), can("version", "text"), can("until", "datetime").of(until3), can("last_pull", "datetime").must(until3),
		has("auth_type", "text").or("'api-key'"), can("osname", "text").of(v163), can("osfamily", "text").of(v171), can("osversion", "text").of(v163),
		can("featureflags", "text").of(v163), has("auto_created", "bool").or("false").of(v164)),
		indexes: []index{{name: "bouncers_name_key", columns: "name", unique: true}, {v178, "bouncer_api_key_auth_type", "api_key,auth_type", false},
			{v178, "bouncer_api_key_ip_address", "api_key,ip_address", false}, {v178, "bouncer_last_pull_created_at", "last_pull,created_at", false}}}

	alertsMade = &table{name: "alerts", columns: numbered(has("scenario", "text"), can("bucket_id", "text").or("''"), can("message", "text").or("''"),
		can("events_count", "integer").or("0"), can("started_at", "datetime"), can("stopped_at", "datetime"), can("source_ip", "text"), can("source_range", "text"),
		can("source_as_number", "text"), can("source_as_name", "text"), can("source_country", "text"), can("source_latitude", "real"), can("source_longitude", "real"),
		can("source_scope", "text"), can("source_value", "text"), can("capacity", "integer"), can("leak_speed", "text"), can("scenario_version", "text"),
		can("scenario_hash", "text"), has("simulated", "bool").or("false"), can("uuid", "text").of(v150), can("remediation", "bool").of(v163),
		can("kind", "text").of(v177), can("machine_alerts", "integer")),
		links:   []link{{"alerts_machines_alerts", "machine_alerts", "machines", "SET NULL"}},
		indexes: []index{{name: "alert_id", columns: "id"}, {v178, "alert_uuid", "uuid", false}, {v178, "alert_scenario", "scenario", false}}}

	decisionsMade = &table{name: "decisions", columns: numbered(slices.Concat([]written{can("until", "datetime"), has("scenario", "text"), has("type", "text")},
		boundColumns(), []written{has("scope", "text"), has("value", "text"), has("origin", "text"), has("simulated", "bool").or("false"),
			can("uuid", "text").of(v150), can("alert_decisions", "integer")})...),
		links: []link{{"decisions_alerts_decisions", "alert_decisions", "alerts", "CASCADE"}},
		indexes: []index{{name: "decision_start_ip_end_ip", columns: "start_ip,end_ip"}, {name: "decision_value", columns: "value"},
			{name: "decision_until", columns: "until"}, {v150, "decision_alert_decisions", "alert_decisions", false}}}

	eventsMade = &table{name: "events", columns: numbered(has("time", "datetime"), has("serialized", "text"), can("alert_events", "integer")),
		links:   []link{{"events_alerts_events", "alert_events", "alerts", "CASCADE"}},
		indexes: []index{{v150, "event_alert_events", "alert_events", false}}}

	metaMade = &table{name: "meta", columns: numbered(has("key", "text"), has("value", "text"), can("alert_metas", "integer")),
		links:   []link{{"meta_alerts_metas", "alert_metas", "alerts", "CASCADE"}},
		indexes: []index{{v150, "meta_alert_metas", "alert_metas", false}}}

	listsMade = &table{span: v166, name: "allow_lists", columns: numbered(has("name", "text"), has("from_console", "bool"), can("description", "text"), can("allowlist_id", "text")),
		indexes: []index{{name: "allowlist_id", columns: "id", unique: true}, {name: "allowlist_name", columns: "name", unique: true},
			{v178, "allowlist_allowlist_id", "allowlist_id", false}}}

	itemsMade = &table{span: v166, name: "allow_list_items", columns: numbered(slices.Concat([]written{can("expires_at", "datetime"), can("comment", "text"), has("value", "text")}, boundColumns())...),
		indexes: []index{{name: "allowlistitem_id", columns: "id"}, {name: "allowlistitem_start_ip_end_ip", columns: "start_ip,end_ip"},
			{v178, "allowlistitem_expires_at", "expires_at", false}}}

	joinMade = &table{span: v166, name: "allow_list_allowlist_items", columns: []written{has("allow_list_id", "integer"), has("allow_list_item_id", "integer")},
		primary: "allow_list_id,allow_list_item_id",
		links: []link{{"allow_list_allowlist_items_allow_list_id", "allow_list_id", "allow_lists", "CASCADE"},
			{"allow_list_allowlist_items_allow_list_item_id", "allow_list_item_id", "allow_list_items", "CASCADE"}}}

	metricsMade = &table{span: v163, name: "metrics", columns: []written{has("id", "integer"), has("generated_type", "text"), has("generated_by", "text"),
		has("received_at", "datetime"), can("pushed_at", "datetime"), has("payload", "text")}}

	configMade = &table{span: v150, name: "config_items", columns: numbered(has("name", "text"), has("value", "text")),
		indexes: []index{{name: "config_items_name_key", columns: "name", unique: true}}}

	locksMade = &table{span: v161, name: "locks", columns: []written{has("id", "integer"), has("name", "text"), has("created_at", "datetime")},
		indexes: []index{{name: "locks_name_key", columns: "name", unique: true}}}
)

// tablesMade are all of them, each behind those that it points to.
var tablesMade = []*table{machinesMade, bouncersMade, listsMade, itemsMade, joinMade, alertsMade, decisionsMade, eventsMade, metaMade, metricsMade, configMade, locksMade}

// statement makes the table.
func (t *table) statement(v Schema) string {
	var parts []string
	for _, c := range t.columns {
		if !c.in(v) {
			continue
		}
		text := marked(c.name) + " " + c.kind + " NULL"
		if c.required.in(v) {
			text = marked(c.name) + " " + c.kind + " NOT NULL"
		}
		if c.name == "id" {
			text += " PRIMARY KEY AUTOINCREMENT"
		}
		if c.preset != "" {
			text += " DEFAULT " + c.preset
		}
		parts = append(parts, text)
	}
	if t.primary != "" {
		parts = append(parts, "PRIMARY KEY ("+markedAll(t.primary)+")")
	}
	for _, l := range t.links {
		parts = append(parts, fmt.Sprintf("CONSTRAINT %s FOREIGN KEY (%s) REFERENCES %s (%s) ON DELETE %s", marked(l.name), marked(l.column), marked(l.to), marked("id"), l.gone))
	}
	return "CREATE TABLE " + marked(t.name) + " (" + strings.Join(parts, ", ") + ")"
}

// statement makes the index of a table.
func (i *index) statement(t *table) string {
	word := "INDEX"
	if i.unique {
		word = "UNIQUE INDEX"
	}
	return fmt.Sprintf("CREATE %s %s ON %s (%s)", word, marked(i.name), marked(t.name), markedAll(i.columns))
}

func marked(name string) string { return "`" + name + "`" }

func markedAll(names string) string {
	return marked(strings.ReplaceAll(names, ",", "`, `"))
}

// NewestKnown is the Version of a Source that has everything that is read, which is older
// than Newest: what came since changed indexes alone.
func NewestKnown() string { return firsts[0].version }
