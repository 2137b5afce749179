package program

import (
	"encoding/binary"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dropOwnPages unmaps the pages of the program's file. The kernel maps large pieces of it around
// each page that is touched, and counts them as the process's memory; what only a start or an
// import ran stays for as long as nobody is in need. Unmapped, they stay in the kernel's cache,
// and those that are run again are mapped again without the disk, for a microsecond each.
//
// Only mappings are touched whose pages are the file's as they are: the code, and constants of a
// program that has a fixed address, where the loader had nothing to fill in.
func dropOwnPages() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return // a kernel without that keeps what it has mapped
	}
	name, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	fixed := fixedAddress()
	for line := range strings.Lines(string(maps)) {
		if from, length, ok := ownMapping(line, name, fixed); ok {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, length, unix.MADV_DONTNEED)
		}
	}
}

// ownMapping reads a line of /proc/self/maps, and tells whether it is of the file and untouched.
func ownMapping(line, name string, fixed bool) (from, length uintptr, ok bool) {
	places, rest, _ := strings.Cut(line, " ")
	rights, rest, _ := strings.Cut(rest, " ")
	if rights != "r-xp" && (rights != "r--p" || !fixed) || !strings.HasSuffix(strings.TrimSuffix(rest, "\n"), " "+name) {
		return 0, 0, false
	}
	low, high, _ := strings.Cut(places, "-")
	begin, errBegin := strconv.ParseUint(low, 16, 64)
	end, errEnd := strconv.ParseUint(high, 16, 64)
	if errBegin != nil || errEnd != nil || end <= begin {
		return 0, 0, false
	}
	return uintptr(begin), uintptr(end - begin), true
}

// fixedAddress tells whether the program was linked for one address.
func fixedAddress() bool {
	const typeAt, executable = 16, 2 // of the header of an ELF file
	file, err := os.Open("/proc/self/exe")
	if err != nil {
		return false
	}
	defer file.Close()
	var head [typeAt + 2]byte
	_, err = io.ReadFull(file, head[:])
	return err == nil && binary.NativeEndian.Uint16(head[typeAt:]) == executable
}
