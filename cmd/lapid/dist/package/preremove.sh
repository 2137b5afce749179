#!/bin/sh
# Before the files go: the service ends. Not before an upgrade, which restarts it when the
# new program is there.
#
#   Debian   remove, upgrade, others      Red Hat   0 removal, 1 upgrade
set -e
case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
  systemctl disable --quiet --now lapid.service || true
fi
