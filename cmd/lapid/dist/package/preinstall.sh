#!/bin/sh
# The user that the service runs as, before there are files for its group. Again and again
# without harm.
#
#   Debian   install [old version], upgrade      Red Hat   1 first, 2 upgrade
set -e

# What is installed again after a removal is told from an upgrade here alone.
case "$1" in
install | 1) [ ! -d /run/systemd/system ] || : >/run/lapid.first ;;
esac

if getent passwd lapid >/dev/null; then
  exit 0
fi
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers --replace=/usr/lib/sysusers.d/lapid.conf - <<'END'
u lapid - "lapid, decisions for edge fleets" /var/lib/lapid
END
else
  useradd --system --user-group --no-create-home --home-dir /var/lib/lapid --shell /usr/sbin/nologin --comment "lapid, decisions for edge fleets" lapid
fi
