package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lapid/transport/notify"
)

// readNotifications reads documents as a start does, for a profile that names ops.
func readNotifications(t *testing.T, files map[string]string, env Environment) ([]*notify.Configuration, string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		write(t, filepath.Join(dir, "n"), name, text)
	}
	var log bytes.Buffer
	s := &Setup{env: env}
	s.Config.Paths.Notifications = filepath.Join(dir, "n")
	s.Config.API.Server = &APIServer{ProfilesPath: write(t, dir, "p.yaml", "name: a\nfilters: ['true']\nnotifications: [ops, missing]\n")}
	_, _, sent, err := s.Profiles(slog.New(slog.NewTextHandler(&log, nil)))
	return sent, log.String(), err
}

// TestNotifications: documents are read strictly where profiles name them, secrets are put
// in whatever they hold, and what is missing or doubtful is told.
func TestNotifications(t *testing.T) {
	t.Parallel()
	secret := write(t, t.TempDir(), "token", "x: y #z\n")
	env := func(name string) (string, bool) {
		return map[string]string{"HOOK": "http://127.0.0.1:1/a", "EMPTY": ""}[name], name == "HOOK" || name == "EMPTY"
	}
	sent, log, err := readNotifications(t, map[string]string{
		"a.yaml": "type: http\nname: ops\nurl: http://old\n---\n---\ntype: email\nname: unused\nsmtp_hast: x\n",
		"b.yml": `type: http
name: ops
format: '{{env "HOME"}} $HOOK'
group_wait: 30s
group_threshold: 20
timeout: 1000000000
log_level: info
url: $HOOK
method: POST
headers: {Authorization: "Bearer ${file:` + secret + `}", X-Empty: "$EMPTY$NONE"}
`,
		"c.txt": "not read",
	}, env)
	if err != nil || len(sent) != 1 {
		t.Fatalf("%v %v", sent, err)
	}
	c := sent[0]
	if c.GroupWait != 30*time.Second || c.Timeout != time.Second || c.GroupThreshold != 20 || c.HTTP.URL != "http://127.0.0.1:1/a" ||
		c.HTTP.Headers["Authorization"] != "Bearer x: y #z" || c.HTTP.Headers["X-Empty"] != "$NONE" || c.Format != `{{env "HOME"}} $HOOK` {
		t.Errorf("%+v %+v", c, c.HTTP)
	}
	for _, want := range []string{"b.yml:1:1: notification 'ops' is defined multiple times", "names the notification 'missing'"} {
		if !strings.Contains(log, want) {
			t.Errorf("not told: %s\n%s", want, log)
		}
	}
	if _, log, err := readNotifications(t, map[string]string{"a.yaml": "type: http\nname: ops\nurl: http://x\nformat: '{{range .}}{{if eq .Source.Value \"x\"}}{{end}}{{end}}'\n"}, env); err != nil ||
		!strings.Contains(log, "a.yaml:4: the format of 'ops' fails for a sample alert") {
		t.Errorf("%v %s", err, log)
	}
	for want, text := range map[string]string{
		"missing required field 'type'":              "name: ops",
		`a.yaml:3:1: unknown key "urls"`:             "type: http\nname: ops\nurls: x",
		"a.yaml:3:13: group_wait must be a duration": "type: http\nname: ops\ngroup_wait: 1d\nurl: http://x",
		"already defined":                            "type: http\nname: ops\nname: ops",
		"SMTP host is not set":                       "type: email\nname: ops",
		"format of 'ops'":                            "type: http\nname: ops\nurl: http://x\nformat: '{{range'",
		"max_retry of 'ops' must not be negative":    "type: http\nname: ops\nurl: http://x\nmax_retry: -1",
		"no such file or directory":                  "type: http\nname: ops\nurl: '${file:/nowhere/x}'",
	} {
		if _, _, err := readNotifications(t, map[string]string{"a.yaml": text}, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if sent, log, err := readNotifications(t, map[string]string{"a.yaml": "type: splunk\nname: ops\ntoken: t"}, env); err != nil || len(sent) != 0 || !strings.Contains(log, "nothing sends notifications of type 'splunk'") {
		t.Errorf("%v %v %s", sent, err, log)
	}
}

// TestNotificationFormatPlace: an error of a template has the line of the file.
func TestNotificationFormatPlace(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		"a.yaml:3: format of 'ops'": "type: http\nname: ops\nformat: '{{nope}}'\nurl: http://x",
		"a.yaml:6: format of 'ops'": "type: http\nname: ops\nformat: |\n  one\n  {{range .}}\n  {{nope .}}\n  {{end}}\nurl: http://x",
		"a.yaml:8: format of 'ops'": "type: http\nname: other\nurl: http://x\n---\ntype: http\nname: ops\nformat: |\n  {{nope .}}\nurl: http://x",
	} {
		if _, _, err := readNotifications(t, map[string]string{"a.yaml": text}, noEnvironment); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func noEnvironment(string) (string, bool) { return "", false }

// TestNotificationSecretsAreHidden: what shows a document hides its secrets and shows where
// they come from.
func TestNotificationSecretsAreHidden(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", `type: email
name: ops
format: '{{.}}'
smtp_password: hunter2
smtp_username: me
url: https://hooks.example.org/T0/B1?x=y
webhook: https://hooks.example.org/T0/B2
token: abcdef
shared_key: ghijkl
key_path: /etc/x.pem
receiver_emails: [a@b.c]
headers: {Authorization: "Bearer mnopqr", X-Api: $TOKEN}
`)
	s := &Setup{env: noEnvironment}
	s.Config.Paths.Notifications = dir
	list, err := s.Notifications(nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	all := list[0].YAML() + fmt.Sprint(list[0].Written())
	for _, hidden := range []string{"hunter2", "T0", "x=y", "abcdef", "ghijkl", "mnopqr"} {
		if strings.Contains(all, hidden) {
			t.Errorf("%s is shown:\n%s", hidden, all)
		}
	}
	secrets := strings.Join(list[0].settings.secrets(""), " ")
	for _, one := range []string{"hunter2", "/T0/B1?x=y", "/T0/B2", "abcdef", "ghijkl", "Bearer mnopqr"} {
		if !strings.Contains(secrets, one) {
			t.Errorf("%s is no secret: %s", one, secrets)
		}
	}
	for _, shown := range []string{"https://hooks.example.org/***", "$TOKEN", "/etc/x.pem", "a@b.c", "smtp_username: me"} {
		if !strings.Contains(all, shown) {
			t.Errorf("%s is hidden:\n%s", shown, all)
		}
	}
}

// TestUnusedPrograms: what is wrong with programs that no profile needs is a warning each,
// and a start with Debian's folder as it is goes on with what is built in.
func TestUnusedPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"dummy": 0o755, "notification-x": 0o777, "notification-y": 0o755} {
		path := write(t, dir, name, "#!/bin/sh\n")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	s := &Setup{}
	s.Config.Paths.Plugins = dir
	s.doubtPrograms(nil, slog.New(slog.NewTextHandler(&log, nil)))
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "dummy is invalid. Name should be like {type-name}") || !strings.Contains(got, "notification-x is world writable") {
		t.Error(got)
	}
}
