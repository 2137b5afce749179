//go:build packages

package packages

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// built are the packages that one run of packages.sh made, for this processor.
type built struct{ dir, deb, rpm, archive, sbom string }

// build makes them, with more in the environment.
func build(t *testing.T, more ...string) *built {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(t.TempDir(), "key")
	say(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	c := exec.Command("./packages.sh")
	c.Env = append(append(os.Environ(), "DIST="+dir, "ARCHES="+runtime.GOARCH, "QUICK=yes", "VERSION=0.1.9", "SIGN="+key), more...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("packages.sh: %v\n%s", err, out)
	}
	one := func(pattern string) string {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		if len(files) != 1 {
			t.Fatalf("%s: %v", pattern, files)
		}
		return files[0]
	}
	return &built{dir, one("*.deb"), one("*.rpm"), one("*.tar.gz"), one("*.cdx.json")}
}

// say is what a program of this machine says.
func say(t *testing.T, words ...string) string {
	t.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

// TestMachine: a machine for packages can be had here.
func TestMachine(t *testing.T) { newMachine(t) }

// TestPackages builds packages, reads them back, and lives with them on a machine: installed, upgraded,
// removed, purged.
func TestPackages(t *testing.T) {
	b := build(t)
	t.Run("read", func(t *testing.T) {
		checkFiles(t, b)
		checkSums(t, b)
		checkByLintian(t, b)
		checkAgain(t, b)
	})
	t.Run("lived", func(t *testing.T) { lived(t, b) })
}

// checkByLintian has Debian's own checker look: it finds no error. Warnings are for people. A quick build is packed by what
// Debian does not take, so it is packed anew.
func checkByLintian(t *testing.T, b *built) {
	t.Helper()
	dir := t.TempDir()
	say(t, "dpkg-deb", "-R", b.deb, filepath.Join(dir, "files"))
	file := filepath.Join(dir, filepath.Base(b.deb))
	say(t, "dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "-b", filepath.Join(dir, "files"), file)
	out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error", file).CombinedOutput()
	if err != nil {
		t.Errorf("lintian (apt-get install lintian): %v\n%s", err, out)
	}
}

// checkAgain builds them once more, elsewhere, in other surroundings: they are the same, byte for byte.
func checkAgain(t *testing.T, b *built) {
	t.Helper()
	again := build(t, "TZ=Pacific/Kiritimati", "LC_ALL=C", "USER=somebody")
	was, now := say(t, "cat", filepath.Join(b.dir, "SHA256SUMS")), say(t, "cat", filepath.Join(again.dir, "SHA256SUMS"))
	if was != now {
		t.Errorf("built twice:\n%s\n%s", was, now)
	}
}

// lived installs them on a machine, and all that comes after that.
func lived(t *testing.T, b *built) {
	m := newMachine(t)
	for folder, files := range map[string][]string{
		"/tmp":      {b.deb, b.rpm, filepath.Join(b.dir, "SHA256SUMS"), listOf(t, 100_000)},
		"/tmp/next": {later(t, b.deb, "0.2.0", true)},
		"/tmp/last": {later(t, b.deb, "0.2.1", false)},
	} {
		for _, file := range files {
			m.put(file, folder)
		}
	}
	m.sh("mkdir -p /etc/crowdsec && echo theirs >/etc/crowdsec/lapid-was-here-not")
	liveOnDebian(m)
	runPage(m, "../../docs/install.md")
	liveOnRedHat(m)
	m.shows("cat /etc/crowdsec/lapid-was-here-not", "theirs")
}

// file is what is said of one in a package.
type file struct{ mode, owner string }

// checkFiles reads both packages and the archive back: what is to be there, to whom it belongs and who may read it.
func checkFiles(t *testing.T, b *built) {
	want := wanted(t, b)
	deb := map[string]file{}
	for _, line := range strings.Split(strings.TrimSpace(say(t, "dpkg-deb", "-c", b.deb)), "\n") {
		if w := strings.Fields(line); !strings.HasSuffix(w[5], "/") || w[5] == "./etc/lapid/" {
			deb[strings.TrimSuffix(strings.TrimPrefix(w[5], "."), "/")] = file{w[0], w[1]}
		}
	}
	rpm := map[string]file{}
	for _, line := range strings.Split(strings.TrimSpace(say(t, "rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]", b.rpm)), "\n") {
		w := strings.Fields(line)
		rpm[w[2]] = file{w[0], w[1]}
	}
	archive := map[string]file{}
	for _, line := range strings.Split(strings.TrimSpace(say(t, "tar", "-tzvf", b.archive)), "\n") {
		w := strings.Fields(line)
		_, path, _ := strings.Cut(w[5], "/")
		archive["/"+strings.TrimSuffix(path, "/")] = file{w[0], w[1]}
	}
	for path, f := range want {
		if deb[path] != f {
			t.Errorf("deb: %s is %v, want %v", path, deb[path], f)
		}
		if rpm[path] != f {
			t.Errorf("rpm: %s is %v, want %v", path, rpm[path], f)
		}
		if _, ok := archive[path]; !ok {
			t.Errorf("archive: no %s", path)
		}
	}
	for path := range deb {
		if _, ok := want[path]; !ok && !slices.Contains(debianOnly, path) {
			t.Errorf("deb: %s is not known here", path)
		}
	}
	conffiles := "/etc/lapid/config.yaml\n/etc/lapid/lapid.yaml\n/etc/lapid/profiles.yaml\n"
	if got := say(t, "dpkg-deb", "-I", b.deb, "conffiles"); strings.TrimSpace(got) != strings.TrimSpace(conffiles) {
		t.Errorf("conffiles of the deb:\n%s", got)
	}
	if got := say(t, "rpm", "-qpc", b.rpm); got != conffiles {
		t.Errorf("conffiles of the rpm:\n%s", got)
	}
}

// debianOnly is what nobody reads elsewhere, though it does no harm in an rpm.
var debianOnly = []string{"/usr/share/lintian/overrides/lapid", "/usr/share/doc/lapid/changelog.Debian.gz"}

// wanted is what every package holds. Pages are those that the program writes, documents those of the
// repository: one more of either is in the packages by itself, and missed if it is not.
func wanted(t *testing.T, b *built) map[string]file {
	all := file{"-rw-r--r--", "root/root"}
	ours := file{"-rw-r-----", "root/lapid"}
	want := map[string]file{
		"/usr/bin/lapid":                 {"-rwxr-xr-x", "root/root"},
		"/etc/lapid":                     {"drwxr-x---", "root/lapid"},
		"/etc/lapid/config.yaml":         ours,
		"/etc/lapid/lapid.yaml":          ours,
		"/etc/lapid/profiles.yaml":       ours,
		"/usr/share/doc/lapid/copyright": all,
	}
	for _, path := range []string{
		"/usr/lib/systemd/system/lapid.service", "/usr/lib/sysusers.d/lapid.conf",
		"/usr/share/bash-completion/completions/lapid", "/usr/share/zsh/vendor-completions/_lapid", "/usr/share/fish/vendor_completions.d/lapid.fish",
		"/usr/share/doc/lapid/README.md", "/usr/share/doc/lapid/changelog.gz", "/usr/share/doc/lapid/THIRD-PARTY-LICENCES",
		"/usr/share/lapid/lapid.json", "/usr/share/lapid/lapid-fleet.json", "/usr/share/lapid/lapid.rules.yml",
	} {
		want[path] = all
	}
	documents, _ := filepath.Glob("../../docs/*.md")
	for _, document := range documents {
		want["/usr/share/doc/lapid/docs/"+filepath.Base(document)] = all
	}
	say(t, "tar", "-xzf", b.archive, "-C", b.dir, "--strip-components=1")
	say(t, filepath.Join(b.dir, "usr/bin/lapid"), "man", filepath.Join(b.dir, "man"))
	pages, _ := filepath.Glob(filepath.Join(b.dir, "man/*"))
	for _, page := range pages {
		want["/usr/share/man/man"+page[len(page)-1:]+"/"+filepath.Base(page)+".gz"] = all
	}
	if len(documents) < 20 || len(pages) < 100 {
		t.Errorf("%d documents, %d pages", len(documents), len(pages))
	}
	return want
}

// checkSums holds SHA256SUMS and the list of what is inside to what was built.
func checkSums(t *testing.T, b *built) {
	c := exec.Command("sha256sum", "--strict", "-c", "SHA256SUMS")
	c.Dir = b.dir
	if out, err := c.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 4 {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	say(t, "sh", "-c", "ssh-keygen -Y check-novalidate -n lapid -s "+b.dir+"/SHA256SUMS.sig <"+b.dir+"/SHA256SUMS")
	var list struct{ Components []struct{ Name string } }
	text, err := os.ReadFile(b.sbom)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	licences, err := os.ReadFile(filepath.Join(b.dir, "usr/share/doc/lapid/THIRD-PARTY-LICENCES"))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, m := range regexp.MustCompile(`(?m)^==== (\S+) `).FindAllStringSubmatch(string(licences), -1) {
		have = append(have, m[1])
	}
	for _, c := range list.Components {
		if c.Name != "std" && !slices.Contains(have, c.Name) {
			t.Errorf("the licence of %s is not in the package", c.Name)
		}
	}
	if len(list.Components) < 50 {
		t.Errorf("%d components", len(list.Components))
	}
}
