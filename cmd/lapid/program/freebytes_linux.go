package program

import "syscall"

// freeBytes is how much room there is in a folder for this process; -1: it is not known.
func freeBytes(dir string) int64 {
	free, _ := diskBytes(dir)
	return free
}

// diskBytes is how much room there is in a folder for this process, and how large its disk is; -1: it is
// not known.
func diskBytes(dir string) (free, size int64) {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return -1, -1
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize
}
