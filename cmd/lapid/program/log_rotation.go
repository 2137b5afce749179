package program

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A file that is put away is named for when that was, crowdsec-2026-07-01T12-00-00.000.log,
// and packed ones end in .gz. Another program that has it open, as a log processor
// that shares the folder does, goes on writing to it: so the newest stays as it is,
// and an older one is packed or removed only if nothing wrote to it since the last but
// one was put away, and no process that can be seen has it open for
// writing (those of other users are seen by root alone). One that must stay is said,
// once, and looked at again the next time.
const putAwayAt = "2006-01-02T15-04-05.000"

// coarse is more than how far the times of a disk lag behind the clock. A file that is
// put away is given a time twice as long ago, so that any later write is seen.
const coarse = time.Second

// keepOwner gives a file the owner that another has, where this user may.
// Log shippers read by a group that an administrator gave the file.
func keepOwner(file *os.File, of os.FileInfo) error {
	at, ok := of.Sys().(*syscall.Stat_t)
	if !ok || int(at.Uid) == os.Geteuid() && int(at.Gid) == os.Getegid() {
		return nil
	}
	if err := file.Chown(int(at.Uid), int(at.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// away is a file that was put away. at is read off the name, so that it
// survives a copy.
type away struct {
	path   string
	at     time.Time
	packed bool
}

// packFile packs a file beside itself and removes it. A packed one is there
// whole or not at all. A file that grew meanwhile stays as it is: what was
// added would be lost with it.
func packFile(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	made := path + ".gz.making"
	out, err := os.OpenFile(made, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	n, err := io.Copy(z, in)
	err = errors.Join(err, z.Close(), keepOwner(out, info), out.Sync(), out.Close())
	if now, failed := os.Lstat(path); err == nil && (failed != nil || now.Size() != n) {
		err = fmt.Errorf("%s grew while it was packed", path)
	}
	if err == nil {
		err = os.Rename(made, path+".gz")
	}
	if err != nil {
		return errors.Join(err, os.Remove(made))
	}
	return os.Remove(path)
}

// logWriter is a process that has a file open.
type logWriter struct {
	id   int
	name string
}

// String names the process as an operator finds it.
func (p logWriter) String() string { return "process " + strconv.Itoa(p.id) + " (" + p.name + ")" }

// writers are other processes that have a file open for writing, as far as they can
// be seen; foreign leaves out those that run this program. It reads /proc; where
// there is none, no process is seen.
func writers(path string, foreign bool) (list []logWriter) {
	file, err := os.Stat(path)
	if err != nil {
		return nil
	}
	own, _ := os.Readlink("/proc/self/exe")
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		id, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || id == os.Getpid() || !writes(dir, file) {
			continue
		}
		if exe, err := os.Readlink(dir + "/exe"); foreign && err == nil && exe == own {
			continue
		}
		name, _ := os.ReadFile(dir + "/comm")
		list = append(list, logWriter{id, strings.TrimSpace(string(name))})
	}
	return list
}

// writes reports whether the process of a folder of /proc has a file open for writing.
func writes(dir string, file os.FileInfo) bool {
	fds, _ := os.ReadDir(dir + "/fd")
	for _, fd := range fds {
		link := filepath.Join(dir, "fd", fd.Name())
		at, err := os.Stat(link)
		if err != nil || !os.SameFile(at, file) {
			continue
		}
		if how, err := os.Lstat(link); err == nil && how.Mode().Perm()&0o200 != 0 {
			return true
		}
	}
	return false
}
