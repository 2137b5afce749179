package persist

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"
)

// evidence is what stands in the raw log files.
//
// Pebble reads its log up to the first chunk that is not whole, and takes that
// for what a crash has torn. If it is an old chunk that was damaged, everything
// after it in the same block of 32 KiB would be lost without a word, and the log
// with it. But each record is written only after the one before it was synced,
// so a whole record of revision n in the log proves that n-1 was there. What this
// cannot tell from a crash is damage to the very last record.
type evidence struct {
	last    uint64   // the highest revision of which a whole record stands there
	foreign []string // those that say they are another store's
	whose   ID       // of the last of those
}

// scanLogs looks for whole records, and for ids, in the log files. It changes
// nothing. What lies across blocks is not seen. It ends early when ctx does.
func (f folder) scanLogs(ctx context.Context, who identity) (found evidence, err error) {
	names, err := f.fs.List(f.join(storeDir))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return found, nil
		}
		return found, err
	}
	slices.Sort(names)
	for _, name := range names {
		if _, isLog := parseLogName(name); !isLog {
			continue
		}
		if err := f.scanLog(ctx, who, f.fs.PathJoin(f.join(storeDir), name), &found); err != nil {
			return found, err
		}
	}
	return found, nil
}

// logBlock is the size of Pebble's log blocks in bytes.
const logBlock = 32 << 10

// entryMark begins a journal entry inside a batch: a SET (1) with a key of nine
// bytes. The first byte of a revision is 0 in every history of fewer than 2^56 commits.
var entryMark = []byte{1, journalKeySize, journalSpace, 0}

// idMark begins an id inside a batch: a SET with a key of one byte.
var idMark = []byte{1, 1, identitySpace, byte(identityValueSize)}

func (f folder) scanLog(ctx context.Context, who identity, path string, found *evidence) error {
	file, err := f.fs.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	block := make([]byte, logBlock)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(file, block)
		for b := block[:n]; ; {
			at := bytes.Index(b, entryMark)
			if at < 0 {
				break
			}
			b = b[at+1:]
			if rev, ok := who.wholeEntry(b[1:]); ok {
				found.last = max(found.last, rev)
			}
		}
		for b := block[:n]; ; {
			at := bytes.Index(b, idMark)
			if at < 0 || len(b) < at+len(idMark)+identityValueSize {
				break
			}
			b = b[at+len(idMark):]
			if id, ok := parseIdentityValue(b[:identityValueSize]); ok && who.given() && id != who.id {
				found.whose = id
				if !slices.Contains(found.foreign, path) {
					found.foreign = append(found.foreign, path)
				}
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// wholeEntry reads a journal key, and the value that follows it if all of it is
// there and its checksum is right.
func (i identity) wholeEntry(b []byte) (rev uint64, ok bool) {
	if len(b) < journalKeySize {
		return 0, false
	}
	rev, ok = parseJournalKey(b[:journalKeySize])
	length, n := binary.Uvarint(b[journalKeySize:])
	if !ok || n <= 0 || length > uint64(len(b)-journalKeySize-n) {
		return 0, false
	}
	_, err := i.parseFrame(rev, b[journalKeySize+n:][:length])
	return rev, err == nil
}
