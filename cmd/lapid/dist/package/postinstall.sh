#!/bin/sh
# After the files are there: the service. It asks nothing, needs no network and ends well whatever
# the service does: what it did not do it says.
#
#   Debian   configure [old version]      Red Hat   1 first, 2 upgrade
set -e

case "$1" in
configure | 1 | 2) ;;
*) exit 0 ;; # the end of a removal that failed: nothing was changed
esac

# A service is started where systemd runs; elsewhere there is nothing to do.
if [ ! -d /run/systemd/system ] || ! command -v systemctl >/dev/null; then
  exit 0
fi
systemctl daemon-reload || true

# allowed asks policy-rc.d, by which whoever builds images says that nothing is started.
allowed() {
  policy=$(command -v policy-rc.d) || return 0
  "$policy" lapid "$1" >/dev/null || [ $? != 101 ]
}

if [ -e /run/lapid.first ]; then
  rm -f /run/lapid.first
  # A port that another program has, such as the Local API that is to be replaced.
  held=$(lapid -c /etc/lapid/config.yaml doctor --backups none 2>/dev/null | sed -n 's/^broken *ports *//p') || true
  if [ -n "$held" ]; then
    echo "lapid is not started:"
    echo "$held" | sed 's/^/  /'
    echo "To take over a Local API, see 'lapid docs moving-in'; to run beside it, choose other ports in"
    echo "/etc/lapid/config.yaml. Then: systemctl enable --now lapid"
    exit 0
  fi
  systemctl enable --quiet lapid.service || true
  if allowed start; then
    systemctl start lapid.service || echo "lapid did not start; 'journalctl -u lapid' says why. Once that is mended: systemctl start lapid"
  fi
elif systemctl is-active --quiet lapid.service && allowed restart; then
  # A reload begins with a test of the configuration by the new program, as the service's user and in
  # its environment. What that refuses must not end the old program.
  if systemctl reload lapid.service; then
    systemctl try-restart lapid.service || echo "lapid did not start again; 'journalctl -u lapid' says why"
  else
    echo "lapid goes on as it was before this upgrade, for the new program refuses its configuration:"
    lapid -c /etc/lapid/config.yaml serve -t 2>&1 | sed 's/^/  /' || true
    echo "'journalctl -u lapid' has it too. Once that is mended: systemctl restart lapid"
  fi
fi
