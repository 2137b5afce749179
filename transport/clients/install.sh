#!/bin/sh
# Installs the unchanged clients that the tests of this folder run: Debian's packages with apt-get,
# the npm packages into a cache folder outside the repository. Quiet and quick when all is there;
# one line and exit 1 when something cannot be had. No service is started.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${LAPID_CLIENTS_DIR:-$HOME/.cache/lapid-clients}
packages="crowdsec crowdsec-firewall-bouncer crowdsec-custom-bouncer nftables iproute2 nginx-light haproxy tor-geoipdb postgresql mariadb-server"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail() {
	tail -n 15 "$log" >&2
	echo "clients: $1" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

missing_packages() {
	for package in $packages; do
		dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf ' %s' "$package"
	done
}

# A log processor that finds this file empty registers itself with the Central API while it is being
# installed; one comment line makes its package leave that alone.
keep_off_the_central_api() {
	file=/etc/crowdsec/online_api_credentials.yaml
	[ -s "$file" ] && return
	as_root mkdir -p /etc/crowdsec
	echo '# no Central API' | as_root tee "$file" >/dev/null
}

# While a package is being configured Debian asks this script whether its service may start: 101 is no.
# A script that is there already is put aside meanwhile.
forbid_services() {
	policy=/usr/sbin/policy-rc.d
	kept=
	if [ -e "$policy" ]; then
		kept=$policy.before-lapid-clients
		as_root mv "$policy" "$kept"
	fi
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
}

allow_services() {
	as_root rm -f "$policy"
	if [ -n "$kept" ]; then as_root mv "$kept" "$policy"; fi
}

# At the next start of the machine nothing of what was installed here may come up either.
disable_services() {
	[ -d /run/systemd/system ] || return 0
	for package in $1; do
		case $package in
		crowdsec* | haproxy) as_root systemctl disable --now "$package.service" ;;
		nginx-light) as_root systemctl disable --now nginx.service ;;
		tor-geoipdb) as_root systemctl disable --now tor.service ;;
		esac >>"$log" 2>&1 || true
	done
}

apt_install() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >>"$log" 2>&1
}

install_packages() {
	missing=$(missing_packages)
	[ -z "$missing" ] && return
	command -v apt-get >/dev/null || fail "cannot install$missing: this machine has no apt-get"
	if [ "$(id -u)" -ne 0 ]; then
		sudo -n true 2>/dev/null || fail "cannot install$missing: neither root nor sudo without a password"
	fi
	keep_off_the_central_api
	forbid_services
	trap 'allow_services; rm -f "$log"' EXIT
	# The package lists may be missing or old: fetch them only when the first try fails.
	# shellcheck disable=SC2086
	apt_install $missing || {
		as_root apt-get update -q >>"$log" 2>&1 || true
		apt_install $missing || fail "cannot install$missing"
	}
	allow_services
	trap 'rm -f "$log"' EXIT
	disable_services "$missing"
	echo "clients: installed$missing"
}

install_node() {
	command -v node >/dev/null && command -v npm >/dev/null || fail "node and npm are needed and not on this machine"
	major=$(node -p 'process.versions.node.split(".")[0]')
	[ "$major" -ge 20 ] || fail "node 20 or newer is needed, this is node $major"
	if cmp -s "$here/node/package.json" "$cache/node/installed"; then return; fi
	mkdir -p "$cache/node"
	cp "$here/node/package.json" "$cache/node/"
	(cd "$cache/node" && npm install --ignore-scripts --no-package-lock --loglevel=error) >>"$log" 2>&1 ||
		fail "cannot install the npm packages crowdsec-client and @crowdsec/nodejs-bouncer"
	cp "$here/node/package.json" "$cache/node/installed"
	echo "clients: installed crowdsec-client and @crowdsec/nodejs-bouncer in $cache/node"
}

install_packages
install_node
