package persist

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The layout of everything on disk is drawn in FORMAT.md. Numbers and letters in
// this file are never reused for something else.

// FormatVersion is written in the file FORMAT. It changes when an older program
// would misread the folder.
const FormatVersion = 3

// First byte of a key.
const (
	identitySpace = 'i'
	journalSpace  = 'j'
	rowSpace      = 'r'
)

// castagnoli is the polynomial of every checksum here: processors compute it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	journalKeySize = 1 + 8
	frameSize      = 4 // checksum before a record
)

// appendJournalKey appends the key of the record of revision rev.
func appendJournalKey(dst []byte, rev uint64) []byte {
	dst = append(dst, journalSpace)
	return binary.BigEndian.AppendUint64(dst, rev)
}

// parseJournalKey is the mirror of appendJournalKey.
func parseJournalKey(key []byte) (rev uint64, ok bool) {
	if len(key) != journalKeySize || key[0] != journalSpace {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[1:]), true
}

// journalEnd is above every journal key.
func journalEnd() []byte { return []byte{journalSpace + 1} }

// putFrame writes the framed record into dst, which has room for exactly
// frameSize more bytes than the record.
func (i identity) putFrame(dst []byte, rev uint64, record []byte) {
	binary.LittleEndian.PutUint32(dst, i.sum(rev, record))
	copy(dst[frameSize:], record)
}

// parseFrame is the mirror of putFrame: it returns the record inside value, which
// is borrowed from it, or an ErrCorrupt that names the revision.
func (i identity) parseFrame(rev uint64, value []byte) ([]byte, error) {
	if len(value) < frameSize {
		return nil, fmt.Errorf("journal record %d is cut to %d bytes: %w", rev, len(value), ErrCorrupt)
	}
	record := value[frameSize:]
	if binary.LittleEndian.Uint32(value) != i.sum(rev, record) {
		return nil, fmt.Errorf("journal record %d fails its checksum, or is from another store: %w", rev, ErrCorrupt)
	}
	return record, nil
}

// appendRowKey appends the key of a row.
func appendRowKey(dst []byte, kind byte, key []byte) []byte {
	return append(append(dst, rowSpace, kind), key...)
}

// rowBounds returns the first key of kind at or after from, and the first key
// past to; nil means an open end.
func rowBounds(kind byte, from, to []byte) (lower, upper []byte) {
	lower = appendRowKey(nil, kind, from)
	switch {
	case to != nil:
		upper = appendRowKey(nil, kind, to)
	case kind == 0xff:
		upper = []byte{rowSpace + 1}
	default:
		upper = []byte{rowSpace, kind + 1}
	}
	return lower, upper
}
