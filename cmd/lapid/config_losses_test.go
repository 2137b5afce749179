package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const sqliteHead = "SQLite format 3\x00 and pages"

// TestLosses: what is configured and does not happen has a line of its own, with
// its place and what stops; the rest stays in one line.
func TestLosses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := write(t, dir, "crowdsec.db", sqliteHead)
	empty := write(t, dir, "empty.db", "")
	for _, c := range []struct {
		name, text string
		own        string
		want       []string // of each, one line holds it
	}{
		{"nothing", "", "", nil},
		{"central API", "api: {server: {online_client: {credentials_path: /x}}}", "",
			[]string{"config.yaml:1:31: api.server.online_client: there is no connection to the Central API: the community blocklist"}},
		{"its whitelists", "api: {server: {capi_whitelists_path: /w}}", "", []string{"api.server.capi_whitelists_path: /w is not read"}},
		{"reputation", "api: {server: {}, cti: {key: k}}", "", []string{"api.cti: no reputation service is asked"}},
		{"reputation off", "api: {server: {}, cti: {key: k, enabled: false}}", "", nil},
		{"old database", "db_config: {type: sqlite, db_path: " + old + ", flush: {}}", "",
			[]string{"without a meaning here: db_config.type, db_config.db_path", "config.yaml:1:36: db_config.db_path: " + old + " is the database of an old installation and is not read; its bouncers, machines"}},
		{"new database", "db_config: {db_path: " + empty + "}", "", []string{"without a meaning here: db_config.db_path"}},
		{"no database", "db_config: {db_path: /nowhere}", "", []string{"without a meaning here: db_config.db_path"}},
		{"server", "db_config: {type: mysql, host: h, db_name: n}", "", []string{"without a meaning here", "db_config.type: the mysql database n on h is not read"}},
		{"proxies", "api: {server: {trusted_proxies: [10.0.0.1]}}", "", []string{"api.server.trusted_proxies: use_forwarded_for_headers is not on, but"}},
		{"proxies, said", "api: {server: {trusted_proxies: [10.0.0.1], use_forwarded_for_headers: true}}", "", nil},
		{"unsafe", "", "sync: false", []string{"sync is false: writes are answered before the disk has them"}},
		{"safe", "", "sync: true", nil},
		{"relative", "", "data_dir: here/data", []string{"data_dir: here/data is relative and stands for /"}},
		{"harmless", "common: {daemonize: true, pid_dir: /run}", "", []string{"accepted, but without a meaning here: common.daemonize, common.pid_dir"}},
	} {
		dir := t.TempDir()
		write(t, dir, "lapid.yaml", c.own)
		s, err := loadSetup(write(t, dir, "config.yaml", c.text+"\nconfig_paths: {data_dir: /x}\n"), nothing)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		s.losses()
		if len(s.Warnings) != len(c.want) {
			t.Errorf("%s: %d lines, want %d:\n%s", c.name, len(s.Warnings), len(c.want), strings.Join(s.Warnings, "\n"))
		}
		for _, want := range c.want {
			if !strings.Contains(strings.Join(s.Warnings, "\n"), want) {
				t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(s.Warnings, "\n"), want)
			}
		}
	}
}

func TestStrayVariables(t *testing.T) {
	t.Parallel()
	s := &Setup{}
	s.strayVariables([]string{"LAPID_SYNC=false", "LAPID_ACESS_LOG=true", "LAPID_WHATEVER=", "PATH=/bin", "LAPID_TEST_X=1", "LAPIDARY=x"})
	if len(s.Warnings) != 2 ||
		s.Warnings[0] != "environment variable LAPID_ACESS_LOG is no setting and has no effect; did you mean LAPID_ACCESS_LOG?" ||
		!strings.Contains(s.Warnings[1], "LAPID_WHATEVER is no setting and has no effect; there are LAPID_DATA_DIR, ") {
		t.Errorf("%q", s.Warnings)
	}
}

// TestByteOrderMark: a file that an editor began with a mark is read past it, and
// places in it are those that the editor shows.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	const mark = "\ufeff"
	s, err := load(t, mark+plainConfig, mark+"api: {server: {listen_uri: '127.0.0.1:1'}}", nil)
	if err != nil || s.Config.API.Server.ListenURI != "127.0.0.1:1" {
		t.Errorf("%v", err)
	}
	if _, err := load(t, mark+plainConfig, mark+"apy: 1", nil); err == nil || !strings.Contains(err.Error(), `config.yaml.local:1:1: unknown key "apy"`) {
		t.Errorf("%v", err)
	}
	dir := t.TempDir()
	p := &Setup{env: nothing, Config: Config{API: API{Server: &APIServer{ProfilesPath: write(t, dir, "p.yaml", mark+fmt.Sprintf(rule, "a", "ban"))}}}}
	if specs, _, err := p.profiles(slog.New(slog.DiscardHandler)); err != nil || specs[0].Name != "a" {
		t.Errorf("%v", err)
	}
}

// TestLoudLines: the same lines come in a test of the configuration and at the
// start; a notification also has one when it would have been sent.
func TestLoudLines(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	write(t, h.dir, "crowdsec.db", sqliteHead)
	write(t, h.dir, "config.yaml.local", "db_config: {db_path: "+filepath.Join(h.dir, "crowdsec.db")+"}\napi: {server: {online_client: {credentials_path: /x}}}\n")
	write(t, h.dir, "profiles.yaml", fmt.Sprintf(rule, "first", "ban")+"notifications: [slack_default]\n")
	lines := []string{"there is no connection to the Central API", "is the database of an old installation", "names the notification 'slack_default'",
		"LAPID_ACESS_LOG is no setting and has no effect; did you mean LAPID_ACCESS_LOG?"}
	env := []string{"LAPID_ACESS_LOG=true"}
	test := start(t, env, "-c", h.file, "-t")
	if code := test.wait(t); code != exitGood {
		t.Errorf("-t ends with %d", code)
	}
	p := start(t, env, "-c", h.file, "serve")
	h.awaitHealth(p)
	for _, line := range lines {
		for what, out := range map[string]string{"-t": test.out.String(), "serve": p.out.String()} {
			if strings.Count(out, line) != 1 {
				t.Errorf("%s does not say once %q:\n%s", what, line, out)
			}
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, "a reload says it again", func() bool {
		return strings.Count(p.out.String(), lines[3]) == 2 && strings.Contains(p.out.String(), "reloaded: ")
	})
	h.login()
	const due = "a notification was due and was not sent"
	if strings.Contains(p.out.String(), due) {
		t.Error("said before there was an alert")
	}
	for i := range 2 {
		if code, text, err := h.ask("POST", "/v1/alerts", alertText(fmt.Sprint("test/due", i), 0, 0)); err != nil || code != 201 {
			t.Fatal(code, text, err)
		}
	}
	await(t, "the line is there", func() bool { return strings.Contains(p.out.String(), due) })
	if n := bytes.Count([]byte(p.out.String()), []byte(due)); n != 1 {
		t.Errorf("said %d times", n)
	}
}
