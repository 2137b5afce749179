//go:build unix

package persist

import (
	"io/fs"
	"syscall"
)

// placeOf is where a file is, whatever its name.
func placeOf(info fs.FileInfo) place {
	if at, ok := info.Sys().(*syscall.Stat_t); ok {
		return place{uint64(at.Dev), at.Ino}
	}
	return place{}
}
