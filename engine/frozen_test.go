package engine_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"testing"
	"time"
	"unicode"

	"lapid/engine"
	"lapid/persist"
)

// frozenAt is a moment after the fixtures were made, when what runs in them runs.
var frozenAt = time.Date(2026, 11, 29, 1, 5, 0, 0, time.UTC)

// thaw unpacks a fixture into a folder of a disk.
func thaw(t testing.TB, disk persist.FS, dir, name string) {
	t.Helper()
	packed, err := os.ReadFile("testdata/frozen/" + name + ".tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(plain); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		at := path.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = disk.MkdirAll(at, 0o700)
		} else if err = disk.MkdirAll(path.Dir(at), 0o700); err == nil {
			err = thawFile(disk, at, files)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func thawFile(disk persist.FS, at string, from io.Reader) error {
	file, err := disk.Create(at, "unspecified")
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Sync(), file.Close())
}

// frozenTold is what is written beside a fixture, for ever.
func frozenTold(t testing.TB, name string) string {
	t.Helper()
	want, err := os.ReadFile("testdata/frozen/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(want)
}

// digestAndTell is all that two engines of one history have in common.
func digestAndTell(t testing.TB, e *engine.Engine) string {
	t.Helper()
	if err := e.Check(); err != nil {
		t.Error(err)
	}
	told := strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '.' // keys are no text
	}, tell(t, e))
	return fmt.Sprintf("revision %d, digest %x\n%s", e.View().Revision(), e.Digest(), told)
}

// Stores of the first format open for ever and tell what they told then, again
// and again; they go on from there; a check has nothing to say of them.
func TestFrozenStores(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"journal", "killed", "closed", "snapshot"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := persist.NewMemFS()
			thaw(t, disk, "store", name)
			o := &engine.Options{Dir: "store", FS: disk, Now: func() time.Time { return frozenAt }}
			found, err := engine.Inspect(context.Background(), o)
			wants(t, err, nil)
			if len(found.Damage) != 0 {
				t.Errorf("a check finds %s", strings.Join(found.Damage, "\n"))
			}
			for range 2 {
				e, err := engine.Open(o)
				wants(t, err, nil)
				got := digestAndTell(t, e)
				if want := frozenTold(t, name); got != want {
					t.Fatalf("it tells\n%s\nand told\n%s", got, want)
				}
				wants(t, e.Close(), nil)
			}
			goOn(t, o)
		})
	}
}

// A backup of the first format is restored for ever, whatever has become of the
// layout of snapshots.
func TestFrozenBackup(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/frozen/closed.backup")
	wants(t, err, nil)
	o := &engine.Options{Dir: "restored", FS: persist.NewMemFS(), Now: func() time.Time { return frozenAt }}
	_, err = engine.Restore(o, bytes.NewReader(b))
	wants(t, err, nil)
	e, err := engine.Open(o)
	wants(t, err, nil)
	got := digestAndTell(t, e)
	if want := frozenTold(t, "backup"); got != want {
		t.Errorf("restored is\n%s\nand was\n%s", got, want)
	}
	wants(t, e.Close(), nil)
	goOn(t, o)
}

// goOn writes to a store, takes snapshots of it, and opens it again.
func goOn(t *testing.T, o *engine.Options) {
	t.Helper()
	var before string
	for round := range 2 {
		e, err := engine.Open(o)
		wants(t, err, nil)
		if got := digestAndTell(t, e); before != "" && got != before {
			t.Errorf("after a restart it tells\n%s\nand before\n%s", got, before)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- e.Run(ctx) }()
		for n := range 2 {
			_, err := e.AddAlerts(ctx, "m", []*engine.Alert{{Scenario: fmt.Sprint("later/", round, n), StartAt: engine.StampOf(frozenAt),
				StopAt: engine.StampOf(frozenAt), Source: engine.Source{Scope: "Ip", Value: "192.0.2.1"}}}, frozenAt.UnixNano())
			wants(t, err, nil)
			wants(t, e.Snapshot(ctx), nil)
		}
		stop()
		wants(t, <-ended, nil)
		before = digestAndTell(t, e)
		wants(t, e.Close(), nil)
	}
}
