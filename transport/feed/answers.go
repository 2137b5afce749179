package feed

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/budget"
)

const (
	// answersAtMost is how many answers in pieces are kept whole at once.
	answersAtMost = 2
	// soloAtMost is how many more there may be that hold aheadAtMost pieces each.
	soloAtMost = 6
	// staleAtMost is how old an answer may be, in seconds, that is better than none.
	staleAtMost = 3
)

// answers are the answers in pieces that are being sent.
//
// A full state of a million decisions is a hundred megabytes. When a fleet
// starts it is asked for by all at once, so it is encoded once, by a goroutine
// of its own, into a list of pieces that every reader walks at its own speed,
// also while it is growing. A poll with yet another question while there are
// answersAtMost lists gets an answer of its own, encoded piece by piece between
// two writes: more work, but hardly any memory.
//
// Most startups come alone, and to fill fresh memory with all of a state takes as
// long as encoding it. So the first answer to a question becomes its reader's alone
// once a few pieces are read and no other reader has joined, and then keeps only what
// is not read yet; a later poll within the second starts another answer, and that is
// kept for all others. So a fleet costs two encodings, and a single bouncer hardly
// any memory. Once no reader can join any more, what all readers have behind them
// goes at once.
//
// An answer belongs to a second, for decisions say how long they still run. A fleet
// may be so large that only letting it in takes the processors for seconds. Polls
// that come too late for the answer of their own second, and would be answered alone,
// get one that is up to staleAtMost seconds older: less than such an answer spends on
// its way.
//
// A list may be withdrawn from slow readers to make room; they know how far they got
// and go on alone. The same happens when the memory for all lists is used up: pieces
// are paid for as they are made (Options.SharedMemory), and what is let go is given
// back, but for the pieces that readers are at. Joining and leaving take a lock, once
// for an answer.
type answers struct {
	room *budget.Purse

	mu   sync.Mutex
	live []*sharedAnswer
	born uint64 // how many there have been
}

// join finds the answer of an edition, or starts one from src. One of another
// revision will do if same says that nothing was changed between. nil: there are
// too many, and the poll is to be answered alone. A reader that joined must leave.
func (all *answers) join(e edition, src *answerSource, same func(*answerSource, engine.Revision) bool) *sharedAnswer {
	all.mu.Lock()
	defer all.mu.Unlock()
	b, refused := all.enter(e, 0, same)
	if b != nil {
		return b
	}
	if all.full() && !all.makeRoom(src.now) {
		b, _ = all.enter(e, staleAtMost, same)
		return b
	}
	all.born++
	b = newSharedAnswer(e, src, !refused, budget.Hold{Of: budget.Holder{Name: strconv.FormatUint(all.born, 10)}, From: all.room})
	all.live = append(all.live, b)
	go encode(b)
	return b
}

// enter joins the newest answer to a question, of the edition's second or so many
// before. refused says that there is one, but not for others. Called with the lock.
func (all *answers) enter(e edition, stale int64, same func(*answerSource, engine.Revision) bool) (in *sharedAnswer, refused bool) {
	for _, b := range slices.Backward(all.live) {
		was := b.edition
		age := e.second - was.second
		was.to, was.second = e.to, e.second
		if was != e || age < 0 || age > stale || (b.edition.to != e.to && b.also != e.to && !same(b.source, b.edition.to)) {
			continue
		}
		if b.also = e.to; b.enter() {
			return b, false
		}
		refused = true
	}
	return nil, refused
}

// full reports whether there is no room for another answer. Called with the lock.
func (all *answers) full() bool {
	kept := 0
	for _, b := range all.live {
		if !b.solo() {
			kept++
		}
	}
	return kept >= answersAtMost || len(all.live) >= answersAtMost+soloAtMost
}

// makeRoom withdraws an answer that has no reader, or else one whose readers have had
// their time. Called with the lock.
func (all *answers) makeRoom(now int64) bool {
	for i, b := range all.live {
		if b.withdraw(now) {
			all.live = slices.Delete(all.live, i, i+1)
			return true
		}
	}
	return false
}

// sweep closes what belongs to a second that is over, and drops what has no reader
// any more. What several read stays open for polls that would find no other answer.
// It is called every second.
func (all *answers) sweep(now int64) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.live = slices.DeleteFunc(all.live, func(b *sharedAnswer) bool {
		age := now/int64(time.Second) - b.edition.second
		return age > 0 && (age > staleAtMost || !b.crowded()) && b.close()
	})
}

// close withdraws everything.
func (all *answers) close() {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, b := range all.live {
		b.withdraw(b.born + int64(patienceWithReaders))
	}
	all.live = nil
}
