//go:build image

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// mostBytes is how large an image may be, compressed.
const mostBytes = 25_000_000

// TestRoom: containers can be had here.
func TestRoom(t *testing.T) {
	c := exec.Command("unshare", "-m", "-p", "-f", "--kill-child", "-i", "-u", "-n", "sh", "-e", "-c",
		`mount --make-rprivate / && mount --bind "$1" "$1" && mount -t proc proc "$1" && ip link set lo up && setpriv --no-new-privs chroot --userspec=65532:65532 --groups= / true`, "sh", t.TempDir())
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("no namespaces: %v %s", err, out)
	}
}

// TestImage builds the image for this processor twice, reads it back, and lives in it.
func TestImage(t *testing.T) {
	dir := made(t)
	image := ofThisProcessor(t, dir)
	t.Run("read", func(t *testing.T) {
		if again := made(t); digests(t, again) != digests(t, dir) {
			t.Error("the same commit gives other bytes")
		}
		m, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		size := m.Config.Size
		for _, l := range m.Layers {
			size += l.Size
		}
		if t.Logf("%d bytes", size); size > mostBytes {
			t.Errorf("%d bytes, more than %d", size, mostBytes)
		}
	})
	t.Run("lived", func(t *testing.T) { lived(t, newRoom(t, image)) })
}

// made runs make image for this processor.
func made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	c := exec.Command("make", "image")
	c.Env = append(os.Environ(), "DIST="+dir, "ARCHES="+runtime.GOARCH)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func ofThisProcessor(t *testing.T, dir string) v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := index.ImageIndex(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(inner); err != nil {
		t.Fatal(err)
	}
	return images(t, inner)[runtime.GOARCH]
}

// lived starts it as compose.yaml does, loses it, and looks for what it knew; then as one should not.
func lived(t *testing.T, r *room) {
	environ := composedEnvironment(t, r)
	c := r.start(environ)
	c.healthy()
	for _, ask := range []struct{ url, key, want string }{
		{"8080/v1/decisions?ip=192.0.2.7", "key-by-secret", "null 200"},
		{"8080/v1/decisions?ip=192.0.2.7", "another", `{"message":"access forbidden"} 403`},
		{"6060/live", "", " 200"},
		{"6060/ready", "", " 200"},
		{"6060/metrics", "", "lapid_ready 1\n"},
	} {
		if said := c.ask("http://127.0.0.1:"+ask.url, "-H", "X-Api-Key: "+ask.key); !strings.Contains(said, ask.want) {
			t.Errorf("%s says %s", ask.url, said)
		}
	}
	if said := c.ask("http://127.0.0.1:8080/v1/watchers/login", "-d", `{"machine_id":"edge-1","password":"pass-of-env"}`); !strings.HasSuffix(said, " 200") {
		t.Errorf("%s", said)
	}
	for _, line := range pageCommands(t) { // one of them bans 192.0.2.7
		if words, ok := strings.CutPrefix(line, "docker exec lapid "); ok {
			if out, err := c.exec(strings.Fields(words)...); err != nil {
				t.Errorf("%s: %v %s", line, err, out)
			}
		}
	}
	if owner, err := os.ReadFile("/proc/" + c.pid() + "/status"); err != nil || !strings.Contains(string(owner), "Uid:\t65532\t65532\t65532\t65532") ||
		!strings.Contains(string(owner), "CapEff:\t0000000000000000") || !strings.Contains(string(owner), "NoNewPrivs:\t1") {
		t.Errorf("%s %v", owner, err)
	}
	c.signal(syscall.SIGKILL)
	c.leave()
	checkLog(t, c, "+09:00\"")

	c = r.start(environ) // and it has all of it
	c.healthy()
	if said := c.ask("http://127.0.0.1:8080/v1/decisions?ip=192.0.2.7", "-H", "X-Api-Key: key-by-secret"); !strings.Contains(said, `"value":"192.0.2.7"`) {
		t.Errorf("%s", said)
	}
	c.signal(syscall.SIGTERM) // the stop signal, to the first process of its namespace
	if code := c.leave(); code != 0 || !strings.Contains(c.said.String(), "lapid has ended in good order") {
		t.Errorf("%d %s", code, c.said)
	}
	checkLog(t, c, "lapid is ready")

	r.furnish("memory")
	c = r.start(nil)
	c.healthy()
	checkLog(t, c, "is in memory (tmpfs at /var/lib/lapid)")
	checkLog(t, c, "there are no credentials for cscli in this container")
	c.signal(syscall.SIGKILL)
	c.leave()
	r.furnish()
	c = r.start(nil)
	if code := c.leave(); code != 1 || !strings.Contains(c.said.String(), "the data folder /var/lib/lapid cannot be written by user 65532") {
		t.Errorf("%d %s", code, c.said)
	}
}

// composedEnvironment gives the room what compose.yaml mounts, and its variables.
func composedEnvironment(t *testing.T, r *room) (environ []string) {
	t.Helper()
	p, err := compose(t, "compose.yaml", "AGENT_PASSWORD=pass-of-env")
	if err != nil {
		t.Fatal(err)
	}
	s := p.Services["lapid"]
	for name, value := range s.Environment {
		environ = append(environ, name+"="+*value)
	}
	r.furnish("config", "data", "secrets")
	for _, secret := range s.Secrets {
		if err := os.WriteFile(filepath.Join(r.from, "secrets", secret.Source), []byte("key-by-secret\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return append(environ, "TZ=Asia/Tokyo") // there is no file of zones
}

// checkLog wants a text in the log, and no secret.
func checkLog(t *testing.T, c *container, text string) {
	t.Helper()
	if said := c.said.String(); !strings.Contains(said, text) || strings.Contains(said, "key-by-secret") || strings.Contains(said, "pass-of-env") ||
		bytes.Contains([]byte(said), []byte("NO VOLUME")) {
		t.Errorf("want %s:\n%s", text, said)
	}
}
