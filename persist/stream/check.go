package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrOldEtcd: an etcd that is known to lose data.
var ErrOldEtcd = errors.New("this etcd may lose data")

// Check asks every endpoint what it is, and refuses an etcd that is too old to be relied on, or whose members are not of one
// cluster. An endpoint that does not answer is passed over while another does.
func (l *Log) Check(ctx context.Context) error {
	ctx, cancel := l.until(ctx)
	defer cancel()
	var last error
	some := false
	var cluster uint64
	for _, is := range l.statuses(ctx) {
		e, s := is.endpoint, is.status
		if is.err != nil {
			last = is.err
			continue
		}
		if err := oldEtcd(s.Version); err != nil {
			return fmt.Errorf("%s: %w", e.url, err)
		}
		if some && s.Header.ClusterId != cluster {
			return fmt.Errorf("the endpoints are of different etcds: %s is of %x, others of %x", e.url, s.Header.ClusterId, cluster)
		}
		some, cluster = true, s.Header.ClusterId
	}
	if !some {
		return fmt.Errorf("no etcd answers: %w", explain(last))
	}
	return nil
}

// is is what an endpoint says of itself.
type is struct {
	endpoint *endpoint
	status   *clientv3.StatusResponse
	err      error
}

// statuses asks all endpoints, side by side.
func (l *Log) statuses(ctx context.Context) []is {
	all := make([]is, len(l.endpoints.all))
	var wait sync.WaitGroup
	for i, e := range l.endpoints.all {
		wait.Go(func() {
			s, err := l.statusOf(ctx, e)
			all[i] = is{e, s, err}
		})
	}
	wait.Wait()
	return all
}

// statusOf asks one endpoint, for mostPatience at most.
func (l *Log) statusOf(ctx context.Context, e *endpoint) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	c, err := l.endpoints.ready(ctx, e)
	if err != nil {
		return nil, err
	}
	s, err := c.Status(ctx, e.url)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.url, err)
	}
	return s, nil
}

// oldEtcd refuses versions that are known to lose data: before 3.4.22, and 3.5.0 to 3.5.6.
func oldEtcd(version string) error {
	text, _, _ := strings.Cut(version, "-")
	var v [3]int
	parts := strings.Split(text, ".")
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || len(parts) != 3 {
			return nil // not a release: whoever runs it knows
		}
		v[i] = n
	}
	at := v[0]*1_000_000 + v[1]*1_000 + v[2]
	if at < 3_004_022 || at >= 3_005_000 && at <= 3_005_006 {
		return fmt.Errorf("%w: it is version %s; 3.4.22, 3.5.7 or a later one is needed, upgrade its members one after the other", ErrOldEtcd, version)
	}
	return nil
}
