package persist

import (
	"io"
	"testing"
)

// turnFS lets another process have its turn just before this one gets the lock.
type turnFS struct {
	FS
	turn func()
}

func (t *turnFS) Lock(name string) (io.Closer, error) {
	if turn := t.turn; turn != nil {
		t.turn = nil
		turn()
	}
	return t.FS.Lock(name)
}

// TestMadeMeanwhile: a store that another process made and wrote to between the first look
// and the lock is opened, and not made once more over what it holds.
func TestMadeMeanwhile(t *testing.T) {
	t.Parallel()
	disk := NewMemFS()
	var id ID
	late := &Options{Dir: "store", FS: &turnFS{disk, func() {
		s, err := Open(&Options{Dir: "store", FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Append(1, []byte("accepted")); err != nil {
			t.Fatal(err)
		}
		id = s.ID()
		mustClose(t, s)
	}}}
	s, err := Open(late)
	if err != nil {
		t.Fatal(err)
	}
	if s.Last() != 1 || s.ID() != id {
		t.Errorf("it ends at %d and has the id %x, not %x", s.Last(), s.ID(), id)
	}
	mustClose(t, s)
}
