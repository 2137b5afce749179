package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lapid/cmd/lapid/config"
)

// stranger is the user whose folder root works in.
const stranger = 4711

// asRoot reports whether this is root, and says of a test that it was not run where
// it is not. The tests of which it is asked run by "make root" too, and by .ci/run as
// root.
func asRoot(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() == 0 {
		return true
	}
	t.Log("NOT RUN, or not all of it: this needs root (sudo make root)")
	return false
}

// beAttacker makes the test's own program exchange each two of the paths it is
// given, over and over, until its standard input ends.
const beAttacker = "LAPID_TEST_IS_THE_ATTACKER"

func attack(paths []string) {
	over := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		close(over)
	}()
	fmt.Println("ready")
	for {
		for i := 0; i+1 < len(paths); i += 2 {
			_ = unix.Renameat2(unix.AT_FDCWD, paths[i], unix.AT_FDCWD, paths[i+1], unix.RENAME_EXCHANGE)
		}
		select {
		case <-over:
			return
		default:
		}
	}
}

// asStranger makes a command run as the stranger.
func asStranger(cmd *exec.Cmd) *exec.Cmd {
	cmd.Path = "/proc/self/exe" // the test's program may lie where only root gets
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	return cmd
}

// attacker starts one; stop ends it and waits.
func attacker(t *testing.T, paths ...string) (stop func()) {
	t.Helper()
	cmd := asStranger(exec.Command(os.Args[0], paths...))
	cmd.Env = append(os.Environ(), beAttacker+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := launch(cmd); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = in.Close()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return stop
}

// estate is a data directory of the stranger's, and beside it a folder of root's.
type estate struct {
	*house
	data, treasure string
	before         map[string]string
}

func newEstate(t *testing.T) *estate {
	t.Helper()
	e := &estate{house: emptyHouse(t)}
	e.data, e.treasure = filepath.Join(e.dir, "data"), filepath.Join(e.dir, "treasure")
	if err := errors.Join(os.Chmod(e.dir, 0o755), os.Chmod(filepath.Dir(e.dir), 0o755)); err != nil { // the stranger must get to his own
		t.Fatal(err)
	}
	for _, dir := range []string{e.data, filepath.Join(e.treasure, "store")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"precious", "LOCK", "FORMAT", "store/precious", "store/LOCK", "store/FORMAT", "store/MANIFEST-000001"} {
		write(t, e.treasure, name, "precious")
	}
	e.before = e.look()
	write(t, e.dir, "config.yaml", fmt.Sprintf("config_paths: {data_dir: %s}\napi:\n  server:\n    listen_socket: %s/api.sock\n"+
		"  client: {credentials_path: %s/credentials.yaml}\nprometheus: {enabled: false}\n", e.data, e.data, e.dir))
	e.own(e.data)
	return e
}

func (e *estate) own(paths ...string) {
	e.t.Helper()
	for _, path := range paths {
		if err := os.Lchown(path, stranger, stranger); err != nil {
			e.t.Fatal(err)
		}
	}
}

func (e *estate) link(target, path string) {
	e.t.Helper()
	if err := os.Symlink(target, path); err != nil {
		e.t.Fatal(err)
	}
	e.own(path)
}

// look describes everything in the treasure: names, owners, modes, contents.
func (e *estate) look() map[string]string {
	e.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(e.treasure, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := []byte{}
		if info.Mode().IsRegular() {
			if text, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		out[path] = fmt.Sprint(info.Mode(), info.Sys().(*syscall.Stat_t).Uid, string(text))
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// unharmed compares the treasure with what it was.
func (e *estate) unharmed(when string) {
	e.t.Helper()
	now := e.look()
	for path, what := range e.before {
		if now[path] != what {
			e.t.Errorf("%s: %s was %q and is %q", when, path, what, now[path])
		}
	}
	for path := range now {
		if _, ok := e.before[path]; !ok {
			e.t.Errorf("%s: %s was made", when, path)
		}
	}
}

// verb runs one as root, in a process of its own.
func (e *estate) verb(args ...string) (int, string) {
	e.t.Helper()
	p := start(e.t, nil, append([]string{"-c", e.file}, args...)...)
	return p.wait(e.t), p.out.String()
}

// TestRootAmongExchanges: the owner of the data directory exchanges its folders
// for links to root's without a pause, while root runs verbs. Verbs may fail;
// what is root's stays as it is.
func TestRootAmongExchanges(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	e := newEstate(t)
	if code, out := e.verb("--init", "bouncers", "add", "first"); code != exitGood {
		t.Fatalf("exit %d: %s", code, out)
	}
	folder, link, store, inner := filepath.Join(e.data, "lapid"), filepath.Join(e.data, "link"), filepath.Join(e.data, "lapid/store"), filepath.Join(e.data, "inner")
	e.link(e.treasure, link)
	e.link(filepath.Join(e.treasure, "store"), inner)
	if code, out := e.verb("backup", filepath.Join(e.dir, "backups")); code != exitGood {
		t.Fatalf("exit %d: %s", code, out)
	}
	copies, err := filepath.Glob(filepath.Join(e.dir, "backups", "*"+backupEnd))
	if err != nil || len(copies) != 1 {
		t.Fatal(copies, err)
	}
	for round, paths := range [][]string{{folder, link}, {store, inner}, {folder, link, store, inner}} {
		stop := attacker(t, paths...)
		for i := range 8 {
			for _, verb := range [][]string{{"bouncers", "add", fmt.Sprint(round, "-", i)}, {"machines", "list"}, {"check"}, {"restore", "--force", copies[0]}} {
				if verb[0] == "restore" && i%4 > 0 {
					continue
				}
				_, _ = e.verb(verb...)
			}
		}
		stop()
		e.unharmed(fmt.Sprint("round ", round))
	}
}

// TestRootAmongLinks: links and second names that lie in the data directory are
// not followed either, and what root left there becomes the owner's.
func TestRootAmongLinks(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	e := newEstate(t)
	if code, out := e.verb("--init", "bouncers", "add", "first"); code != exitGood {
		t.Fatalf("exit %d: %s", code, out)
	}
	store := filepath.Join(e.data, "lapid/store")
	if err := errors.Join(os.Remove(filepath.Join(store, "LOCK")), os.Link(filepath.Join(e.treasure, "precious"), filepath.Join(store, "second"))); err != nil {
		t.Fatal(err)
	}
	e.link(filepath.Join(e.treasure, "LOCK"), filepath.Join(store, "LOCK"))
	e.link(filepath.Join(e.treasure, "precious"), filepath.Join(store, "link"))
	write(t, store, "left", "by root")
	_, _ = e.verb("bouncers", "add", "second")
	e.unharmed("a store of links")
	if info, err := os.Stat(filepath.Join(store, "left")); err != nil || info.Sys().(*syscall.Stat_t).Uid != stranger {
		t.Errorf("%v, %v", info, err)
	}
	logs := filepath.Join(e.data, "logs")
	if err := os.Mkdir(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	e.own(logs)
	for i, make := range []func(old, new string) error{os.Symlink, os.Link} {
		for _, path := range []string{filepath.Join(logs, config.LogName), filepath.Join(logs, "credentials.yaml")} {
			_ = os.Remove(path)
			if err := make(filepath.Join(e.treasure, "precious"), path); err != nil {
				t.Fatal(err)
			}
		}
		config, err := os.ReadFile(e.file)
		if err != nil {
			t.Fatal(err)
		}
		file := write(t, e.dir, "logs.yaml", string(config)+"common: {log_media: file, log_dir: "+logs+"}\n")
		p := start(t, nil, "-c", file, "serve", "--as-root")
		if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), "no ordinary file, or one with several names") {
			t.Errorf("exit %d: %s", code, p.out)
		}
		_, out := e.verb("machines", "add", fmt.Sprint("m", i), "-a", "--force", "-f", filepath.Join(logs, "credentials.yaml"))
		e.unharmed("credentials: " + out)
	}
}

// TestRootLeavesToTheOwner: what root's verbs make before the first start, by a
// restore and beside a stopped server is the owner's; what only root may read and
// write is still read and written; the owner's server starts on it.
func TestRootLeavesToTheOwner(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	e := newEstate(t)
	secret := filepath.Join(e.dir, "secret")
	if err := os.Mkdir(secret, 0o700); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(e.file)
	if err != nil {
		t.Fatal(err)
	}
	e.file = write(t, secret, "config.yaml", string(config))
	write(t, secret, "bad.csv", "value\n192.0.2.1\n")
	must := func(args ...string) {
		t.Helper()
		if code, out := e.verb(args...); code != exitGood {
			t.Fatalf("%v: exit %d: %s", args, code, out)
		}
	}
	must("--init", "machines", "add", "m", "-p", "secret", "-f", secret+"/credentials.yaml")
	must("bouncers", "add", "b", "-k", "key")
	must("decisions", "import", "-i", secret+"/bad.csv")
	must("backup", secret+"/backups")
	copies, err := filepath.Glob(secret + "/backups/*" + backupEnd)
	if err != nil || len(copies) != 1 {
		t.Fatal(copies, err)
	}
	must("check")
	must("restore", "--force", copies[0])
	must("decisions", "list")
	for path, uid := range map[string]uint32{secret + "/credentials.yaml": 0, copies[0]: 0} {
		if info, err := os.Stat(path); err != nil || info.Sys().(*syscall.Stat_t).Uid != uid || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	err = filepath.WalkDir(e.data, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil && info.Sys().(*syscall.Stat_t).Uid != stranger {
				t.Errorf("%s is not the owner's", path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	plain := write(t, e.dir, "plain.yaml", string(config))
	if err := os.Chmod(plain, 0o644); err != nil {
		t.Fatal(err)
	}
	p := startCommand(t, asStranger(exec.Command(os.Args[0], "-c", plain, "serve")), nil, nil)
	e.web = overSocket(filepath.Join(e.data, "api.sock"))
	e.awaitHealth(p)
	if code, text, err := e.ask("GET", "/v1/decisions?ip=192.0.2.1", ""); err != nil || code != 200 || !strings.Contains(text, "192.0.2.1") {
		t.Errorf("%d %s %v", code, text, err)
	}
	must("bouncers", "list") // beside it
}

// TestRootServerIsRefused: a server of root's does not start in somebody else's
// directory, whichever of the folders is that user's, makes nothing there, not even a
// log, and says what to do. A test of the configuration is good, and says so too. Who
// means it gets it.
func TestRootServerIsRefused(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	for _, whose := range []string{"data", "data/lapid", "data/lapid/store"} {
		e := newEstate(t)
		if err := os.MkdirAll(filepath.Join(e.data, "lapid/store"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(e.data, 0, 0); err != nil {
			t.Fatal(err)
		}
		e.own(filepath.Join(e.dir, whose))
		config, err := os.ReadFile(e.file)
		if err != nil {
			t.Fatal(err)
		}
		e.file = write(t, e.dir, "config.yaml", string(config)+"common: {log_media: file, log_dir: "+e.data+"}\n")
		before := describe(t, e.data)
		code, out := e.verb("serve")
		for _, want := range []string{"belongs to user 4711", "sudo -u '#4711' lapid -c " + e.file + " serve", "systemctl start lapid", "chown -R root: " + filepath.Join(e.dir, whose), "--as-root"} {
			if code != exitFails || !strings.Contains(out, want) {
				t.Errorf("%s: exit %d without %q: %s", whose, code, want, out)
			}
		}
		if code, out := e.verb("serve", "-t"); code != exitGood || !strings.Contains(out, "a start by root would be refused") {
			t.Errorf("%s: exit %d: %s", whose, code, out)
		}
		if now := describe(t, e.data); !maps.Equal(now, before) {
			t.Errorf("%s: it was refused, and %v became %v", whose, before, now)
		}
	}
	e := newEstate(t)
	p := start(t, nil, "-c", e.file, "serve", "--as-root")
	await(t, "it warns and is ready", func() bool {
		out := p.out.String()
		return strings.Contains(out, "belongs to another user") && strings.Contains(out, "lapid is ready")
	})
}

// TestRootQuickstartIsRefused: what holds for serve holds for a quickstart, and no rule
// lets root's server go where another user's link leads.
func TestRootQuickstartIsRefused(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	e := newEstate(t)
	linked := filepath.Join(e.dir, "linked")
	if err := os.Mkdir(linked, 0o755); err != nil {
		t.Fatal(err)
	}
	e.link(e.data, filepath.Join(linked, "lapid"))
	for _, dir := range []string{e.data, filepath.Join(e.data, "a/b"), linked} {
		before := describe(t, e.dir)
		p := start(t, nil, "quickstart", "--console", "off", "--dir", dir, "--listen", fmt.Sprint("127.0.0.1:", e.port), "--metrics", fmt.Sprint("127.0.0.1:", e.metrics))
		if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), "belongs to user 4711") || !strings.Contains(p.out.String(), "quickstart --dir "+dir) {
			t.Errorf("%s: exit %d: %s", dir, code, p.out)
		}
		if now := describe(t, e.dir); !maps.Equal(now, before) {
			t.Errorf("%s: it was refused, and %v became %v", dir, before, now)
		}
	}
	e.link(e.treasure, filepath.Join(e.data, "lapid"))
	e.own(filepath.Join(e.data, "lapid"))
	for _, words := range [][]string{{"-c", e.file, "serve", "--as-root"}, {"quickstart", "--console", "off", "--as-root", "--dir", e.data}} {
		p := start(t, nil, words...)
		if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), "data/lapid is a link of user 4711") {
			t.Errorf("%v: exit %d: %s", words, code, p.out)
		}
	}
	e.unharmed("root's servers were refused")
}
