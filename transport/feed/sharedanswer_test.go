package feed

import (
	"testing"
	"time"

	"lapid/engine"
)

// TestWithdrawn takes an answer away from a reader in the middle: it gets the same
// bytes all the same.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.banMany(3000)
	h.end("10.0.0.0/24", 256)
	src := func() *answerSource {
		return &answerSource{view: h.View(), raw: []byte("startup=true"), now: h.Engine.Now()}
	}
	pieces := 0
	collect := func(b *sharedAnswer, stop int) []byte {
		var got []byte
		pieces = 0
		err := h.follow(b, func(p []byte, _ bool) error {
			if pieces++; pieces == stop {
				b.withdraw(b.born + int64(time.Hour))
			}
			got = append(got, p...)
			return nil
		})
		h.must(err)
		return got
	}
	want := collect(h.start(src(), false), 0)
	if fresh, gone := lists(t, string(want)); len(fresh) != 3000-256 || len(gone) != 256 {
		t.Fatalf("%d and %d", len(fresh), len(gone))
	}
	if pieces < 4 {
		t.Fatalf("only %d pieces", pieces)
	}
	all := pieces
	for stop := 1; stop <= all; stop++ {
		if got := collect(h.start(src(), false), stop); string(got) != string(want) {
			t.Errorf("taken away after %d pieces: %d bytes of %d", stop, len(got), len(want))
		}
	}
}

// TestSoloReader has one reader go ahead: the answer becomes its own and keeps
// little. Who comes later shares another one, which is kept.
func TestSoloReader(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const n = 60_000
	h.banMany(n)
	src := &answerSource{view: h.View(), raw: []byte("startup=true"), now: h.Engine.Now()}
	asked := edition{raw: "startup=true", to: src.view.Revision(), second: src.now / int64(time.Second)}
	all := answers{room: h.feed.answers.room}
	join := func() *sharedAnswer {
		b := all.join(asked, src, func(*answerSource, engine.Revision) bool { return true })
		if b == nil {
			t.Fatal("there are too many answers")
		}
		return b
	}
	var late []*sharedAnswer
	read := func(b *sharedAnswer, at int, then func()) []byte {
		var got []byte
		pieces := 0
		h.must(h.follow(b, func(p []byte, _ bool) error {
			if pieces++; pieces == at {
				then()
			}
			got = append(got, p...)
			return nil
		}))
		b.leave()
		return got
	}
	first := join()
	want := read(first, soloAfter+2, func() { late = append(late, join(), join()) })
	if fresh, _ := lists(t, string(want)); len(fresh) != n {
		t.Fatalf("%d decisions of %d", len(fresh), n)
	}
	if late[0] == first || late[1] != late[0] || !first.solo() || late[0].solo() {
		t.Fatal("who came late was not given one new body")
	}
	for i, p := range first.pieces[:soloAfter] {
		if p.data != nil {
			t.Errorf("piece %d is still there", i)
		}
	}
	got := read(late[0], soloAfter+2, func() { late = append(late, join()) })
	if late[2] != late[0] || string(got) != string(want) || string(read(late[1], 0, nil)) != string(want) {
		t.Error("the second answer is not the same for all")
	}
	if string(read(late[2], 0, nil)) != string(want) {
		t.Error("who came last did not get all of it")
	}
	all.close()
}

// TestPaidFor holds that what a shared answer keeps is what it has taken of the memory
// for those: for all pieces when all of them are there, for one that a reader is at
// when it was withdrawn, and for nothing at the end.
func TestPaidFor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.banMany(3000)
	b := h.start(&answerSource{view: h.View(), raw: []byte("startup=true"), now: h.Engine.Now()}, false)
	if n := b.size(aheadAtMost); n < 100_000 {
		t.Fatalf("an answer of %d bytes", n)
	}
	kept := int64(0)
	for _, p := range b.pieces {
		kept += int64(cap(p.data))
	}
	r := b.follow()
	p, err := r.next()
	h.must(err)
	if used := h.feed.Usage().SharedBytes; used != kept || len(p.data) == 0 {
		t.Errorf("%d bytes are paid for, %d kept", used, kept)
	}
	b.withdraw(b.born + int64(time.Hour))
	if used := h.feed.Usage().SharedBytes; used == 0 || used > pieceSize+pieceSlack {
		t.Errorf("%d bytes are paid for one piece", used)
	}
	r.stop()
	b.leave()
	if used := h.feed.Usage().SharedBytes; used != 0 {
		t.Errorf("%d bytes are left", used)
	}
}
