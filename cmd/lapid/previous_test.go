package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
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
			h := emptyHouse(t)
			h.unpackStore(c.name)
			begin := func() *process {
				p := start(t, []string{"CS_LAPI_SECRET=" + strings.Repeat("s", 64)}, "-c", h.file, "serve")
				h.awaitHealth(p)
				return p
			}
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
			h.expect(h.do("", "restore", "--previous"), exitFails, "", "~there is no store of an older program")
			h.expect(h.do("", "restore", "--previous", "x"), exitFails, "", "~takes no file")
			p = begin() // it opens, for all of it is there
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			if code := p.wait(t); code != 0 {
				t.Fatalf("it ended with %d", code)
			}
			h.expect(h.do("", "restore", "--previous"), exitFails, "", "~there is no store of an older program")
			if h.format() == c.was {
				t.Error("it is of the older format after all")
			}
		})
	}
}
