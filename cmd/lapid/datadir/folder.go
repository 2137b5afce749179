package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// OpenPlain is os.OpenFile for something that is written. In a folder that
// another user than root and this process's may change, or every user, it opens
// nothing but an ordinary file with no other name: what looks like a log there
// may be a link to anything.
func OpenPlain(path string, flag int, perm os.FileMode) (*os.File, error) {
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if at, err := folder.Stat("."); err != nil {
		return nil, err
	} else if Unshared(at) {
		return os.OpenFile(path, flag, perm)
	}
	name := filepath.Base(path)
	linked := &os.PathError{Op: "open", Path: path, Err: errLinked}
	if before, err := folder.Lstat(name); err == nil && !singular(before) {
		return nil, linked
	}
	f, err := folder.OpenFile(name, flag&^os.O_TRUNC, perm)
	if err != nil {
		return nil, err
	}
	there, err := folder.Lstat(name)
	if err == nil {
		var opened os.FileInfo
		if opened, err = f.Stat(); err == nil && (!os.SameFile(there, opened) || !singular(opened)) {
			err = linked
		}
	}
	if err == nil && flag&os.O_TRUNC != 0 {
		err = f.Truncate(0)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// errLinked: what was to be written may lead elsewhere.
var errLinked = errors.New("no ordinary file, or one with several names, in a folder that somebody else may change: " +
	"remove it, or name a file in another folder")

// Unshared tells whether no other user may change a folder. A group may if it is
// neither root's nor this process's own.
func Unshared(folder os.FileInfo) bool {
	at, ok := folder.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	mode := folder.Mode().Perm()
	return (at.Uid == 0 || int(at.Uid) == os.Geteuid()) && mode&0o002 == 0 &&
		(mode&0o020 == 0 || at.Gid == 0 || int(at.Gid) == os.Getegid())
}

// singular tells whether a file is an ordinary one with a single name.
func singular(file os.FileInfo) bool {
	at, ok := file.Sys().(*syscall.Stat_t)
	return file.Mode().IsRegular() && (!ok || at.Nlink == 1)
}

// Absolute is a path that means the same wherever it is read. Where the
// current folder cannot be told it stays as it is.
func Absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// Missing says whether there is nothing of that name. What cannot be looked at counts
// as there.
func Missing(file string) bool {
	_, err := os.Stat(file)
	return errors.Is(err, fs.ErrNotExist)
}
