package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// unpackStore puts a store that an older program left behind in the place of a house's.
func (h *house) unpackStore(name string) {
	h.t.Helper()
	packed, err := os.Open("../../engine/testdata/frozen/" + name + ".tar.gz")
	if err != nil {
		h.t.Fatal(err)
	}
	defer packed.Close()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		h.t.Fatal(err)
	}
	for files := tar.NewReader(plain); ; {
		f, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			h.t.Fatal(err)
		}
		at := filepath.Join(h.store(), filepath.Clean("/"+f.Name))
		if f.Typeflag == tar.TypeDir {
			err = os.MkdirAll(at, 0o700)
		} else {
			var text []byte
			if text, err = io.ReadAll(files); err == nil {
				err = errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.WriteFile(at, text, 0o600))
			}
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *house) format() string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.store(), "FORMAT"))
	if err != nil {
		h.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return first
}

// A server that opens the store of an older program keeps it as it was, until it ends in
// good order: after a kill there is a way back.
func TestRestorePrevious(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, was string }{{"closed", "lapid store, format 1"}, {"format2/killed", "lapid store, format 2"}} {
		t.Run(strings.ReplaceAll(c.name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			h, secret := emptyHouse(t), "CS_LAPI_SECRET="+strings.Repeat("s", 64)
			h.unpackStore(c.name)
			begin := func() *process {
				p := start(t, []string{secret}, "-c", h.file, "serve")
				h.awaitHealth(p)
				return p
			}
			h.expect(h.do("", "serve", "-t"), exitGood, "", "~the store is of an older program's format")
			p := begin()
			if h.format() == c.was {
				t.Errorf("the server left it at %q", c.was)
			}
			h.expect(h.do("", "restore", "--previous"), exitFails, "", "~a server is running: stop it first")
			_ = p.cmd.Process.Signal(syscall.SIGKILL)
			<-p.ended
			h.expect(h.do("", "restore", "--previous"), exitGood, "", "~restart your bouncers: of what was decided in it")
			if h.format() != c.was {
				t.Errorf("it is %q, and was %q", h.format(), c.was)
			}
			h.expect(h.do("", "restore", "--previous"), exitFails, "", "~is as an older program wrote it ("+c.was[len("lapid store, "):]+"): there is nothing to go back from")
			h.expect(h.do("", "restore", "--previous", "x"), exitFails, "", "~takes no file")
			h.expect(h.do("", "restore", "--previous", "--force"), exitFails, "", "~previous")
			h.expect(h.do("", "machines", "list"), exitGood, "~Name", "~back to it with: lapid restore --previous") // a verb keeps it
			for _, env := range []string{"LAPID_ADMIN_SOCKET=/nowhere/there/admin.sock", "LAPID_LISTEN_URI=" + h.taken()} {
				p := start(t, []string{secret, env}, "-c", h.file, "serve") // so does a start that fails
				if code := p.wait(t); code == 0 {
					t.Errorf("%s: a start that cannot listen ended in good order", env)
				}
			}
			previous := filepath.Join(h.store(), "previous")
			if err := os.Rename(filepath.Join(previous, "LATEST"), filepath.Join(h.dir, "away")); err == nil {
				h.expect(h.do("", "restore", "--previous"), exitFails, "", "~nothing was changed: what is kept in")
				_ = os.Rename(filepath.Join(h.dir, "away"), filepath.Join(previous, "LATEST"))
			}
			got := h.do("", "restore", "--previous", "-o", "json")
			if !strings.Contains(got.out, `"restart_bouncers": true`) || h.format() != c.was {
				t.Errorf("%q, and it is %q", got.out, h.format())
			}
			p = begin() // it opens, for all of it is there
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			if code := p.wait(t); code != 0 {
				t.Fatalf("it ended with %d", code)
			}
			h.expect(h.do("", "restore", "--previous"), exitFails, "", "~a server has ended in good order since")
			if h.format() == c.was {
				t.Error("it is of the older format after all")
			}
		})
	}
}

// taken is an address that somebody listens on.
func (h *house) taken() string {
	h.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// What lies in the place of the copy and is none is not followed, and not removed.
func TestPreviousThatIsALink(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	elsewhere := t.TempDir()
	write(t, elsewhere, "FORMAT", "of somebody")
	if err := os.Symlink(elsewhere, filepath.Join(h.store(), "previous")); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.wait(t); code != 0 {
		t.Fatalf("it ended with %d", code)
	}
	h.expect(h.do("", "restore", "--previous"), exitFails, "", "~previous is a link")
	if text, err := os.ReadFile(filepath.Join(elsewhere, "FORMAT")); err != nil || string(text) != "of somebody" {
		t.Errorf("%q, %v", text, err)
	}
}
