package persist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/cockroachdb/pebble/v2"
)

// A backup is one stream that holds what a new Store needs: the
// sections of a snapshot, all rows, and notes of the caller. Its frames are
// those of a snapshot file, so a backup that was cut, or has one bit wrong, is
// not restored. FORMAT.md draws it.

const (
	// Marks of a backup's frames, beside those of a snapshot.
	rowsMark = 'R'
	partMark = 'P' // the beginning of the body of the frame that follows

	// rowsFrame is how many bytes of rows share a frame; a larger row has its own,
	// and goes in parts when it is larger than a frame may be.
	rowsFrame = 1 << 20
)

// Format 2 has parts, and sections that a program which writes format 1 does not
// know.
var backupFile = fileKind{"LAPIDBAK", 3, "backup", fmt.Errorf("this is no backup: %w", ErrFormat)}

// Pin is the rows as they were at one moment. It must be closed, and before the
// Store is: Close waits for it.
type Pin struct {
	in   *instance
	snap *pebble.Snapshot
}

// PinRows holds the rows as they are now. It is for the committer, or for any goroutine
// while there are no writes.
func (s *Store) PinRows() (*Pin, error) {
	in, err := s.use()
	if err != nil {
		return nil, fmt.Errorf("pin rows: %w", err)
	}
	return &Pin{in, in.db.NewSnapshot()}, nil
}

// Close lets go of the rows.
func (p *Pin) Close() error {
	defer p.in.users.Done()
	if err := p.snap.Close(); err != nil {
		return fmt.Errorf("let go of rows: %w: %w", kindOf(err), err)
	}
	return nil
}

// each calls fn for every row, in order; key begins with the kind.
func (p *Pin) each(fn func(key, value []byte) error) error {
	it, err := p.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{rowSpace}, UpperBound: []byte{rowSpace + 1}})
	if err != nil {
		return fmt.Errorf("%w: %w", kindOf(err), err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("%w: %w", kindOf(err), err)
		}
		if err := fn(it.Key()[1:], value); err != nil {
			return err
		}
	}
	return iterError(it, "read rows")
}

// BackupWriter writes one backup, from one goroutine. After an error every later
// call returns the same one.
type BackupWriter struct{ frameWriter }

// NewBackupWriter begins the backup of a state after revision rev. Sections come
// first, then the rows, then notes, then End.
func NewBackupWriter(w io.Writer, rev uint64) *BackupWriter {
	return &BackupWriter{newFrameWriter(w, backupFile, rev)}
}

// Section appends one section of the snapshot, as SnapshotWriter.Section does.
func (b *BackupWriter) Section(kind uint16, body []byte) error {
	return b.frame(kind, sectionMark, body)
}

// Rows appends all rows that are pinned.
func (b *BackupWriter) Rows(p *Pin) error {
	var body []byte
	err := p.each(func(key, value []byte) error {
		if len(body) > 0 && len(body)+len(key)+len(value) > rowsFrame {
			if err := b.rows(body); err != nil {
				return err
			}
			body = body[:0]
		}
		body = appendBackupRow(body, key, value)
		return b.err
	})
	if err == nil && len(body) > 0 {
		err = b.rows(body)
	}
	return err
}

// EachRow appends rows that the caller makes, as Rows does. A key begins with its kind. Both are borrowed until the next.
func (b *BackupWriter) EachRow(rows iter.Seq2[[]byte, []byte]) error {
	var body []byte
	for key, value := range rows {
		if len(body) > 0 && len(body)+len(key)+len(value) > rowsFrame {
			if err := b.rows(body); err != nil {
				return err
			}
			body = body[:0]
		}
		body = appendBackupRow(body, key, value)
	}
	if len(body) > 0 {
		return b.rows(body)
	}
	return b.err
}

// rows appends a frame of rows, in parts if it has to be.
func (b *BackupWriter) rows(body []byte) error {
	for len(body) > MaxSection {
		if err := b.frame(0, partMark, body[:MaxSection]); err != nil {
			return err
		}
		body = body[MaxSection:]
	}
	return b.frame(0, rowsMark, body)
}

// Note appends something for the reader of the backup; it goes into no store.
func (b *BackupWriter) Note(kind uint16, body []byte) error { return b.frame(kind, noteMark, body) }

// End writes the end mark and all that is buffered, and returns the size.
func (b *BackupWriter) End() (int64, error) {
	err := b.end()
	return b.size, err
}

// appendBackupRow writes one row of a frame.
func appendBackupRow(dst, key, value []byte) []byte {
	dst = append(binary.AppendUvarint(dst, uint64(len(key))), key...)
	return append(binary.AppendUvarint(dst, uint64(len(value))), value...)
}

// parseBackupRow is the mirror of appendBackupRow; kind and key are those of Row.
func parseBackupRow(b []byte) (kind byte, key, value, rest []byte, err error) {
	key, rest, ok := cutPrefixed(b)
	if ok && len(key) > 0 {
		if value, rest, ok = cutPrefixed(rest); ok {
			return key[0], key[1:], value, rest, nil
		}
	}
	return 0, nil, nil, nil, fmt.Errorf("a row is cut: %w", ErrCorrupt)
}

func cutPrefixed(b []byte) (text, rest []byte, ok bool) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n:][:length:length], b[n:][length:], true
}

// errCut is what a backup without its end mark is.
func errCut(number uint32, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the backup ends in frame %d, before its end mark: %w", number, ErrCorrupt)
	}
	return fmt.Errorf("read frame %d of the backup: %w", number, err)
}
