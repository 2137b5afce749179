package engine

import (
	"context"
	"errors"
	"iter"
	"testing"

	"lapid/persist"
)

// Ids beyond those that are kept are forgotten, oldest first, and then none that is as old is taken. A
// snapshot holds the same.
func TestForgottenRequests(t *testing.T) {
	t.Parallel()
	s := newState()
	id := func(n int) RequestID {
		return RequestID{After: Revision(n/100 + 1), Name: [8]byte{byte(n >> 16), byte(n >> 8), byte(n)}}
	}
	const some = requestChunk + 7
	held := s.next.requests
	for n := range requestsAtMost + some {
		s.noteAnswer(answered{id: id(n), number: numberAddAlerts, first: uint64(n), n: 1})
		if n == requestsAtMost-1 {
			held = s.next.requests
		}
	}
	for _, n := range []int{0, some - 1} {
		if s.answerTo(id(n)) != nil || !s.forgotten(id(n)) {
			t.Errorf("the id of request %d is not forgotten", n)
		}
	}
	if a := s.answerTo(id(some)); a == nil || a.first != some || !s.forgotten(RequestID{After: id(some - 1).After}) || s.forgotten(RequestID{After: id(some-1).After + 1}) {
		t.Errorf("the oldest that is kept: %+v, and %d is forgotten", a, s.next.requests.forgotten)
	}
	n := 0
	for a := range held.each { // a view that was held has what it had
		if a.first != uint64(n) {
			t.Fatalf("at place %d is the answer to %d", n, a.first)
		}
		n++
	}
	if n != requestsAtMost {
		t.Errorf("a view that was held has %d ids", n)
	}
	var list sectionList
	s.next.state = s
	if err := s.next.write(t.Context(), &list, s.next.appendHeader(nil), s.next.people()); err != nil {
		t.Fatal(err)
	}
	loaded, options := newState(), (&Options{}).withDefaults()
	err := loaded.load(t.Context(), 1<<20, iter.Seq2[uint16, []byte](func(yield func(uint16, []byte) bool) {
		for _, one := range list.list {
			if !yield(one.Kind, one.Body) {
				return
			}
		}
	}), 100, newStarting(&options))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := loaded.next.requests.digest(nil), s.next.requests.digest(nil); string(got) != string(want) {
		t.Errorf("a snapshot of %d bytes was loaded as %d", len(want), len(got))
	}
	if s.forgotten(id(0)) != loaded.forgotten(id(0)) || loaded.answerTo(id(some)) == nil {
		t.Error("what was loaded forgets otherwise")
	}
}

// What is too old to be known, and what is another write than it was, is refused, and nothing is
// stored.
func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	e, err := Open(&Options{Dir: "store", FS: persist.NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	for n := range requestsAtMost + 1 {
		e.state.noteAnswer(answered{id: RequestID{After: Revision(n/1000) + 1, Name: [8]byte{1, byte(n >> 8), byte(n)}}, number: numberPutMachine})
	}
	go func() { over <- e.Run(ctx) }()
	defer func() {
		stop()
		if err := errors.Join(<-over, e.Close()); err != nil {
			t.Error(err)
		}
	}()
	rev := e.View().revision
	err = e.AddMachine(ForRequest(ctx, RequestID{After: 1}), &Machine{ID: "late"}, false)
	if !errors.Is(err, ErrBusy) || e.View().Machine("late") != nil {
		t.Errorf("a request that may be forgotten: %v", err)
	}
	about := RequestID{After: 70}.write("op", 0)
	e.state.noteAnswer(answered{id: about, number: numberPutMachine})
	p := &proposal{key: "op", op: &dropUsage{}}
	if err := e.propose(ForRequest(ctx, RequestID{After: 70}), p); !errors.Is(err, ErrBusy) {
		t.Errorf("another kind of write: %v", err)
	}
	if got := e.View().revision; got != rev {
		t.Errorf("revision %d after %d", got, rev)
	}
}
