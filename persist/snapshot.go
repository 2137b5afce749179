package persist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// keptSnapshots is how many sound snapshots there are at most.
	keptSnapshots = 2
	// snapshotBytesPerSync spreads the writing out of a snapshot, so that the
	// journal's syncs beside it do not wait for all of it at once, in bytes.
	snapshotBytesPerSync = 1 << 20
)

// SnapshotWriter takes the sections of one snapshot, in order. It belongs to the
// callback of WriteSnapshot, one goroutine at a time.
type SnapshotWriter struct{ frameWriter }

// origin is the note with which a snapshot begins: which store it is from, and how
// far the journal reached when it was begun, 0 for "not known".
type origin struct {
	id      ID
	journal uint64
}

// noteOrigin is the kind of that note. Never reused.
const noteOrigin = 1

func (o origin) appendTo(dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, o.id[:]...), o.journal)
}

// parseOrigin is the mirror of appendTo.
func parseOrigin(b []byte) (o origin, ok bool) {
	if len(b) != len(o.id)+8 {
		return o, false
	}
	copy(o.id[:], b)
	o.journal = binary.LittleEndian.Uint64(b[len(o.id):])
	return o, o.id != ID{}
}

// newSnapshotWriter starts a file with its header and its origin.
func newSnapshotWriter(out io.Writer, rev uint64, from origin) *SnapshotWriter {
	w := &SnapshotWriter{newFrameWriter(diskWriter{out}, snapshotFile, rev)}
	_ = w.frame(noteOrigin, noteMark, from.appendTo(nil)) // the error stays with the writer
	return w
}

// Section appends one section; what kinds mean is the caller's affair. body is
// borrowed, at most MaxSection bytes: beyond, the error is an ErrTooLarge. After
// an error every later call returns the same one.
func (w *SnapshotWriter) Section(kind uint16, body []byte) error {
	return w.frame(kind, sectionMark, body)
}

// diskWriter makes errors of writing ErrDisk.
type diskWriter struct{ io.Writer }

func (d diskWriter) Write(b []byte) (int, error) {
	n, err := d.Writer.Write(b)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return n, err
}

// WriteSnapshot writes down the state after revision rev, in the sections that
// write gives out. Until it returns nil the snapshot does not exist; then it is
// on disk, and so are the journal and the rows that were written before the call.
// The two newest snapshots are kept. The rows of every record up to rev must have
// been written: a start from this snapshot does not make them again.
//
// An error of write is returned as it is. A snapshot that fails takes nothing
// else along: the journal goes on.
//
// While the disk refuses writes it is an ErrDisk; only with Options.NoSync it is
// tried all the same, which is the way out of ErrBehind.
//
// A rev above Last moves Last there (a restored state); nothing may be appended
// meanwhile. For rev 0 there is nothing to write down.
func (s *Store) WriteSnapshot(rev uint64, write func(w *SnapshotWriter) error) error {
	if s.options.ReadOnly {
		return fmt.Errorf("write snapshot %d: %w", rev, ErrReadOnly)
	}
	if rev == 0 {
		return nil
	}
	s.snapshots.writing.Lock()
	defer s.snapshots.writing.Unlock()
	in, err := s.use()
	if err != nil {
		return fmt.Errorf("write snapshot %d: %w", rev, err)
	}
	defer in.users.Done()

	if err := s.writeSnapshot(in, rev, write); err != nil {
		return err
	}
	for last := s.Last(); rev > last && !s.last.CompareAndSwap(last, rev); last = s.Last() {
	}
	return nil
}

func (s *Store) writeSnapshot(in *instance, rev uint64, write func(w *SnapshotWriter) error) error {
	disk, path := s.options.FS, s.folder.snapshotPath(rev)
	tmp := path + tmpSuffix
	from := origin{id: in.identity.id, journal: s.tail.Load()}
	behind := s.options.NoSync && in.fence.err() != nil
	if behind {
		from.journal = 0 // some of it is not on the disk, nor will be
	}
	size, err := writeSnapshotFile(disk, tmp, rev, from, write)
	if err == nil && !behind {
		// The journal must never end before a snapshot, or it could not go on from it.
		err = s.mark(in)
	}
	if err == nil {
		if err = disk.Rename(tmp, path); err == nil {
			err = s.folder.syncDir(s.folder.join(snapshotDir))
		}
		if err != nil {
			err = fmt.Errorf("write snapshot %d: %w: %w", rev, ErrDisk, err)
		}
	}
	if err != nil {
		_ = disk.Remove(tmp)
		return err
	}
	s.noteReached(from.journal, max(from.journal, rev), true)
	s.snapshots.add(s, SnapshotInfo{Rev: rev, Size: size, Path: path, origin: from})
	return nil
}

// writeSnapshotFile writes a whole file and syncs it.
func writeSnapshotFile(disk FS, path string, rev uint64, from origin, write func(w *SnapshotWriter) error) (int64, error) {
	failed := func(err error) (int64, error) {
		return 0, fmt.Errorf("write snapshot %d: %w: %w", rev, ErrDisk, err)
	}
	file, err := disk.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return failed(err)
	}
	file = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: snapshotBytesPerSync})
	w := newSnapshotWriter(file, rev, from)
	if err := write(w); err != nil && w.err == nil {
		_ = file.Close()
		return 0, err
	}
	if err := w.end(); err != nil {
		_ = file.Close()
		return 0, fmt.Errorf("write snapshot %d: %w", rev, err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return failed(err)
	}
	return w.size, nil
}

// LoadSnapshot hands the newest snapshot to load and returns its revision, after
// which the caller replays the journal; 0 when there is none.
//
// The bodies belong to load: it may keep them and decode them on as many
// goroutines as it likes. When the snapshot turns out to be damaged, the sequence
// just ends; what load then returns does not count: the damage is logged and load
// is called again with the snapshot before, so it must start from nothing each
// time. If all are damaged the result is 0, and Replay will tell whether the
// journal reaches back that far.
//
// An error that load returns for a sound snapshot ends the call and is returned as it is.
func (s *Store) LoadSnapshot(load func(rev uint64, sections iter.Seq2[uint16, []byte]) error) (rev uint64, err error) {
	for _, info := range s.snapshots.sound() {
		damage, err := s.loadSnapshot(info, load)
		if damage == nil {
			return info.Rev, err
		}
		s.log.Error("store: snapshot is damaged, taking the one before", "path", info.Path, "err", damage.Error())
		s.snapshots.damaged(info.Rev)
	}
	return 0, nil
}

func (s *Store) loadSnapshot(info SnapshotInfo, load func(uint64, iter.Seq2[uint16, []byte]) error) (damage, err error) {
	file, r, damage := openSnapshot(s.options.FS, info)
	if damage != nil {
		return damage, nil
	}
	defer file.Close()
	err = load(r.rev, r.sections())
	if r.err == nil && err != nil {
		return nil, err
	}
	return r.drain(), err
}

// openSnapshot opens the file and reads its header.
func openSnapshot(disk FS, info SnapshotInfo) (vfs.File, *snapshotReader, error) {
	if stat, err := disk.Stat(info.Path); err == nil && !stat.Mode().IsRegular() { // opening a pipe would wait for a writer
		return nil, nil, fmt.Errorf("it is no ordinary file: %w", ErrCorrupt)
	}
	file, err := disk.Open(info.Path, vfs.SequentialReadsOption)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDisk, err)
	}
	r, err := newSnapshotReader(file, info.Size)
	if err == nil && r.rev != info.Rev {
		err = fmt.Errorf("it is that of revision %d: %w", r.rev, ErrCorrupt)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, r, nil
}
