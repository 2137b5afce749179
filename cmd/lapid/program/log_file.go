package program

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
)

// logFile is a file that is written to at its end, is put away when it is large,
// and can be opened anew. It is made readable by the server's user alone; one that
// is there keeps its mode, and so do those that follow it.
//
// Another program may write to the same file, as a log processor with the same
// configuration does: log_rotation.go says what becomes of its lines. When such a
// program has moved the file, ours go to the one that is there now.
//
// In a folder that another user may change it is never put away: there a name may
// come to be a link to anything between two looks at it, so nothing is opened or
// renamed by its name but as openPlain does.
type logFile struct {
	path     string
	rotation config.Rotation

	mu    sync.Mutex // guards what follows
	out   *os.File
	size  int64 // of it, as far as this process knows
	safe  bool  // no other user may change the folder
	stuck bool  // it could not be put away: it grows
	log   *slog.Logger

	tidying sync.Mutex // of what was put away
	told    string     // what was last said of files that cannot be tidied away; tidying guards it
}

// reopen opens what is at the path now, and makes it when missing. After an error
// the old file stays in use.
func (l *logFile) reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return err
	}
	if l.safe {
		go l.tidy()
	}
	return nil
}

// open is reopen where the lock is held.
func (l *logFile) open() error {
	f, err := datadir.OpenPlain(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	var folder, file os.FileInfo
	if err == nil {
		if folder, err = os.Stat(filepath.Dir(l.path)); err == nil {
			file, err = f.Stat()
		}
		if err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	if l.out != nil {
		_ = l.out.Close()
	}
	l.out, l.size, l.safe, l.stuck = f, file.Size(), datadir.Unshared(folder), false
	return nil
}

// Write writes lines. When the file cannot be put away, as in a folder where this
// user may make nothing, it grows: no line is lost for that.
func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.safe && !l.stuck {
		l.follow()
		if l.size > 0 && l.size+int64(len(b)) > int64(l.rotation.Size)<<20 {
			l.next()
		}
	}
	n, err := l.out.Write(b)
	l.size += int64(n)
	return n, err
}

// follow opens what is at the path if that is another file than ours:
// the program that moved ours away may pack and remove it. It costs one look at the
// folder for each write.
func (l *logFile) follow() {
	ours, err := l.out.Stat()
	if err != nil {
		return
	}
	l.size = ours.Size() // another program's lines count
	if there, err := os.Lstat(l.path); err == nil && os.SameFile(ours, there) {
		return
	}
	_ = l.open() // or ours is still good
}

// next puts the file away and begins another. The packing goes on beside the
// lines that follow.
func (l *logFile) next() {
	err := l.putAway()
	if err == nil {
		go l.tidy()
		return
	}
	l.stuck = true
	if l.log != nil { // not from here: the log is held while a line is written
		go l.log.Error(l.path+" cannot be put away and grows until a SIGHUP or a restart: this user must be able to make files in its folder", "error", err)
	}
}

// warnOf says what an operator would not expect of the file.
func (l *logFile) warnOf(log *slog.Logger) {
	l.mu.Lock()
	l.log = log
	l.mu.Unlock()
	for _, line := range unexpected(l.path) {
		log.Warn(line)
	}
	if filepath.Base(l.path) == config.AccessName {
		log.Info("each request has a line in " + l.path + ": access_log: false in lapid.yaml turns that off")
	}
}

// unexpected is what an operator would not expect of a log file at a path, whether
// it is there or not.
func unexpected(path string) (lines []string) {
	if folder, err := os.Stat(filepath.Dir(path)); err == nil && !datadir.Unshared(folder) {
		lines = append(lines, path+" is never put away, however large it gets: somebody else than root and this user may change its folder; "+
			"have another folder as log_dir, or rotate it yourself and send SIGHUP")
	}
	if others := writers(path, true); len(others) > 0 {
		lines = append(lines, path+" is written to by "+others[0].String()+" as well: what either puts away has lines of both, "+
			"and lapid packs and removes none that the other has open; give one of them another log_dir")
	}
	return lines
}

// putAway renames the file and begins another with the same mode and owner.
// After an error nothing has changed. The caller holds the lock of the file,
// so no line is lost or cut in two by it.
func (l *logFile) putAway() error {
	was, err := l.out.Stat()
	if err != nil {
		return err
	}
	ext := filepath.Ext(l.path)
	base := strings.TrimSuffix(l.path, ext) + "-"
	now := time.Now().UTC()
	aside := base + now.Format(putAwayAt) + ext
	for _, err := os.Lstat(aside); err == nil; _, err = os.Lstat(aside) { // two in a millisecond
		now = now.Add(time.Millisecond)
		aside = base + now.Format(putAwayAt) + ext
	}
	if err := os.Rename(l.path, aside); err != nil {
		return err
	}
	if err := l.open(); err != nil {
		return errors.Join(err, os.Rename(aside, l.path))
	}
	_ = os.Chtimes(aside, time.Time{}, now.Add(-2*coarse)) // refused: it is packed later
	return errors.Join(l.out.Chmod(was.Mode().Perm()), keepOwner(l.out, was))
}

// putAwayFiles lists them, the newest first. Names of other forms in the
// folder are not ours and never touched.
func (l *logFile) putAwayFiles() (list []away) {
	ext := filepath.Ext(l.path)
	base := strings.TrimSuffix(filepath.Base(l.path), ext) + "-"
	entries, err := os.ReadDir(filepath.Dir(l.path))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		text, ours := strings.CutPrefix(e.Name(), base)
		text, packed := strings.CutSuffix(text, ".gz")
		text, log := strings.CutSuffix(text, ext)
		at, err := time.Parse(putAwayAt, text)
		if ours && log && err == nil && e.Type().IsRegular() {
			list = append(list, away{filepath.Join(filepath.Dir(l.path), e.Name()), at, packed})
		}
	}
	slices.SortFunc(list, func(a, b away) int { return b.at.Compare(a.at) })
	return list
}

// tidy packs and removes what is due. What fails is tried the next time.
// One goroutine at a time does it, beside those that write; it may take as long as
// packing takes.
func (l *logFile) tidy() {
	l.tidying.Lock()
	defer l.tidying.Unlock()
	list := l.putAwayFiles()
	kept := ""
	for i, one := range list {
		over := i >= l.rotation.Files || time.Since(one.at) > time.Duration(l.rotation.Days)*24*time.Hour
		pack := !one.packed && l.rotation.Compress
		if i == 0 && !one.packed || !over && !pack {
			continue
		}
		if why := l.inUse(one, list[min(1, len(list)-1)].at); why != "" {
			kept = one.path + " stays as it is: " + why
			continue
		}
		if over {
			_ = os.Remove(one.path)
		} else {
			_ = packFile(one.path)
		}
	}
	l.mu.Lock()
	log := l.log
	l.mu.Unlock()
	if kept != l.told && kept != "" && log != nil {
		log.Warn(kept)
	}
	l.told = kept
}

// inUse says why a file that is not packed must stay as it is, by what wrote
// to it since the last but one was put away. "" when it may be packed or
// removed. The sentence is for the log and names what to do.
func (l *logFile) inUse(one away, since time.Time) string {
	if one.packed {
		return ""
	}
	info, err := os.Lstat(one.path)
	if err != nil {
		return err.Error()
	}
	if info.ModTime().After(since.Add(-coarse)) {
		return "another program wrote to it after it was put away; give that one another log_dir, or restart it"
	}
	if others := writers(one.path, false); len(others) > 0 {
		return others[0].String() + " has it open; give that one another log_dir, or restart it"
	}
	return ""
}
