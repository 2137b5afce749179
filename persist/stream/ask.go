package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// request is what etcd is asked: everything is a transaction, also what only reads, which then is linearizable.
type request struct {
	when      []clientv3.Cmp
	then      []clientv3.Op
	otherwise []clientv3.Op
}

// answer is what came back. sent: some try may have reached etcd, whatever the error says.
type answer struct {
	*clientv3.TxnResponse
	sent bool
}

// again is how long is waited before the next try, so that endpoints that refuse at once are not asked all the time.
const again = 10 * time.Millisecond

// ask asks one endpoint after the other until one answers or ctx ends. The same request may arrive several times, and
// late: a request that writes compares something that its own success changes.
func (l *Log) ask(ctx context.Context, r request) (a answer, err error) {
	if err := l.over(); err != nil {
		return a, err
	}
	ctx, cancel := l.until(ctx)
	defer cancel()
	for patience := l.pace.patience(); ; patience = min(2*patience, mostPatience) {
		e := l.endpoints.pick()
		var sent bool
		if a.TxnResponse, sent, err = l.try(ctx, e, patience, r); err == nil || final(err) {
			a.sent = a.sent || (sent && !unstored(err))
			return a, err
		}
		a.sent = a.sent || sent
		e.failed()
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if over := l.over(); over != nil {
				return a, over
			}
			return a, fmt.Errorf("no etcd answered (%w): %w", err, context.Cause(ctx))
		}
	}
}

// try asks one endpoint once.
func (l *Log) try(ctx context.Context, e *endpoint, patience time.Duration, r request) (resp *clientv3.TxnResponse, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := l.endpoints.ready(ctx, e)
	if err != nil {
		return nil, false, err
	}
	before, start := l.etcd.revision.Load(), time.Now()
	resp, err = l.endpoints.kvOf(c).Txn(ctx).If(r.when...).Then(r.then...).Else(r.otherwise...).Commit()
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w (%w)", errSilent, err)
	}
	if err != nil {
		return nil, true, fmt.Errorf("%s: %w", e.url, err)
	}
	l.pace.note(time.Since(start))
	e.well()
	return resp, true, l.sameEtcd(resp.Header, before)
}

// final errors are etcd's answer, and asking elsewhere brings no other.
func final(err error) bool {
	for _, e := range []error{
		rpctypes.ErrCompacted, rpctypes.ErrFutureRev, rpctypes.ErrNoSpace, rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps,
		rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty, rpctypes.ErrCorrupt,
		ErrOtherHistory, errClosed,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// unstored reports that an error says: this try stored nothing. With others it is not known.
func unstored(err error) bool { return err != nil && !errors.Is(err, ErrOtherHistory) }

// sameEtcd notes what an answer says of the etcd behind the endpoints. before is the revision that was known when the
// request began: a smaller one in its answer, or another etcd, is a restore, and this log stops for ever.
func (l *Log) sameEtcd(h *etcdserverpb.ResponseHeader, before int64) error {
	if was := l.etcd.cluster.Load(); was != h.ClusterId {
		if was != 0 || !l.etcd.cluster.CompareAndSwap(0, h.ClusterId) {
			return l.stop(fmt.Errorf("%w: the etcd that answers (%x) is another than before (%x): correct cluster.etcd.endpoints or, if that one is lost for good, %s", ErrOtherHistory, h.ClusterId, was, beginAnew))
		}
	}
	if h.Revision < before {
		return l.stop(fmt.Errorf("%w: etcd is at revision %d, but was at %d before: it was restored from an older state, or its members' data folders are new. Give it its data back or, if that is lost for good, %s", ErrOtherHistory, h.Revision, before, beginAnew))
	}
	for {
		was := l.etcd.revision.Load()
		if h.Revision <= was || l.etcd.revision.CompareAndSwap(was, h.Revision) {
			return nil
		}
	}
}
