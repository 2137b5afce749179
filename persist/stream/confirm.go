package stream

import (
	"context"
	"fmt"
	"time"

	"lapid/engine"
)

// Newest asks etcd how far the history reaches. It may be below what an Append of this node, whose fate is not
// known, stores later.
func (l *Log) Newest(ctx context.Context) (engine.Revision, error) {
	s, err := l.look(ctx)
	if err != nil {
		return 0, explain(err)
	}
	return l.endOf(s)
}

func (l *Log) endOf(s standing) (engine.Revision, error) {
	if s.head == nil {
		return 0, fmt.Errorf("head was deleted under %s by somebody else: the next writer puts it back", l.options.Prefix)
	}
	head, err := parsePlace(s.head.Value)
	return head.Revision, err
}

// confirmEvery is the shortest time between the beginnings of two confirms, however many ask.
const confirmEvery = 10 * time.Millisecond

// confirms shares what many ask at the same time.
type confirms struct {
	log  *Log
	next chan *confirmed // holds the one that has not begun; whoever asks joins it
}

// confirmed is one question and its answer.
type confirmed struct {
	done chan struct{}
	rev  engine.Revision
	err  error
}

func (c *confirms) init(l *Log) {
	c.log = l
	c.next = make(chan *confirmed, 1)
	c.next <- nil
}

// Confirm returns a revision that is not smaller than any whose commit was answered before the call, as Newest does. Any number
// of callers share one question, which begins after each of them came. A view of that revision or a later one is then
// as new as any answer given before. Errors are those of ctx and of Join; after a second without an answer one says so.
func (l *Log) Confirm(ctx context.Context) (engine.Revision, error) {
	c := &l.confirms
	mine := <-c.next
	if mine == nil {
		mine = &confirmed{done: make(chan struct{})}
		go c.ask(mine)
	}
	c.next <- mine
	select {
	case <-mine.done:
		return mine.rev, mine.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// confirmWithin bounds one question.
const confirmWithin = time.Second

// ask takes the question that waits and puts it.
func (c *confirms) ask(mine *confirmed) {
	timer := time.NewTimer(time.Duration(max(0, c.log.confirmedAt.Load()+int64(confirmEvery)-steady())))
	select {
	case <-timer.C:
	case <-c.log.life.Done():
		timer.Stop()
	}
	c.log.confirmedAt.Store(steady())
	<-c.next // from here on others wait for the next one
	c.next <- nil
	ctx, cancel := context.WithTimeout(context.Background(), confirmWithin)
	defer cancel()
	mine.rev, mine.err = c.log.Newest(ctx)
	if mine.err == nil {
		c.log.confirmed.Store(steady())
		c.log.unconfirmed.Store(nil)
	} else {
		err := mine.err // the caller's own
		c.log.unconfirmed.Store(&err)
	}
	close(mine.done)
}

// Confirmed is how long ago the end of the history was last confirmed; ok is false if it never was.
func (l *Log) Confirmed() (ago time.Duration, ok bool) {
	at := l.confirmed.Load()
	return time.Duration(steady() - at), at != 0
}
