//go:build unix && !aix && !solaris

package persist

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// machineDisk is the machine's own disk, with a lock of this package.
type machineDisk struct{ vfs.FS }

// lockMode is how the file LOCK is made.
const lockMode = 0o600

// folderLock is a folder that is held: the folder itself, which cannot be taken
// away from under the lock, and the file in it, which programs before this one
// look at.
type folderLock struct{ folder, file *os.File }

// Lock takes the folder in which the file lies, and the file. The file is never
// followed to somewhere else, and never changed. On a disk that takes no writes it
// may be missing: the folder is enough.
func (machineDisk) Lock(path string) (io.Closer, error) {
	l, held, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	l.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, lockMode)
	if err != nil {
		if held && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)) {
			return l, nil
		}
		return nil, errors.Join(err, l.Close())
	}
	whole := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(l.file.Fd(), syscall.F_SETLK, &whole); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), l.Close())
	}
	return l, nil
}

// lockFolder takes the folder alone, whatever lies there in place of the file.
func (machineDisk) lockFolder(dir string) (io.Closer, error) {
	l, _, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// lockFolder takes a folder; held is false where that cannot be done.
func lockFolder(path string) (l *folderLock, held bool, err error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	l = &folderLock{folder: dir}
	err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, false, errors.Join(fmt.Errorf("lock %s: %w", dir.Name(), syscall.EAGAIN), l.Close())
	case err != nil && !noFolderLocks(err):
		return nil, false, errors.Join(fmt.Errorf("lock %s: %w", dir.Name(), err), l.Close())
	}
	return l, err == nil, nil
}

// noFolderLocks tells that a file system cannot lock folders, as some networks
// cannot: there the file has to do.
func noFolderLocks(err error) bool {
	return errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS) ||
		errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP)
}

// Close gives the folder back, at once: a child that another goroutine is just
// starting still has the folder open until it runs its own program, and closing
// would leave the lock with it for that long.
func (l *folderLock) Close() error {
	var err error
	if l.file != nil {
		err = l.file.Close()
	}
	_ = syscall.Flock(int(l.folder.Fd()), syscall.LOCK_UN) // refused where there are no locks on folders
	return errors.Join(err, l.folder.Close())
}
