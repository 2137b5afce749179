package stream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How members of etcd keep up with their disks and with each other is in what each tells Prometheus (/metrics at its port for clients): how
// long syncs of its log took, and how many heartbeats it, as etcd's leader, did not send in time. Both are counts since its start, so what
// is told is of the time between two looks, a minute.

const (
	// syncsEvery is how often is looked at it. What a member tells is some hundreds of kilobytes.
	syncsEvery = time.Minute
	// syncsAtLeast is of how many syncs at least is told how long they took.
	syncsAtLeast = 100
	// syncsWithin is how long a member has to tell, metricsAtMost how many bytes are read of it.
	syncsWithin   = 2 * time.Second
	metricsAtMost = 8 << 20
	// SlowSync is how long 99 of 100 syncs of etcd's log may take: of a disk that takes longer, or is shared with what keeps it busy, etcd
	// elects leaders again and again.
	SlowSync = 50 * time.Millisecond
)

// Names of what a member tells.
const (
	metricSyncs  = "etcd_disk_wal_fsync_duration_seconds_bucket{"
	metricMissed = "etcd_server_heartbeat_send_failures_total "
)

// Syncs is how a member of etcd kept up lately. All that is zero is not known.
type Syncs struct {
	P99    time.Duration `json:"sync_p99,omitempty"` // of the syncs of its log: 99 of 100 took no longer
	N      uint64        `json:"syncs,omitempty"`    // how many there were; fewer than 100 tell nothing
	Missed uint64        `json:"heartbeats_missed,omitempty"`
}

// Told reports whether there were enough syncs to tell how long they take.
func (s *Syncs) Told() bool { return s.N >= syncsAtLeast }

// Ails is what an operator does about it; "": nothing.
func (s *Syncs) Ails(member string) string {
	var said []string
	if s.Told() && s.P99 > SlowSync {
		said = append(said, fmt.Sprintf("syncs its log slowly (1 of 100 takes longer than %v, and %v is what it may)", s.P99.Round(time.Millisecond), SlowSync))
	}
	if s.Missed > 0 {
		said = append(said, fmt.Sprintf("did not send %d heartbeats in time", s.Missed))
	}
	if said == nil {
		return ""
	}
	return fmt.Sprintf("etcd's member %s %s: give it a disk (data-dir) that nothing else keeps busy, and a processor; writes wait for it, and elections come again and again", member, strings.Join(said, ", and "))
}

// syncs is one look at a member: counts since its start.
type syncs struct {
	bounds []float64 // of the buckets, in seconds, ascending
	counts []uint64  // of syncs that took no longer
	missed uint64
}

// lookAtSyncs asks all members, side by side, and keeps how each did since the look before. The first look tells of all the time since its
// start, but of no heartbeats: those may be of long ago.
func (l *Log) lookAtSyncs(ctx context.Context) {
	n := len(l.endpoints.all)
	now, found := make([]*syncs, n), make([]Syncs, n)
	var wait sync.WaitGroup
	for i, e := range l.endpoints.all {
		wait.Go(func() { now[i], _ = l.endpoints.syncsOf(ctx, e.url) }) // what it does not tell is not known
	}
	wait.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.looked == nil {
		l.looked = make([]*syncs, n)
	}
	for i := range now {
		if now[i] != nil {
			found[i] = now[i].since(l.looked[i])
			l.looked[i] = now[i]
		}
	}
	l.synced = found
}

// lookAtSyncsAlways looks until ctx ends.
func (l *Log) lookAtSyncsAlways(ctx context.Context) {
	tick := time.NewTicker(syncsEvery)
	defer tick.Stop()
	for {
		l.lookAtSyncs(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// syncsOf reads what one member tells.
func (all *endpoints) syncsOf(ctx context.Context, of string) (*syncs, error) {
	ctx, cancel := context.WithTimeout(ctx, syncsWithin)
	defer cancel()
	u, err := url.Parse(of)
	if err != nil {
		return nil, err
	}
	u.Path = "/metrics"
	carrier := &http.Transport{TLSClientConfig: all.tls, DisableKeepAlives: true}
	defer carrier.CloseIdleConnections()
	answer, err := carrier.RoundTrip((&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s tells no metrics: %s", of, answer.Status)
	}
	return parseSyncs(io.LimitReader(answer.Body, metricsAtMost))
}

// parseSyncs reads the lines that count.
func parseSyncs(from io.Reader) (*syncs, error) {
	s := &syncs{}
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, metricSyncs):
			labels, value, _ := strings.Cut(line[len(metricSyncs):], "} ")
			bound, err := strconv.ParseFloat(strings.Trim(strings.TrimPrefix(labels, "le="), `"`), 64)
			count, bad := strconv.ParseFloat(value, 64)
			if n := len(s.bounds); err == nil && bad == nil && (n == 0 || bound > s.bounds[n-1]) {
				s.bounds, s.counts = append(s.bounds, bound), append(s.counts, whole(count))
			}
		case strings.HasPrefix(line, metricMissed):
			if missed, err := strconv.ParseFloat(line[len(metricMissed):], 64); err == nil {
				s.missed = whole(missed)
			}
		}
	}
	return s, lines.Err()
}

// whole is a count; what is none counts nothing.
func whole(f float64) uint64 {
	if f >= 0 && f < math.MaxInt64 {
		return uint64(f)
	}
	return 0
}

// since is what came after an earlier look; nil, or one at a member that has started anew: since its start.
func (s *syncs) since(before *syncs) (is Syncs) {
	n := len(s.counts)
	base := make([]uint64, n)
	if before != nil && len(before.counts) == n && n > 0 && before.counts[n-1] <= s.counts[n-1] {
		copy(base, before.counts)
		is.Missed = s.missed - min(before.missed, s.missed)
	}
	if n == 0 || s.counts[n-1] < base[n-1] {
		return is
	}
	is.N = s.counts[n-1] - base[n-1]
	rank, lower, under := float64(is.N)*0.99, 0.0, 0.0
	for i, bound := range s.bounds {
		count := float64(s.counts[i] - min(base[i], s.counts[i]))
		if count < rank || count == 0 {
			lower, under = bound, count
			continue
		}
		if math.IsInf(bound, 1) { // longer than all that is counted apart
			bound = lower
		}
		at := lower + (bound-lower)*(rank-under)/max(count-under, 1)
		is.P99 = time.Duration(at * float64(time.Second))
		break
	}
	return is
}

// syncsKnown is how each endpoint did, in their order, as Run last looked; without Run they are asked now.
func (l *Log) syncsKnown(ctx context.Context) []Syncs {
	if !l.running.Load() {
		l.lookAtSyncs(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}
