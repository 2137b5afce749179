package persist

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"
)

var (
	// ErrLocked: another process, or another Store of this one, holds the folder.
	ErrLocked = errors.New("folder is in use")
	// ErrFormat: the folder was written by another version, or is not ours. Nothing was touched.
	ErrFormat = errors.New("unknown folder format")
	// ErrCorrupt: bytes are not what was written.
	ErrCorrupt = errors.New("stored data is damaged")
	// ErrDisk: the disk refused to write. Nothing was half written; see Store.Reopen.
	ErrDisk = errors.New("disk refuses to write")
	// ErrTooLarge: a record, row or section exceeds its limit.
	ErrTooLarge = errors.New("too large")
	// ErrClosed: the Store was closed.
	ErrClosed = errors.New("store is closed")
)

type Options struct {
	Dir       string
	FS        FS
	NoSync    bool
	ReadOnly  bool
	Logger    *slog.Logger
	CacheSize int64
}

type Store struct{}

func Open(o *Options) (*Store, error) { panic("soon") }
func (s *Store) Close() error         { panic("soon") }
func (s *Store) Append(rev uint64, record []byte) error {
	panic("soon")
}
func (s *Store) Last() uint64 { panic("soon") }
func (s *Store) Replay(after uint64, fn func(rev uint64, record []byte) error) error {
	panic("soon")
}
func (s *Store) Trim(upto uint64) error { panic("soon") }
func (s *Store) SafeTrim() uint64       { panic("soon") }

// Reopen makes a Store usable again after ErrDisk. Afterwards exactly what was
// accepted (Append and WriteRows that returned nil) is there.
func (s *Store) Reopen() error { panic("soon") }

type Rows struct{}

func (s *Store) NewRows() *Rows                        { panic("soon") }
func (s *Store) WriteRows(r *Rows) error               { panic("soon") }
func (r *Rows) Set(kind byte, key, value []byte)       { panic("soon") }
func (r *Rows) Delete(kind byte, key []byte)           { panic("soon") }
func (r *Rows) DeleteRange(kind byte, from, to []byte) { panic("soon") }
func (r *Rows) Len() int                               { panic("soon") }
func (r *Rows) Reset()                                 { panic("soon") }
func (s *Store) Row(dst []byte, kind byte, key []byte) ([]byte, bool, error) {
	panic("soon")
}
func (s *Store) ScanRows(kind byte, from, to []byte, descending bool, fn func(key, value []byte) (more bool, err error)) error {
	panic("soon")
}

type SnapshotWriter struct{}

func (w *SnapshotWriter) Section(kind uint16, body []byte) error { panic("soon") }

type SnapshotInfo struct {
	Rev     uint64
	Size    int64
	Path    string
	Written time.Time
	Damaged bool
}

func (s *Store) WriteSnapshot(rev uint64, write func(w *SnapshotWriter) error) error {
	panic("soon")
}

// LoadSnapshot: bodies of the sequence may be kept by load.
func (s *Store) LoadSnapshot(load func(rev uint64, sections iter.Seq2[uint16, []byte]) error) (rev uint64, err error) {
	panic("soon")
}
func (s *Store) Snapshots() ([]SnapshotInfo, error) { panic("soon") }

type Report struct{ Damage []Damage }
type Damage struct {
	What string
	Err  error
}

func (s *Store) Check(ctx context.Context) (Report, error) { panic("soon") }

type Metrics struct{}

func (s *Store) Metrics() Metrics { panic("soon") }
