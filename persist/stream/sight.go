package stream

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// signs are what was seen of the writer: it lives while one of them is new. A number counts, whoever saw it: a watch,
// or an answer.
type signs struct {
	writer, beat, head int64 // mod_revisions
	at                 int64 // when one was new, steady
}

// sawSigns takes mod_revisions, 0 for what was not seen. It reports whether one was new.
func (l *Log) sawSigns(writer, beat, head int64) bool {
	l.mu.Lock()
	s := &l.signs
	grew := writer > s.writer || beat > s.beat || head > s.head
	if grew {
		s.writer, s.beat, s.head, s.at = max(s.writer, writer), max(s.beat, beat), max(s.head, head), steady()
	}
	l.mu.Unlock()
	if grew {
		l.signed.give()
	}
	return grew
}

// lastSign is when the writer last showed that it lives, steady.
func (l *Log) lastSign() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.signs.at
}

// beginSigns counts the time from now on: nothing was seen while nobody looked, or no etcd answered.
func (l *Log) beginSigns() {
	l.mu.Lock()
	l.signs.at = steady()
	l.mu.Unlock()
}

// watchAgain is the longest pause before something that failed is watched anew; it doubles up to that.
const watchAgain = time.Second

// watchKeys keeps an eye on all keys but log and parts until ctx ends.
func (l *Log) watchKeys(ctx context.Context) {
	for pause := again; ctx.Err() == nil; {
		start := steady()
		err := l.watchOnce(ctx)
		if ctx.Err() == nil {
			l.log.Debug("the keys of the cluster are looked at anew", "error", err)
		}
		if pause = min(2*pause, watchAgain); steady()-start > int64(pause) {
			pause = again // it worked for a while
		}
		wait(ctx, pause)
	}
}

// watchOnce reads what is there and watches from then on, until something fails.
func (l *Log) watchOnce(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, readFor)
	a, err := l.ask(bounded, request{then: append([]clientv3.Op{l.getKnown()}, l.gets()...)})
	cancel()
	if err != nil {
		return err
	}
	s := standingOf(a)
	if _, err := l.identify(s); err != nil {
		return err
	}
	if err := l.attend(s); err != nil {
		return err
	}
	l.sawKnown(a.Responses[0].GetResponseRange().Kvs, true)

	ctx, cancel = context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	e := l.endpoints.pick()
	bounded, stop := context.WithTimeout(ctx, mostPatience)
	c, err := l.endpoints.ready(bounded, e)
	stop()
	if err != nil {
		e.failed()
		return err
	}
	rest := c.Watch(ctx, l.key(keyBeat), clientv3.WithRange(l.key(underLog)), clientv3.WithRev(s.revision+1))
	writer := c.Watch(ctx, l.key(keyWriter), clientv3.WithRev(s.revision+1))
	for {
		anew := l.blind.next()
		var r clientv3.WatchResponse
		var ok bool
		select {
		case r, ok = <-rest:
		case r, ok = <-writer:
		case <-anew:
			e.failed()
			return errWatch
		case <-ctx.Done():
			return ctx.Err()
		}
		if !ok || r.Err() != nil {
			e.failed()
			return errors.Join(errWatch, r.Err())
		}
		for _, ev := range r.Events {
			if err := l.sawKey(ev); err != nil {
				return err
			}
		}
	}
}

// sawKey takes one change.
func (l *Log) sawKey(ev *clientv3.Event) error {
	name, kv := strings.TrimPrefix(string(ev.Kv.Key), l.key("")), ev.Kv
	if ev.Type != mvccpb.PUT {
		if node, ok := strings.CutPrefix(name, underKnow); ok {
			l.mu.Lock()
			if t, has := l.known[node]; has && t.mod < kv.ModRevision {
				delete(l.known, node)
			}
			l.mu.Unlock()
		}
		return nil
	}
	switch {
	case name == keyBeat:
		l.sawSigns(0, kv.ModRevision, 0)
	case name == keyHead:
		return l.attend(standing{head: kv})
	case name == keyWriter:
		return l.attend(standing{writer: kv})
	case name == keyID:
		_, err := l.identify(standing{id: kv})
		return err
	case strings.HasPrefix(name, underKnow):
		l.sawKnown([]*mvccpb.KeyValue{kv}, false)
	}
	return nil
}
