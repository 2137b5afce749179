//go:build image

package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// room is where containers are started from an image: its root, unpacked, and what is mounted into it.
type room struct {
	t    *testing.T
	root string
	from string // the folder of config, data, memory, secrets: each is mounted if it is there
	c    v1.Config
}

// newRoom unpacks an image. It wants root.
func newRoom(t *testing.T, image v1.Image) *room {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("containers are started by root: sudo make image-test")
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	r := &room{t: t, root: t.TempDir(), c: file.Config}
	if err := unpack(image, r.root); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"proc", "run/secrets"} { // which whatever starts containers makes
		if err := os.MkdirAll(filepath.Join(r.root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.furnish()
	return r
}

// furnish empties what is mounted and makes some of it anew, the user's.
func (r *room) furnish(folders ...string) {
	r.t.Helper()
	r.from = r.t.TempDir()
	for _, folder := range folders {
		path := filepath.Join(r.from, folder)
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chown(path, user, user)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// unpack lays all layers of an image into a folder.
func unpack(image v1.Image, root string) error {
	content := mutate.Extract(image)
	defer content.Close()
	for in := tar.NewReader(content); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path, mode := filepath.Join(root, h.Name), os.FileMode(h.Mode&0o777)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, mode)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			var text []byte
			if text, err = io.ReadAll(in); err == nil {
				err = os.WriteFile(path, text, mode)
			}
		}
		if err = errors.Join(err, os.Chown(path, h.Uid, h.Gid), os.Chmod(path, mode)); err != nil {
			return err
		}
	}
}

// container is one that was started.
type container struct {
	r     *room
	cmd   *exec.Cmd
	said  *lines
	ended chan struct{}
}

// lines is what a container says, while it is read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs what the image says, or a program with words, with more variables. It ends with the test.
func (r *room) start(environ []string, words ...string) *container {
	r.t.Helper()
	if len(words) == 0 {
		words = append(append(words, r.c.Entrypoint...), r.c.Cmd...)
	}
	script := append([]string{"-m", "-p", "-f", "--kill-child", "-i", "-u", "-n", "sh", "cmd/lapid/dist/image/testdata/container.sh", r.root, r.from}, words...)
	c := &container{r: r, cmd: exec.Command("unshare", script...), said: &lines{}, ended: make(chan struct{})}
	c.cmd.Env = append(append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, r.c.Env[1:]...), environ...)
	c.cmd.Stdout, c.cmd.Stderr = c.said, c.said
	if err := c.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() { _ = c.cmd.Wait(); close(c.ended) }()
	r.t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // and what it started
		<-c.ended
	})
	return c
}

// pid is that of what runs in it, as this machine sees it; "" until there is one.
func (c *container) pid() string {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", c.cmd.Process.Pid))
	return strings.TrimSpace(string(children))
}

// signal reaches the first process of the container.
func (c *container) signal(s syscall.Signal) {
	c.r.t.Helper()
	if out, err := exec.Command("kill", fmt.Sprintf("-%d", s), c.pid()).CombinedOutput(); err != nil {
		c.r.t.Fatalf("%v %s", err, out)
	}
}

// exec runs a program of the container beside what runs in it, with the image's own environment.
func (c *container) exec(words ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"-t", c.pid(), "-m", "-p", "-i", "-u", "-n", "-r", "-w", "-S", fmt.Sprint(user), "-G", fmt.Sprint(user), "--"}, words...)...)
	cmd.Env = c.cmd.Env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ask is a request from within the container's network, by this machine's curl.
func (c *container) ask(url string, words ...string) string {
	out, _ := exec.Command("nsenter", append([]string{"-t", c.pid(), "-n", "--", "curl", "-s", "-S", "-w", " %{http_code}", url}, words...)...).CombinedOutput()
	return string(out)
}

// await waits until something is so.
func (c *container) await(what string, so func() bool) {
	c.r.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !so(); time.Sleep(20 * time.Millisecond) {
		select {
		case <-c.ended:
			c.r.t.Fatalf("%s: it has ended: %s", what, c.said)
		default:
		}
		if time.Now().After(deadline) {
			c.r.t.Fatalf("waited in vain for %s: %s", what, c.said)
		}
	}
}

// healthy waits until the image's own look at its health is content.
func (c *container) healthy() {
	c.r.t.Helper()
	c.await("health", func() bool {
		out, err := c.exec(c.r.c.Healthcheck.Test[1:]...)
		return err == nil && strings.HasPrefix(out, "up: http://127.0.0.1:8080/health")
	})
}

// leave waits for the end and gives its exit code.
func (c *container) leave() int {
	c.r.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		c.r.t.Fatalf("it does not end: %s", c.said)
	}
	return c.cmd.ProcessState.ExitCode()
}
