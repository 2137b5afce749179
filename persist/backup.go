package persist

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// A backup is one stream that holds what a Store needs to begin with: the
// sections of a snapshot, all rows, and notes of the caller. Its frames are
// those of a snapshot file, so a backup that was cut, or has one bit wrong, is
// not restored. FORMAT.md draws it.

const (
	backupMagic   = "LAPIDBAK"
	backupVersion = 1

	// Marks of a backup's frames, beside sectionMark and endMark.
	rowsMark = 'R'
	noteMark = 'N'

	// rowsFrame is how many bytes of rows share a frame; a larger row has its own.
	rowsFrame = 1 << 20
)

// Pin is the rows as they were at one moment. It must be closed, and before the
// Store is: Close waits for it.
type Pin struct {
	in   *instance
	snap *pebble.Snapshot
}

// PinRows holds the rows as they are now. The committer's alone, or nobody
// writes meanwhile.
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
type BackupWriter struct {
	w      *bufio.Writer
	seed   uint32
	number uint32
	size   int64
	head   [sectionSize]byte
	err    error
}

// NewBackupWriter begins the backup of a state after revision rev. Sections come
// first, then the rows, then notes, then End.
func NewBackupWriter(w io.Writer, rev uint64) *BackupWriter {
	header := appendBackupHeader(nil, rev)
	b := &BackupWriter{w: bufio.NewWriterSize(w, 256<<10), seed: binary.LittleEndian.Uint32(header[28:])}
	b.put(header)
	return b
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
			if err := b.frame(0, rowsMark, body); err != nil {
				return err
			}
			body = body[:0]
		}
		body = appendBackupRow(body, key, value)
		return b.err
	})
	if err == nil && len(body) > 0 {
		err = b.frame(0, rowsMark, body)
	}
	return err
}

// Note appends something for the one who restores; it goes into no store.
func (b *BackupWriter) Note(kind uint16, body []byte) error { return b.frame(kind, noteMark, body) }

// End writes the end mark and all that is buffered, and returns the size.
func (b *BackupWriter) End() (int64, error) {
	_ = b.frame(0, endMark, nil)
	if b.err == nil {
		b.err = b.w.Flush()
	}
	return b.size, b.err
}

func (b *BackupWriter) frame(kind uint16, mark byte, body []byte) error {
	if b.err != nil {
		return b.err
	}
	if len(body) > MaxSection {
		b.err = fmt.Errorf("frame %d of a backup has %d bytes: %w", b.number, len(body), ErrTooLarge)
		return b.err
	}
	h := sectionHead{kind: kind, mark: mark, length: uint32(len(body)), number: b.number}
	b.put(h.appendTo(b.head[:0], b.seed, body))
	b.put(body)
	b.number++
	return b.err
}

func (b *BackupWriter) put(p []byte) {
	if b.err == nil {
		var n int
		n, b.err = b.w.Write(p)
		b.size += int64(n)
	}
}

func appendBackupHeader(dst []byte, rev uint64) []byte {
	start := len(dst)
	dst = append(dst, backupMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, backupVersion)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, rev)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parseBackupHeader is the mirror of appendBackupHeader.
func parseBackupHeader(b []byte) (rev uint64, seed uint32, err error) {
	if string(b[:8]) != backupMagic {
		return 0, 0, fmt.Errorf("this is no backup: %w", ErrFormat)
	}
	seed = binary.LittleEndian.Uint32(b[28:])
	if seed != crc32.Checksum(b[:28], castagnoli) {
		return 0, 0, fmt.Errorf("header fails its checksum: %w", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != backupVersion {
		return 0, 0, fmt.Errorf("backup format %d, this program knows %d: %w", v, backupVersion, ErrFormat)
	}
	return binary.LittleEndian.Uint64(b[16:]), seed, nil
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
