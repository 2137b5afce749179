package persist

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	snapshotSuffix = ".snapshot"
	// tmpSuffix ends the name of a file that is being written; Open removes them.
	tmpSuffix = ".tmp"
)

// SnapshotInfo describes one snapshot file.
type SnapshotInfo struct {
	Rev  uint64
	Size int64 // bytes
	Path string
	// Damaged is set once it was found so: no header or end mark at Open, or a
	// checksum at LoadSnapshot. Damaged snapshots are used for nothing.
	Damaged bool

	origin origin // zero in what is damaged, and in snapshots of format 1
}

// snapshots knows the files in the snapshot folder.
type snapshots struct {
	writing sync.Mutex // held while one is written

	mu    sync.Mutex
	files []SnapshotInfo // newest first

	homeless bool // there was no folder for them at Open
}

// snapshotPath names the file; names sort as revisions do.
func (f folder) snapshotPath(rev uint64) string {
	return f.fs.PathJoin(f.path, snapshotDir, fmt.Sprintf("%020d%s", rev, snapshotSuffix))
}

// parseSnapshotName is the mirror of snapshotPath.
func parseSnapshotName(name string) (rev uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, snapshotSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	rev, err := strconv.ParseUint(digits, 10, 64)
	return rev, err == nil
}

// open lists the files, looks at both ends of each, and removes what an
// interrupted WriteSnapshot left.
func (k *snapshots) open(s *Store) error {
	dir := s.folder.join(snapshotDir)
	if err := s.folder.ordinary(dir, true); errors.Is(err, ErrCorrupt) {
		return err
	}
	names, err := s.options.FS.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if beside, _ := s.options.FS.List(s.folder.path); slices.Contains(beside, snapshotDir) {
			return advise(putBack, fmt.Errorf("%w: %s is a link that leads nowhere", ErrCorrupt, dir))
		}
		k.homeless = true // no loss if there were none; else the loss is found where they are named
		return nil
	}
	if err != nil {
		return fmt.Errorf("list snapshots: %w: %w", ErrDisk, err)
	}
	slices.Sort(names)
	for _, name := range names {
		path := s.options.FS.PathJoin(dir, name)
		if strings.HasSuffix(name, tmpSuffix) && !s.options.ReadOnly {
			_ = s.options.FS.Remove(path) // or next time
			continue
		}
		rev, ok := parseSnapshotName(name)
		if !ok {
			continue
		}
		info := SnapshotInfo{Rev: rev, Path: path}
		if err := glance(s.options.FS, &info); err != nil {
			info.Damaged = true
			s.log.Error("store: snapshot is damaged", "path", path, "err", err.Error())
		}
		k.files = append(k.files, info)
	}
	k.sort()
	return nil
}

// foreign reports whether a sound snapshot is another store's, and that one's id if
// it has one.
func (i identity) foreign(info *SnapshotInfo) (whose ID, foreign bool) {
	whose = info.origin.id
	if whose == (ID{}) {
		return whose, i.given() && info.Rev > i.since
	}
	return whose, whose != i.id
}

// glance fills in the size, and checks header and end mark: whether the file
// was cut, without reading it all.
func glance(disk FS, info *SnapshotInfo) error {
	stat, err := disk.Stat(info.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	info.Size = stat.Size()
	file, r, err := openSnapshot(disk, *info)
	if err != nil {
		return err
	}
	defer file.Close()
	info.origin = r.origin
	if info.Size < headerSize+sectionSize {
		return fmt.Errorf("file is cut to %d bytes: %w", info.Size, ErrCorrupt)
	}
	var tail [sectionSize]byte
	if _, err := file.ReadAt(tail[:], info.Size-sectionSize); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	h, _, sum := parseSectionHead(tail[:])
	if h.mark != endMark || sum != sectionSum(r.seed, tail[:12], nil) {
		return fmt.Errorf("file has no end mark: %w", ErrCorrupt)
	}
	return nil
}

// add notes a snapshot that was just written and removes those it makes useless:
// all before the oldest that is kept. A file that cannot be removed is tried again
// after the next snapshot.
func (k *snapshots) add(s *Store, info SnapshotInfo) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.files = slices.DeleteFunc(k.files, func(f SnapshotInfo) bool { return f.Rev == info.Rev })
	k.files = append(k.files, info)
	k.sort()
	sound := k.soundLocked()
	if len(sound) <= keptSnapshots {
		return
	}
	oldest := sound[keptSnapshots-1].Rev
	k.files = slices.DeleteFunc(k.files, func(f SnapshotInfo) bool {
		if f.Rev >= oldest {
			return false
		}
		if err := s.options.FS.Remove(f.Path); err != nil {
			s.log.Warn("store: old snapshot stays", "path", f.Path, "err", err.Error())
			return false
		}
		return true
	})
}

func (k *snapshots) sort() {
	slices.SortFunc(k.files, func(a, b SnapshotInfo) int {
		if a.Rev > b.Rev {
			return -1
		}
		return 1
	})
}

// damaged notes that the snapshot of rev is not to be used.
func (k *snapshots) damaged(rev uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.files {
		if k.files[i].Rev == rev {
			k.files[i].Damaged = true
		}
	}
}

// all returns every file, newest first.
func (k *snapshots) all() []SnapshotInfo {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.files)
}

// sound returns those not known to be damaged, newest first.
func (k *snapshots) sound() []SnapshotInfo {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.soundLocked()
}

func (k *snapshots) soundLocked() []SnapshotInfo {
	return slices.DeleteFunc(slices.Clone(k.files), func(f SnapshotInfo) bool { return f.Damaged })
}

// newest returns the highest revision of a sound snapshot, or 0.
func (k *snapshots) newest() uint64 {
	if sound := k.sound(); len(sound) > 0 {
		return sound[0].Rev
	}
	return 0
}

// safeTrim returns the revision of the oldest snapshot that is kept, or 0.
func (k *snapshots) safeTrim() uint64 {
	if sound := k.sound(); len(sound) >= keptSnapshots {
		return sound[keptSnapshots-1].Rev
	}
	return 0
}

// Snapshots lists the snapshot files, newest first, damaged ones included.
func (s *Store) Snapshots() ([]SnapshotInfo, error) {
	in, err := s.use()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	defer in.users.Done()
	return s.snapshots.all(), nil
}
