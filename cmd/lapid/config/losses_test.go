package config

import (
	"fmt"
	"log/slog"
	"strings"
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
			[]string{"config.yaml:1:31: api.server.online_client: with this file there is no connection to the Central API: the community blocklist"}},
		{"its whitelists", "api: {server: {capi_whitelists_path: /w}}", "", []string{"api.server.capi_whitelists_path: /w is not read"}},
		{"reputation", "api: {server: {}, cti: {key: k}}", "", []string{"api.cti: no reputation service is asked"}},
		{"reputation off", "api: {server: {}, cti: {key: k, enabled: false}}", "", nil},
		{"old database", "db_config: {type: sqlite, db_path: " + old + ", flush: {}}", "",
			[]string{"without a meaning here: db_config.type, db_config.db_path"}},
		{"new database", "db_config: {db_path: " + empty + "}", "", []string{"without a meaning here: db_config.db_path"}},
		{"no database", "db_config: {db_path: /nowhere}", "", []string{"without a meaning here: db_config.db_path"}},
		{"server", "db_config: {type: mysql, host: h, db_name: n}", "", []string{"without a meaning here"}},
		{"proxies", "api: {server: {trusted_proxies: [10.0.0.1]}}", "", []string{"api.server.trusted_proxies: use_forwarded_for_headers is not on, but"}},
		{"proxies, said", "api: {server: {trusted_proxies: [10.0.0.1], use_forwarded_for_headers: true}}", "", nil},
		{"unsafe", "", "sync: false", []string{"sync is false: writes are answered before the disk has them"}},
		{"safe", "", "sync: true", nil},
		{"relative", "", "data_dir: here/data", []string{"data_dir: here/data is relative and stands for /"}},
		{"harmless", "common: {daemonize: true, pid_dir: /run}", "", []string{"accepted, but without a meaning here: common.daemonize, common.pid_dir"}},
	} {
		dir := t.TempDir()
		write(t, dir, "lapid.yaml", c.own)
		s, err := Load(write(t, dir, "config.yaml", c.text+"\nconfig_paths: {data_dir: /x}\n"), nothing)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		s.Losses()
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
	s.StrayVariables([]string{"LAPID_SYNC=false", "LAPID_ACESS_LOG=true", "LAPID_WHATEVER=", "PATH=/bin", "LAPID_TEST_X=1", "LAPIDARY=x"})
	if len(s.Warnings) != 2 ||
		s.Warnings[0] != "environment variable LAPID_ACESS_LOG is no setting and has no effect; did you mean LAPID_ACCESS_LOG?" ||
		!strings.Contains(s.Warnings[1], "LAPID_WHATEVER is no setting and has no effect; there are LAPID_DATA_DIR, ") {
		t.Errorf("%q", s.Warnings)
	}
	// What has keys or a list within has no variable, and none is named.
	for _, key := range []string{"BACKUP", "EXPORTS", "AUDIT", "CONSOLE"} {
		s = &Setup{}
		if s.StrayVariables([]string{"LAPID_" + key + "=x"}); len(s.Warnings) != 1 || strings.Count(s.Warnings[0]+",", "LAPID_"+key+",") > 0 {
			t.Errorf("%q", s.Warnings)
		}
		if _, err := load(t, plainConfig, "", map[string]string{"LAPID_" + key: "x"}); err != nil {
			t.Errorf("LAPID_%s: %v", key, err)
		}
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
	if specs, _, _, err := p.Profiles(slog.New(slog.DiscardHandler)); err != nil || specs[0].Name != "a" {
		t.Errorf("%v", err)
	}
}

// TestRotationWords: bounds of log files that mean nothing are refused, with their place.
func TestRotationWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{log_max_size: -1}":  "config.yaml:1:41: log_max_size must not be negative, but is -1",
		"{log_max_files: -2}": "log_max_files must not be negative",
		"{log_max_age: -2}":   "log_max_age must not be negative",
	} {
		s, err := load(t, "common: "+strings.Replace(text, "{", "{log_media: file, ", 1)+"\n"+plainConfig, "", nil)
		if err == nil {
			_, err = s.Rotation()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestDatabaseLeft: what is in the database of an old installation is named, with the
// command that takes it over.
func TestDatabaseLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, empty := write(t, dir, "crowdsec.db", "SQLite format 3\x00and more"), write(t, dir, "empty.db", "")
	for text, want := range map[string]string{
		"": "", "db_config: {db_path: " + empty + "}": "", "db_config: {db_path: /nowhere}": "",
		"db_config: {type: sqlite, db_path: " + old + "}": "config.yaml:1:36: db_config.db_path: " + old + ", the database of an old installation, is not taken over",
		"db_config: {type: mysql, host: h, db_name: n}":   "db_config.type: the mysql database n on h is not taken over",
	} {
		s, err := Load(write(t, t.TempDir(), "config.yaml", text+"\nconfig_paths: {data_dir: /x}\n"), nothing)
		if err != nil {
			t.Fatal(err)
		}
		if left := s.DatabaseLeft(); (left == "") != (want == "") || !strings.Contains(left, want) {
			t.Errorf("%s: %q, want %q", text, left, want)
		}
	}
}
