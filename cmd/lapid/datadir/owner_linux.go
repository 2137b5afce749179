package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// owner is the user, and the group, to whom a folder belongs.
type owner struct {
	uid, gid int
	folder   string
}

// owner is the user to whom the store's place belongs: of the data directory (or, if it is
// still to be made, of the folder it will be made in), our folder in it and the
// store, the first that is not root's. nil: root, or nothing that can be told.
func (d Dir) owner() *owner {
	data := Absolute(string(d))
	for Missing(data) && data != filepath.Dir(data) {
		data = filepath.Dir(data)
	}
	for _, path := range []string{data, d.Folder(), d.Store()} {
		info, err := os.Stat(path)
		if err != nil {
			return nil
		}
		if at, ok := info.Sys().(*syscall.Stat_t); ok && at.Uid != 0 {
			return &owner{int(at.Uid), int(at.Gid), path}
		}
	}
	return nil
}

// AsOwner has a verb of root's go on with the rights of the store's owner, until
// back is called: before it opens, makes, renames or removes anything where that
// user may put links, or move folders, meanwhile. Whatever that
// user does, root's verb can do no more than the user could, and what it makes is the
// user's, so that a server that runs as that user can open it. Input is opened, and
// output made, before or after.
//
// The whole process changes, by its effective ids; that lets no other user signal or trace it, its real ones stay root's. Other users, and root in a folder of its
// own, stay who they are.
func (d Dir) AsOwner() (back func(), err error) {
	o := d.owner()
	if os.Geteuid() != 0 || o == nil {
		return func() {}, nil
	}
	if err := d.adopt(o); err != nil {
		return nil, err
	}
	groups, err := os.Getgroups()
	if err != nil {
		return nil, err
	}
	gid := os.Getegid()
	back = func() {
		err := errors.Join(syscall.Setresuid(-1, 0, -1), syscall.Setresgid(-1, gid, -1), syscall.Setgroups(groups))
		if err != nil { // never: the real and the saved user are root
			panic(fmt.Sprintf("the rights of root cannot be taken back: %v", err))
		}
	}
	err = errors.Join(syscall.Setgroups([]int{o.gid}), syscall.Setresgid(-1, o.gid, -1), syscall.Setresuid(-1, o.uid, -1))
	if err != nil {
		_ = syscall.Setresuid(-1, 0, -1)
		_ = syscall.Setresgid(-1, gid, -1)
		_ = syscall.Setgroups(groups)
		return nil, fmt.Errorf("%s belongs to user %d, and this root may not act as another user (%w): run the command as that user",
			string(d), o.uid, err)
	}
	if _, err := os.Stat(string(d)); errors.Is(err, fs.ErrPermission) {
		back()
		return nil, fmt.Errorf("%s belongs to user %d, who cannot get to it: open its parent folders to that user, or give it to root",
			string(d), o.uid)
	}
	return back, nil
}

// adopt gives the owner what a server that ran as root, or a verb of another
// version, has left of root's in our folder, for otherwise only root could use
// the store. Folders are walked by their handles and nothing is followed;
// what has a second name elsewhere is left alone.
func (d Dir) adopt(o *owner) error {
	fd, err := unix.Open(d.Folder(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil // whatever it is: its owner will see
	case err != nil:
		return fmt.Errorf("looking at %s: %w", d.Folder(), err)
	}
	folder := os.NewFile(uintptr(fd), d.Folder())
	defer folder.Close()
	return adoptFolder(folder, o, adoptDepth)
}

// adoptDepth is how deep there is anything of ours below our folder, and more.
const adoptDepth = 8

// adoptFolder adopts what is in a folder, and then the folder: as long as it is
// root's, no other user puts anything into it.
func adoptFolder(folder *os.File, o *owner, depth int) error {
	names, err := folder.Readdirnames(-1)
	if err != nil || depth == 0 {
		return err
	}
	for _, name := range names {
		fd, err := unix.Openat(int(folder.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking at %s in %s: %w", name, folder.Name(), err)
		}
		err = adoptEntry(os.NewFile(uintptr(fd), filepath.Join(folder.Name(), name)), o, depth)
		if err != nil {
			return err
		}
	}
	return give(folder, o)
}

// adoptEntry adopts one entry of a folder and closes it.
func adoptEntry(entry *os.File, o *owner, depth int) error {
	defer entry.Close()
	var at unix.Stat_t
	if err := unix.Fstat(int(entry.Fd()), &at); err != nil {
		return err
	}
	switch {
	case at.Mode&unix.S_IFMT == unix.S_IFDIR:
		fd, err := unix.Openat(int(entry.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("looking into %s: %w", entry.Name(), err)
		}
		sub := os.NewFile(uintptr(fd), entry.Name())
		defer sub.Close()
		return adoptFolder(sub, o, depth-1)
	case at.Mode&unix.S_IFMT == unix.S_IFREG && at.Nlink == 1:
		return give(entry, o)
	}
	return nil
}

// give gives the owner what is root's.
func give(file *os.File, o *owner) error {
	var at unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &at); err != nil {
		return err
	}
	if at.Uid != 0 {
		return nil
	}
	if err := unix.Fchownat(int(file.Fd()), "", o.uid, o.gid, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("giving %s to user %d, whose folder it is in: %w", file.Name(), o.uid, err)
	}
	return nil
}

// RefuseRoot refuses a server of root's in another user's folder, before anything is
// made: what it left there would be root's, and the owner, who starts it the next time,
// could not use the store any more; besides, the owner can mislead it. Rights are not
// given up as in AsOwner: a server may need them all its life, to read keys and to
// listen, and as which user it runs is for the service manager to say. start are the
// words of the command behind "lapid", for the advice.
func (d Dir) RefuseRoot(start string) error {
	o := d.owner()
	if os.Geteuid() != 0 || o == nil {
		return nil
	}
	name := UserName(uint32(o.uid))
	return fmt.Errorf("%s belongs to user %s, and this server runs as root: files that it makes there that user could not use any more. "+
		"Start it as that user: sudo -u %s lapid%s, or: systemctl start lapid, whose unit has User=%s; or give the directory to root: "+
		"chown -R root: %s; or add --as-root if it shall be so", o.folder, name, d.sudoName(o), start, name, o.folder)
}

// RefuseLinks refuses a server of root's, also one that shall be so, whose way to the
// store leads through another user's link: it would open, as root, whatever store the
// link names, and verbs would not.
func (d Dir) RefuseLinks() error {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, path := range []string{Absolute(string(d)), Absolute(d.Folder()), Absolute(d.Store()), Absolute(d.Store() + "/store"), Absolute(d.Store() + "/snapshots")} {
		info, err := os.Lstat(path)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 && OwnerOf(info) != 0 {
			return fmt.Errorf("%s is a link of user %s, and this server runs as root: put the folder itself there, or start it as that user",
				path, UserName(uint32(OwnerOf(info))))
		}
	}
	return nil
}

// sudoName is how sudo is told a user: by number when there is no name.
func (d Dir) sudoName(o *owner) string {
	if name := UserName(uint32(o.uid)); name != strconv.Itoa(o.uid) {
		return name
	}
	return "'#" + strconv.Itoa(o.uid) + "'"
}
