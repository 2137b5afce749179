package persist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// CheckLog looks, before a Store is opened, whether the end of its log is
// damaged. It changes nothing.
//
// Pebble reads its log up to the first chunk that is not whole, and takes that
// for what a crash has torn. If it is an old chunk that was damaged, everything
// after it in the same block of 32 KiB would be lost without a word, and the log
// with it. But each record is written only after the one before it was synced,
// so a whole record of revision n in the log proves that n-1 was there. CheckLog
// looks for such records in the raw files, and returns an ErrCorrupt when the
// journal would end before. What it cannot tell from a crash is damage to the
// very last record.
//
// Not for a Store that was written with NoSync: there the proof does not hold.
func CheckLog(o *Options) error {
	c := o.withDefaults()
	c.ReadOnly = true
	f := folder{c.FS, c.Dir}
	written, err := f.lastWritten()
	if err != nil || written <= 1 || written <= f.closedAt() {
		return nil // nothing to compare with; Open will say what is wrong, if anything is
	}
	s, err := Open(&c)
	if err != nil {
		return nil
	}
	last := s.Last()
	if err := s.Close(); err != nil {
		return err
	}
	if last+1 < written {
		return fmt.Errorf("open store %s: %w: its log was damaged after revision %d, but went on to revision %d at least",
			c.Dir, ErrCorrupt, last, written-1)
	}
	return nil
}

// lastWritten returns the highest revision of which a whole record stands in a
// log file, 0 when there is none. Records that lie across blocks are not seen.
func (f folder) lastWritten() (last uint64, err error) {
	names, err := f.fs.List(f.join(storeDir))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		return 0, err
	}
	for _, name := range names {
		if filepath.Ext(name) != ".log" {
			continue
		}
		rev, err := f.lastIn(f.fs.PathJoin(f.join(storeDir), name))
		if err != nil {
			return 0, err
		}
		last = max(last, rev)
	}
	return last, nil
}

// logBlock is the size of Pebble's log blocks in bytes.
const logBlock = 32 << 10

// entryMark begins a journal entry inside a batch: a SET (1) with a key of nine
// bytes. The first byte of a revision is 0 for longer than anybody lives.
var entryMark = []byte{1, journalKeySize, journalSpace, 0}

func (f folder) lastIn(path string) (last uint64, err error) {
	file, err := f.fs.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	block := make([]byte, logBlock)
	for {
		n, err := io.ReadFull(file, block)
		for b := block[:n]; ; {
			at := bytes.Index(b, entryMark)
			if at < 0 {
				break
			}
			b = b[at+1:]
			if rev, ok := wholeEntry(b[1:]); ok {
				last = max(last, rev)
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return last, nil
		case err != nil:
			return 0, err
		}
	}
}

// wholeEntry reads a journal key, and the value that follows it if all of it is
// there and its checksum is right.
func wholeEntry(b []byte) (rev uint64, ok bool) {
	if len(b) < journalKeySize {
		return 0, false
	}
	rev, ok = parseJournalKey(b[:journalKeySize])
	length, n := binary.Uvarint(b[journalKeySize:])
	if !ok || n <= 0 || length > uint64(len(b)-journalKeySize-n) {
		return 0, false
	}
	_, err := parseFrame(rev, b[journalKeySize+n:][:length])
	return rev, err == nil
}
