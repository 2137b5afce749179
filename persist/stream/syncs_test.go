package stream

import (
	"strings"
	"testing"
	"time"
)

// told is what a member tells: of each hundred syncs one is in the bucket that is named, the others below a millisecond.
const toldSyncs = `# HELP etcd_disk_wal_fsync_duration_seconds The latency distributions of fsync called by WAL.
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 900
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.032"} 980
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.064"} 1000
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 1000
etcd_disk_wal_fsync_duration_seconds_count 1000
etcd_server_heartbeat_send_failures_total 7
`

// TestSyncs: what is told is of the time between two looks, of enough syncs; the first tells of no heartbeats; nonsense tells nothing.
func TestSyncs(t *testing.T) {
	t.Parallel()
	parse := func(text string) *syncs {
		t.Helper()
		s, err := parseSyncs(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := parse(toldSyncs)
	is := first.since(nil)
	if is.P99 != 48*time.Millisecond || is.N != 1000 || is.Missed != 0 || is.Ails("m") != "" {
		t.Errorf("the first look: %+v", is)
	}
	slow := parse(strings.NewReplacer("} 1000", "} 1300", "_total 7", "_total 9").Replace(toldSyncs))
	is = slow.since(first)
	if is.P99 <= SlowSync || is.N != 300 || is.Missed != 2 {
		t.Errorf("the second look: %+v", is)
	}
	for _, words := range []string{"member m syncs its log slowly", "64ms", "did not send 2 heartbeats", "data-dir"} {
		if said := is.Ails("m"); !strings.Contains(said, words) {
			t.Errorf("no %q: %s", words, said)
		}
	}
	few := parse(strings.ReplaceAll(toldSyncs, "} 1000", "} 1050"))
	if is = few.since(first); is.N != 50 || is.Ails("m") != "" {
		t.Errorf("few syncs: %+v", is)
	}
	if is = first.since(slow); is.N != 1000 || is.Missed != 0 {
		t.Errorf("a member that has started anew: %+v", is)
	}
	for _, text := range []string{"", "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"x\"} 1\n", "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"1\"} -5\n", "etcd_disk_wal_fsync_duration_seconds_bucket{",
		"etcd_server_heartbeat_send_failures_total NaN\n"} {
		if is := parse(text).since(first); is.Ails("m") != "" {
			t.Errorf("%q tells %+v", text, is)
		}
	}
}
