package persist

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// BackupReader reads one backup from front to back, from one goroutine. It
// allocates no more than a frame, MaxSection at most, or a row that goes in
// parts, MaxRows at most, and never more than there is to read.
type BackupReader struct {
	// Rev is the revision after which the backup was taken.
	Rev uint64

	r      *bufio.Reader
	seed   uint32
	number uint32
	head   [sectionSize]byte
	body   []byte
	frame  sectionHead // the one that was read last
	size   int64
}

// NewBackupReader reads the header. The error is an ErrFormat for what is no
// backup, or one of a newer program, and an ErrCorrupt for one that is damaged.
func NewBackupReader(r io.Reader) (*BackupReader, error) {
	b := &BackupReader{r: bufio.NewReaderSize(r, 256<<10)}
	var header [headerSize]byte
	if _, err := io.ReadFull(b.r, header[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, backupFile.foreign
		}
		return nil, fmt.Errorf("read the backup: %w", err)
	}
	b.size = headerSize
	var err error
	_, b.Rev, b.seed, err = backupFile.parseHeader(header[:])
	return b, err
}

// Size returns how many bytes were read.
func (b *BackupReader) Size() int64 { return b.size }

// next reads a frame, with the parts before it, into b.frame and b.body, which
// lasts until the next call.
func (b *BackupReader) next() error {
	b.body = b.body[:0]
	for {
		if err := b.one(); err != nil || b.frame.mark != partMark {
			return err
		}
	}
}

// one reads one frame; its body goes behind what is in b.body.
func (b *BackupReader) one() error {
	if _, err := io.ReadFull(b.r, b.head[:]); err != nil {
		return errCut(b.number, err)
	}
	h, codec, sum := parseSectionHead(b.head[:])
	before := len(b.body)
	switch {
	case h.number != b.number, codec != codecPlain, h.length > MaxSection, before+int(h.length) > MaxRows,
		h.mark != sectionMark && h.mark != rowsMark && h.mark != noteMark && h.mark != endMark && h.mark != partMark,
		before > 0 && h.mark != rowsMark && h.mark != partMark:
		return fmt.Errorf("frame %d of the backup has a damaged head: %w", b.number, ErrCorrupt)
	}
	if err := b.read(int(h.length)); err != nil {
		return err
	}
	if sum != sectionSum(b.seed, b.head[:12], b.body[before:]) {
		return fmt.Errorf("frame %d of the backup fails its checksum: %w", b.number, ErrCorrupt)
	}
	b.frame = h
	b.number++
	b.size += sectionSize + int64(h.length)
	if h.mark == endMark {
		if _, err := b.r.ReadByte(); !errors.Is(err, io.EOF) {
			return fmt.Errorf("the backup goes on after its end mark: %w", ErrCorrupt)
		}
	}
	return nil
}

// read grows the body by length, no faster than there is something to read.
func (b *BackupReader) read(length int) error {
	for end := len(b.body) + length; len(b.body) < end; {
		part := min(end-len(b.body), 1<<20)
		at := len(b.body)
		b.body = append(b.body, make([]byte, part)...)
		if _, err := io.ReadFull(b.r, b.body[at:]); err != nil {
			return errCut(b.number, err)
		}
	}
	return nil
}

// Verify reads a whole backup, checks every checksum, and keeps nothing.
func Verify(r io.Reader) (*BackupReader, error) {
	b, err := NewBackupReader(r)
	if err != nil {
		return nil, err
	}
	for {
		if err := b.next(); err != nil {
			return nil, err
		}
		if b.frame.mark == endMark {
			return b, nil
		}
	}
}

// Restore makes a Store in o.Dir, which must be missing or empty, from a backup,
// and closes it. It returns the backup's revision and calls note for each of its
// notes. After an error the folder holds nothing of use; the caller removes it.
func Restore(o *Options, r io.Reader, note func(kind uint16, body []byte) error) (rev uint64, err error) {
	b, err := NewBackupReader(r)
	if err != nil {
		return 0, err
	}
	c := o.withDefaults()
	if _, version, err := (folder{c.FS, c.Dir}).version(); err != nil || version != 0 {
		return 0, errors.Join(fmt.Errorf("restore to %s: %w: there is a store already", c.Dir, ErrFormat), err)
	}
	s, err := Open(o)
	if err != nil {
		return 0, err
	}
	if s.Last() != 0 { // somebody has made one since
		return 0, errors.Join(fmt.Errorf("restore to %s: %w: there is a store already", c.Dir, ErrFormat), s.Close())
	}
	err = s.restoreFrom(b, note)
	return b.Rev, errors.Join(err, s.Close())
}

func (s *Store) restoreFrom(b *BackupReader, note func(kind uint16, body []byte) error) error {
	err := b.next()
	if err != nil {
		return err
	}
	// Sections come first: they are written as they arrive.
	err = s.WriteSnapshot(b.Rev, func(w *SnapshotWriter) error {
		for b.frame.mark == sectionMark {
			if err := w.Section(b.frame.kind, b.body); err != nil {
				return err
			}
			if err := b.next(); err != nil {
				return err
			}
		}
		return nil
	})
	rows := s.NewRows()
	for err == nil && b.frame.mark != endMark {
		switch b.frame.mark {
		case rowsMark:
			err = s.restoreRows(rows, b.body)
		case noteMark:
			err = note(b.frame.kind, b.body)
		default:
			err = fmt.Errorf("frame %d of the backup is out of order: %w", b.number-1, ErrCorrupt)
		}
		if err == nil {
			err = b.next()
		}
	}
	return err
}

func (s *Store) restoreRows(rows *Rows, body []byte) error {
	for len(body) > 0 {
		kind, key, value, rest, err := parseBackupRow(body)
		if err != nil {
			return err
		}
		rows.Set(kind, key, value)
		body = rest
	}
	return s.WriteRows(rows)
}

// Hold takes the lock of the folder without opening what is in it, so that it
// can be moved away, whatever is left of the store. It returns nil when the folder
// is missing or empty. The error is an ErrLocked when another process has it open.
func Hold(o *Options) (io.Closer, error) {
	c := o.withDefaults()
	f := folder{c.FS, c.Dir}
	names, err := f.fs.List(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(names) == 0:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return hold(c.FS, f)
}

// HoldBeside keeps other callers of it from the folder in which a store lies, whatever is in
// it: whoever makes a store beside another holds it all the while. The folder must be there.
// It says nothing about the store itself. The error is an ErrLocked when another process has it.
func HoldBeside(o *Options) (io.Closer, error) {
	c := o.withDefaults()
	return hold(c.FS, folder{c.FS, filepath.Dir(c.Dir)})
}

func hold(disk vfs.FS, f folder) (io.Closer, error) {
	l, err := f.lock()
	if disk, ok := disk.(folderLocker); ok && errors.Is(err, ErrCorrupt) { // there is something else in place of the file
		return disk.lockFolder(f.path)
	}
	return l, err
}

// folderLocker is a disk that can lock a folder as such.
type folderLocker interface {
	lockFolder(dir string) (io.Closer, error)
}
