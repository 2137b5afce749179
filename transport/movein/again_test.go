package movein

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapid/engine"
)

// bouncerNames are the names of the bouncers here, sorted.
func (h *house) bouncerNames() (names []string) {
	for _, row := range h.e.View().Bouncers() {
		names = append(names, row.Load().Name)
	}
	slices.Sort(names)
	return names
}

// TestPeopleGoInAnyOrder removes and renames bouncers and others at the source, among them
// such as a key has made by itself: what is there is here, also a third time.
func TestPeopleGoInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"DELETE FROM bouncers WHERE name = 'fw-edge@192.0.2.21'",
		"DELETE FROM bouncers WHERE name LIKE 'fw-edge%'",
		"DELETE FROM bouncers WHERE name = 'fw-edge'",
		"UPDATE bouncers SET name = 'fw-new' WHERE name = 'fw-edge'",
		"UPDATE bouncers SET name = 'fw-edge@192.0.2.99', ip_address = '192.0.2.99' WHERE name = 'fw-edge@192.0.2.21'",
		"DELETE FROM bouncers WHERE auth_type = 'tls'",
	} {
		for _, framed := range []bool{false, true} {
			p, owner := filled(t, SQLite, "sqlite-1.7.sql")
			h := newHouse(t)
			h.must(p)
			exec1(t, owner, command)
			var want []string
			rows, err := owner.Query("SELECT name FROM bouncers ORDER BY name")
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var name string
				if err := rows.Scan(&name); err != nil {
					t.Fatal(err)
				}
				want = append(want, name)
			}
			rows.Close()
			for range 2 {
				if !framed {
					h.must(p)
				} else if _, err := h.receive(t, p); err != nil {
					t.Fatalf("%s: %v", command, err)
				}
				if got := h.bouncerNames(); !slices.Equal(got, want) {
					t.Errorf("%s, framed %v: here are %v, and there %v", command, framed, got, want)
				}
			}
		}
	}
}

// TestKeyOfOneThatIsGone does not go on by a row that it made here.
func TestKeyOfOneThatIsGone(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	h := newHouse(t)
	h.must(p)
	made := *h.e.View().Bouncer("fw-edge").Load()
	made.Name, made.AutoCreated = "fw-edge@203.0.113.9", true
	if _, err := h.e.AddBouncer(t.Context(), &made); err != nil {
		t.Fatal(err)
	}
	exec1(t, owner, "DELETE FROM bouncers WHERE name = 'fw-edge'")
	h.must(p)
	if h.e.View().Bouncer(made.Name) != nil {
		t.Error("the key goes on")
	}
}

// TestArrivedIsPutAside: what has arrived and cannot be taken over does not keep others from
// being taken over, and is told of until one is.
func TestArrivedIsPutAside(t *testing.T) {
	t.Parallel()
	p, _ := filled(t, SQLite, "sqlite-1.7.sql")
	h := newHouse(t)
	dir := t.TempDir()
	a := NewArrival(h.e, dir, slog.New(slog.DiscardHandler))
	first := sent(t, p)
	if _, err := a.Receive(t.Context(), bytes.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	// A file of another store's, as an earlier program left it.
	write(t, a.arrived(), first)
	if err := a.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if UnderWay(dir) || !strings.Contains(Failed(dir), "movein.arrived.unusable") || a.Trouble() == nil || !a.Trouble().Kind.Aside() {
		t.Errorf("under way %v, told %q, trouble %v", UnderWay(dir), Failed(dir), a.Trouble())
	}
	if again := NewArrival(h.e, dir, slog.New(slog.DiscardHandler)); again.Trouble() == nil {
		t.Error("it is forgotten at a start")
	}
	if _, err := a.Receive(t.Context(), bytes.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "movein.*"))
	if Failed(dir) != "" || a.Trouble() != nil || len(left) != 1 {
		t.Errorf("after one that was taken over: %q, %v, %v", Failed(dir), a.Trouble(), left)
	}
	// A disk that refuses is tried again, though not for ever.
	write(t, a.arrived(), first)
	for n := range mostAttempts {
		err := a.failed(t.Context(), &engine.Error{Kind: engine.ErrDisk, Text: "no space left"})
		if aside := errors.Is(err, ErrPutAside); aside != (n == mostAttempts-1) || aside == UnderWay(dir) {
			t.Fatalf("attempt %d: %v", n, err)
		}
	}
	write(t, a.arrived(), first)
	ended, end := context.WithCancel(t.Context())
	if end(); errors.Is(a.failed(ended, engine.ErrNotFound), ErrPutAside) {
		t.Error("an end puts it aside")
	}
	if err := a.failed(t.Context(), &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounBouncer, Name: "x"}); !errors.Is(err, ErrPutAside) {
		t.Errorf("what no attempt mends: %v", err)
	}
}

// sent is a source as frames.
func sent(t *testing.T, p Place) []byte {
	t.Helper()
	s, err := Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var to bytes.Buffer
	if _, err := s.Send(t.Context(), Options{}, false, io.Writer(&to)); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
