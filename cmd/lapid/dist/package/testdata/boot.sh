#!/bin/sh
# Becomes a machine of its own: this one's files, to which nothing is written, and systemd over them.
# It has nodes of devices that do no harm alone, may change no setting of the kernel and load nothing
# into it. Wants to be called in new namespaces of mounts, processes, control groups, names and networks.
#
#   boot.sh FOLDER      where a file system in memory is laid; the root of the machine is FOLDER/root
set -e
mount -t tmpfs -o size=2g tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
  : >"dev/$node"
  mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp

: >etc/fstab
rm -rf etc/systemd/system/* usr/sbin/policy-rc.d var/lib/man-db/auto-update etc/lapid var/lib/lapid
ln -s /lib/systemd/system/basic.target etc/systemd/system/default.target
ip link set lo up
hostname lapid
# No chroot: from there a service could have no users of its own (PrivateUsers).
pivot_root . mnt
exec env -i container=lapid LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . sh -c \
  'umount -l /mnt && exec setpriv --bounding-set=-sys_module,-sys_time,-sys_boot,-sys_rawio,-syslog,-wake_alarm /lib/systemd/systemd --log-target=null --show-status=false' </dev/null
