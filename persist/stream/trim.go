package stream

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
)

// trimAtMost is how many entries one transaction forgets; trimWithin bounds one Trim.
const (
	trimAtMost = 1000
	trimWithin = 10 * time.Second
)

// Trim forgets entries of the log and their pieces, but never the newest. Only the writer may: engine.ErrNotWriter
// for all others. Whether a node still needs them is not asked here; Run does.
func (l *Log) Trim(to engine.Revision) error {
	r := l.reigning()
	if r == nil {
		return engine.ErrNotWriter
	}
	ctx, cancel := context.WithTimeout(l.life, trimWithin)
	defer cancel()
	_, err := l.trim(ctx, r, to)
	return err
}

// trim forgets at most trimAtMost entries at a time until all up to a revision are gone, and returns etcd's revision after.
func (l *Log) trim(ctx context.Context, r *reign, to engine.Revision) (revision int64, err error) {
	for {
		a, err := l.ask(ctx, request{then: []clientv3.Op{
			clientv3.OpGet(l.key(keyHead)),
			clientv3.OpGet(l.key(underLog), clientv3.WithRange(l.key(behind(underLog))), clientv3.WithKeysOnly(), clientv3.WithLimit(1),
				clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend)),
		}})
		if err != nil {
			return revision, explain(err)
		}
		head, oldest := one(a.Responses[0]), one(a.Responses[1])
		if head == nil || oldest == nil {
			return revision, nil
		}
		newest, err := parsePlace(head.Value)
		if err != nil {
			return revision, err
		}
		first, err := parseRevision(string(oldest.Key[len(l.key(underLog)):]))
		if err != nil {
			return revision, err
		}
		if newest.Revision == 0 || first > min(to, newest.Revision-1) {
			return revision, nil
		}
		upto := min(to, newest.Revision-1, first+trimAtMost-1)
		if revision, err = l.forget(ctx, r, upto); err != nil {
			return revision, err
		}
	}
}

func (l *Log) forget(ctx context.Context, r *reign, upto engine.Revision) (int64, error) {
	a, err := l.ask(ctx, request{
		when: []clientv3.Cmp{l.at(keyWriter, r.term)},
		then: []clientv3.Op{
			clientv3.OpDelete(l.key(underLog), clientv3.WithRange(l.key(keyLog(upto+1)))),
			clientv3.OpDelete(l.key(underPart), clientv3.WithRange(fmt.Sprintf("%s%016x", l.key(underPart), uint64(upto+1)))),
		},
		otherwise: []clientv3.Op{clientv3.OpGet(l.key(keyWriter))},
	})
	if err != nil {
		return 0, explain(err)
	}
	if !a.Succeeded {
		return 0, fmt.Errorf("%w: nothing was trimmed", engine.ErrNotWriter)
	}
	return a.Header.Revision, nil
}
