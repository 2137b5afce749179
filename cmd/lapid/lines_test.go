package main

import (
	"encoding/json"
	"fmt"
	"log/syslog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadyIsTheLastLine: whoever reads the log of a start up to the line that it is
// ready has read every warning.
func TestReadyIsTheLastLine(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	seed(t, h.store(), func() time.Time { return time.Unix(0, 1) })
	a := newAuthority(t, h.dir)
	write(t, h.dir, "profiles.yaml", fmt.Sprintf(rule, "first", "ban")+"notifications: [slack]\n")
	write(t, h.dir, "config.yaml.local", `common: {daemonize: true}
api:
  server:
    online_client: {credentials_path: /x}
    tls: {cert_file: `+a.expired+`, key_file: `+a.key+`, ca_cert_path: `+a.soon+`, crl_path: `+a.oldList+"}\n")
	p := start(t, []string{"LAPID_ACESS_LOG=true"}, "-c", h.file, "serve")
	h.awaitHealth(p)
	await(t, "it is ready", func() bool { return strings.Contains(p.out.String(), "lapid is ready") })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != exitGood {
		t.Errorf("exit %d", code)
	}
	before, after, _ := strings.Cut(p.out.String(), `msg="lapid is ready"`)
	for _, want := range []string{
		"LAPID_ACESS_LOG is no setting", "common.daemonize", "api.server.online_client", "notification 'slack'", "has expired at", "client certificates that it signed are refused",
		"a revocation list is outdated", "--trust-clock", `msg="serving the Local API" address=127.0.0.1`, "api.sock",
	} {
		if !strings.Contains(before, want) {
			t.Errorf("not said before it is ready: %s", want)
		}
	}
	_, rest, _ := strings.Cut(after, "\n")
	if timeless.ReplaceAllString(rest, "") != "level=info msg=\"lapid has ended in good order\"\n" {
		t.Errorf("said after it is ready: %s", rest)
	}
}

// TestReloadThatWantsRestart has one line, which names every key that waits for a
// restart, and the next reload nothing more to say of them.
func TestReloadThatWantsRestart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	await(t, "it is ready", func() bool { return strings.Contains(p.out.String(), "lapid is ready") })
	begun := len(p.out.String())
	hangup := func(says string) {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		await(t, says, func() bool { return strings.Contains(p.out.String()[begun:], says) })
	}
	write(t, h.dir, "config.yaml.local", fmt.Sprintf("db_config: {flush: {max_items: 7}}\napi: {server: {listen_uri: '127.0.0.1:%d'}}\n", freePort(t)))
	write(t, h.dir, "lapid.yaml", "memory: 1GiB\n")
	hangup("only after a restart")
	hangup("nothing has changed")
	got := timeless.ReplaceAllString(p.out.String()[begun:], "")
	want := `level=warning msg="changed, but in force only after a restart: api.server.listen_uri, db_config.flush.max_items, lapid.yaml"
level=info msg="reloaded: nothing has changed"
`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestSyslog: where the log goes to a syslog, a test of the configuration and a start
// agree on whether there is one.
func TestSyslog(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	write(t, h.dir, "config.yaml.local", "common: {log_media: syslog}\n")
	trial := start(t, nil, "-c", h.file, "serve", "-t")
	code := trial.wait(t)
	if w, err := syslog.New(syslog.LOG_DAEMON, "lapid"); err == nil { // this machine has one
		w.Close()
		if code != exitGood {
			t.Errorf("exit %d: %s", code, trial.out)
		}
		return
	}
	const want = `config.yaml.local:1:21: a start would fail: opening syslog: Unix syslog delivery error: start one, or write log_media: stdout or file"`
	if code != exitFails || strings.Count(trial.out.String(), "\n") != 1 || !strings.Contains(trial.out.String(), want) {
		t.Errorf("exit %d: %s", code, trial.out)
	}
	p := start(t, nil, "-c", h.file, "serve")
	if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), strings.Replace(want, "a start would fail: ", "", 1)) {
		t.Errorf("exit %d: %s", code, p.out)
	}
}

// TestStatusHints: whoever cannot log in is told what to do next.
func TestStatusHints(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	nowhere := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	const start = `; nobody answers there: start the server with "lapid serve", or correct the url in @DIR@/credentials.yaml`
	h.steps([]step{
		{"lapi status", exitFails, "", `~credentials.yaml: no such file or directory; make it with "lapid machines add --auto" where the server is, with "lapid lapi register" elsewhere`},
		{"machines add m -p secret -f @DIR@/credentials.yaml -u " + nowhere, 0, "", "~successfully added"},
		{"lapi status", exitFails, "~Trying to authenticate", "~connection refused" + start},
		{"lapi status -o json", exitFails, "", "~connection refused" + start},
		{"machines add m -p secret -f @DIR@/credentials.yaml --force -u @DIR@/api.sock", 0, "", "~successfully added"},
		{"lapi status", exitFails, "~Trying to authenticate", "~no such file or directory" + start},
		{"machines add m -p secret -f @DIR@/credentials.yaml --force -u http://nobody.invalid:8080", 0, "", "~successfully added"},
		{"lapi status", exitFails, "~Trying to authenticate", "~" + start},
	})
	bare := newSite(t, "config_paths: {data_dir: @DIR@}\n")
	bare.steps([]step{{"lapi status", exitFails, "", "Error: lapid lapi status: @DIR@/config.yaml: no credentials file: api.client.credentials_path is missing\n"}})
}

// TestJSONOfChanges: the one object of a backup and of a deletion has these names
// and no others, and stderr is silent.
func TestJSONOfChanges(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	for n := range 5 {
		s.steps([]step{{fmt.Sprintf("decisions add -i 192.0.2.%d", n), 0, "", "~successfully"}})
	}
	s.steps([]step{
		{"alerts delete --id 1 -o json", 0, "{\n \"deleted\": 1\n}\n", ""},
		{"alerts delete --id 1-3,99 -o json", 0, "{\n \"deleted\": 2\n}\n", ""},
		{"alerts delete --ip 192.0.2.3 -o json", 0, "{\n \"deleted\": 1\n}\n", ""},
		{"alerts delete --ip 192.0.2.3 -o json", 0, "{\n \"deleted\": 0\n}\n", ""},
		{"backup @DIR@/backups -o json", 0, `re:\A\{\n "file": "[^"]+/backups/lapid-[0-9TZ]+-\d+\.backup",\n "revision": \d+,\n "bytes": \d+\n\}\n\z`, ""},
	})
	r := s.do("", "backup", filepath.Join(s.dir, "again"), "-o", "json")
	var b struct {
		File     string
		Revision uint64
		Bytes    int64
	}
	if err := json.Unmarshal([]byte(r.out), &b); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(b.File); err != nil || info.Size() != b.Bytes || !strings.HasSuffix(b.File, fmt.Sprintf("-%d.backup", b.Revision)) {
		t.Errorf("%+v, %v, %v", b, info, err)
	}
}

// TestRestoreOverUnreadable: where the store that is replaced cannot be read, the
// restore succeeds and says that bouncers want a restart; where it can be, it does not.
func TestRestoreOverUnreadable(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"decisions add -i 192.0.2.1", 0, "", "~successfully"},
		{"backup @DIR@/backups", 0, "", "~wrote"},
		{"decisions add -i 192.0.2.2", 0, "", "~successfully"},
	})
	backup := newest(t, filepath.Join(s.dir, "backups"))
	line := regexp.MustCompile(`restart your bouncers: the store that was there cannot be read \(.+\), so they are not told the end of what came after the backup`)
	r := s.do("", "restore", backup, "--force")
	if r.exit != 0 || strings.Contains(r.err, "restart your bouncers") || !strings.Contains(r.err, "1 decisions of the store that was there are not in the backup") {
		t.Errorf("over a good store: %+v", r)
	}
	write(t, s.store(), "FORMAT", "garbage")
	r = s.do("", "restore", backup, "--force")
	if r.exit != 0 || len(line.FindAllString(r.err, -1)) != 1 || !strings.Contains(r.err, "restored revision") {
		t.Errorf("over one that cannot be read: %+v", r)
	}
	s.steps([]step{{"decisions list -o raw", 0, "~Ip:192.0.2.1,", ""}})
}
