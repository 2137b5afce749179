package datadir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"lapid/persist"
)

// A folder that never had a store and one whose store was removed look alike. A file
// beside the store tells them apart, so that no server begins anew with nothing, and
// turns every bouncer away, because a folder was moved or a disk is not mounted. It
// is written when a store is opened for the first time, and names it. A folder of an
// earlier version has none, and gets it then.

// madeName is the name of that file, in our folder.
const madeName = "MADE"

// madeText is what is in it, for a person; a line for each store follows.
const madeText = `A store was made here, in the folder "store" beside this file. lapid makes no other one in its place
as long as this file is here. Remove it only to begin anew with nothing, or with another store.
`

// madeLine begins the line of a store; its id follows.
const madeLine = "store "

// madeSize bounds what is read of the file, in bytes.
const madeSize = 4 << 10

// MadeFile is the path of the file that says which stores were made here.
func (d Dir) MadeFile() string { return filepath.Join(d.Folder(), madeName) }

// errNotMade: the store that was made here is not there.
var errNotMade = errors.New("the store that was made here is not there")

// made reads which stores belong here: one, or two while a restore puts one
// in the place of the other; none when the file does not say. No link is
// followed to it, and no pipe waited for: the folder may be another user's.
func (d Dir) made() (ids []string, there bool, err error) {
	f, err := os.OpenFile(d.MadeFile(), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, false, nil
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO):
		return nil, true, nil // whatever it is: something was here
	case err != nil:
		return nil, false, Permitted(err, d.MadeFile())
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, true, err
	}
	text, err := io.ReadAll(io.LimitReader(f, madeSize))
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), madeLine); ok {
			ids = append(ids, id)
		}
	}
	return ids, true, err
}

// AsMade makes sure, before a store is opened or made, that the one that was made here
// is the one that is there. What else may be wrong with it is told when it is opened.
// The error says where the store may be and what to do; nothing
// was touched.
func (d Dir) AsMade() error {
	if odd := d.OddStore(); odd != "" {
		return fmt.Errorf("%w: %s is %s: put the folder back, or restore a backup with: lapid restore --force FILE; "+
			"what is there is kept then, under another name", errNotMade, Absolute(d.Store()), odd)
	}
	ids, there, err := d.made()
	if err != nil || !there {
		return err
	}
	id, is, err := persist.Whose(&persist.Options{Dir: d.Store()})
	switch {
	case err != nil:
		return nil
	case !is:
		return fmt.Errorf("%w: %s is missing or empty, and %s says that a store was made: put it back (is a disk not mounted?), "+
			"or restore a backup with: lapid restore --force FILE; to begin anew with nothing, remove %s",
			errNotMade, Absolute(d.Store()), Absolute(d.MadeFile()), Absolute(d.MadeFile()))
	case len(ids) > 0 && !slices.Contains(ids, id.String()):
		other, err := persist.Open(&persist.Options{Dir: d.Store(), ReadOnly: true})
		if err != nil {
			return nil // parts of several stores: told when it is opened
		}
		_ = other.Close()
		return fmt.Errorf("%w: in %s is another one, with the id %s instead of %s: put back what belongs there, "+
			"or restore a backup with: lapid restore --force FILE; if this one is meant, remove %s",
			errNotMade, Absolute(d.Store()), id, strings.Join(ids, " or "), Absolute(d.MadeFile()))
	}
	return nil
}

// OddStore says what is in the place of the store when that is no folder; "" else.
// A link to a folder is a folder: data may lie on another disk.
func (d Dir) OddStore() string {
	entry, err := os.Lstat(d.Store())
	if err != nil || entry.IsDir() {
		return ""
	}
	linked := entry.Mode()&fs.ModeSymlink != 0
	info, err := os.Stat(d.Store())
	switch {
	case linked && errors.Is(err, syscall.ELOOP):
		return "a link that leads to itself"
	case linked && errors.Is(err, fs.ErrNotExist):
		return "a link that leads nowhere"
	case err != nil || info.IsDir():
		return ""
	case linked:
		return "a link to what is no folder"
	}
	return "no folder"
}

// NoteMade writes down, durably, which stores belong here. Zero ids are of
// stores that have none yet. What is noted already is not written again.
func (d Dir) NoteMade(stores ...persist.ID) error {
	var ids []string
	for _, id := range stores {
		if id != (persist.ID{}) && !slices.Contains(ids, id.String()) {
			ids = append(ids, id.String())
		}
	}
	if before, _, err := d.made(); len(ids) == 0 || err == nil && slices.Equal(before, ids) {
		return nil
	}
	if info, err := os.Lstat(d.MadeFile()); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no ordinary file: remove it", d.MadeFile())
	}
	text := madeText
	for _, id := range ids {
		text += madeLine + id + "\n"
	}
	if err := WriteSecret(d.MadeFile(), []byte(text)); err != nil {
		return err
	}
	return SyncFolder(d.Folder())
}
