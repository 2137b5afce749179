package transport

import (
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/conn"
	"lapid/transport/export"
	"lapid/transport/visible"
)

// desc names a family.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// The families that dashboards and the operator's tools read: names and labels
// are the contract's (metrics.md section 2).
var (
	routeRequests    = desc("cs_lapi_route_requests_total", "Requests by route.", "route", "method")
	machineRequests  = desc("cs_lapi_machine_requests_total", "Requests of machines by route.", "machine", "route", "method")
	bouncerRequests  = desc("cs_lapi_bouncer_requests_total", "Requests of bouncers by route.", "bouncer", "route", "method")
	decisionsOK      = desc("cs_lapi_decisions_ok_total", "Live queries that found a decision.", "bouncer")
	decisionsKO      = desc("cs_lapi_decisions_ko_total", "Live queries that found none.", "bouncer")
	requestDuration  = desc("cs_lapi_request_duration_seconds", "Time to answer.", "endpoint", "method")
	activeDecisions  = desc("cs_active_decisions", "Running decisions.", "reason", "origin", "action")
	storedAlerts     = desc("cs_alerts", "Stored alerts.", "reason")
	machineHeartbeat = desc("cs_machines_last_heartbeat_timestamp", "When a machine was heard of, in Unix seconds.", "machine")
	info             = desc("cs_info", "Version of the server.", "version")
	papiInvalid      = desc("cs_papi_invalid_orders_received_total", "Orders that made no sense.")
	papiErrors       = desc("cs_papi_poll_errors_total", "Polls for orders that failed.")
	papiLastPull     = desc("cs_papi_last_pull_timestamp", "When orders were last asked for, in Unix seconds.")
)

// Our own families.
var (
	requestSeconds  = desc("lapid_request_seconds", "Time to answer, in fine steps.", "endpoint", "method")
	heldDecisions   = desc("lapid_decisions", "Running decisions, simulated ones too.", "scope", "origin")
	storedDecisions = desc("lapid_decisions_stored", "Decisions in memory, running or not.")
	revision        = desc("lapid_revision", "The newest commit.")
	relayAgeSeconds = desc("lapid_relay_age_seconds", "At a relay: how old what it knows may be; missing at other servers, and before it has heard from a node.")
	commits         = desc("lapid_commits_total", "Commits since the start.")
	proposals       = desc("lapid_writes_total", "Writes asked for since the start.")
	refusedWrites   = desc("lapid_writes_refused_total", "Writes refused because the queue was full.")
	queuedWrites    = desc("lapid_writes_queued", "Writes that wait for their commit.")
	history         = desc("lapid_history_events", "Changes kept for bouncers that lag behind.")
	graves          = desc("lapid_graves", "Records that are over and not yet forgotten.")
	snapshots       = desc("lapid_snapshots_total", "Snapshots written since the start.")
	snapshotSeconds = desc("lapid_snapshot_seconds", "How long the last snapshot took.")
	snapshotAt      = desc("lapid_snapshot_revision", "The commit of the last snapshot.")
	snapshotFailed  = desc("lapid_snapshot_failures_total", "Snapshots that could not be written: the journal is kept and grows.")
	snapshotWritten = desc("lapid_snapshot_timestamp_seconds", "When the last snapshot was written, in Unix seconds; missing before the first since the start.")
	snapshotBehind  = desc("lapid_snapshot_behind_bytes", "Journal since the last snapshot, which a start would replay.")
	boundedThings   = desc("lapid_bounded_total", "What was cut, dropped or left out because it was beyond a bound.", "what")
	journalSync     = desc("lapid_journal_sync_seconds", "Time to make a commit durable.")
	journalBytes    = desc("lapid_journal_bytes_total", "Bytes of commits written.")
	diskBytes       = desc("lapid_disk_bytes", "Size of the store.")
	diskFailed      = desc("lapid_disk_failed", "1 while the disk refuses writes.")
	readyNow        = desc("lapid_ready", "1 while /ready says 200.")
	troubleNow      = desc("lapid_trouble", "1 while /ready names a reason of this kind.", "kind")
	centralTurns    = desc("lapid_capi_turns_total", "Turns of a job with the Central API (pull, signals, metrics, usage) since the start, by how they ended: well or failed.", "job", "result")
	centralFailing  = desc("lapid_capi_failing", "1 while the last turn of a job with the Central API failed.", "job")
	centralLastWell = desc("lapid_capi_last_success_timestamp_seconds", "When a job with the Central API last went well, in Unix seconds; missing before the first since the start.", "job")
	centralLists    = desc("lapid_capi_lists", "Lists of the Central API that are not as they should be: held back because they are empty or shrunken, or failing.", "state")
	centralSignals  = desc("lapid_capi_signals_total", "Signals since the start: sent, or refused by the Central API and left out.", "result")
	centralWaiting  = desc("lapid_capi_commits_waiting", "Commits whose signals, if they are any, are still to be sent: 0 when the last turn went well.")
	centralGaps     = desc("lapid_capi_signal_gaps_total", "How often signals were lost, because the history was not kept back to the last one sent.")
	centralEnrolled = desc("lapid_capi_enrolled", "1 while the token of the Central API says that this server is enrolled in a console.")
	answers         = desc("lapid_responses_total", "Answers by status, those to requests that could not be read too.", "code")
	notLetIn        = desc("lapid_denied_total", "Callers who were not let in, by why: keys, tokens, passwords, certificates, handshakes, registrations.", "reason")
	connections     = desc("lapid_connections", "Open connections.")
	heldPolls       = desc("lapid_held_polls", "Polls that are put off until something changes for them.")
	eventStreams    = desc("lapid_event_streams", "Open event streams.")
	eventsSent      = desc("lapid_events_total", "Events sent since the start, parts of a full state each by itself.")
	eventBytes      = desc("lapid_event_bytes_total", "Bytes of event streams since the start, without what carries them.")
	eventCuts       = desc("lapid_event_streams_cut_total", "Event streams that were cut off since the start because their reader took nothing for too long.")
	accessLines     = desc("lapid_access_log_lines_total", "Lines about requests since the start: written, or lost because their log did not take them in time.", "result")
	viewLists       = desc("lapid_view_lists", "Lists of what bouncers with --max-entries hold, each for all that have the same view and ask the same.")
	viewEntries     = desc("lapid_view_entries", "Entries of these lists, all together.")
	viewBytes       = desc("lapid_view_bytes", "Memory of these lists, estimated.")
	viewScans       = desc("lapid_view_scans_total", "Looks at all decisions since the start: to make such a list, or to refill one from which many have gone.", "why")
	viewsDropped    = desc("lapid_view_lists_dropped_total", "Such lists that made room for others since the start; who asks again has them made again.")
	bodyBytes       = desc("lapid_request_body_bytes", "Memory taken by large request bodies.")
	noRoom          = desc("lapid_refused_total", "Requests and connections for which there was no room.", "reason")
	bouncers        = desc("lapid_bouncers", "Rows of bouncers, those that keys made from new addresses too, by how they stand: current, behind (a change older than a minute is not acknowledged), silent (for five minutes), never (they have not come yet).", "state")
	bouncersEvicted = desc("lapid_bouncers_evicted_total", "Rows of bouncers that made room for others of their key since the start.")
	bookmarkLag     = desc("lapid_bookmark_lag_revisions", "How far a reader of the history is behind.", "bookmark")
	bookmarksLost   = desc("lapid_bookmarks_left_behind_total", "Readers of the history that fell behind what is kept for them, since the start.")
	auditRows       = desc("lapid_audit_rows", "Stored rows of the audit, by series: deeds, told one by one, and what is counted by the minute.", "series")
	auditLag        = desc("lapid_audit_lag_revisions", "How far the audit is behind the history.")
	auditBytes      = desc("lapid_audit_bytes", "Size of the stored rows, before they are compressed.")
	auditDropped    = desc("lapid_audit_dropped_total", "Rows about logins and refused callers that were dropped since the start, because the store took none for too long.")
	backupLast      = desc("lapid_backup_last_success_timestamp_seconds", "When the newest backup was made that is made by itself, in Unix seconds; missing before the first.")
	backupFailures  = desc("lapid_backup_failures_total", "Such backups that failed since the start.")
	backupSeconds   = desc("lapid_backup_duration_seconds", "How long the last of them took, since the start.")
	backupBytes     = desc("lapid_backup_bytes", "Size of the last of them, since the start.")
	machines        = desc("lapid_machines", "Machines by whether they are validated.", "validated")
	toldTotal       = desc("lapid_notifications_delivered_total", "Messages that a receiver took, since the start.", "notification")
	toldFailed      = desc("lapid_notifications_failed_total", "Attempts to send a message that failed, since the start.", "notification")
	toldRetried     = desc("lapid_notifications_retried_total", "Attempts to send what had failed before, since the start.", "notification")
	toldDropped     = desc("lapid_notifications_dropped_total", "Alerts of which nobody is told any more, by why, since the start.", "notification", "reason")
	toldSkipped     = desc("lapid_notifications_skipped_revisions_total", "Commits that were forgotten before they were looked at, since the start.", "notification")
	toldWaiting     = desc("lapid_notifications_waiting", "Alerts that wait to be told of, at most 1000; lapid_bookmark_lag_revisions tells of more.", "notification")
	alertsTotal     = desc("lapid_alerts_total", "Alerts stored since the start, lists of the Central API left out; the first 100 scenarios, all others as other.", "scenario")
	decisionsAdded  = desc("lapid_decisions_added_total", "Decisions stored since the start, simulated ones too; the first 100 origins, all others as other.", "origin")
	decisionsEnded  = desc("lapid_decisions_ended_total", "Decisions that ended since the start, by why: expiry, operator, console, machine, allowlist, retention, replaced, other.", "reason")
	machineAlerts   = desc("lapid_machine_alerts_total", "Alerts of a machine stored since the start.", "machine")
	machinePush     = desc("lapid_machine_last_push_timestamp_seconds", "When a machine last reported alerts that were stored, in Unix seconds; missing before the first.", "machine")
	exportPulls     = desc("lapid_export_pulls_total", "Pulls of exports since the start: served, unchanged (304), or refused for whatever reason.", "export", "result")
	exportBytes     = desc("lapid_export_bytes_total", "Bytes of the lists that were served since the start.", "export")
	exportWritten   = desc("lapid_export_renderings_total", "Lists of an export, and parts of them, that were written since the start: all who pull the same of one moment share it.", "export")
	exportEntries   = desc("lapid_export_entries", "Entries of the list that was last pulled.", "export")
	exportOmitted   = desc("lapid_export_omitted", "Entries that this list lacks: beyond its limit, or what its format cannot say.", "export")
	exportHeld      = desc("lapid_export_held", "1 while a list is held back because it lost more than half without a reason.", "export")
	exportLastPull  = desc("lapid_export_last_pull_timestamp_seconds", "When an export was last pulled; not there before the first pull.", "export")
	toldOldest      = desc("lapid_notifications_oldest_waiting_seconds", "How old the oldest of them is; 0 when none waits.", "notification")
)

// collector reads the counters when somebody scrapes them.
type collectorOf struct{ s *Server }

// Describe says nothing: which series there are depends on who came.
func (collectorOf) Describe(chan<- *prometheus.Desc) {}

// Collect sends everything that the level admits.
func (c collectorOf) Collect(out chan<- prometheus.Metric) {
	m := measure{out}
	m.gauge(info, 0, c.s.options.Version)
	c.orders(m)
	c.condition(m)
	c.relayAge(m)
	c.backups(m)
	c.surroundings(m)
	c.central(m)
	c.cluster(m)
	c.routes(m)
	c.answers(m)
	if c.s.options.MetricsLevel == "full" {
		view := c.s.engine.View()
		c.s.counting.prune(view)
		c.visitors(m)
		c.people(m, view)
		c.state(m)
		c.told(m)
		c.exports(m, view)
	}
}

// exports sends how devices pull their lists, of which there are engine.MostExports at most.
func (c collectorOf) exports(m measure, v *engine.View) {
	c.s.exports.Each(v, func(p *export.Pulls) {
		m.counter(exportPulls, float64(p.Served.Load()), p.Name(), "served")
		m.counter(exportPulls, float64(p.Unchanged.Load()), p.Name(), "unchanged")
		m.counter(exportPulls, float64(p.Turned.Load()), p.Name(), "refused")
		m.counter(exportBytes, float64(p.Bytes.Load()), p.Name())
		m.counter(exportWritten, float64(p.Written.Load()), p.Name())
		m.gauge(exportEntries, float64(p.Count.Load()), p.Name())
		m.gauge(exportOmitted, float64(p.Omitted.Load()), p.Name())
		m.gauge(exportHeld, number(p.Held.Load()), p.Name())
		if at := p.LastPull.Load(); at != 0 {
			m.gauge(exportLastPull, float64(at/int64(time.Second)), p.Name())
		}
	})
}

// Backups is what is counted of backups that are made by themselves.
type Backups struct {
	LastSuccess int64 // Unix seconds; 0: never
	Failures    uint64
	Seconds     float64 // the last one took
	Bytes       int64   // and has
}

// backups sends how backups fare, where there are such.
func (c collectorOf) backups(m measure) {
	if c.s.options.Backups == nil {
		return
	}
	b := c.s.options.Backups()
	if b == nil {
		return
	}
	if b.LastSuccess != 0 {
		m.gauge(backupLast, float64(b.LastSuccess))
	}
	m.counter(backupFailures, float64(b.Failures))
	m.gauge(backupSeconds, b.Seconds)
	m.gauge(backupBytes, float64(b.Bytes))
}

// audit sends how the audit is, where one is kept.
func (c collectorOf) audit(m measure, a *engine.AuditMetrics) {
	if !a.On {
		return
	}
	m.gauge(auditRows, float64(a.Rows[engine.AuditDeeds]), "deeds")
	m.gauge(auditRows, float64(a.Rows[engine.AuditCounted]), "counted")
	m.gauge(auditLag, float64(a.Lag))
	m.gauge(auditBytes, float64(a.Bytes))
	if c.s.options.AuditDropped != nil {
		m.counter(auditDropped, float64(c.s.options.AuditDropped()))
	}
}

// orders sends what became of the orders of the console.
func (c collectorOf) orders(m measure) {
	var invalid, failed, asked int64
	if c.s.options.Orders != nil {
		invalid, failed, asked = c.s.options.Orders()
	}
	m.counter(papiInvalid, float64(invalid))
	m.counter(papiErrors, float64(failed))
	m.gauge(papiLastPull, float64(asked))
}

// Central is what is counted of the connection to the Central API.
type Central struct {
	Jobs          []CentralJob
	Held, Failing int // lists that are held back, and that cannot be fetched

	SignalsSent, SignalsRefused, SignalGaps uint64 // since the start
	Waiting                                 uint64 // commits whose signals are still to be sent
	Enrolled                                bool
}

// CentralJob is one thing that is done with the Central API again and again.
type CentralJob struct {
	Name         string
	Well, Failed uint64 // turns since the start
	LastWell     int64  // Unix seconds; 0: never
	Failing      bool
}

// central sends how the Central API fares. How many signals wait is the lag of the bookmark
// capi.push.
func (c collectorOf) central(m measure) {
	if c.s.options.Central == nil {
		return
	}
	now := c.s.options.Central()
	if now == nil {
		return
	}
	for _, j := range now.Jobs {
		m.counter(centralTurns, float64(j.Well), j.Name, "well")
		m.counter(centralTurns, float64(j.Failed), j.Name, "failed")
		m.gauge(centralFailing, number(j.Failing), j.Name)
		if j.LastWell != 0 {
			m.gauge(centralLastWell, float64(j.LastWell), j.Name)
		}
	}
	m.gauge(centralLists, float64(now.Held), "held")
	m.gauge(centralLists, float64(now.Failing), "failing")
	m.counter(centralSignals, float64(now.SignalsSent), "sent")
	m.counter(centralSignals, float64(now.SignalsRefused), "refused")
	m.gauge(centralWaiting, float64(now.Waiting))
	m.counter(centralGaps, float64(now.SignalGaps))
	m.gauge(centralEnrolled, number(now.Enrolled))
}

// condition sends whether the server is ready, and why not. All kinds are there at
// all times, so that a rule can compare.
func (c collectorOf) condition(m measure) {
	list := c.s.options.Troubles()
	m.gauge(readyNow, number(!slices.ContainsFunc(list, func(t engine.Trouble) bool { return !t.Kind.Aside() })))
	for _, kind := range engine.TroubleKinds {
		there := slices.ContainsFunc(list, func(t engine.Trouble) bool { return t.Kind == kind })
		m.gauge(troubleNow, number(there), string(kind))
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// measure sends single readings.
type measure struct{ out chan<- prometheus.Metric }

// shown makes labels, which strangers have chosen, what is seen of them; different
// ones stay different.
func shown(labels []string) []string {
	for i, l := range labels {
		labels[i] = visible.Label(l)
	}
	return labels
}

func (m measure) gauge(d *prometheus.Desc, v float64, labels ...string) {
	m.send(prometheus.NewConstMetric(d, prometheus.GaugeValue, v, shown(labels)...))
}

func (m measure) counter(d *prometheus.Desc, v float64, labels ...string) {
	m.send(prometheus.NewConstMetric(d, prometheus.CounterValue, v, shown(labels)...))
}

func (m measure) histogram(d *prometheus.Desc, count uint64, sum float64, buckets map[float64]uint64, labels ...string) {
	m.send(prometheus.NewConstHistogram(d, count, sum, buckets, labels...))
}

// send leaves out what cannot be shown, such as a name that is not UTF-8.
func (m measure) send(one prometheus.Metric, err error) {
	if err == nil {
		m.out <- one
	}
}

// routes sends what is counted by line of the table.
func (c collectorOf) routes(m measure) {
	for _, line := range c.s.routes.lines {
		counts, nanos := c.s.counting.snapshot(line.number)
		l := latencies{counts: counts, nanos: nanos}
		total := l.total()
		if total == 0 || line.path == "/health" {
			continue
		}
		m.counter(routeRequests, float64(total), line.label, line.method)
		endpoint := line.label
		if endpoint == unmatchedLabel {
			endpoint = ""
		}
		if c.s.options.MetricsLevel == "full" {
			m.histogram(requestDuration, total, l.seconds(), l.dashboard(), endpoint, line.method)
			m.histogram(requestSeconds, total, l.seconds(), l.fine(), endpoint, line.method)
		}
	}
}

// answers sends what is counted of all answers: statuses that were given, and every
// reason of not letting in, so that a rule can compare.
func (c collectorOf) answers(m measure) {
	for status := range highestCode + 1 {
		if n := c.s.counting.code(status); n > 0 {
			m.counter(answers, float64(n), strconv.Itoa(status))
		}
	}
	for _, r := range auth.Reasons {
		m.counter(notLetIn, float64(c.s.denials.counts[r.Reason].Load()), string(r.Reason))
	}
}

// latencies is one reading of a histogram.
type latencies struct {
	counts [len(edges) + 1]uint64
	nanos  int64
}

func (l *latencies) total() (n uint64) {
	for _, c := range l.counts {
		n += c
	}
	return n
}

func (l *latencies) seconds() float64 { return float64(l.nanos) / 1e9 }

// fine gives all buckets, cumulated.
func (l *latencies) fine() map[float64]uint64 {
	buckets, sum := make(map[float64]uint64, len(edges)), uint64(0)
	for i, edge := range edges {
		sum += l.counts[i]
		buckets[float64(edge)/1e9] = sum
	}
	return buckets
}

// dashboard gives the contract's buckets, cumulated.
func (l *latencies) dashboard() map[float64]uint64 {
	fine, buckets := l.fine(), make(map[float64]uint64, len(dashboardEdges))
	for _, edge := range dashboardEdges {
		buckets[edge] = fine[edge]
	}
	return buckets
}

// visitors sends what is counted by bouncer and machine.
func (c collectorOf) visitors(m measure) {
	lines := c.s.routes.lines
	c.s.counting.bouncers.each(rowName, func(name string, v *visitor) {
		v.send(m, bouncerRequests, name, lines)
		if n := v.found.Load(); n > 0 {
			m.counter(decisionsOK, float64(n), name)
		}
		if n := v.missed.Load(); n > 0 {
			m.counter(decisionsKO, float64(n), name)
		}
	})
	c.s.counting.machines.each(func(id string) string { return id }, func(name string, v *visitor) {
		v.send(m, machineRequests, name, lines)
		if n := v.alerts.Load(); n > 0 {
			m.counter(machineAlerts, float64(n), name)
		}
	})
}

func (v *visitor) send(m measure, d *prometheus.Desc, name string, lines []tableLine) {
	for i := range v.requests {
		if n := v.requests[i].Load(); n > 0 {
			m.counter(d, float64(n), name, lines[i].label, lines[i].method)
		}
	}
}

// people sends when machines were heard of, and what bouncers hold.
func (c collectorOf) people(m measure, view *engine.View) {
	n := 0
	view.EachMachine(func(one *engine.Machine) bool {
		if one.LastHeartbeat != 0 {
			m.gauge(machineHeartbeat, float64(one.LastHeartbeat/int64(time.Second)), one.ID)
		}
		if one.LastPush != 0 {
			m.gauge(machinePush, float64(one.LastPush/int64(time.Second)), one.ID)
		}
		n++
		return n < ownSeries
	})
	c.holdings(m)
	c.reports(m)
}

// state sends what the engine counts.
func (c collectorOf) state(m measure) {
	e := c.s.engine.Metrics()
	for _, d := range e.Running {
		if d.N > 0 {
			m.gauge(activeDecisions, float64(d.N), d.Scenario, d.Origin, d.Type)
		}
	}
	for _, a := range e.Alerts {
		if a.N > 0 {
			m.gauge(storedAlerts, float64(a.N), a.Scenario)
		}
	}
	for _, h := range e.Held {
		if h.N > 0 {
			m.gauge(heldDecisions, float64(h.N), h.Scope, h.Origin)
		}
	}
	for _, a := range e.AlertsAdded {
		m.counter(alertsTotal, float64(a.N), a.Name)
	}
	for _, d := range e.DecisionsAdded {
		m.counter(decisionsAdded, float64(d.N), d.Name)
	}
	for _, d := range e.DecisionsEnded {
		m.counter(decisionsEnded, float64(d.N), d.Reason.String())
	}
	m.gauge(storedDecisions, float64(e.Stored))
	m.gauge(revision, float64(e.Revision))
	m.counter(commits, float64(e.Commits))
	m.counter(proposals, float64(e.Proposals))
	m.counter(refusedWrites, float64(e.Refused))
	m.gauge(queuedWrites, float64(e.Queued))
	m.counter(bouncersEvicted, float64(e.BouncersEvicted))
	for _, b := range e.Bookmarks {
		m.gauge(bookmarkLag, float64(b.Behind), b.Name)
	}
	m.counter(bookmarksLost, float64(e.BookmarksLost))
	c.audit(m, &e.Audit)
	m.gauge(machines, float64(e.Machines-e.MachinesWaiting), "true")
	m.gauge(machines, float64(e.MachinesWaiting), "false")
	m.gauge(history, float64(e.History))
	m.gauge(graves, float64(e.Graves))
	m.gauge(viewLists, float64(e.Shelves.Shelves))
	m.gauge(viewEntries, float64(e.Shelves.Entries))
	m.gauge(viewBytes, float64(e.Shelves.Bytes))
	m.counter(viewScans, float64(e.Shelves.Built), "made")
	m.counter(viewScans, float64(e.Shelves.Refilled), "refilled")
	m.counter(viewsDropped, float64(e.Shelves.Dropped))
	m.counter(snapshots, float64(e.Snapshots))
	m.gauge(snapshotSeconds, e.SnapshotSeconds)
	m.gauge(snapshotAt, float64(e.SnapshotRevision))
	for _, b := range e.Bounded {
		m.counter(boundedThings, float64(b.N), b.What)
	}
	m.counter(snapshotFailed, float64(e.SnapshotFailures))
	if e.SnapshotAt != 0 {
		m.gauge(snapshotWritten, float64(e.SnapshotAt)/1e9)
	}
	m.gauge(snapshotBehind, float64(e.SnapshotBehind))
	m.counter(journalBytes, float64(e.Store.AppendBytes))
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range e.Store.Sync.Bounds {
		sum += e.Store.Sync.Counts[i]
		buckets[bound] = sum
	}
	m.histogram(journalSync, e.Store.Sync.Count, e.Store.Sync.Sum, buckets)
	m.gauge(diskBytes, float64(e.Store.DiskBytes))
	m.gauge(diskFailed, number(e.Store.Failed))
	m.gauge(connections, float64(connectionsOf(c.s.front)))
	m.gauge(heldPolls, float64(c.s.feed.Usage().Held))
	m.gauge(eventStreams, float64(c.s.events.open.Load()))
	m.counter(eventsSent, float64(c.s.events.sent.Load()))
	m.counter(eventBytes, float64(c.s.events.bytes.Load()))
	m.counter(eventCuts, float64(c.s.events.cut.Load()))
	if l := c.s.access; l != nil {
		m.counter(accessLines, float64(l.written.Load()), "written")
		m.counter(accessLines, float64(l.lost.Load()), "lost")
	}
	m.gauge(bodyBytes, float64(c.s.front.MemoryInUse()))
	for why := range c.s.refusals.of {
		m.counter(noRoom, float64(c.s.refusals.of[why].count.Load()), reasonNames[why])
	}
}

// MetricsHandler serves /metrics and /debug/pprof. It asks nobody for
// credentials: bind it where only friends reach it.
func (s *Server) MetricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.options.MetricsLevel != "none" {
		registry.MustRegister(collectorOf{s})
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.InstrumentMetricHandler(registry, promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// connectionsOf is how many there are, on loops and with goroutines.
func connectionsOf(f *conn.Front) int {
	n := f.Counts()
	return n.Looped + n.Served
}
