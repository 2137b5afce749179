package program

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapid/cmd/lapid/config"
	"lapid/engine"
)

// forgets is a journal that leads on as long as it has not forgotten what follows.
type forgets struct {
	engine.Journal
	err error
}

func (f *forgets) Follow(context.Context, engine.Revision, func(engine.Revision, []byte) error) error {
	return f.err
}

// TestNodeJournal: only where the history does not lead on is everything got anew; what fails is told, and tried again by the engine; what
// succeeds ends the following.
func TestNodeJournal(t *testing.T) {
	t.Parallel()
	asked, failed := 0, errors.New("no other node writes at the moment")
	behind := func(context.Context) error { asked++; return failed }
	follow := func(ctx context.Context, err error) error {
		return (&nodeJournal{&forgets{err: err}, behind}).Follow(ctx, 7, nil)
	}
	if err := follow(t.Context(), engine.ErrUnsure); !errors.Is(err, engine.ErrUnsure) || asked != 0 {
		t.Errorf("another error: %v, asked %d times", err, asked)
	}
	if err := follow(t.Context(), engine.ErrForgotten); !errors.Is(err, engine.ErrForgotten) || !strings.Contains(err.Error(), failed.Error()) || asked != 1 {
		t.Errorf("nobody gave it: %v, asked %d times", err, asked)
	}
	failed = nil
	ctx, cancel := context.WithCancel(t.Context())
	behind = func(context.Context) error { cancel(); return nil }
	if err := follow(ctx, engine.ErrForgotten); !errors.Is(err, context.Canceled) {
		t.Errorf("another program is to begin: %v", err)
	}
	if err := follow(ctx, engine.ErrForgotten); !errors.Is(err, engine.ErrForgotten) {
		t.Errorf("an engine that ends: %v", err)
	}
}

// TestBehindAside: of stores that were put aside for being far behind only the newest stays, also where one of the same revision is there
// already; others stay.
func TestBehindAside(t *testing.T) {
	t.Parallel()
	s := &config.Setup{}
	s.Config.Paths.DataDir = t.TempDir()
	for _, one := range []string{".behind-1", ".behind-22", ".differs-3", ""} {
		if err := os.MkdirAll(filepath.Join(s.Store()+one, "journal"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p := &program{setup: s, log: &serverLog{Logger: slog.New(slog.DiscardHandler)}}
	if err := os.Rename(s.Store(), p.behindAside(22)); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(s.Store() + "*")
	if want := []string{s.Store() + ".behind-22", s.Store() + ".differs-3"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("there are %q, %v, not %q", left, err, want)
	}
}
