package socket

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// narrow gives a socket that is not bound yet the mode that its file will have,
// less what the umask takes.
func narrow(c syscall.RawConn, mode fs.FileMode) error {
	var err error
	if failed := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), uint32(mode.Perm())) }); failed != nil {
		return failed
	}
	return err
}

// widen gives the socket at path what the umask took, and says which file it is.
// The file is held while that is done: a link or anything else that was put in
// its place meanwhile is not followed and not touched.
func widen(path string, mode fs.FileMode) (os.FileInfo, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	held := os.NewFile(uintptr(fd), path)
	defer held.Close()
	info, err := held.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSocket == 0:
		return nil, errors.New("something else was put in the place of the socket")
	case info.Mode().Perm() == mode.Perm():
		return info, nil
	}
	return info, unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), uint32(mode.Perm()))
}
