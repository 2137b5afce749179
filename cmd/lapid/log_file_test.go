package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"lapid/cmd/lapid/config"
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
	common, requests := filepath.Join(logs, config.LogName), filepath.Join(logs, config.AccessName)
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
	for _, path := range append(kept, filepath.Join(logs, config.AccessName)) {
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
	if _, err := os.Stat(filepath.Join(logs, config.AccessName)); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
}

// TestLogOfAnotherProcess: a process that has a file open for writing is found, and
// named at -t.
func TestLogOfAnotherProcess(t *testing.T) {
	t.Parallel()
	h, logs := inFiles(t, "")
	path := filepath.Join(logs, config.LogName)
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
	await(t, "all lines are there", func() bool { return len(read(t, filepath.Join(logs, config.AccessName))) > 1<<20 })
	if found, _ := filepath.Glob(filepath.Join(logs, "*")); len(found) != 2 {
		t.Errorf("%v", found)
	}
	if !strings.Contains(read(t, filepath.Join(logs, config.LogName)), config.AccessName+" is never put away") {
		t.Error("nothing is said of it")
	}
	check := start(t, nil, "-c", h.file, "serve", "-t")
	check.wait(t)
	if !strings.Contains(check.out.String(), config.AccessName+" is never put away") {
		t.Errorf("nothing is said of it at -t: %s", check.out.String())
	}
}
