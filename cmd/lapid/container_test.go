package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestContainer runs serve --container by an environment as CrowdSec's image has it: who is named there is let in
// from the first moment, after a kill too; a key that differs is told, and replaced when that is asked
// for; no secret is in the log.
func TestContainer(t *testing.T) {
	t.Parallel()
	h, f := emptyHouse(t), startFake(t)
	credentials, shared := filepath.Join(h.dir, "credentials.yaml"), filepath.Join(h.dir, "console.yaml")
	write(t, h.dir, "config.yaml.local", fmt.Sprintf("api: {server: {console_path: %s, online_client: {credentials_path: %s}}}\n", shared, f.credentials(h.dir)))
	environ := func(more ...string) []string {
		return append([]string{"CONFIG_FILE=" + h.file, "BOUNCER_KEY_edge_fw=hush-one", "AGENT_USERNAME=m", "AGENT_PASSWORD_FILE=" + write(t, h.dir, "password", "secret\n"),
			"CUSTOM_HOSTNAME=pod-1", "LEVEL_DEBUG=true", "COLLECTIONS=a/b", "GID=1000", "DISABLE_AGENT=true", "TZ=Asia/Tokyo",
			"ENROLL_KEY=hush-enrol", "ENROLL_INSTANCE_NAME=edge", "ENROLL_TAGS=a b", "CS_LAPI_SECRET=" + strings.Repeat("hush", 16)}, more...)
	}
	allowed := func(key string, want int) {
		t.Helper()
		h.header = http.Header{"X-Api-Key": {key}}
		if code, text, err := h.ask("GET", "/v1/decisions?ip=192.0.2.7", ""); err != nil || code != want {
			t.Errorf("%d, want %d: %s %v", code, want, text, err)
		}
	}
	says := func(p *process, texts ...string) {
		t.Helper()
		for _, text := range texts {
			await(t, text, func() bool { return strings.Contains(p.out.String(), text) })
		}
		if out := p.out.String(); strings.Contains(out, "hush") || strings.Contains(out, "secret\n") {
			t.Error("a secret is in the log")
		}
	}

	p := start(t, environ(), "serve", "--container")
	h.awaitHealth(p)
	allowed("hush-one", http.StatusOK)
	allowed("hush-two", http.StatusForbidden)
	h.login()
	says(p, "set, but without a meaning for lapid: COLLECTIONS, GID", "added the bouncer that the environment gives", "bouncer=edge_fw", "machine=m", "machine=pod-1",
		"+09:00", "this server was enrolled")
	if asked := f.asked("/v3/watchers/enroll"); len(asked) != 1 || fmt.Sprint(asked[0]["body"]) != "map[attachment_key:hush-enrol autoenroll:false name:edge tags:[a b]]" {
		t.Errorf("%v", asked)
	}
	await(t, "what is shared is written down", func() bool {
		text, _ := os.ReadFile(shared)
		return strings.Contains(string(text), "share_manual_decisions: true\n")
	})
	before := fileOf(t, credentials)
	if !strings.HasPrefix(before, fmt.Sprintf("url: http://127.0.0.1:%d\nlogin: pod-1\npassword: ", h.port)) {
		t.Errorf("%s", before)
	}
	h.steps([]step{
		{"decisions add -i 192.0.2.7 -o raw", exitGood, "", ""},
		{"bouncers list -o raw", exitGood, "~edge_fw,", ""},
		{"machines list -o raw", exitGood, "~pod-1,", ""},
	})

	// Killed, and started with another key: the first one stays good, and that is told.
	_ = p.cmd.Process.Kill()
	<-p.ended
	p = start(t, environ("BOUNCER_KEY_edge_fw=hush-two", "LOCAL_API_URL=http://lapi:8080/"), "serve", "--container")
	h.awaitHealth(p)
	allowed("hush-one", http.StatusOK)
	says(p, `the bouncer \"edge_fw\" is there with another key than the variable BOUNCER_KEY_edge_fw gives, and keeps it: set LAPID_BOUNCER_KEYS=replace`)
	if after := fileOf(t, credentials); after != strings.Replace(before, fmt.Sprintf("http://127.0.0.1:%d", h.port), "http://lapi:8080/", 1) {
		t.Errorf("%s", after)
	}
	if strings.Contains(p.out.String(), "added the") {
		t.Error("what is there was added again")
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	p.wait(t)
	p = start(t, environ("BOUNCER_KEY_edge_fw=hush-two", "LAPID_BOUNCER_KEYS=replace"), "serve", "--container")
	h.awaitHealth(p)
	allowed("hush-one", http.StatusForbidden)
	allowed("hush-two", http.StatusOK)
	says(p, "the bouncer has the key that the environment gives")
	// Verbs beside it, as they are run in the container, go by the same environment.
	verb := start(t, environ("LAPID_CONTAINER=true"), "health")
	if code := verb.wait(t); code != exitGood || !strings.Contains(verb.out.String(), fmt.Sprintf("up: http://127.0.0.1:%d/health", h.port)) {
		t.Errorf("%d %s", code, verb.out)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	p.wait(t)

	for _, c := range []struct {
		more, says string
		code       int
	}{
		{"DISABLE_LOCAL_API=true", "DISABLE_LOCAL_API is true, and nothing would be left to run", exitFails},
		{"TEST_MODE=true", "Configuration test done", exitGood},
	} {
		p := start(t, environ(c.more), "serve", "--container")
		if code := p.wait(t); code != c.code || !strings.Contains(p.out.String(), c.says) || strings.Contains(p.out.String(), "hush") {
			t.Errorf("%s: %d %s", c.more, code, p.out)
		}
	}
}

// TestContainersPage: every variable that is read has a row on the page, and every row is of one that is read.
func TestContainersPage(t *testing.T) {
	t.Parallel()
	page, source := fileOf(t, "docs/containers.md"), fileOf(t, "config/container.go")
	word := regexp.MustCompile(`[A-Z][A-Z_]{3,}`)
	known := map[string]bool{"LAPID_": true, "BOUNCER_KEY_NAME": true} // settings, and a name of whoever writes it
	for _, m := range regexp.MustCompile(`"(?:ENABLE_CONSOLE_)?(LEVEL_|[A-Z][A-Z_]{2,})"`).FindAllStringSubmatch(source, -1) {
		name := m[1]
		switch {
		case slices.Contains([]string{"PASSWORD", "USERNAME"}, name): // parts of names
			continue
		case slices.Contains([]string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}, name):
			name = "LEVEL_" + name
		case slices.Contains([]string{"MANAGEMENT", "MANUAL", "CUSTOM", "TAINTED", "CONTEXT"}, name):
			name = "_" + name
		case name == "LEVEL_" || name == "LAPI_" || name == "_FILE" || name == "ENABLE_CONSOLE_" || name == "BOUNCER_KEY":
			continue
		}
		known[name] = true
		if !strings.Contains(page, name) {
			t.Errorf("the page has no %s", name)
		}
	}
	if len(known) < 30 {
		t.Errorf("only %d are read", len(known))
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[A-Z].*?) \\|").FindAllStringSubmatch(page, -1) {
		for _, name := range word.FindAllString(row[1], -1) {
			if base := strings.TrimSuffix(name, "_FILE"); !known[name] && !known[base] && !known[strings.TrimSuffix(name, "_")] && !known["_"+strings.TrimPrefix(name, "ENABLE_CONSOLE_")] && !known["_"+name] {
				t.Errorf("nobody reads %s", name)
			}
		}
	}
}
