//go:build !linux

package program

// freeBytes is not known here.
func freeBytes(string) int64 { return -1 }

// diskBytes is not known here.
func diskBytes(string) (free, size int64) { return -1, -1 }
