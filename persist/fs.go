package persist

import "github.com/cockroachdb/pebble/v2/vfs"

// FS is the disk a Store lives on. The zero choice is the machine's own file
// system; tests hand in one that forgets what was not synced, or that fails.
type FS = vfs.FS

// NewMemFS returns an empty disk in memory, for tests that need no crash.
func NewMemFS() FS { return vfs.NewMem() }

// CrashFS is a disk in memory that knows what was synced.
type CrashFS struct{ *vfs.MemFS }

// NewCrashFS returns an empty disk that can lose its power.
func NewCrashFS() *CrashFS { return &CrashFS{vfs.NewCrashableMem()} }

// Crash returns the disk as it is found after the power failed now: everything
// that was synced, nothing else. The original goes on as if nothing had happened.
func (fs *CrashFS) Crash() *CrashFS {
	return &CrashFS{fs.CrashClone(vfs.CrashCloneCfg{})}
}

// A Fault says which operation on a disk fails: it is asked before each one and
// returns the error to fail it with, or nil.
type Fault func(op Op) error

// Op names one operation on a disk.
type Op struct {
	Kind  OpKind
	Path  string
	Write bool // changes the disk
}

// OpKind is what an operation does.
type OpKind string

// NewFaultyFS returns fs with every operation passing fault first.
func NewFaultyFS(fs FS, fault Fault) FS { return newFaultyFS(fs, fault) }

func newFaultyFS(fs FS, _ Fault) FS { return fs }
