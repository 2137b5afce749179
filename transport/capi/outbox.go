package capi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"lapid/engine"
)

const (
	batchLen   = 50
	batchBytes = 4 << 20 // a batch that has as much is sent
	// batchPatience bounds the sending of one batch.
	batchPatience = 30 * time.Second
	// moveAfter is how many commits that say nothing the bookmark may lag behind. Over
	// others it moves once a turn.
	moveAfter = 1000
	// refusedPause is between two requests while it is found out what is refused.
	refusedPause = time.Second
	// leastRefused is how many single refusals end a turn when nothing is taken; it doubles
	// from turn to turn up to mostRefused, so that many bad ones in a row are passed too.
	leastRefused = 4
	mostRefused  = 128
)

// place is how far the history was told: all of a revision, and so many things of the next
// one.
type place struct {
	rev  engine.Revision
	done int
}

// parcel is one thing to send, and how far the history is told with it.
type parcel[T any] struct {
	what  T
	size  int // about how many bytes it takes
	place place

	doubted bool   // it was refused, by itself or with others
	taken   uint64 // … when so many requests had been taken
}

// outbox sends what is found in the history from a durable bookmark on: at least once, in
// order, in batches. It passes over what is not to be sent, also durably, at most once a turn.
//
// What the service refuses for what is in it (400, 413, 422) is left out and told only with
// proof that the service takes others: it was refused, another was taken after that, and it
// was refused again, by itself. A service that refuses everything is one that fails: all
// waits for it.
type outbox[T any] struct {
	c    *Client
	mark *engine.Bookmark
	find func(*engine.Commit) []*parcel[T] // in order, without places
	post func(context.Context, []T) error
	left func(T, error)                     // told of what is left out
	lost func(from, newest engine.Revision) // told when the history does not reach back any more

	at    place
	moved engine.Revision // where the bookmark is
	news  bool            // something was said between moved and at

	suspects []*parcel[T] // refused by themselves, with nothing taken since; at most reach
	taken    uint64       // requests
	reach    int
}

// begin finds the place to go on from: the newest, where there is none.
func (b *outbox[T]) begin(ctx context.Context) error {
	at, stored := b.mark.At()
	if newest := b.c.o.Engine.View().Revision(); !stored {
		if err := b.mark.Move(ctx, newest); err != nil {
			return err
		}
		at = newest
	}
	b.at, b.moved, b.reach = place{rev: at}, at, leastRefused
	return nil
}

// turn sends all that there is. An error is of a batch that was not taken, or of the
// bookmark.
func (b *outbox[T]) turn(ctx context.Context) error {
	b.suspects = nil
	commits, ok := b.c.o.Engine.Commits(b.at.rev)
	if !ok {
		newest := b.c.o.Engine.View().Revision()
		b.lost(b.at.rev, newest)
		b.at = place{rev: newest}
		return b.move(ctx)
	}
	var batch []*parcel[T]
	size, last := 0, b.at.rev
	for rev, commit := range commits {
		for _, p := range b.fresh(rev, commit) {
			batch = append(batch, p)
			if size += p.size; len(batch) < batchLen && size < batchBytes {
				continue
			}
			if err := b.send(ctx, batch); err != nil {
				return b.stop(ctx, err)
			}
			batch, size = nil, 0
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		last, b.news = rev, b.news || saysAnything(commit)
		if len(batch) == 0 && len(b.suspects) == 0 {
			b.at = place{rev: rev}
		}
	}
	if len(batch) > 0 {
		if err := b.send(ctx, batch); err != nil {
			return b.stop(ctx, err)
		}
	}
	if n := len(b.suspects); n > 0 {
		return b.stop(ctx, fmt.Errorf("it refuses the last %d, and has taken nothing since: they wait until it takes another", n))
	}
	b.at = place{rev: last}
	if !b.news && b.at.rev-b.moved < moveAfter {
		return nil
	}
	return b.move(ctx)
}

// fresh is what of a commit is still to be sent.
func (b *outbox[T]) fresh(rev engine.Revision, commit *engine.Commit) []*parcel[T] {
	list := b.find(commit)
	for i, p := range list {
		if p.place = (place{rev - 1, i + 1}); i == len(list)-1 {
			p.place = place{rev: rev}
		}
	}
	if rev == b.at.rev+1 {
		return list[min(b.at.done, len(list)):]
	}
	return list
}

// saysAnything: bookmarks and the like do not, so no bookmark moves for another one's sake.
func saysAnything(commit *engine.Commit) bool {
	for range commit.Changes() {
		return true
	}
	return false
}

// stop ends a turn that fails. What was passed over before stays behind it.
func (b *outbox[T]) stop(ctx context.Context, err error) error {
	if !b.news {
		return err
	}
	return errors.Join(err, b.move(ctx))
}

// move notes the place durably.
func (b *outbox[T]) move(ctx context.Context) error {
	if b.at.rev <= b.moved {
		return nil
	}
	if err := b.mark.Move(ctx, b.at.rev); err != nil {
		return err
	}
	b.moved, b.news = b.at.rev, false
	return nil
}

// send sends a batch and notes that, as far as nothing waits before it.
func (b *outbox[T]) send(ctx context.Context, batch []*parcel[T]) error {
	list := make([]T, len(batch))
	for i, p := range batch {
		list[i] = p.what
	}
	err := b.post(ctx, list)
	if err == nil {
		b.taken++
		b.reach = leastRefused
		if before := b.suspects; len(before) > 0 { // it takes others: was it they, or the service?
			b.suspects = nil
			if err := b.send(ctx, before); err != nil {
				return err
			}
		}
		return b.past(ctx, batch)
	}
	var refused *Refusal
	if !errors.As(err, &refused) || !refused.ofContent() {
		return err
	}
	for _, p := range batch {
		if !p.doubted {
			p.doubted, p.taken = true, b.taken
		}
	}
	if len(batch) > 1 {
		half := len(batch) / 2
		for _, part := range [][]*parcel[T]{batch[:half], batch[half:]} {
			if err := b.c.session.pause(ctx, refusedPause); err != nil {
				return err
			}
			if err := b.send(ctx, part); err != nil {
				return err
			}
		}
		return nil
	}
	if b.taken > batch[0].taken {
		b.left(batch[0].what, err)
		return b.past(ctx, batch)
	}
	if b.suspects = append(b.suspects, batch[0]); len(b.suspects) < b.reach {
		return nil
	}
	n := b.reach
	b.reach = min(2*b.reach, mostRefused)
	return fmt.Errorf("it refuses %d one by one and takes none: %w", n, err)
}

// past notes that all up to the last of a batch is done with.
func (b *outbox[T]) past(ctx context.Context, batch []*parcel[T]) error {
	if len(b.suspects) > 0 {
		return nil
	}
	b.at = batch[len(batch)-1].place
	return b.move(ctx)
}

// ofContent tells whether the same again may be refused for what is in it.
func (r *Refusal) ofContent() bool {
	switch r.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}
