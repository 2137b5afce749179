package backups

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"lapid/persist"
)

// Suffix ends the names of backups.
const Suffix = ".backup"

// unnamed begins the names of files that are being written.
const unnamed = ".lapid-"

// Copy copies a backup and checks it on the way. Every checksum is compared, and the end must be there.
func Copy(from io.Reader, to io.Writer) (*persist.BackupReader, error) {
	b, err := persist.Verify(io.TeeReader(from, to))
	if err != nil {
		return nil, fmt.Errorf("the backup is not whole: %w", err)
	}
	return b, nil
}

// File is a backup that is being written into a folder. It has its name
// only when all of it is on disk. The folder is held: what is done in it is done
// in the same one, whatever others move or link meanwhile.
type File struct {
	*os.File
	dir    string
	folder *os.Root
	tmp    string // its name until it is whole
}

// New begins a file in a folder, which is made when it is missing, mode 0700.
// The file has mode 0600 and a name that is no backup's. Discard must be called.
func New(dir string) (*File, error) { return begin(dir, unnamed) }

// begin is New with what the name begins with until the file is whole.
func begin(dir, mark string) (*File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	folder, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f := &File{dir: dir, folder: folder, tmp: mark + rand.Text() + ".tmp"}
	if f.File, err = folder.OpenFile(f.tmp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
		_ = folder.Close()
		return nil, err
	}
	return f, nil
}

// Keep gives the backup its name. File and folder are synced before it
// returns: then a power failure takes neither. A name that is there already
// can only be the same revision within the same second; it is replaced.
func (f *File) Keep(b *persist.BackupReader, now time.Time) (path string, err error) {
	return f.keep("lapid-", b, now)
}

// keep is Keep with what the name begins with.
func (f *File) keep(prefix string, b *persist.BackupReader, now time.Time) (path string, err error) {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", err
	}
	name := fmt.Sprintf("%s%s-%d%s", prefix, now.UTC().Format(stamp), b.Rev, Suffix)
	if err := f.folder.Rename(f.tmp, name); err != nil {
		return "", err
	}
	folder, err := f.folder.Open(".")
	if err != nil {
		return "", err
	}
	return filepath.Join(f.dir, name), errors.Join(folder.Sync(), folder.Close())
}

// stamp is how names say when, in UTC.
const stamp = "20060102T150405Z"

// Discard removes what has no name yet, and lets go of the folder. It may be
// called after Keep, and does nothing to the backup then.
func (f *File) Discard() {
	_ = f.Close()
	_ = f.folder.Remove(f.tmp)
	_ = f.folder.Close()
}
