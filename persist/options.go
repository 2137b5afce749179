package persist

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Limits. Beyond them the call returns ErrTooLarge and writes nothing.
const (
	// MaxRecord bounds one journal record, in bytes. Callers cut an import into
	// many records of a few megabytes; this is far above and far below the 4 GiB
	// at which Pebble gives up.
	MaxRecord = 256 << 20
	// MaxRows bounds one batch of rows, in bytes.
	MaxRows = 256 << 20
	// MaxSection bounds one snapshot section, in bytes. A reader allocates no more
	// than this for a length it was told.
	MaxSection = 64 << 20
)

// Options configure a Store. The zero value of each field means its default.
type Options struct {
	// Dir is the folder. Open creates it, mode 0700, when it is missing.
	Dir string
	// FS is the disk. Default: the machine's own.
	FS FS
	// NoSync lets Append return before the record is on disk: a power failure may
	// then lose the latest records (never one in the middle), a killed process may
	// lose those of the last moment. Default: every Append is synced.
	NoSync bool
	// ReadOnly opens an existing folder for Check, Replay, LoadSnapshot and rows
	// without changing a byte of it; all writes return ErrReadOnly.
	ReadOnly bool
	// ServeReads opens a store also while the disk takes no writes, because it is
	// full or was made read-only: what is there can be read, Err tells why nothing
	// can be written, and Reopen ends that. Default: such an Open is an ErrDisk.
	ServeReads bool
	// Logger hears of failures, once each, where they stop. Default: no logger.
	Logger *slog.Logger
	// CacheSize bounds the cache of row and journal blocks, in bytes. Cold rows
	// are read for operators, so it is small. Default: 8 MiB.
	CacheSize int64
	// MemTableSize is how much is kept in memory before it is written to a table,
	// in bytes. At most four times as much is held while the disk is behind; then
	// Append waits. Records above half of it bypass it, so a small value serves
	// single decisions and imports alike. Default: 4 MiB.
	MemTableSize uint64
}

// withDefaults returns a copy of o with every unset field filled in.
func (o *Options) withDefaults() Options {
	c := *o
	if c.FS == nil {
		c.FS = machineDisk{vfs.Default}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.CacheSize == 0 {
		c.CacheSize = 8 << 20
	}
	if c.MemTableSize == 0 {
		c.MemTableSize = 4 << 20
	}
	return c
}

// pebbleOptions are chosen for a journal that is written once, read at start and
// thrown away from the front, beside rows that are rarely read. No Bloom filters:
// a missing row is not worth memory. Old log files are written over (a synced
// append to one is about half the work of growing a new one).
func (o *Options) pebbleOptions(in *instance, cache *pebble.Cache) *pebble.Options {
	merges := newCompactions(in.fence)
	p := &pebble.Options{
		FS:                          in.fence,
		Cache:                       cache,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		MemTableSize:                o.MemTableSize,
		MemTableStopWritesThreshold: 4,
		// The journal is deleted from the front, hardly ever merged: many small
		// tables cost a replay nothing, a writer stalled for their sake would.
		L0StopWritesThreshold:      1000,
		MaxOpenFiles:               256,
		MaxManifestFileSize:        1 << 20,
		CompactionConcurrencyRange: func() (int, int) { return 1, 1 },
		Logger:                     pebbleLogger{o.Logger},
		EventListener: &pebble.EventListener{
			WALCreated: func(info pebble.WALCreateInfo) {
				if info.Err == nil {
					in.unsigned.Store(true)
					in.fence.beginLog(o.FS.PathJoin(o.Dir, storeDir), uint64(info.FileNum))
				}
			},
			BackgroundError: func(err error) {
				merges.failed.Store(true)
				o.Logger.Warn("store: background work failed", "err", err.Error())
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				o.Logger.Error("store: damaged table", "path", info.Path, "err", info.Details.Error())
			},
		},
	}
	p.Experimental.CompactionScheduler = merges
	p.Experimental.SpanPolicyFunc = spanOf
	p.Experimental.FileCacheShards = 1
	p.Experimental.ReadSamplingMultiplier = -1 // reading never starts background work
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	return p
}

// spanOf has each kind of keys in tables of its own. Keys of a kind are written in their
// order, so their tables do not overlap, and are moved down the levels instead of being
// merged; what is trimmed are whole tables, which are dropped unread. (With journal and
// rows in one table each overlaps every other, and a third of the processor time of 64
// writers went into merging what was in order.) The journal is read at a start alone and
// thrown away soon: it is compressed fast.
func spanOf(key []byte) (pebble.SpanPolicy, []byte, error) {
	switch {
	case len(key) == 0 || key[0] < journalSpace:
		return pebble.SpanPolicy{}, []byte{journalSpace}, nil
	case key[0] == journalSpace:
		return pebble.SpanPolicy{PreferFastCompression: true}, journalEnd(), nil
	case key[0] == rowSpace && len(key) > 1:
		_, end := rowBounds(key[1], nil, nil)
		return pebble.SpanPolicy{}, end, nil
	case key[0] < rowSpace:
		return pebble.SpanPolicy{}, []byte{rowSpace}, nil
	}
	return pebble.SpanPolicy{}, nil, nil
}

// pebbleLogger passes on what is wrong and drops the diary.
type pebbleLogger struct{ log *slog.Logger }

func (l pebbleLogger) Infof(string, ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Warn("store: " + fmt.Sprintf(format, args...))
}

// Fatalf is where Pebble gives up on the process. No failure of the disk gets
// here (see fence); what is left are broken assumptions inside Pebble itself,
// and going on with those would put the journal at risk.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	panic("BUG: pebble: " + fmt.Sprintf(format, args...))
}
