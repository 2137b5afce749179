package notify

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// logbook appends texts to a file, which is opened for each: one that was moved away by
// others is made anew.
type logbook struct {
	to  *File
	now func() time.Time // tests change it
}

// What holds where rotate leaves it open.
const (
	usualMaxSize  = 100 // MiB
	usualMaxFiles = 5
)

func newLogbook(c *File) (*logbook, error) {
	if c.Path == "" {
		return nil, errors.New("log_path is missing")
	}
	if r := c.Rotate; r != nil && (r.MaxSize < 0 || r.MaxAge < 0 || r.MaxFiles < 0) {
		return nil, errors.New("numbers of rotate must not be negative")
	}
	return &logbook{to: c, now: time.Now}, nil
}

// Send appends one text and has the disk keep it. Of one that did not go in whole nothing
// is left.
func (l *logbook) Send(_ context.Context, text string) (err error) {
	f, err := os.OpenFile(l.to.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	before, err := f.Stat()
	if err != nil {
		return err
	}
	if !before.Mode().IsRegular() {
		_, err = io.WriteString(f, text)
		return err
	}
	if _, err = io.WriteString(f, text); err != nil {
		return errors.Join(err, f.Truncate(before.Size()))
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if r := l.to.Rotate; r != nil && r.Enabled && before.Size()+int64(len(text)) > int64(orUsual(r.MaxSize, usualMaxSize))<<20 {
		// The text is in the file: what goes wrong now must not have it written again.
		_ = l.rotate(r)
	}
	return nil
}

func orUsual(n, usual int) int {
	if n == 0 {
		return usual
	}
	return n
}

// rotate puts the file away and removes those that are too many or too old.
func (l *logbook) rotate(r *Rotate) error {
	now := l.now()
	away := l.to.Path + "." + now.Format("20060102-150405")
	for _, ending := range []string{"", ".gz"} {
		if _, err := os.Lstat(away + ending); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s%s is there already", away, ending) // at the next text
		}
	}
	if err := os.Rename(l.to.Path, away); err != nil {
		return err
	}
	if r.Compress {
		if err := pack(away); err != nil {
			return err
		}
	}
	old, err := filepath.Glob(globText(l.to.Path) + ".*")
	if err != nil {
		return err
	}
	old = slices.DeleteFunc(old, func(path string) bool { return !putAway(strings.TrimPrefix(path, l.to.Path+".")) })
	slices.Sort(old)
	keep := orUsual(r.MaxFiles, usualMaxFiles)
	for i, path := range old {
		at, err := os.Stat(path)
		tooOld := err == nil && r.MaxAge > 0 && now.Sub(at.ModTime()) > time.Duration(r.MaxAge)*24*time.Hour
		if i < len(old)-keep || tooOld {
			_ = os.Remove(path)
		}
	}
	return nil
}

// globText is a path that stands for itself in a pattern.
func globText(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// putAway tells whether a name's ending is one of rotate's.
func putAway(ending string) bool {
	_, err := time.Parse("20060102-150405", strings.TrimSuffix(ending, ".gz"))
	return err == nil
}

// pack replaces a file by a packed one.
func pack(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path+".gz", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), out.Sync(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".gz"))
	}
	return os.Remove(path)
}
