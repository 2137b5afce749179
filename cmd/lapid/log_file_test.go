package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// parsersLine is how people's parsers read a line of the reference's logs.
var parsersLine = regexp.MustCompile(`^time="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d))"\s+level=(\S+)\s+msg="((?:\\.|[^"\\])*)"( \S.*)?$`)

// inFiles is a house whose log is in files, with so much more in common.
func inFiles(t *testing.T, more string) (h *house, logs string) {
	t.Helper()
	h = newHouse(t)
	logs = filepath.Join(h.dir, "logs")
	if err := os.Mkdir(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, h.dir, "config.yaml", string(config)+"common: {log_media: file, log_dir: "+logs+more+"}\n")
	return h, logs
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// machinesAlert is an alert that the profile makes a ban of.
const machinesAlert = `[{"scenario":"crowdsecurity/ssh-bf","scenario_hash":"","scenario_version":"","message":"","capacity":0,"leakspeed":"0","events":[],
	"events_count":1,"simulated":false,"start_at":"now","stop_at":"now","remediation":true,"source":{"scope":"Ip","value":"203.0.113.9","ip":"203.0.113.9","cn":"FR","as_number":"1234"}}]`

// TestLogFiles: the two files are what people's parsers know, in form, name and
// mode, and begin anew at a SIGHUP.
func TestLogFiles(t *testing.T) {
	t.Parallel()
	h, logs := inFiles(t, ", log_max_size: 1")
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	h.want(201, "POST", "/v1/alerts", machinesAlert)
	h.header = http.Header{"X-Api-Key": {"wrong"}, "User-Agent": {"an \"agent\""}}
	h.want(403, "GET", "/v1/decisions?ip=192.0.2.1", "")
	h.header = nil
	common, requests := filepath.Join(logs, logName), filepath.Join(logs, accessName)
	await(t, "the last request has its line", func() bool { return strings.Contains(read(t, requests), "GET /v1/decisions?ip=192.0.2.1") })
	for path, want := range map[string][]string{
		common:   {`msg="(m/crowdsec) crowdsecurity/ssh-bf by ip 203.0.113.9 (FR/1234) : 1h ban on Ip 203.0.113.9"` + "\n", `msg="lapid is ready" version=`},
		requests: {`msg="127.0.0.1 - [`, `] \"GET /v1/decisions?ip=192.0.2.1 HTTP/1.1 403 `, ` \"an \\\"agent\\\"\" access forbidden\"" module=lapi` + "\n"},
	} {
		text := read(t, path)
		for line := range strings.Lines(text) {
			if !parsersLine.MatchString(strings.TrimSuffix(line, "\n")) {
				t.Errorf("%s: not in the form: %s", filepath.Base(path), line)
			}
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s has no %s:\n%s", filepath.Base(path), w, text)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	if out := p.out.String(); !strings.Contains(out, "level=info msg=\"lines go to "+common+"\"\n") || strings.Contains(out, "log_max_size") || strings.Contains(out, "lapid is ready") {
		t.Errorf("the terminal: %s", out)
	}
	if strings.Contains(read(t, common), "log_max_size") {
		t.Error("the keys of rotation are said to have no meaning")
	}

	write(t, h.dir, "profiles.yaml", "nonsense") // moved files are let go of whatever else is wrong
	for _, path := range []string{common, requests} {
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, "the file is begun anew", func() bool {
		b, _ := os.ReadFile(common)
		return strings.Contains(string(b), "nothing was reloaded")
	})
	h.want(200, "GET", "/v1/decisions?ip=192.0.2.77", "")
	await(t, "the new request is in the new file", func() bool {
		b, _ := os.ReadFile(requests)
		return strings.Contains(string(b), "192.0.2.77")
	})
	if strings.Contains(read(t, requests+".1"), "192.0.2.77") {
		t.Error("it is in the old file too")
	}
}

// TestLogRotation: a file that is full is put away and packed, and the oldest goes.
func TestLogRotation(t *testing.T) {
	t.Parallel()
	h, logs := inFiles(t, ", log_max_size: 1, log_max_files: 2, compress_logs: true")
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.header = http.Header{"User-Agent": {strings.Repeat("x", 4000)}}
	seen := map[string]bool{}
	for n := 0; len(seen) < 4; n++ {
		if n > 5000 {
			t.Fatalf("after %d long lines only these were put away: %v", n, seen)
		}
		h.want(200, "GET", fmt.Sprintf("/v1/decisions?ip=192.0.2.%d", n&255), "")
		found, _ := filepath.Glob(filepath.Join(logs, "crowdsec_api-*.log*"))
		for _, path := range found {
			seen[strings.TrimSuffix(path, ".gz")] = true
		}
	}
	var kept []string
	await(t, "two files are kept, the older packed, the rest is gone", func() bool {
		kept, _ = filepath.Glob(filepath.Join(logs, "crowdsec_api-*"))
		return len(kept) == 2 && strings.HasSuffix(kept[0], ".log.gz") && strings.HasSuffix(kept[1], ".log")
	})
	for _, path := range append(kept, filepath.Join(logs, accessName)) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", path, err)
		}
	}
	f, err := os.Open(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unpacked)
	if err != nil || len(text) > 1<<20 || len(text) < 1<<19 || !strings.HasPrefix(string(text), `time="`) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// TestNoAccessLog: the requests' file can be turned off, and is off elsewhere.
func TestNoAccessLog(t *testing.T) {
	t.Parallel()
	h, logs := inFiles(t, "")
	write(t, h.dir, "lapid.yaml", "access_log: false\n")
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	if _, err := os.Stat(filepath.Join(logs, accessName)); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
	for text, want := range map[string]string{
		"{log_max_size: -1}":  "config.yaml:1:41: log_max_size must not be negative, but is -1",
		"{log_max_files: -2}": "log_max_files must not be negative",
		"{log_max_age: -2}":   "log_max_age must not be negative",
	} {
		s, err := load(t, "common: "+strings.Replace(text, "{", "{log_media: file, ", 1)+"\n"+plainConfig, "", nil)
		if err == nil {
			_, err = s.rotation()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestLogThatCannotBePutAway: it goes on in the same file, and says so once.
func TestLogThatCannotBePutAway(t *testing.T) {
	t.Parallel()
	var said safeBuffer
	dir := t.TempDir()
	l := &logFile{path: filepath.Join(dir, logName), rotation: rotation{size: 1}, log: slog.New(slog.NewTextHandler(&said, nil))}
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	l.size = 2 << 20
	l.path = filepath.Join(dir, "no", "such", logName) // renaming fails, and so does looking for another file
	l.next()
	l.path = filepath.Join(dir, logName)
	for _, line := range []string{"one\n", "two\n"} {
		l.size = 2 << 20
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("%d %v", n, err)
		}
	}
	if got := read(t, l.path); got != "one\ntwo\n" {
		t.Errorf("%q", got)
	}
	await(t, "it is told", func() bool { return strings.Contains(said.String(), "cannot be put away") })
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("three\n")); err != nil || read(t, l.path) != "one\ntwo\nthree\n" || strings.Count(said.String(), "\n") != 1 {
		t.Errorf("%v %q %s", err, read(t, l.path), said.String())
	}
}

// TestLogOfTwo: what another program writes to a file that was put away is kept,
// whether it is seen to have it open or not; and when it moves the file, our lines go
// to the new one.
func TestLogOfTwo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, logName)
	write(t, dir, logName, strings.Repeat("x", 1<<20))
	other, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l := &logFile{path: path, rotation: rotation{size: 1, files: 1, days: 1, compress: true}}
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	full := []byte(strings.Repeat("y", 1<<20))
	for range 4 {
		if _, err := l.Write(full); err != nil {
			t.Fatal(err)
		}
		if _, err := other.WriteString("a line of the other\n"); err != nil {
			t.Fatal(err)
		}
		l.tidy()
	}
	list := l.putAwayFiles()
	oldest := list[len(list)-1]
	if oldest.packed || strings.Count(read(t, oldest.path), "a line of the other\n") != 4 {
		t.Fatalf("lines of the other are lost: %v", list)
	}
	if n := len(list); n != 2 { // the newest, and the one that is in use
		t.Errorf("%d files are kept: %v", n, list)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("ours\n")); err != nil || read(t, path) != "ours\n" {
		t.Errorf("our line went with the file that was moved: %v", err)
	}
}

// TestLogOfAnotherProcess: a process that has a file open for writing is found, and
// named at -t.
func TestLogOfAnotherProcess(t *testing.T) {
	t.Parallel()
	h, logs := inFiles(t, "")
	path := filepath.Join(logs, logName)
	cmd := exec.Command("sh", "-c", `exec 3>>"$0"; echo ready; read line`, path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if got := writers(path, true); len(got) != 1 || got[0].id != cmd.Process.Pid {
		t.Errorf("writers: %v", got)
	}
	p := start(t, nil, "-c", h.file, "serve", "-t")
	p.wait(t)
	if !strings.Contains(p.out.String(), "is written to by process "+strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("-t: %s", p.out.String())
	}
}

// TestLogInASharedFolder: where others may change the folder nothing is renamed or
// opened by its name, and the log says that it only grows.
func TestLogInASharedFolder(t *testing.T) {
	t.Parallel()
	h, logs := inFiles(t, ", log_max_size: 1")
	if err := os.Chmod(logs, 0o777); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.header = http.Header{"User-Agent": {strings.Repeat("x", 4000)}}
	for range 300 { // more than a MiB
		h.want(200, "GET", "/v1/decisions?ip=192.0.2.1", "")
	}
	await(t, "all lines are there", func() bool { return len(read(t, filepath.Join(logs, accessName))) > 1<<20 })
	if found, _ := filepath.Glob(filepath.Join(logs, "*")); len(found) != 2 {
		t.Errorf("%v", found)
	}
	if !strings.Contains(read(t, filepath.Join(logs, logName)), accessName+" is never put away") {
		t.Error("nothing is said of it")
	}
	check := start(t, nil, "-c", h.file, "serve", "-t")
	check.wait(t)
	if !strings.Contains(check.out.String(), accessName+" is never put away") {
		t.Errorf("nothing is said of it at -t: %s", check.out.String())
	}
}

// TestUnshared: a folder that a group may change is shared unless the group is
// root's or our own.
func TestUnshared(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		uid, gid int
		mode     os.FileMode
		want     bool
	}{
		{0, 0, 0o755, true}, {0, 0, 0o775, true}, {0, 12345, 0o755, true}, {0, 12345, 0o775, false},
		{0, 0, 0o777, false}, {12345, 0, 0o700, false}, {os.Geteuid(), os.Getegid(), 0o775, true},
	} {
		at := &syscall.Stat_t{Uid: uint32(c.uid), Gid: uint32(c.gid)}
		if got := unshared(statOnly{mode: c.mode, at: at}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// statOnly is a folder of which owner and mode are known.
type statOnly struct {
	os.FileInfo
	mode os.FileMode
	at   *syscall.Stat_t
}

func (s statOnly) Mode() os.FileMode { return s.mode }
func (s statOnly) Sys() any {
	return s.at
}
