package persist

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Names inside the folder; FORMAT.md tells what is in each.
const (
	formatFile  = "FORMAT"
	lockFile    = "LOCK"
	closedFile  = "CLOSED" // of format 1
	latestFile  = "LATEST"
	probeFile   = "PROBE"
	newFile     = "NEW"
	storeDir    = "store"
	snapshotDir = "snapshots"
)

// formatText is the whole content of the file FORMAT.
func (i identity) formatText() string { return i.formatTextOf(FormatVersion) }

// formatTextOf is the content in a store of an older format.
func (i identity) formatTextOf(version uint64) string {
	if !i.given() {
		return "lapid store, format 1\n"
	}
	text := fmt.Sprintf("lapid store, format %d\nid %s\nsince %d\n", version, i.id, i.since)
	return fmt.Sprintf("%ssum %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

// parseFormat is the mirror of formatText: what it accepts is what formatTextOf
// writes, sum included.
func parseFormat(text string) (i identity, number int, ok bool) {
	var id []byte
	var version, since uint64
	if n, _ := fmt.Sscanf(text, "lapid store, format %d\nid %x\nsince %d\n", &version, &id, &since); n == 3 && len(id) == len(i.id) {
		i = identityOf(ID(id), since)
	}
	if !i.given() {
		return i, 1, text == i.formatText()
	}
	return i, int(version), version >= 2 && version <= FormatVersion && text == i.formatTextOf(version)
}

// probeSize is what must be writable before a failed Store is opened anew, in
// bytes: a few log blocks and a manifest.
const probeSize = 1 << 20

// folder is the place of a Store: names, versions and marks, but no content.
type folder struct {
	fs   FS
	path string
}

func (f folder) join(name string) string { return f.fs.PathJoin(f.path, name) }

// version looks what is there. It returns 0 for an empty or missing folder, and
// ErrFormat for one that this program must not touch. It changes nothing.
func (f folder) version() (who identity, version int, err error) {
	if err := f.ordinary(f.join(formatFile), false); errors.Is(err, ErrCorrupt) {
		return who, 0, err
	}
	text, err := f.read(formatFile)
	if err == nil {
		who, number, ok := parseFormat(text)
		if !ok {
			return who, 0, advise("put back its own, use the program that wrote it, or "+restoreIt,
				fmt.Errorf("%w: %s says %q, this program knows formats 1 to %d", ErrFormat, f.join(formatFile), clip(text), FormatVersion))
		}
		return who, number, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return who, 0, fmt.Errorf("%w: %w", ErrDisk, err)
	}
	for _, name := range []string{storeDir, snapshotDir} {
		if names, err := f.fs.List(f.join(name)); err == nil && len(names) > 0 {
			return who, 0, advise(putBack, fmt.Errorf("%w: %s has a folder %q but no file %s", ErrFormat, f.path, name, formatFile))
		}
	}
	return who, 0, nil
}

// CheckFormat tells whether Open would take the folder dir for a store of this
// program, by its names and its file FORMAT alone: beside a process that has it open,
// and without changing anything. A folder that is empty or not there is good. The
// errors are those of Open.
func CheckFormat(dir string) error {
	_, _, err := folder{machineDisk{vfs.Default}, dir}.version()
	return err
}

// create makes the folder, durably, and writes its format version last.
func (f folder) create(who identity) error {
	if err := f.makeDirs(); err != nil {
		return fmt.Errorf("create %s: %w: %w", f.path, ErrDisk, err)
	}
	for _, file := range []struct{ name, text string }{{newFile, ""}, {formatFile, who.formatText()}} {
		if err := f.write(file.name, file.text); err != nil {
			return fmt.Errorf("create %s: %w: %w", f.path, ErrDisk, err)
		}
	}
	return nil
}

// isNew reports whether the store was never open: the power may have failed
// while it was made, and what is there may be half of it. An ErrCorrupt when the
// folder says so but holds what only a store that was open can.
func (f folder) isNew(ctx context.Context, who identity) (bool, error) {
	_, err := f.fs.Stat(f.join(newFile))
	switch {
	case err == nil:
		return true, f.neverUsed(ctx, who)
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("%w: %w", ErrDisk, err) // not knowing is not "no"
}

// neverUsed makes sure that nothing was ever accepted here.
func (f folder) neverUsed(ctx context.Context, who identity) error {
	used := func(what string) error {
		return advise("remove that file", fmt.Errorf("%w: a file %s lies in a store that was used (there is %s)", ErrCorrupt, f.join(newFile), what))
	}
	for _, dir := range []string{storeDir, snapshotDir} {
		names, err := f.fs.List(f.join(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", ErrDisk, err)
		}
		for _, name := range names {
			if _, isSnapshot := parseSnapshotName(name); isSnapshot || isTable(name) {
				return used(f.fs.PathJoin(dir, name))
			}
		}
	}
	if f.closedAt() > 0 {
		return used(closedFile)
	}
	found, err := f.scanLogs(ctx, who)
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	if found.last > 0 {
		return used(fmt.Sprintf("record %d in %s", found.last, storeDir))
	}
	return nil
}

// startOver empties a store that was never open. Nothing was accepted by it.
func (f folder) startOver() error {
	if err := f.fs.RemoveAll(f.join(storeDir)); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	if err := f.makeDirs(); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return nil
}

// notNew says, durably, that the store is open and may accept.
func (f folder) notNew() error {
	if err := f.fs.Remove(f.join(newFile)); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	if err := f.syncDir(f.path); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return nil
}

// makeDirs creates the folder and those inside, and syncs every directory on the
// way there: an earlier attempt may have made some of them.
func (f folder) makeDirs() error {
	for _, dir := range []string{f.path, f.join(storeDir), f.join(snapshotDir)} {
		if err := f.fs.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := f.syncDir(f.path); err != nil {
		return err
	}
	for dir := f.path; f.fs.PathDir(dir) != dir; {
		dir = f.fs.PathDir(dir)
		if err := f.syncDir(dir); err != nil && !notOurs(err) {
			return err
		}
	}
	return nil
}

// notOurs tells that a directory could not be synced because this user can neither write
// nor read it, so that it holds nothing that this program made.
func notOurs(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EINVAL)
}

// lock takes the folder for this Store alone.
func (f folder) lock() (io.Closer, error) {
	path := f.join(lockFile)
	const anew = "remove it: it holds nothing, and is made anew"
	if info, err := f.fs.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, advise(anew, fmt.Errorf("%w: %s is no ordinary file", ErrCorrupt, path))
	}
	l, err := f.fs.Lock(path)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.ELOOP):
		return nil, advise(anew, fmt.Errorf("%w: %s is a symbolic link", ErrCorrupt, path))
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES),
		strings.Contains(err.Error(), "held by current process"):
		return nil, fmt.Errorf("%s: %w%s", f.path, ErrLocked, lockHolder(f.path))
	default:
		return nil, fmt.Errorf("lock %s: %w: %w", f.path, ErrDisk, err)
	}
}

// closedAt returns the last revision at the latest orderly Close of a store of
// format 1, 0 when there was none or the mark cannot be read.
func (f folder) closedAt() uint64 {
	text, err := f.read(closedFile)
	if err != nil {
		return 0
	}
	rev, err := strconv.ParseUint(strings.TrimSuffix(text, "\n"), 10, 64)
	if err != nil {
		return 0
	}
	return rev
}

// probe writes, syncs and removes a file of probeSize, and returns why that cannot be
// done, with how much room it takes.
func (f folder) probe() error {
	path := f.join(probeFile)
	file, err := f.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(make([]byte, probeSize))
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err = errors.Join(err, f.fs.Remove(path)); err != nil {
		return fmt.Errorf("a trial of writing %d KiB: %w", probeSize>>10, err)
	}
	return nil
}

// smallFile bounds what is read of a small file, in bytes.
const smallFile = 64 << 10

// read returns a small file.
func (f folder) read(name string) (string, error) {
	if err := f.ordinary(f.join(name), false); errors.Is(err, ErrCorrupt) {
		return "", err
	}
	file, err := f.fs.Open(f.join(name))
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, smallFile))
	return string(text), err
}

// write replaces a small file whole and durably: a crash leaves the old or the new.
func (f folder) write(name, text string) error {
	tmp := f.join(name + tmpSuffix)
	file, err := f.fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write([]byte(text))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := f.fs.Rename(tmp, f.join(name)); err != nil {
		return err
	}
	return f.syncDir(f.path)
}

// syncDir makes the entries of a directory durable.
func (f folder) syncDir(path string) error {
	dir, err := f.fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// clip keeps foreign text short enough for a message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
