#!/bin/sh
# After the files are gone. A purge takes configuration, store and log with it; the user
# stays, as its number must not be given to another one. Nothing of CrowdSec's is touched.
set -e
if [ "$1" = purge ]; then
  rm -rf /etc/lapid /var/lib/lapid /var/log/lapid /run/lapid
fi
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
  systemctl daemon-reload || true
fi
