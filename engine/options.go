package engine

import (
	"io"
	"log/slog"
	"time"

	"lapid/persist"
)

// Options is how an Engine is set up. Zero values mean the defaults written
// beside them.
type Options struct {
	Dir    string               // folder of the store; made when missing
	FS     persist.FS           // nil: the real disk
	NoSync bool                 // answer writes before they are on the disk: an operator's risk
	Now    func() time.Time     // nil: time.Now. The clock at the door and of the expiry loop
	Steady func() time.Duration // nil: the monotonic reading in Now's times. For tests of clocks that jump
	Logger *slog.Logger         // nil: silence

	// Progress gets, while OpenContext reads the store, a sentence at the beginning of
	// each part and every other second: what is read, and how far that is. By the
	// goroutine that opens, which waits for it. nil: it is not told.
	Progress func(doing string)

	// Yield is called between two stretches of a long computation, every hundred
	// microseconds or so, by the goroutine that computes: the one of a request, or the
	// only one that commits. So it must not wait, and must not write. It is for a server
	// that has to look after its connections while all processors compute. It may be
	// called as soon as the engine runs. nil: it is not called.
	Yield func()

	// TrustClock: a start believes the wall clock however far it lies ahead of the
	// last commit, and deletes what is too old by it.
	TrustClock bool

	// AllowlistsWin says whether allowlists win over what is decided (wins.go) from now on;
	// nil: as it was. It becomes a part of the history, so that a bouncer that comes from
	// before is told the difference. The caller may change it after Open.
	AllowlistsWin *bool

	// Profiles judges alerts; nil: every alert is stored without decisions.
	// SetProfiles swaps it later.
	Profiles Profiles

	Retention Retention

	// Journal is a history that several engines share: this one begins by following it
	// (Lead, Yield). nil: the store's own, and the engine writes.
	Journal Journal

	// Shared is what the history in Journal is called there, of those that may begin in its place: in each, clients know places
	// by another name (NameHistory). Any goroutine may call it. nil: there is one alone.
	Shared func() string
	// Relay says that Journal gives a history that is redacted (Redact), for an engine that
	// never writes: rows of bouncers from new addresses, and the places of all, are its own, in
	// its store.
	Relay bool

	// JournalPatience is how long a commit waits for a shared Journal's answer before it
	// counts as unsure (8 seconds).
	JournalPatience time.Duration

	// MaxQueued bounds what waits for the committer, proposals and bytes
	// (8192 and 256 MiB). A write beyond is refused with ErrBusy and costs
	// nothing.
	MaxQueued      int
	MaxQueuedBytes int

	// History is how many events are kept for streams at most (2 Mi, 8 MiB of
	// memory). A bouncer further behind starts over.
	History int

	// BookmarkBytes is how much of the journal is kept for the slowest Bookmark at most, in
	// bytes on the disk (1 GiB; negative: nothing is kept). It is looked at when a snapshot
	// has been written.
	BookmarkBytes int64

	// Audit is how much of the audit is kept; nil: none is written (Trail).
	Audit *AuditOptions

	// BouncersPerKey is how many rows one key, or one certificate's name, gets from
	// addresses that an operator did not name (10 000). One more, and the row that
	// was heard of longest ago goes.
	BouncersPerKey int

	// SnapshotBytes and SnapshotEvery say when a snapshot is due: so much
	// journal since the last one (64 MiB), or any journal after so long
	// (10 minutes).
	SnapshotBytes int64
	SnapshotEvery time.Duration
}

// Retention is what is kept of the past. Zero values keep everything. Alerts
// with a running decision are never dropped.
type Retention struct {
	MaxItems         int           // about so many alerts
	MaxAge           time.Duration // of alerts since reception
	UsageMaxAge      time.Duration // of usage metrics
	BouncersKey      time.Duration // bouncers with a key that pulled last so long ago
	BouncersCert     time.Duration
	MachinesPassword time.Duration // machines heard of last so long ago, without alerts, not local
	MachinesCert     time.Duration
}

func (o *Options) withDefaults() Options {
	c := *o
	if o.AllowlistsWin != nil {
		wins := *o.AllowlistsWin
		c.AllowlistsWin = &wins
	}
	c.Audit = c.Audit.withDefaults()
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.JournalPatience == 0 {
		c.JournalPatience = 8 * time.Second
	}
	if c.MaxQueued == 0 {
		c.MaxQueued = 8192
	}
	if c.MaxQueuedBytes == 0 {
		c.MaxQueuedBytes = 256 << 20
	}
	if c.History == 0 {
		c.History = 2 << 20
	}
	if c.BookmarkBytes == 0 {
		c.BookmarkBytes = 1 << 30
	}
	if c.BouncersPerKey <= 0 {
		c.BouncersPerKey = 10_000
	}
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = 64 << 20
	}
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = 10 * time.Minute
	}
	return c
}
