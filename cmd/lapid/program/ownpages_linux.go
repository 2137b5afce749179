package program

import (
	"debug/elf"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dropOwnPages unmaps the pages of the program's file. The kernel maps large pieces of it around
// each page that is touched, and counts them as the process's memory; what only a start or an
// import ran stays for as long as nobody is in need. Unmapped, they stay in the kernel's cache,
// and those that are run again are mapped again without the disk, for a microsecond each.
//
// Only mappings are touched whose pages are the file's as they are: the code, and the constants of
// a program in which nobody fills anything in at its start. A program that is linked with
// libraries has tables of their addresses in its constants, which would be lost.
func dropOwnPages() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return // a kernel without that keeps what it has mapped
	}
	name, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	whole := untouched()
	for line := range strings.Lines(string(maps)) {
		if from, length, ok := ownMapping(line, name, whole); ok {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, length, unix.MADV_DONTNEED)
		}
	}
}

// ownMapping reads a line of /proc/self/maps, and tells whether it is of the file and untouched.
func ownMapping(line, name string, whole bool) (from, length uintptr, ok bool) {
	places, rest, _ := strings.Cut(line, " ")
	rights, rest, _ := strings.Cut(rest, " ")
	if rights != "r-xp" && (rights != "r--p" || !whole) || !strings.HasSuffix(strings.TrimSuffix(rest, "\n"), " "+name) {
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

// untouched tells whether the constants in memory are those of the file: the program has a fixed
// address, no loader, and nothing that is written once and protected then.
func untouched() bool {
	file, err := elf.Open("/proc/self/exe")
	if err != nil {
		return false
	}
	defer file.Close()
	return file.Type == elf.ET_EXEC && !slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool {
		return p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC || p.Type == elf.PT_GNU_RELRO
	})
}
