package persist

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A store of an older format is kept as it was, in the folder previous/ inside it, from
// the moment a program that writes a newer one opens it until a server that served it
// has ended in good order (DropPrevious). Tables and snapshots, which never change, are linked;
// what is written in place, or used again, is copied. So it costs at first no more than
// the logs, 64 MiB each, and later what compactions would have freed.
//
// It is made before anything in the store is changed, under another name, and FORMAT
// names the new format only when it is whole: whatever step the power fails at, there is
// the old store alone, or the old one and a copy that is made anew the next time, or the
// new one and the copy.
const previousDir = "previous"

// keepPrevious makes the copy. The store is not open meanwhile.
func (s *Store) keepPrevious() error {
	f := s.folder
	old := folder{f.fs, f.join(previousDir)}
	made := folder{f.fs, f.join(previousDir + tmpSuffix)}
	if err := errors.Join(dropFolder(old), f.fs.RemoveAll(made.path)); err != nil {
		return err
	}
	for _, dir := range []string{made.path, made.join(storeDir), made.join(snapshotDir)} {
		if err := f.fs.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		dir    string
		linked func(name string) bool // the others are copied
	}{
		{storeDir, isTable},
		{snapshotDir, func(string) bool { return true }},
	} {
		if err := f.keepFiles(made, part.dir, part.linked); err != nil {
			return err
		}
	}
	for _, name := range []string{latestFile, closedFile, formatFile} {
		if err := vfs.Copy(f.fs, f.join(name), made.join(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := made.syncDir(made.path); err != nil {
		return err
	}
	if err := f.fs.Rename(made.path, old.path); err != nil {
		return err
	}
	return f.syncDir(f.path)
}

// keepFiles brings the files of one folder of the store over.
func (f folder) keepFiles(to folder, dir string, linked func(name string) bool) error {
	names, err := f.fs.List(f.join(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range names {
		from, to := f.fs.PathJoin(f.join(dir), name), f.fs.PathJoin(to.join(dir), name)
		if info, err := f.fs.Stat(from); err != nil || !info.Mode().IsRegular() {
			continue // nothing of the store's
		}
		if dir == snapshotDir {
			if _, is := parseSnapshotName(name); !is {
				continue
			}
		}
		if linked(name) {
			err = vfs.LinkOrCopy(f.fs, from, to)
		} else {
			err = vfs.Copy(f.fs, from, to)
		}
		if err != nil {
			return err
		}
	}
	return to.syncDir(to.join(dir))
}

// dropFolder removes a copy. What is left when the power fails meanwhile has no FORMAT,
// and so is none.
func dropFolder(f folder) error {
	if f.own() != nil { // a link, say: it goes, and not what it leads to
		return f.fs.RemoveAll(f.path)
	}
	if _, err := f.fs.Stat(f.join(formatFile)); err == nil {
		if err := errors.Join(f.fs.Remove(f.join(formatFile)), f.syncDir(f.path)); err != nil {
			return err
		}
	}
	return f.fs.RemoveAll(f.path)
}

// DropPrevious removes the copy of the store as an older program wrote it, and reports
// whether there was one. It is for a server that has read all of the store, has served
// it, and ends in good order. What cannot be removed is tried again at the next end, and
// costs its room until then. What is no such copy stays: an ErrCorrupt.
func (s *Store) DropPrevious() (bool, error) {
	if s.options.ReadOnly {
		return false, nil
	}
	previous := folder{s.folder.fs, s.folder.join(previousDir)}
	if err := previous.own(); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if err := dropFolder(previous); err != nil {
		return false, fmt.Errorf("remove %s: %w: %w", previous.path, ErrDisk, err)
	}
	return true, nil
}

// own returns nil for a folder that lies where it says, and no link to another.
func (f folder) own() error {
	if disk, ok := f.fs.(interface{ isLink(path string) bool }); ok && disk.isLink(f.path) {
		return advise("remove the link", fmt.Errorf("%w: %s is a link", ErrCorrupt, f.path))
	}
	info, err := f.fs.Stat(f.path)
	if err == nil && !info.IsDir() {
		return advise("remove it", fmt.Errorf("%w: %s is no folder", ErrCorrupt, f.path))
	}
	return err
}

func (machineDisk) isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&os.ModeSymlink != 0
}

// Previous returns the folder in which the store of o.Dir is kept as an older program
// wrote it, and the number of that format; "" when there is none. It changes nothing.
func Previous(o *Options) (dir string, format int, err error) {
	c := o.withDefaults()
	previous := folder{c.FS, (folder{c.FS, c.Dir}).join(previousDir)}
	switch err := previous.own(); {
	case errors.Is(err, ErrCorrupt):
		return "", 0, err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", 0, nil
	}
	if _, err := previous.fs.Stat(previous.join(formatFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", 0, nil
		}
		return "", 0, fmt.Errorf("%w: %w", ErrDisk, err)
	}
	if _, format, err = previous.version(); err != nil {
		return "", 0, err
	}
	return previous.path, format, nil
}

// Format returns the number of the format in which the store of o.Dir is written, 0 when
// there is none. It changes nothing. The errors are those of Open.
func Format(o *Options) (int, error) {
	c := o.withDefaults()
	_, format, err := (folder{c.FS, c.Dir}).version()
	return format, err
}

// migrate keeps the store as it is before a newer format is written to it. The store is
// of the newer format when modern has been called as well.
func (s *Store) migrate() error {
	if s.written >= FormatVersion || s.written == 0 {
		return nil
	}
	if err := s.keepPrevious(); err != nil {
		return fmt.Errorf("keep the store as it was, in %s: %w: %w", s.folder.join(previousDir), ErrDisk, err)
	}
	s.log.Info("an older program wrote the store: it gets a newer format, and as it was it is kept until a server has ended in good order; back to it, after kill -9, with: lapid restore --previous",
		"format", FormatVersion, "was", s.written, "kept", s.folder.join(previousDir))
	return nil
}

// modern says, durably, that the store is of this program's format, before anything is
// written in it.
func (s *Store) modern() error {
	if s.written >= FormatVersion || !s.identity.given() {
		return nil
	}
	if err := s.folder.write(formatFile, s.identity.formatText()); err != nil {
		return fmt.Errorf("write %s: %w: %w", s.folder.join(formatFile), ErrDisk, err)
	}
	s.written = FormatVersion
	return nil
}
