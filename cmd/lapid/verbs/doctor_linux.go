package verbs

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// kindsOfDisk are the numbers of file systems.
var kindsOfDisk = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", 0x2fc12fc1: "zfs", unix.F2FS_SUPER_MAGIC: "f2fs",
	unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.NFS_SUPER_MAGIC: "nfs", unix.CIFS_SUPER_MAGIC: "cifs", unix.SMB2_SUPER_MAGIC: "smb2",
	unix.FUSE_SUPER_MAGIC: "fuse", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.V9FS_MAGIC: "9p",
}

// diskOf looks at the file system of a path.
func diskOf(path string) (disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return disk{}, err
	}
	d := disk{kind: kindsOfDisk[int64(s.Type)], free: s.Bavail * uint64(s.Bsize), size: s.Blocks * uint64(s.Bsize), files: s.Ffree}
	if d.kind == "" {
		d.kind = fmt.Sprintf("file system %#x", s.Type)
	}
	if s.Files == 0 { // they are made as they are needed
		d.files = 1
	}
	return d, nil
}

// clockKept says whether something keeps the clock right, by the kernel's word.
func clockKept() (kept, known bool) {
	state, err := unix.Adjtimex(&unix.Timex{})
	return state != unix.TIME_ERROR, err == nil
}

// filesAllowed is how many open files a server may have that is started here: the runtime raises the limit as far as it goes.
func filesAllowed() uint64 {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return r.Max
}
