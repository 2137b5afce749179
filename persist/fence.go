package persist

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A fence stands between one opened Pebble and the disk, and turns the first
// write that the disk refuses into a power failure of the disk.
//
// Pebble cannot live through a failing write: an error while it switches log
// files is a panic with its mutex already given up (which the Go runtime makes
// fatal), an error in the manifest ends in Logger.Fatalf on one of Pebble's own
// goroutines, and a table that cannot be written is tried again at once, for
// ever, with writers waiting behind it. So Pebble is never shown one. After the
// first refusal nothing reaches the disk any more, and Pebble goes on in a
// fiction:
//
//	log, manifest, options, directories   writes and syncs succeed into nothing;
//	                                      they are read only when opening
//	tables written by a flush             kept in memory (no more than the
//	                                      memtables that were there), so that a
//	                                      waiting writer gets away and rows can
//	                                      still be read
//	tables written by a compaction        fail; compactions starts no other
//	removals                              are forgotten
//
// What is on disk is then a prefix of what Pebble did: a state it may find after
// any power failure, and knows how to recover. The Store looks at the fence after
// each commit and answers ErrDisk; Reopen starts over from the disk.
type fence struct {
	FS
	log  *slog.Logger
	logs *latest // hears which log files come and go; nil in a read-only Pebble

	failure atomic.Pointer[diskFailure] // nil while the disk obeys
	writing atomic.Pointer[logPlace]    // the newest log that is on the disk

	// passing is held shared by each write on its way to the disk, so that drain
	// can wait for those that passed the fence before it came down.
	passing sync.RWMutex

	// fiction holds what is written after the failure, by base name.
	fiction *vfs.MemFS
}

// diskFailure is why a fence came down: the first refusal or, in its place, that the store is gone.
type diskFailure struct {
	op, path string // op is "" when err says it all: an ErrDisk from before the fence, or an ErrGone
	err      error
}

// errFenced is what the writer of a table is told after the failure. Pebble cleans
// up and, if it was a flush, starts another table.
var errFenced = errors.New("disk is fenced off")

func newFence(disk FS, log *slog.Logger, logs *latest) *fence {
	return &fence{FS: disk, log: log, logs: logs, fiction: vfs.NewMem()}
}

// err returns why the fence came down, as an ErrDisk; nil while it is up.
func (f *fence) err() error {
	failure := f.failure.Load()
	if failure == nil {
		return nil
	}
	if failure.op == "" {
		return failure.err
	}
	return fmt.Errorf("%w: %s %s: %w", ErrDisk, failure.op, failure.path, failure.err)
}

// lower brings the fence down for a reason; if it is down already the first one stays. That the store is gone
// takes the place of what was refused before, which was refused for it: a write may meet the
// missing folder before the check that looks for it does.
func (f *fence) lower(op, path string, err error) {
	reason := &diskFailure{op, path, err}
	if errors.Is(err, ErrGone) { // the check that found it logs it
		f.failure.Store(reason)
	} else if f.failure.CompareAndSwap(nil, reason) {
		f.log.Error("store: disk refuses to write, writes are off", "op", op, "path", path, "err", err.Error())
	}
}

// drain returns when no write is on its way to the disk. The fence must be down.
func (f *fence) drain() {
	f.passing.Lock()
	defer f.passing.Unlock()
}

// pass does a write unless the fence is down, and brings it down when the write
// fails. It reports whether the disk took the write.
func (f *fence) pass(op, path string, write func() error) bool {
	f.passing.RLock()
	defer f.passing.RUnlock()
	if f.failure.Load() != nil {
		return false
	}
	if err := write(); err != nil {
		f.lower(op, path, err)
		return false
	}
	return true
}

// beginLog notes that a log, in the folder dir, is there and about to be used.
func (f *fence) beginLog(dir string, number uint64) {
	path := f.PathJoin(dir, logName(number))
	if info, err := f.FS.Stat(path); err == nil && f.failure.Load() == nil {
		f.writing.Store(&logPlace{path, placeOf(info)})
	}
	if f.logs != nil {
		f.pass("write", f.logs.path, func() error { return f.logs.begun(number) })
	}
}

// dropLog notes, before a log is removed or written over, that its absence is no loss
// from then on. Other files are no concern.
func (f *fence) dropLog(path string) {
	number, isLog := parseLogName(f.PathBase(path))
	if isLog && f.logs != nil {
		f.pass("write", f.logs.path, func() error { return f.logs.dropped(number) })
	}
}

// isTable tells the files whose content is read again while Pebble runs.
func isTable(path string) bool {
	return strings.HasSuffix(path, ".sst") || strings.HasSuffix(path, ".blob")
}

func (f *fence) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	var file vfs.File
	if f.pass("create", name, func() (err error) { file, err = f.createNamed(name, category); return err }) {
		return &fencedFile{File: file, fence: f, path: name}, nil
	}
	return f.create(name, category)
}

// createNamed creates a file. Pebble makes a marker that names its new manifest as
// soon as the manifest is synced; that the folder knows the manifest by then is
// left to the file system. Here it is made sure.
func (f *fence) createNamed(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	if err != nil || !strings.HasPrefix(f.PathBase(name), "MANIFEST-") {
		return file, err
	}
	if err := (folder{fs: f.FS}).syncDir(f.PathDir(name)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func (f *fence) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	var file vfs.File
	if f.pass("open", name, func() (err error) { file, err = f.FS.OpenReadWrite(name, category, opts...); return err }) {
		return &fencedFile{File: file, fence: f, path: name}, nil
	}
	return f.create(name, category)
}

func (f *fence) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	var file vfs.File
	f.dropLog(oldname)
	if f.pass("reuse", oldname, func() (err error) { file, err = f.FS.ReuseForWrite(oldname, newname, category); return err }) {
		return &fencedFile{File: file, fence: f, path: newname}, nil
	}
	return f.create(newname, category)
}

// create makes a file of the fiction.
func (f *fence) create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if isTable(name) && category != "pebble-memtable-flush" {
		return nil, errFenced
	}
	file, err := f.fiction.Create(f.PathBase(name), category)
	if err != nil || isTable(name) {
		return file, err
	}
	return voidFile{file}, nil
}

func (f *fence) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if f.failure.Load() != nil && isTable(name) {
		if file, err := f.fiction.Open(f.PathBase(name), opts...); err == nil {
			return file, nil
		}
	}
	return f.FS.Open(name, opts...)
}

func (f *fence) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{File: dir, fence: f, path: name}, nil
}

func (f *fence) Stat(name string) (vfs.FileInfo, error) {
	if f.failure.Load() != nil && isTable(name) {
		if info, err := f.fiction.Stat(f.PathBase(name)); err == nil {
			return info, nil
		}
	}
	return f.FS.Stat(name)
}

// Remove never fails on a file that is there: what stays behind is unreferenced,
// and is removed at the next opening.
func (f *fence) Remove(name string) error {
	f.dropLog(name)
	f.passing.RLock()
	defer f.passing.RUnlock()
	if f.failure.Load() != nil {
		return nil
	}
	err := f.FS.Remove(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log.Warn("store: unused file stays until the next start", "path", name, "err", err.Error())
		return nil
	}
	return err
}

func (f *fence) RemoveAll(name string) error {
	f.pass("remove", name, func() error { return f.FS.RemoveAll(name) })
	return nil
}

func (f *fence) Rename(oldname, newname string) error {
	f.pass("rename", oldname, func() error { return f.FS.Rename(oldname, newname) })
	return nil
}

func (f *fence) MkdirAll(dir string, perm fs.FileMode) error {
	f.pass("mkdir", dir, func() error { return f.FS.MkdirAll(dir, perm) })
	return nil
}

func (f *fence) Link(oldname, newname string) error {
	if !f.pass("link", oldname, func() error { return f.FS.Link(oldname, newname) }) {
		return errFenced
	}
	return nil
}

// Lock is left to the Store, which holds the folder for as long as it is open,
// across every Pebble in it.
func (f *fence) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (f *fence) Unwrap() vfs.FS { return f.FS }

// fencedFile is a file that was opened while the disk obeyed, or a directory.
type fencedFile struct {
	vfs.File
	fence *fence
	path  string
}

// after says what to tell Pebble about a write that did not reach the disk: a
// table is started again (elsewhere), everything else is fiction.
func (f *fencedFile) after() error {
	if isTable(f.path) {
		return errFenced
	}
	return nil
}

func (f *fencedFile) Write(p []byte) (n int, err error) {
	if f.fence.pass("write", f.path, func() error { n, err = f.File.Write(p); return err }) {
		return n, nil
	}
	if err := f.after(); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *fencedFile) WriteAt(p []byte, off int64) (n int, err error) {
	if f.fence.pass("write", f.path, func() error { n, err = f.File.WriteAt(p, off); return err }) {
		return n, nil
	}
	if err := f.after(); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *fencedFile) Sync() error {
	if f.fence.pass("sync", f.path, f.File.Sync) {
		return nil
	}
	return f.after()
}

func (f *fencedFile) SyncData() error {
	if f.fence.pass("sync", f.path, f.File.SyncData) {
		return nil
	}
	return f.after()
}

func (f *fencedFile) SyncTo(length int64) (full bool, err error) {
	if f.fence.pass("sync", f.path, func() error { full, err = f.File.SyncTo(length); return err }) {
		return full, nil
	}
	return false, f.after()
}

// Stat is called for a log file that is to be written over, where a failure ends Pebble as
// a failing write would.
func (f *fencedFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err == nil || isTable(f.path) {
		return info, err
	}
	f.fence.lower("stat", f.path, err)
	void, err := f.fence.create(f.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	defer void.Close()
	return void.Stat()
}

// Preallocate may fail without harm: the write itself finds the space, or does not.
func (f *fencedFile) Preallocate(offset, length int64) error {
	f.fence.passing.RLock()
	defer f.fence.passing.RUnlock()
	if f.fence.failure.Load() == nil {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

func (f *fencedFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.fence.lower("close", f.path, err)
	}
	return nil
}

// voidFile is a file that only pretends to be written, once the disk has failed: it keeps
// nothing.
type voidFile struct{ vfs.File }

func (voidFile) Write(p []byte) (int, error)            { return len(p), nil }
func (voidFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
