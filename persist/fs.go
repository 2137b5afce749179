package persist

import (
	"io/fs"
	"math/rand/v2"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// FS is the disk a Store lives on. Options.FS nil is the machine's own; tests
// hand in one that forgets what was not synced, or one that fails.
type FS = vfs.FS

// NewMemFS returns an empty disk in memory, for tests that need no crash.
func NewMemFS() FS { return vfs.NewMem() }

// CrashFS is a disk in memory that knows what was synced.
type CrashFS struct {
	*vfs.MemFS

	// The library's disk waits for itself for ever when its power fails while a
	// file is given a new name for writing: so the two never overlap.
	naming sync.Mutex
}

// ReuseForWrite gives a file another name and opens it for writing.
func (c *CrashFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	c.naming.Lock()
	defer c.naming.Unlock()
	return c.MemFS.ReuseForWrite(oldname, newname, category)
}

func (c *CrashFS) clone(how vfs.CrashCloneCfg) *CrashFS {
	c.naming.Lock()
	defer c.naming.Unlock()
	return &CrashFS{MemFS: c.CrashClone(how)}
}

// NewCrashFS returns an empty disk that can lose its power.
func NewCrashFS() *CrashFS { return &CrashFS{MemFS: vfs.NewCrashableMem()} }

// Crash returns the disk as it is found after the power failed at this moment:
// everything that was synced and nothing else. The original goes on as if nothing
// had happened, so a test may crash the same run at every operation.
func (c *CrashFS) Crash() *CrashFS {
	return c.clone(vfs.CrashCloneCfg{})
}

// CrashKeeping is Crash on a disk that had, on its own, already written some of
// what was not yet synced: each block and each directory entry with the given
// chance in percent.
func (c *CrashFS) CrashKeeping(percent int, rng *rand.Rand) *CrashFS {
	return c.clone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
}

// Op is one operation that a disk is asked for.
type Op struct {
	Kind OpKind
	// Path of the file or directory; of a rename, the old one.
	Path string
}

// OpKind says what an operation does.
type OpKind string

// Every operation that can fail. Closing a file does not.
const (
	OpCreate   OpKind = "create"
	OpOpen     OpKind = "open"
	OpReuse    OpKind = "reuse" // rename and open for writing
	OpRead     OpKind = "read"
	OpWrite    OpKind = "write"
	OpSync     OpKind = "sync" // of a file or a directory
	OpAllocate OpKind = "allocate"
	OpRename   OpKind = "rename"
	OpRemove   OpKind = "remove"
	OpMkdir    OpKind = "mkdir"
	OpLink     OpKind = "link"
	OpList     OpKind = "list"
	OpStat     OpKind = "stat"
	OpLock     OpKind = "lock"
)

// Writes tells whether the operation changes the disk.
func (k OpKind) Writes() bool {
	switch k {
	case OpOpen, OpRead, OpList, OpStat:
		return false
	}
	return true
}

// A Fault is asked before each operation, from any goroutine; the error it
// returns, if any, is the outcome, and the operation does not take place.
type Fault func(Op) error

// NewFaultyFS returns the disk under fault's rule.
func NewFaultyFS(disk FS, fault Fault) FS {
	rule := errorfs.InjectorFunc(func(op errorfs.Op) error { return fault.rule(op, op.Path) })
	return &faultyFS{errorfs.Wrap(disk, rule), disk, fault}
}

// rule translates an operation for the fault, and its outcome into what a real
// disk would return.
func (fault Fault) rule(op errorfs.Op, path string) error {
	kind, ok := opKinds[op.Kind]
	if !ok {
		return nil
	}
	if err := fault(Op{Kind: kind, Path: path}); err != nil {
		return &fs.PathError{Op: string(kind), Path: path, Err: err}
	}
	return nil
}

// faultyFS adds to errorfs what that lets through: files that are written over.
type faultyFS struct {
	*errorfs.FS
	disk  FS
	fault Fault
}

func (f *faultyFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.fault.rule(errorfs.Op{Kind: errorfs.OpReuseForWrite}, oldname); err != nil {
		return nil, err
	}
	file, err := f.disk.ReuseForWrite(oldname, newname, category)
	if err != nil {
		return nil, err
	}
	rule := errorfs.InjectorFunc(func(op errorfs.Op) error { return f.fault.rule(op, newname) })
	return errorfs.WrapFile(file, rule), nil
}

var opKinds = map[errorfs.OpKind]OpKind{
	errorfs.OpCreate:          OpCreate,
	errorfs.OpLink:            OpLink,
	errorfs.OpOpen:            OpOpen,
	errorfs.OpOpenDir:         OpOpen,
	errorfs.OpRemove:          OpRemove,
	errorfs.OpRemoveAll:       OpRemove,
	errorfs.OpRename:          OpRename,
	errorfs.OpReuseForWrite:   OpReuse,
	errorfs.OpMkdirAll:        OpMkdir,
	errorfs.OpLock:            OpLock,
	errorfs.OpList:            OpList,
	errorfs.OpStat:            OpStat,
	errorfs.OpGetDiskUsage:    OpStat,
	errorfs.OpFilePreallocate: OpAllocate,
	errorfs.OpFileRead:        OpRead,
	errorfs.OpFileReadAt:      OpRead,
	errorfs.OpFileWrite:       OpWrite,
	errorfs.OpFileWriteAt:     OpWrite,
	errorfs.OpFileStat:        OpStat,
	errorfs.OpFileSync:        OpSync,
	errorfs.OpFileSyncData:    OpSync,
	errorfs.OpFileSyncTo:      OpSync,
}
