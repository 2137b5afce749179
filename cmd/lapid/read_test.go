package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRootReadsNoSecrets: a verb of root's shows nobody what is in a file that he has
// put a link to, or an ordinary name, in place of a file of the configuration.
func TestRootReadsNoSecrets(t *testing.T) {
	t.Parallel()
	if !asRoot(t) {
		return
	}
	const secret = "hunter2 of root: s3cr3t\n\"quoted s3cr3t\": [x\n"
	for _, name := range []string{"config.yaml", "config.yaml.local", "lapid.yaml", "profiles.yaml", "credentials.yaml", "dir/profiles.yaml"} {
		e := newEstate(t)
		hidden := filepath.Join(e.treasure, filepath.Base(name))
		text := fmt.Sprintf("config_paths: {data_dir: %s}\napi:\n  server: {listen_uri: \"127.0.0.1:%d\", profiles_path: %s/profiles.yaml}\n  client: {credentials_path: %s/credentials.yaml}\nprometheus: {enabled: false}\n", e.data, e.port, e.data, e.data)
		if name == "dir/profiles.yaml" {
			text = strings.Replace(text, "/profiles.yaml", "/dir/profiles.yaml", 1)
		}
		e.file = write(t, e.data, "config.yaml", text)
		write(t, e.data, "profiles.yaml", fmt.Sprintf(rule, "first", "ban"))
		if err := os.WriteFile(hidden, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(e.data, name)
		if err := os.RemoveAll(at); err != nil {
			t.Fatal(err)
		}
		link := at
		if name == "dir/profiles.yaml" {
			link = filepath.Dir(at)
			e.link(e.treasure, link)
		} else {
			e.link(hidden, link)
		}
		e.own(link)
		for _, verb := range []string{"config show", "serve -t", "--init decisions add -i 192.0.2.1", "check"} {
			_, out := e.verb(words(verb)...)
			if strings.Contains(out, "s3cr3t") || strings.Contains(out, "hunter2") {
				t.Errorf("%s, %s: %s", name, verb, out)
			}
		}
		if code, out := e.verb("serve", "-t"); name != "credentials.yaml" && (code == exitGood || !strings.Contains(out, "is a link of user 4711")) {
			t.Errorf("%s: exit %d: %s", name, code, out)
		}
		if err := errors.Join(os.Remove(link), os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(secret), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, out := e.verb("serve", "-t"); strings.Contains(out, "s3cr3t") || strings.Contains(out, "hunter2") {
			t.Errorf("%s: %s", name, out)
		}
		if err := errors.Join(os.Remove(at), syscall.Mkfifo(at, 0o600)); err != nil {
			t.Fatal(err)
		}
		if code, out := e.verb("serve", "-t"); name != "credentials.yaml" && (code == exitGood || !strings.Contains(out, "is no ordinary file")) {
			t.Errorf("a pipe as %s: exit %d: %s", name, code, out)
		}
	}
}
