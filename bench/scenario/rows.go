//go:build linux

package scenario

import (
	"fmt"

	"lapid/bench/report"
)

// Keys of the rows.
const (
	rowLive        = "live"
	rowLiveP99     = "live p99"
	rowRedis       = "redis"
	rowHAProxy     = "haproxy"
	rowNginx       = "nginx"
	rowNginxMemory = "nginx memory"
	rowTLS         = "tls"
	rowTLSP99      = "tls p99"
	rowTLSStartup  = "tls startup"
	rowTLSDelta    = "tls delta"
	rowShakes      = "handshakes"
	rowShakesOwn   = "handshakes with certificates"
	rowAccessLog   = "access log"
	rowList        = "list"
	rowListMemory  = "list memory"
	rowFlat        = "flat"
	rowAllocations = "allocations"
	rowEmpty       = "empty delta"
	rowFollow      = "follow"
	rowStartup     = "startup"
	rowFirst       = "startup first byte"
	rowCrowd       = "crowd"
	rowCrowdMemory = "crowd memory"
	rowSeen        = "seen"
	rowHeld        = "held"
	rowHeldAll     = "held all"
	rowHeldMemory  = "held memory"
	rowHeldIdle    = "held idle"
	rowHeldLive    = "held live"
	rowEvents      = "events"
	rowEventsAll   = "events all"
	rowEventsMem   = "events memory"
	rowEventsIdle  = "events idle"
	rowEventsLive  = "events live"
	rowBack        = "reconnect"
	rowBackMemory  = "reconnect memory"
	rowViews       = "views"
	rowViewsMemory = "views memory"
	rowIngest      = "ingest"
	rowAudit       = "audit"
	rowConsole     = "console"
	rowConsoleIn   = "console commits"
	rowPolls       = "export polls"
	rowRender      = "export render"
	rowExact       = "export aggregation"
	rowRenderKept  = "export memory"
	rowImport      = "import"
	rowImportP99   = "import readers"
	rowImportLate  = "import readers ms"
	rowMemory      = "memory"
	rowMemoryTen   = "memory 10 M"
	rowRestart     = "restart"
	rowRestartTen  = "restart 10 M"
	rowPause       = "pause"
	rowSiege       = "siege"
	rowSiegeMemory = "siege memory"
	rowRefLive     = "reference live"
	rowRefStartup  = "reference startup"
	rowRefEmpty    = "reference empty delta"
	rowRefIngest   = "reference ingest"
)

func atLeast(must, beyond float64, unit string) report.Bound {
	return report.Bound{Must: must, Beyond: beyond, Unit: unit}
}

func atMost(must, beyond float64, unit string) report.Bound {
	return report.Bound{AtMost: true, Must: must, Beyond: beyond, Unit: unit}
}

// Rows are all that is to be reached, in the order of the table, with the numbers
// of a pace in their texts. Ten is the size of the largest set.
func Rows(p *Pace, ten int) []report.Row {
	size, largest := count(p.Size), count(ten)
	return []report.Row{
		{Key: rowLive, What: "live query, requests/s beside the ceiling", Bound: atLeast(0.85, 0.95, "×")},
		{Key: rowLiveP99, What: "live query, p99 beside the ceiling's at the same rate", Bound: atMost(1.3, 0, "×")},
		{Key: rowRedis, What: "live query, requests/s beside Redis GET, one core each", Bound: atLeast(1.1, 1.3, "×")},
		{Key: rowHAProxy, What: "live query, requests/s beside HAProxy map, one core each", Bound: atLeast(1.1, 1.3, "×")},
		{Key: rowNginx, What: "live query, requests/s beside nginx geo", Bound: atLeast(0.7, 1.01, "×")},
		{Key: rowNginxMemory, What: "resident memory beside nginx geo", Bound: atMost(1./3, 0, "×")},
		{Key: rowTLS, What: "live query over TLS 1.3, requests/s beside nginx TLS geo", Bound: atLeast(1, 1.15, "×")},
		{Key: rowTLSP99, What: "live query over TLS 1.3, p99 beside nginx TLS geo, both as fast as they answer", Bound: atMost(1, 0, "×")},
		{Key: rowTLSStartup, What: "startup of one client over TLS, bytes/s beside plain", Bound: atLeast(0.6, 0.8, "×")},
		{Key: rowTLSDelta, What: fmt.Sprintf("delta of %d new to %s followers over TLS, polls/s beside plain", news, count(p.Followers)), Bound: atLeast(0.6, 0.8, "×")},
		{Key: rowShakes, What: "full TLS 1.3 handshakes/s (ECDSA P-256), one query each, beside nginx", Bound: atLeast(0.8, 1, "×")},
		{Key: rowShakesOwn, What: "the same with client certificates", Bound: atLeast(0.8, 1, "×")},
		{Key: rowAccessLog, What: "live query with the access log on, requests/s beside off", Bound: atLeast(0.8, 0.9, "×")},
		{Key: rowList, What: "decisions list -l 1 on the command line at " + size + " decisions", Bound: atMost(200, 50, "ms")},
		{Key: rowListMemory, What: "resident memory of the client meanwhile, at its peak", Bound: atMost(50, 20, "MB")},
		{Key: rowFlat, What: "live query from " + count(p.Size/100) + " to " + largest + " decisions, slowest beside fastest", Bound: atLeast(0.9, 0, "×")},
		{Key: rowAllocations, What: "allocations per live query and per empty delta, tests that fail", Bound: atMost(0, 0, "")},
		{Key: rowEmpty, What: "empty delta, " + count(p.Bouncers) + " bouncers, requests/s beside the ceiling", Bound: atLeast(0.85, 0.95, "×")},
		{Key: rowFollow, What: fmt.Sprintf("delta of %d new to %s followers, server CPU beside constant bytes", news, count(p.Followers)), Bound: atMost(2, 1.2, "×")},
		{Key: rowStartup, What: "startup of one client, bytes/s beside the ceiling", Bound: atLeast(0.5, 0.8, "×")},
		{Key: rowFirst, What: "startup of one client, first byte", Bound: atMost(50, 0, "ms")},
		{Key: rowCrowd, What: fmt.Sprintf("startup of %d clients in a second, server CPU without the sends, in encodings", p.Crowd), Bound: atMost(3, 0, "×")},
		{Key: rowCrowdMemory, What: fmt.Sprintf("startup of %d clients in a second, growth of memory in bodies", p.Crowd), Bound: atMost(2, 0, "×")},
		{Key: rowSeen, What: "alert posted to seen by a bouncer, p99 less a sync's, under " + count(int(p.Busy)) + " live queries/s", Bound: atMost(3, 1, "ms")},
		{Key: rowHeld, What: "alert posted to the hands of a bouncer whose poll is held, alone, p99 less a sync's", Bound: atMost(3, 1, "ms")},
		{Key: rowHeldAll, What: fmt.Sprintf("the same until all of %s held bouncers of %d questions have it", count(p.Bouncers), questions), Bound: atMost(500, 150, "ms")},
		{Key: rowHeldMemory, What: "memory of a held poll with its connection, kernel aside", Bound: atMost(6144, 2048, "bytes")},
		{Key: rowHeldIdle, What: fmt.Sprintf("CPU of %s polls held for %v each while nothing happens", count(p.Bouncers), p.Hold), Bound: atMost(5, 2, "% of a core")},
		{Key: rowHeldLive, What: "live query p99 while " + count(p.Bouncers) + " are held and one alert a second comes, beside without", Bound: atMost(2, 1.2, "×")},
		{Key: rowEvents, What: "alert posted to the hands of the reader of an event stream, alone, p99 less a sync's", Bound: atMost(3, 1, "ms")},
		{Key: rowEventsAll, What: fmt.Sprintf("the same until all of %s event streams of %d questions have it", count(p.Bouncers), questions), Bound: atMost(500, 150, "ms")},
		{Key: rowEventsMem, What: "memory of an event stream at rest with its connection, kernel aside", Bound: atMost(6144, 2048, "bytes")},
		{Key: rowEventsIdle, What: fmt.Sprintf("CPU of %s event streams while nothing happens, with their comments", count(p.Bouncers)), Bound: atMost(5, 2, "% of a core")},
		{Key: rowEventsLive, What: "live query p99 beside " + count(p.Bouncers) + " event streams and one alert a second, beside without", Bound: atMost(2, 1.2, "×")},
		{Key: rowBack, What: "live query p99 while " + count(p.Bouncers) + " polls and event streams come back at once, after a kill and when all are cut off, beside calm", Bound: atMost(3, 0, "×")},
		{Key: rowBackMemory, What: "growth of memory meanwhile, beside the bound printed at start", Bound: atMost(1, 0, "×")},
		{Key: rowViews, What: fmt.Sprintf("%d bouncers in %d views follow over their connections, at %s decisions, server CPU beside without views", viewers, len(views), size), Bound: atMost(2, 1.5, "×")},
		{Key: rowViewsMemory, What: "memory of these views, four of them with 1000 to 10 000 entries", Bound: atMost(64, 16, "MB")},
		{Key: rowIngest, What: fmt.Sprintf("alerts/s of %d writers, synced, beside Pebble alone", writers), Bound: atLeast(0.5, 0.8, "×")},
		{Key: rowAudit, What: fmt.Sprintf("alerts of %d writers, server CPU of an alert with the audit beside without", writers), Bound: atMost(1.05, 0, "×")},
		{Key: rowConsole, What: fmt.Sprintf("live query p99 beside %d open consoles and a CSV of %s decisions, beside calm", consoles, size), Bound: atMost(1.5, 0, "×")},
		{Key: rowConsoleIn, What: "the same of alerts that are posted one by one, until they are stored", Bound: atMost(1.5, 0, "×")},
		{Key: rowPolls, What: fmt.Sprintf("polls of %s devices for an unchanged list of %s, 304s/s beside live queries", count(devices), count(p.Size/10)), Bound: atLeast(0.8, 1, "×")},
		{Key: rowRender, What: "first pull of a list of " + size + " as plain text, server CPU", Bound: atMost(300, 0, "ms")},
		{Key: rowExact, What: "the same aggregated exactly", Bound: atMost(2000, 0, "ms")},
		{Key: rowRenderKept, What: "memory kept for a list and its gzip, in their bytes", Bound: atMost(1.1, 0, "×")},
		{Key: rowImport, What: "import of " + size + " decisions through the CLI", Bound: atMost(4, 2.5, "s")},
		{Key: rowImportP99, What: "readers' p99 during the import beside their calm p99", Bound: atMost(5, 2, "×")},
		{Key: rowImportLate, What: "readers' p99 during the import", Bound: atMost(2, 1, "ms")},
		{Key: rowMemory, What: "resident memory per decision, " + size, Bound: atMost(160, 120, "bytes")},
		{Key: rowMemoryTen, What: "resident memory per decision, " + largest, Bound: atMost(256, 160, "bytes")},
		{Key: rowRestart, What: "restart to ready, " + size, Bound: atMost(2, 1, "s")},
		{Key: rowRestartTen, What: "restart to ready, " + largest, Bound: atMost(8, 4, "s")},
		{Key: rowPause, What: "live query p99.9 while snapshots, expiry of " + count(ending) + " and garbage collection go on", Bound: atMost(5, 2, "ms")},
		{Key: rowSiege, What: "live query p99 among " + count(p.Besiegers) + " connections, most of them idle or slow, beside alone", Bound: atMost(3, 0, "×")},
		{Key: rowSiegeMemory, What: "growth of memory under that siege, beside the bound printed at start and two answers", Bound: atMost(1, 0, "×")},
		{Key: rowRefLive, What: "live query beside the reference, " + count(p.Reference), Bound: atLeast(2000, 0, "×")},
		{Key: rowRefStartup, What: "startup beside the reference, " + count(p.Reference), Bound: atLeast(50, 0, "×")},
		{Key: rowRefEmpty, What: "empty delta beside the reference, " + count(p.Reference), Bound: atLeast(1000, 0, "×")},
		{Key: rowRefIngest, What: "ingest beside the reference, " + count(p.Reference), Bound: atLeast(25, 40, "×")},
	}
}

// count spells a number with k or M where it is a round one.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%100_000 == 0:
		return fmt.Sprintf("%g M", float64(n)/1e6)
	case n >= 10_000 && n%1000 == 0:
		return fmt.Sprintf("%d k", n/1000)
	}
	return fmt.Sprint(n)
}
