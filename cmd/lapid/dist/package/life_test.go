//go:build packages

package packages

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// later repacks a package as one of a later version, whose own profiles.yaml has changed if that is said.
func later(t *testing.T, deb, version string, changed bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	say(t, "dpkg-deb", "-R", deb, dir)
	say(t, "sed", "-i", "s/^Version: .*/Version: "+version+"-1/", filepath.Join(dir, "DEBIAN/control"))
	if changed {
		say(t, "sed", "-i", "1i# of a later version", filepath.Join(dir, "etc/lapid/profiles.yaml"), filepath.Join(dir, "etc/lapid/config.yaml"))
	}
	again := filepath.Join(filepath.Dir(dir), "lapid_"+version+"-1_"+runtime.GOARCH+".deb")
	say(t, "dpkg-deb", "-Znone", "-b", dir, again)
	return again
}

// listOf writes so many addresses, to import.
func listOf(t *testing.T, n int) string {
	t.Helper()
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	file := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serverPID shows the process of the service.
const serverPID = "systemctl show -p MainPID --value lapid"

// liveOnDebian is the life of a package of Debian's.
func liveOnDebian(m *machine) {
	// The port is another's: nothing is started, and that is no failure of the installation.
	m.sh("systemd-run -q --unit other python3 -m http.server -b 127.0.0.1 8080; until curl -so /dev/null http://127.0.0.1:8080; do sleep 0.05; done")
	m.shows("dpkg -i /tmp/*.deb && echo installed", "installed", "lapid is not started", "(python3)", "lapid docs moving-in")
	m.shows("systemctl is-active lapid; systemctl is-enabled lapid", "inactive", "disabled")
	m.sh("systemctl stop other; dpkg -P lapid; test ! -e /etc/lapid; test ! -e /usr/bin/lapid; test ! -e /usr/share/doc/lapid")

	m.sh("dpkg -i /tmp/*.deb")
	awaitServer(m)
	m.shows("stat -c '%A %U:%G %n' /etc/lapid /etc/lapid/* /var/lib/lapid",
		"drwxr-x--- root:lapid /etc/lapid\n", "-rw-r----- root:lapid /etc/lapid/config.yaml", "root:lapid /etc/lapid/profiles.yaml", "root:lapid /etc/lapid/lapid.yaml",
		"drwx------ lapid:lapid /var/lib/lapid")
	m.shows("ps -o user= -p $("+serverPID+"); getent passwd lapid", "lapid", "/usr/sbin/nologin")
	m.shows("systemd-analyze verify /usr/lib/systemd/system/lapid.service && echo verified", "verified")
	m.shows("systemd-analyze security --offline=true --threshold=20 /usr/lib/systemd/system/lapid.service >/dev/null && echo tight", "tight")
	m.shows("journalctl -u lapid -o cat; curl -s http://127.0.0.1:6060/metrics", "(what the machine has)", "\nprocess_start_time_seconds ", "\nprocess_open_fds ")
	// journald knows how grave a line is, and has taken the number away that says so.
	m.sh(`! journalctl -u lapid -o cat -p warning | grep level=info && ! journalctl -u lapid -o cat | grep '^<' &&
		[ "$(journalctl -u lapid -o cat | grep -c level=warning)" = "$(journalctl -u lapid -o cat -p warning | grep -c level=warning)" ]`)
	m.sh("lapid doctor --backups none >/tmp/found || [ $? = 1 ]; ! grep refused /tmp/found")
	m.sh("lapid bouncers add edge -k open-sesame; lapid machines add --auto; lapid decisions import -i /tmp/list.txt -d 24h")
	m.shows("curl -s -H 'X-Api-Key: open-sesame' 'http://127.0.0.1:8080/v1/decisions?ip=10.0.1.7'", `"value":"10.0.1.7"`)

	// An upgrade: the new program runs, with the state of the old one. What was changed by hand stays.
	m.sh("echo '# by hand' >>/etc/lapid/config.yaml")
	before := m.shows(serverPID)
	m.sh("dpkg --force-confold -i /tmp/next/*.deb")
	awaitServer(m)
	if now := m.shows(serverPID); now == before {
		m.t.Errorf("process %s was not exchanged", now)
	}
	m.shows("cat /etc/lapid/config.yaml /etc/lapid/profiles.yaml; ls /etc/lapid; stat -c '%A %U:%G %n' /etc/lapid/*", "# by hand", "# of a later version", "config.yaml.dpkg-dist", "-rw-r----- root:lapid /etc/lapid/profiles.yaml")
	m.shows("lapid decisions list --all -o raw | grep -c ,Ip:10", "100000")

	// A configuration that the new program refuses: the old one goes on, and the installation ends well.
	m.sh("sed -i 's/^db_config:/db_confgi:/' /etc/lapid/config.yaml")
	before = m.shows(serverPID)
	m.shows("dpkg --force-confold -i /tmp/last/*.deb && echo installed", "installed", "lapid goes on as it was", "db_confgi")
	m.shows(serverPID+"; dpkg-query -W lapid; curl -s -H 'X-Api-Key: open-sesame' 'http://127.0.0.1:8080/v1/decisions?ip=10.0.1.7'", before+"\n", "0.2.1", `"value":"10.0.1.7"`)
	m.sh("sed -i 's/^db_confgi:/db_config:/' /etc/lapid/config.yaml; systemctl restart lapid")
	awaitServer(m)

	// Removed, all is there when it is installed again; purged, nothing is.
	m.sh("dpkg -r lapid; test ! -e /usr/bin/lapid; test ! -e /run/lapid; test -d /var/lib/lapid/lapid; test -e /etc/lapid/config.yaml; ! systemctl is-enabled lapid")
	m.sh("dpkg --force-confold -i /tmp/last/*.deb")
	awaitServer(m)
	m.shows("curl -s -H 'X-Api-Key: open-sesame' 'http://127.0.0.1:8080/v1/decisions?ip=10.0.1.7'; cat /etc/lapid/config.yaml", `"value":"10.0.1.7"`, "# by hand")
	m.sh("dpkg -P lapid; test ! -e /etc/lapid; test ! -e /var/lib/lapid; test ! -e /run/lapid; getent passwd lapid; ! systemctl cat lapid")
}

// runPage does what a page says, one block in sh after the other, in the folder of the packages; a block in text behind one is
// what that shows.
func runPage(m *machine, page string) {
	text, err := os.ReadFile(page)
	if err != nil {
		m.t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 5 {
		m.t.Fatalf("%s has %d blocks", page, len(blocks))
	}
	for _, block := range blocks {
		out := m.sh("cd /tmp\n" + block[1])
		want := "(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(block[2]), "…", ".*") + "$"
		if ok, err := regexp.MatchString(want, out); err != nil || !ok {
			m.t.Fatalf("%s:\n%sshows\n%swhere the page has\n%s", page, block[1], out, block[2])
		}
	}
}

// liveOnRedHat is the life of a package of Red Hat's; what it depends on is here, and rpm does not know it.
func liveOnRedHat(m *machine) {
	m.sh("rpm --force-debian --nodeps -i /tmp/*.rpm")
	awaitServer(m)
	m.shows("stat -c '%A %U:%G %n' /etc/lapid /etc/lapid/*", "drwxr-x--- root:lapid /etc/lapid\n", "-rw-r----- root:lapid /etc/lapid/config.yaml")
	m.sh("lapid decisions add --ip 192.0.2.7")
	before := m.shows(serverPID)
	m.sh("rpm --force-debian --nodeps -U --force /tmp/*.rpm")
	awaitServer(m)
	if now := m.shows(serverPID); now == before {
		m.t.Errorf("process %s was not exchanged", now)
	}
	m.shows("lapid decisions list --ip 192.0.2.7 -o raw", "Ip:192.0.2.7")
	m.sh("rpm --force-debian -e lapid; test ! -e /usr/bin/lapid; test ! -e /run/lapid; test -d /var/lib/lapid/lapid; ! systemctl is-enabled lapid")
}

// awaitServer waits until the service runs and answers.
func awaitServer(m *machine) {
	m.t.Helper()
	said, err := m.try("sh", "-c", "systemctl is-active lapid && systemctl is-enabled lapid && lapid health && lapid ready")
	if err != nil {
		log, _ := m.try("journalctl", "-u", "lapid", "-n", "30", "--no-pager", "-o", "cat")
		m.t.Fatalf("no server: %s\n%s", said, log)
	}
}
