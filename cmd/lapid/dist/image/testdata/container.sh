#!/bin/sh
# Becomes a program in a container: $1 is its root, $2 the folder of what is mounted into that (config, data,
# secrets, each if it is there), then the program and its words. Run in namespaces of its own.
set -e
root=$1 room=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
if [ -d "$room/config" ]; then mount --bind "$room/config" "$root/etc/crowdsec"; fi
if [ -d "$room/data" ]; then mount --bind "$room/data" "$root/var/lib/lapid"; fi
if [ -d "$room/memory" ]; then mount -t tmpfs -o mode=0700,uid=65532,gid=65532 tmpfs "$root/var/lib/lapid"; fi
if [ -d "$room/secrets" ]; then mount --bind "$room/secrets" "$root/run/secrets"; fi
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"
ip link set lo up
# What is no longer root has none of its powers.
exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups= "$root" "$@"
