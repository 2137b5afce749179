package persist

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockHolder names the process that has a folder locked, in words that follow "in use"; nothing
// when the system does not tell, as of a process in another container.
func lockHolder(dir string) string {
	list, err := os.ReadFile("/proc/locks")
	if err != nil {
		return ""
	}
	for _, path := range []string{dir, filepath.Join(dir, lockFile)} {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		at, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			continue
		}
		if pid := holderOf(string(list), at); pid > 0 {
			name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if err != nil {
				return fmt.Sprintf(" by process %d", pid)
			}
			return fmt.Sprintf(" by process %d (%q)", pid, strings.TrimSpace(string(name)))
		}
	}
	return ""
}

// holderOf finds in the system's list of locks the process that holds one, 0 for none.
// Some file systems name another device there than they do otherwise: if no other file
// has the number, it is that one.
func holderOf(list string, at *syscall.Stat_t) (pid int) {
	exact := fmt.Sprintf("%02x:%02x:%d", unix.Major(at.Dev), unix.Minor(at.Dev), at.Ino)
	other, others := 0, 0
	for line := range strings.Lines(list) {
		f := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 123 08:01:4711 0 EOF
		if len(f) < 6 || f[1] == "->" || f[3] != "WRITE" {
			continue
		}
		n, err := strconv.Atoi(f[4])
		if err != nil || n <= 0 {
			continue
		}
		if f[5] == exact {
			return n
		}
		if strings.HasSuffix(f[5], fmt.Sprintf(":%d", at.Ino)) {
			other, others = n, others+1
		}
	}
	if others == 1 {
		return other
	}
	return 0
}
