package persist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A mark is what the file LATEST says: how far the store was known to reach.
// Every record has a checksum, but a log that was cut at its end, or is not there
// at all, looks like one that was never longer. The mark is the second opinion.
type mark struct {
	id    ID
	count uint64 // of writes to the file; the higher of two marks counts

	// journal is a revision that the journal reached, last one that journal or
	// snapshots did.
	journal, last uint64
	// accepted: what snapshots say of a journal up to this revision was lost, and
	// an operator has accepted that.
	accepted uint64
	// logs are the numbers of the log files that must be there, ascending.
	logs []uint64
}

const (
	markMagic = "LAPIDEND"
	markSize  = 512 // of a mark, in bytes; disks write so much whole or not at all
	markHead  = 8 + 16 + 4*8 + 4
	// markLogs is how many logs a mark can name. Pebble stops writing with five that
	// hold what is not in tables yet, and keeps five to be written over.
	markLogs = (markSize - markHead - 4) / 8
)

// appendTo writes the mark in markSize bytes.
func (m *mark) appendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(append(dst, markMagic...), m.id[:]...)
	for _, n := range [...]uint64{m.count, m.journal, m.last, m.accepted} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.logs)))
	for _, n := range m.logs {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	dst = append(dst, make([]byte, markSize-4-(len(dst)-start))...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parseMark is the mirror of appendTo.
func parseMark(b []byte) (m mark, ok bool) {
	if len(b) < markSize || !bytes.HasPrefix(b, []byte(markMagic)) ||
		binary.LittleEndian.Uint32(b[markSize-4:]) != crc32.Checksum(b[:markSize-4], castagnoli) {
		return mark{}, false
	}
	b = b[len(markMagic):]
	m.id, b = ID(b[:16]), b[16:]
	for _, n := range [...]*uint64{&m.count, &m.journal, &m.last, &m.accepted} {
		*n, b = binary.LittleEndian.Uint64(b), b[8:]
	}
	n := binary.LittleEndian.Uint32(b)
	if n > markLogs {
		return mark{}, false
	}
	for b = b[4:]; n > 0; n-- {
		m.logs, b = append(m.logs, binary.LittleEndian.Uint64(b)), b[8:]
	}
	return m, true
}

// latest keeps the file LATEST. It has two places, written in turn, so that a
// write that is torn leaves the mark before.
//
// Two things are written there. Which logs must be there, durably: a new log is
// named before anything is written to it, and one that is not needed any more is
// taken out before it is removed or written over. How far the journal got, after
// each record, without a sync: when the process dies, the file is exact all the
// same; after a power failure it may be some seconds behind, never ahead.
//
// All methods may be called from any goroutine.
type latest struct {
	disk FS
	path string

	mu   sync.Mutex
	mark mark
	file vfs.File // nil: nothing is written down yet, or any more
	at   place    // of the file
	buf  []byte
}

// read finds the mark in the file. The error is a fs.ErrNotExist, an ErrCorrupt or
// an ErrDisk.
func (l *latest) read() error {
	file, err := l.disk.Open(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var b []byte
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(file, 2*markSize))
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	found := false
	for ; len(b) >= markSize; b = b[markSize:] {
		if m, ok := parseMark(b); ok && (!found || m.count > l.mark.count) {
			l.mark, found = m, true
		}
	}
	if !found {
		return fmt.Errorf("%w: no mark in it is whole", ErrCorrupt)
	}
	return nil
}

// renew puts a new file in place of what is there, with change made to the mark,
// and keeps it open. A file that is there is never written to: in its place may
// be a link to somewhere else.
func (l *latest) renew(f folder, change func(*mark)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeFile()
	change(&l.mark)
	l.mark.count++
	tmp := l.path + tmpSuffix
	file, err := l.disk.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	both := make([]byte, 0, 2*markSize)
	if l.mark.count%2 == 1 {
		both = both[:markSize]
	}
	both = l.mark.appendTo(both)
	if _, err = file.Write(append(both, make([]byte, 2*markSize-len(both))...)); err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = l.disk.Rename(tmp, l.path)
	}
	if err == nil {
		err = f.syncDir(f.path)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.at = file, place{}
	if info, err := file.Stat(); err == nil {
		l.at = placeOf(info)
	}
	return nil
}

// logs are those that must be there.
func (l *latest) logs() []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mark.logs)
}

// begun notes a log that is about to be written to, durably.
func (l *latest) begun(log uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, there := slices.BinarySearch(l.mark.logs, log); !there {
		l.mark.logs = slices.Insert(l.mark.logs, at, log)
	}
	if more := len(l.mark.logs) - markLogs; more > 0 {
		l.mark.logs = slices.Delete(l.mark.logs, 0, more)
	}
	return l.write(true)
}

// dropped notes that a log is not needed any more, durably.
func (l *latest) dropped(log uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, there := slices.BinarySearch(l.mark.logs, log)
	if !there {
		return nil
	}
	l.mark.logs = slices.Delete(l.mark.logs, at, at+1)
	return l.write(true)
}

// reached notes how far journal and store got. Numbers below what is noted change
// nothing.
func (l *latest) reached(journal, last uint64, sync bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark.journal, l.mark.last = max(l.mark.journal, journal), max(l.mark.last, last)
	return l.write(sync)
}

// write writes the mark into the place of the one before the last.
func (l *latest) write(sync bool) error {
	if l.file == nil {
		return nil
	}
	l.mark.count++
	l.buf = l.mark.appendTo(l.buf[:0])
	if _, err := l.file.WriteAt(l.buf, int64(l.mark.count%2)*markSize); err != nil {
		return err
	}
	if sync {
		return l.file.SyncData()
	}
	return nil
}

// close lets go of the file.
func (l *latest) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeFile()
}

func (l *latest) closeFile() {
	if l.file != nil {
		_ = l.file.Close() // everything that counts was synced
		l.file = nil
	}
}

// logSuffix ends the names of Pebble's log files.
const logSuffix = ".log"

// parseLogName returns the number of a log file.
func parseLogName(name string) (number uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, logSuffix)
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, err == nil
}

// logName is the mirror of parseLogName.
func logName(number uint64) string { return fmt.Sprintf("%06d%s", number, logSuffix) }
