package engine

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// starting tells how far a start has come that reads a large store: in the log at
// the beginning and the end of each part, with counts and seconds, and every
// tellStartEvery between; to Options.Progress the same, and the parts' beginnings.
// It belongs to the goroutine that opens, but for decisions.
type starting struct {
	log      *slog.Logger
	progress func(string)
	now      func() time.Time

	begun, told     time.Time // this part, and when it was last told of
	alerts, commits int
	bouncers        int
	machines        int
	bytes           int64
	decisions       atomic.Int64 // counted where they are inserted
}

// tellStartEvery is how often a start says where it stands.
const tellStartEvery = 2 * time.Second

func newStarting(o *Options) *starting {
	return &starting{log: o.Logger, progress: o.Progress, now: time.Now}
}

// begin says what is read from now on.
func (s *starting) begin(doing string, args ...any) {
	s.begun = s.now()
	s.told = s.begun
	s.log.Info(doing, args...)
	if s.progress != nil {
		s.progress(doing)
	}
}

// at says where the part stands, if that was not said a moment ago; text makes the
// sentence.
func (s *starting) at(text func() string) {
	now := s.now()
	if now.Sub(s.told) < tellStartEvery {
		return
	}
	s.told = now
	said := text()
	s.log.Info(said, "seconds", s.seconds())
	if s.progress != nil {
		s.progress(said)
	}
}

// seconds is how long the part has taken.
func (s *starting) seconds() float64 {
	return float64(s.now().Sub(s.begun).Milliseconds()) / 1000
}

func (s *starting) snapshot(rev uint64) string {
	return fmt.Sprintf("reading the snapshot of revision %d: %d alerts and %d decisions so far, %d MiB", rev, s.alerts, s.decisions.Load(), s.bytes>>20)
}

func (s *starting) journal(of uint64) string {
	return fmt.Sprintf("replaying the journal: %d of %d commits, %d MiB", s.commits, of, s.bytes>>20)
}
