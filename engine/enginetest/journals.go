package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"lapid/engine"
)

// Journals is what every engine.Journal must hold. open returns the journal of a new and
// empty history and the ways to disturb it.
func Journals(t *testing.T, open func(t *testing.T) Shared) {
	for name, test := range map[string]func(*testing.T, Shared){
		"order":     journalOrder,
		"compare":   journalCompares,
		"borrowed":  journalBorrows,
		"follow":    journalFollows,
		"trim":      journalTrims,
		"again":     journalComesBack,
		"deposed":   journalDeposes,
		"followers": journalManyFollow,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// Shared is a history under test.
type Shared struct {
	// Writer is the end of the one that writes. It answers without accidents.
	Writer engine.Journal

	// Again ends the process, loses what is not safe, and returns the writer's end of the
	// same history.
	Again func() engine.Journal

	// Release makes what a trim up to a revision forgets not needed by anything else; nil
	// where nothing else needs it.
	Release func(to engine.Revision)

	// Another returns the end of one more server that writes from now on; nil for a journal
	// that has one process.
	Another func() engine.Journal
}

// put appends commits and fails the test unless each is taken.
func put(t *testing.T, j engine.Journal, after engine.Revision, commits ...string) {
	t.Helper()
	for i, c := range commits {
		if err := j.Append(context.Background(), after+engine.Revision(i), []byte(c)); err != nil {
			t.Fatalf("append behind %d: %v", int(after)+i, err)
		}
	}
}

// read follows until it has so many commits.
func read(t *testing.T, j engine.Journal, after engine.Revision, many int) (got []string) {
	t.Helper()
	enough := errors.New("enough")
	if many == 0 {
		return nil
	}
	err := j.Follow(context.Background(), after, func(rev engine.Revision, commit []byte) error {
		if after++; rev != after {
			t.Errorf("revision %d instead of %d", rev, after)
		}
		if got = append(got, string(commit)); len(got) == many {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("follow: %v", err)
	}
	return got
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func newest(t *testing.T, j engine.Journal, want engine.Revision) {
	t.Helper()
	if rev, err := j.Newest(context.Background()); err != nil || rev < want {
		t.Errorf("the newest is %d, %v; %d was answered", rev, err, want)
	}
}

func journalOrder(t *testing.T, s Shared) {
	newest(t, s.Writer, 0)
	put(t, s.Writer, 0, "a", "", "c")
	newest(t, s.Writer, 3)
	same(t, read(t, s.Writer, 0, 3), "a", "", "c")
	same(t, read(t, s.Writer, 2, 1), "c")
}

// What does not follow the newest is refused and leaves nothing.
func journalCompares(t *testing.T, s Shared) {
	put(t, s.Writer, 0, "a", "b")
	for _, after := range []engine.Revision{0, 1, 3, 100} {
		if err := s.Writer.Append(context.Background(), after, []byte("no")); !errors.Is(err, engine.ErrNotWriter) {
			t.Errorf("append behind %d of 2: %v", after, err)
		}
	}
	put(t, s.Writer, 2, "c")
	same(t, read(t, s.Writer, 0, 3), "a", "b", "c")
}

// The bytes are the caller's again afterwards, on both sides.
func journalBorrows(t *testing.T, s Shared) {
	b := []byte("abc")
	if err := s.Writer.Append(context.Background(), 0, b); err != nil {
		t.Fatal(err)
	}
	copy(b, "xyz")
	put(t, s.Writer, 1, string(bytes.Repeat([]byte("long"), 100_000)))
	same(t, read(t, s.Writer, 0, 1), "abc")
}

// Follow hands over what comes, until ctx ends.
func journalFollows(t *testing.T, s Shared) {
	put(t, s.Writer, 0, "a")
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan string)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Writer.Follow(ctx, 0, func(_ engine.Revision, commit []byte) error {
			got <- string(commit)
			return nil
		})
	}()
	same(t, []string{<-got}, "a")
	for i := range 100 {
		put(t, s.Writer, engine.Revision(i+1), fmt.Sprint(i))
		same(t, []string{<-got}, fmt.Sprint(i))
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
	refused := errors.New("refused")
	err := s.Writer.Follow(context.Background(), 0, func(engine.Revision, []byte) error { return refused })
	if !errors.Is(err, refused) {
		t.Errorf("deliver's error comes back as %v", err)
	}
}

// A trim forgets the beginning and nothing else, and a reader that needs what is gone is told.
func journalTrims(t *testing.T, s Shared) {
	put(t, s.Writer, 0, "a", "b", "c", "d")
	if s.Release != nil {
		s.Release(2)
	}
	if err := s.Writer.Trim(2); err != nil {
		t.Fatal(err)
	}
	newest(t, s.Writer, 4)
	same(t, read(t, s.Writer, 2, 2), "c", "d")
	put(t, s.Writer, 4, "e")
	same(t, read(t, s.Writer, 4, 1), "e")
	if err := s.Writer.Trim(1); err != nil { // again, and less
		t.Fatal(err)
	}
	for _, after := range []engine.Revision{0, 1} {
		err := s.Writer.Follow(context.Background(), after, func(rev engine.Revision, _ []byte) error {
			return fmt.Errorf("revision %d", rev)
		})
		if !errors.Is(err, engine.ErrForgotten) {
			t.Errorf("following what is forgotten, from %d on: %v", after, err)
		}
	}
}

// What was answered is there after a crash.
func journalComesBack(t *testing.T, s Shared) {
	put(t, s.Writer, 0, "a", "b", "c")
	j := s.Again()
	newest(t, j, 3)
	same(t, read(t, j, 0, 3), "a", "b", "c")
	put(t, j, 3, "d")
	same(t, read(t, j, 2, 2), "c", "d")
}

// Once another writes the first is refused, for ever, and sees what the other wrote.
func journalDeposes(t *testing.T, s Shared) {
	put(t, s.Writer, 0, "a")
	if s.Another == nil {
		return // one process has it: journalCompares is all there is to it
	}
	other := s.Another()
	if err := s.Writer.Append(context.Background(), 1, []byte("no")); !errors.Is(err, engine.ErrNotWriter) {
		t.Errorf("append of the one before: %v", err)
	}
	newest(t, other, 1)
	put(t, other, 1, "b")
	if err := s.Writer.Append(context.Background(), 2, []byte("no")); !errors.Is(err, engine.ErrNotWriter) {
		t.Errorf("append of the one before, at the right place: %v", err)
	}
	newest(t, s.Writer, 2)
	same(t, read(t, s.Writer, 0, 2), "a", "b")
}

// Many follow from many places while it grows; each gets each commit once and in order.
func journalManyFollow(t *testing.T, s Shared) {
	const many = 200
	var wait sync.WaitGroup
	put(t, s.Writer, 0, "1", "2", "3")
	for after := range engine.Revision(4) {
		wait.Go(func() {
			got := read(t, s.Writer, after, many-int(after))
			for i, c := range got {
				if want := fmt.Sprint(int(after) + i + 1); c != want {
					t.Errorf("behind %d: commit %s is %q", after, want, c)
				}
			}
		})
	}
	for rev := engine.Revision(4); rev <= many; rev++ {
		put(t, s.Writer, rev-1, fmt.Sprint(rev))
	}
	wait.Wait()
}
