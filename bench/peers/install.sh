#!/bin/sh
# Installs what lapid is measured beside, from Debian: crowdsec with cscli, redis-server, nginx-light, haproxy and
# the address table of tor-geoipdb. Quiet when all is there. No service is started, now or at the next boot.
set -eu

packages="crowdsec redis-server nginx-light haproxy tor-geoipdb"
missing=
for p in $packages; do
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
ours=
finish() {
	[ -z "$ours" ] || root rm -f "$policy"
	rm -f "$log"
}
trap finish EXIT

# Asked by Debian before a service is started: 101 forbids it. Where a policy stands already it stays.
if [ ! -e "$policy" ]; then
	ours=yes
	printf '#!/bin/sh\nexit 101\n' | root tee "$policy" >/dev/null
	root chmod 755 "$policy"
fi
# crowdsec registers itself with the Central API where this file is empty; here it must not.
credentials=/etc/crowdsec/online_api_credentials.yaml
if [ ! -s "$credentials" ]; then
	root mkdir -p "${credentials%/*}"
	echo '# no Central API' | root tee "$credentials" >/dev/null
fi

install() { root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >"$log" 2>&1; }
install || { root apt-get update -q >"$log" 2>&1 && install; } || {
	tail -n 15 "$log" >&2
	echo "peers: cannot install$missing" >&2
	exit 1
}
if [ -d /run/systemd/system ]; then
	for unit in crowdsec redis-server nginx haproxy tor; do root systemctl disable --now "$unit" >/dev/null 2>&1 || true; done
fi
echo "peers: installed$missing"
