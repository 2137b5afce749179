package program

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lapid/cmd/lapid/config"
)

// TestGrades: journald is told how grave a line is, and the line is what it is elsewhere.
func TestGrades(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		s := &config.Setup{}
		s.Config.Common.Format = format
		var out bytes.Buffer
		h, err := logHandler(s, journal{&out}, slog.LevelInfo)
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(h).With("a", 1).WithGroup("g")
		log.Debug("not wanted")
		log.Info("one", "b", 2)
		log.Warn("two")
		log.Error("three", "error", errors.New("no\nway"))
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 3 {
			t.Fatalf("%s: %q", format, lines)
		}
		for i, mark := range []string{"<6>", "<4>", "<3>"} {
			word, there := []string{"one", "two", "three"}[i], []string{"g.b=2", "a=1", "g.error="}[i]
			if format == "json" {
				there = []string{`"g":{"b":2}`, `"a":1`, `"g":{"error"`}[i]
			}
			if !strings.HasPrefix(lines[i], mark) || !strings.Contains(lines[i], word) || !strings.Contains(lines[i], there) {
				t.Errorf("%s: %q, want %s and %s", format, lines[i], mark, there)
			}
		}
	}
}

// TestUnderJournal: a stream is journald's only if it still is the one that systemd named.
func TestUnderJournal(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var s syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &s); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%d:%d", s.Dev, s.Ino)
	if !underJournal(f, name) || underJournal(f, name+"1") || underJournal(f, "") || underJournal(&bytes.Buffer{}, name) {
		t.Errorf("%s is taken for something else", name)
	}
}
