package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// Permitted says what to do when err is that path may not be touched by the user
// who runs the verb: as root, as the owner, or in the group. Any other error stays as it
// is.
func Permitted(err error, path string) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("permission denied: %s: run as root%s", path, company(path))
}

// DeniedFile is Permitted for an error that names its file.
func DeniedFile(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return Permitted(err, at.Path)
	}
	return err
}

// company names which users may as well: the group of the socket or folder, when it lets its
// group in, and else the owner.
func company(path string) string {
	info, err := os.Stat(path)
	for err != nil && path != filepath.Dir(path) { // as near as can be seen
		path = filepath.Dir(path)
		info, err = os.Stat(path)
	}
	if err != nil {
		return ""
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || owner.Uid == 0 && owner.Gid == 0:
		return ""
	case owner.Gid != 0 && info.Mode().Perm()&0o060 != 0:
		return " or join the group " + groupName(owner.Gid)
	}
	return " or as user " + UserName(owner.Uid)
}

// groupName is a group as it is called here, else its number.
func groupName(id uint32) string {
	if g, err := user.LookupGroupId(strconv.Itoa(int(id))); err == nil {
		return g.Name
	}
	return strconv.Itoa(int(id))
}

// UserName is a user as it is called here, else the number.
func UserName(id uint32) string {
	if u, err := user.LookupId(strconv.Itoa(int(id))); err == nil {
		return u.Username
	}
	return strconv.Itoa(int(id))
}

// OwnerOf is the user to whom a file belongs; root where that cannot be told.
func OwnerOf(info fs.FileInfo) int {
	if at, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(at.Uid)
	}
	return 0
}
