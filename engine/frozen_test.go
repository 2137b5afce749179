package engine_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"sync"
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
	unpack(t, disk, dir, "testdata/frozen/"+name+".tar.gz")
}

func unpack(t testing.TB, disk persist.FS, dir, file string) {
	t.Helper()
	packed, err := os.ReadFile(file)
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

// frozenFormats are the folders with what programs of a format left behind.
var frozenFormats = []string{"", "format2/"}

// Stores of older formats open for ever and tell what they told then, again and again; they go on from there; a check has nothing to say of them.
func TestFrozenStores(t *testing.T) {
	t.Parallel()
	var names []string
	for _, format := range frozenFormats {
		for _, name := range []string{"journal", "killed", "closed", "snapshot"} {
			names = append(names, format+name)
		}
	}
	for _, name := range names {
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

// A backup of an older format is restored for ever, whatever has become of the
// layout of snapshots.
func TestFrozenBackup(t *testing.T) {
	t.Parallel()
	for _, format := range frozenFormats {
		b, err := os.ReadFile("testdata/frozen/" + format + "closed.backup")
		wants(t, err, nil)
		o := &engine.Options{Dir: "restored", FS: persist.NewMemFS(), Now: func() time.Time { return frozenAt }}
		rev, err := engine.Restore(o, engine.Actor{}, bytes.NewReader(b))
		wants(t, err, nil)
		e, err := engine.Open(o)
		wants(t, err, nil)
		got := digestAndTell(t, e)
		// One commit more: the places of bouncers are forgotten.
		if want := strings.Replace(frozenTold(t, format+"backup"), fmt.Sprintf("revision %d,", rev), fmt.Sprintf("revision %d,", rev+1), 1); got != want {
			t.Errorf("%s: restored is\n%s\nand was\n%s", format, got, want)
		}
		wants(t, e.Close(), nil)
		goOn(t, o)
	}
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

// While a store becomes one of today's format, the power may fail at any moment, and
// the disk may refuse: the state is the same before and after, and the next start finds
// it. From the moment that an older program could not read it any more the store as it
// was lies beside it, whole, until the first orderly end.
func TestFrozenStoreMigratesAtAnyMoment(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"journal", "killed", "snapshot", "format2/journal", "format2/killed", "format2/closed", "format2/snapshot"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := persist.NewCrashFS()
			thaw(t, disk, "store", name)
			for _, dir := range []string{"", "store", "store/store", "store/snapshots"} {
				d, err := disk.OpenDir(dir)
				wants(t, err, nil)
				wants(t, errors.Join(d.Sync(), d.Close()), nil)
			}
			want := frozenTold(t, name)
			var left []*persist.CrashFS
			open := func(fs persist.FS, dir string) (*engine.Engine, error) {
				return engine.Open(&engine.Options{Dir: dir, FS: fs, Now: func() time.Time { return frozenAt }})
			}
			var lock sync.Mutex
			e, err := open(persist.NewFaultyFS(disk, func(op persist.Op) error {
				if op.Kind.Writes() {
					lock.Lock()
					defer lock.Unlock()
					left = append(left, disk.CrashKeeping(50*(len(left)%3), rand.New(rand.NewPCG(uint64(len(left)), 0))))
				}
				return nil
			}), "store")
			wants(t, err, nil)
			kept := disk.CrashKeeping(100, rand.New(rand.NewPCG(0, 0)))
			lock.Lock()
			opened := len(left) // what follows is the orderly end
			lock.Unlock()
			e.DropPrevious()
			wants(t, e.Close(), nil)
			if len(left) < 20 {
				t.Fatalf("only %d operations", len(left))
			}
			tells := func(what string, fs persist.FS, dir string) {
				t.Helper()
				e, err := open(fs, dir)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if got := digestAndTell(t, e); got != want {
					t.Fatalf("%s: it tells\n%s\nand told\n%s", what, got, want)
				}
				wants(t, e.Close(), nil)
			}
			previous := func(what string, fs *persist.CrashFS, must bool) {
				t.Helper()
				dir, _, err := persist.Previous(&persist.Options{Dir: "store", FS: fs})
				wants(t, err, nil)
				if dir != "" {
					tells(what+", the store as it was", fs.CrashKeeping(100, rand.New(rand.NewPCG(0, 0))), dir)
				} else if must {
					t.Fatalf("%s: the store is of a newer format, and as it was it is not there", what)
				}
			}
			previous("before its end", kept, true)
			if dir, _, err := persist.Previous(&persist.Options{Dir: "store", FS: disk}); dir != "" || err != nil {
				t.Errorf("after an orderly end it is still there, in %q: %v", dir, err)
			}
			stride := strides(t)
			for i := int(stride()) - 1; i < len(left); i += int(stride()) {
				crashed := left[i]
				what := fmt.Sprintf("power fails at operation %d", i)
				previous(what, crashed, i < opened && !isOlder(t, crashed))
				for range 2 {
					tells(what, crashed, "store")
				}
			}
		})
	}
}

// isOlder reports whether FORMAT still names the format that the store had.
func isOlder(t *testing.T, disk persist.FS) bool {
	t.Helper()
	f, err := disk.Open("store/FORMAT")
	wants(t, err, nil)
	text, err := io.ReadAll(f)
	wants(t, errors.Join(err, f.Close()), nil)
	return !strings.Contains(string(text), "format 3\n")
}

// A store of the first format has less to compare with, but what it has is looked
// at: a folder that was emptied, an orderly end that lies further on.
func TestFrozenStoreMisses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ gone, want string }{
		{"store/store", "there is no journal in"},
		{"store/snapshots", "missing"},
		{"store/FORMAT", "no file FORMAT"},
	} {
		disk := persist.NewMemFS()
		thaw(t, disk, "store", "closed")
		wants(t, disk.RemoveAll(c.gone), nil)
		if c.gone != "store/FORMAT" {
			wants(t, disk.MkdirAll(c.gone, 0o700), nil)
		}
		o := &engine.Options{Dir: "store", FS: disk, Now: func() time.Time { return frozenAt }}
		found, err := engine.Inspect(context.Background(), o)
		if err == nil && !strings.Contains(strings.Join(found.Damage, "\n"), c.want) {
			t.Errorf("%s is gone: a check finds %v", c.gone, found.Damage)
		}
		if _, err := engine.Open(o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s is gone: %v", c.gone, err)
		}
	}
}
