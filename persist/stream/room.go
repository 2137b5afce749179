package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// room is how much of its quota etcd uses, in bytes.
type room struct {
	quota, size, inUse int64 // 0: not known
	noCompact          bool
}

// The quota of an etcd that does not tell it, and how much of it may be in use before that is told, and before nothing more
// is stored: the alarm that comes at the end of it stops every user of that etcd.
const (
	defaultQuota = 2 << 30
	warnedAbove  = 60 // percent
	fullAbove    = 80
)

// over reports whether more than so many percent of the quota are in use.
func (r room) over(percent int64) bool { return r.inUse*100 > r.quota*percent && r.quota > 0 }

// ErrNoRoom: etcd has too little room left. Nothing was stored.
var ErrNoRoom = errors.New("etcd has too little room left")

func (l *Log) roomIs() room {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room
}

// roomFor refuses a commit that would bring etcd near its quota.
func (l *Log) roomFor(bytes int) error {
	r := l.roomIs()
	switch {
	case r.quota == 0:
	case r.over(fullAbove):
		return fmt.Errorf("%w: %d MiB of %d are in use: trim more (cluster.keep), see what else uses this etcd, or raise quota-backend-bytes", ErrNoRoom, r.inUse>>20, r.quota>>20)
	case r.size+int64(bytes) > r.quota:
		return fmt.Errorf("%w: its file has %d MiB of %d, of which %d are in use: run `etcdctl defrag`, one member after the other", ErrNoRoom, r.size>>20, r.quota>>20, r.inUse>>20)
	}
	return nil
}

// lookAtRoom asks all members for it until ctx ends, and tells when it becomes scarce where this node is.
func (l *Log) lookAtRoom(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	warned := false
	for {
		if r, ok := l.sawMembers(l.statuses(ctx)); ok {
			if scarce := r.over(warnedAbove); scarce != warned {
				if warned = scarce; scarce {
					l.log.Warn("etcd's room becomes scarce: above 80 percent nothing more is stored", "in use", r.inUse, "quota", r.quota)
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sawMembers notes what all endpoints said of themselves. ok: one of them answered, and r is the room that counts, that of the one
// this node asks or, while it does not answer, of the first that does.
func (l *Log) sawMembers(all []is) (r room, ok bool) {
	here := l.endpoints.pick()
	members := make([]MemberFigures, len(all))
	for i := range all {
		if members[i] = figuresOf(&all[i]); all[i].err == nil && (!ok || all[i].endpoint == here) {
			r, ok = roomOf(all[i].status), true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range members {
		if m := &members[i]; !m.Up {
			m.silent = 1
			if i < len(l.etcds) { // the endpoints stay the same
				m.silent += l.etcds[i].silent
			}
		}
	}
	if l.etcds = members; ok {
		r.noCompact = l.room.noCompact
		l.room = r
	}
	return r, ok
}

func roomOf(s *clientv3.StatusResponse) room {
	r := room{quota: s.DbSizeQuota, size: s.DbSize, inUse: s.DbSizeInUse}
	if r.quota <= 0 {
		r.quota = defaultQuota
	}
	return r
}

// median of nothing is 0.
func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
