package movein

// form is what a column holds, as far as it is read in another way.
type form uint8

const (
	plain  form = iota
	moment      // a time, which is read as text
)

// column is one column as it is read.
type column struct {
	name string
	form form
	must bool // without it, the table is not the one that is meant
}

// relation is one table as it is read. Rows are read in the order of its columns here.
type relation struct {
	name    string
	columns []column
	core    bool // every version has it
}

func must(name string) column { return column{name: name, must: true} }
func may(name string) column  { return column{name: name} }
func when(name string) column { return column{name: name, form: moment} }

// The tables. The positions of columns are the constants beside the functions that read
// them.
var (
	machinesTable = &relation{name: "machines", core: true, columns: []column{must("id"), when("created_at"), when("updated_at"), when("last_push"),
		when("last_heartbeat"), must("machine_id"), must("password"), may("ip_address"), may("scenarios"), may("version"), may("is_validated"),
		may("auth_type"), may("osname"), may("osfamily"), may("osversion"), may("featureflags"), may("hubstate"), may("datasources")}}
	bouncersTable = &relation{name: "bouncers", core: true, columns: []column{must("id"), when("created_at"), when("updated_at"), must("name"), must("api_key"),
		may("revoked"), may("ip_address"), may("type"), may("version"), when("last_pull"), may("auth_type"), may("osname"), may("osfamily"),
		may("osversion"), may("featureflags"), may("auto_created")}}
	alertsTable = &relation{name: "alerts", core: true, columns: []column{must("id"), when("created_at"), must("scenario"), may("message"), may("events_count"),
		when("started_at"), when("stopped_at"), may("source_ip"), may("source_range"), may("source_as_number"), may("source_as_name"),
		may("source_country"), may("source_latitude"), may("source_longitude"), may("source_scope"), may("source_value"), may("capacity"),
		may("leak_speed"), may("scenario_version"), may("scenario_hash"), may("simulated"), may("uuid"), may("remediation"), may("kind"),
		may("machine_alerts")}}
	decisionsTable = &relation{name: "decisions", core: true, columns: []column{must("id"), may("alert_decisions"), when("created_at"), when("until"),
		must("scenario"), must("type"), may("start_ip"), may("end_ip"), may("start_suffix"), may("end_suffix"), may("ip_size"), must("scope"),
		must("value"), must("origin"), may("simulated"), may("uuid")}}
	eventsTable = &relation{name: "events", core: true, columns: []column{must("id"), may("alert_events"), when("time"), must("serialized")}}
	metaTable   = &relation{name: "meta", core: true, columns: []column{must("id"), may("alert_metas"), must("key"), must("value")}}
	listsTable  = &relation{name: "allow_lists", columns: []column{must("id"), when("created_at"), when("updated_at"), must("name"), may("from_console"),
		may("description"), may("allowlist_id")}}
	itemsTable = &relation{name: "allow_list_items", columns: []column{must("id"), when("created_at"), when("expires_at"), may("comment"), must("value"),
		may("start_ip"), may("end_ip"), may("start_suffix"), may("end_suffix"), may("ip_size")}}
	joinTable    = &relation{name: "allow_list_allowlist_items", columns: []column{must("allow_list_id"), must("allow_list_item_id")}}
	configTable  = &relation{name: "config_items", columns: []column{must("id"), must("name"), must("value")}}
	locksTable   = &relation{name: "locks", columns: []column{must("id"), must("name")}}
	metricsTable = &relation{name: "metrics", columns: []column{must("id"), must("generated_type"), must("generated_by"), when("received_at"), when("pushed_at"), must("payload")}}
)

// relations are all tables, in the order in which the tally shows them.
var relations = []*relation{machinesTable, bouncersTable, listsTable, itemsTable, joinTable, alertsTable, decisionsTable, eventsTable, metaTable, metricsTable,
	configTable, locksTable}

// firsts are what first came with a version, newest first: there is no number of a
// version in a database.
var firsts = []struct{ version, table, column string }{
	{"1.7.7", "alerts", "kind"}, {"1.7.1", "machines", "osfamily"}, {"1.6.6", "allow_lists", "name"}, {"1.6.4", "bouncers", "auto_created"},
	{"1.6.3", "alerts", "remediation"}, {"1.6.1", "locks", "name"}, {"1.5.0", "alerts", "uuid"}, {"1.4.0", "bouncers", "auth_type"},
	{"1.3.0", "machines", "last_push"}, {"1.0.3", "decisions", "ip_size"},
}
