//go:build !linux

package socket

import (
	"io/fs"
	"os"
	"syscall"
)

// narrow does nothing: only Linux lets a socket have a mode before its file.
func narrow(syscall.RawConn, fs.FileMode) error { return nil }

// widen gives the socket its mode and says which file it is.
func widen(path string, mode fs.FileMode) (os.FileInfo, error) {
	if err := os.Chmod(path, mode.Perm()); err != nil {
		return nil, err
	}
	return os.Lstat(path)
}
