package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestStarting: a part tells its beginning at once, then where it stands every
// other second, and nothing between.
func TestStarting(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var told []string
	now := time.Unix(1000, 0)
	s := newStarting(&Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Progress: func(doing string) { told = append(told, doing) }})
	s.now = func() time.Time { return now }
	s.begin("replaying the journal: 5000 commits after revision 7")
	for range 5000 {
		now = now.Add(time.Millisecond)
		s.commits++
		s.bytes += 1 << 20
		s.at(func() string { return s.journal(5000) })
	}
	want := []string{"replaying the journal: 5000 commits after revision 7",
		"replaying the journal: 2000 of 5000 commits, 2000 MiB", "replaying the journal: 4000 of 5000 commits, 4000 MiB"}
	if strings.Join(told, "\n") != strings.Join(want, "\n") {
		t.Errorf("told %q", told)
	}
	if text := log.String(); strings.Count(text, "\n") != 3 || !strings.Contains(text, "seconds=4\n") {
		t.Errorf("the log: %s", text)
	}
}
