package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// full is a disk without room, or one that was mounted read-only, while it is
// set.
type full struct {
	disk *persist.CrashFS
	err  atomic.Pointer[error]
}

func (f *full) fs() persist.FS {
	return persist.NewFaultyFS(f.disk, func(op persist.Op) error {
		if err := f.err.Load(); err != nil && op.Kind.Writes() && op.Kind != persist.OpRemove {
			return *err
		}
		return nil
	})
}

// A disk that is full for a while: writes are refused, one line in the log says
// so, reads and streams go on, what is over is in no answer, and when there is
// room again the next write is stored and every bouncer hears what happened since.
func TestDiskRefusesForAWhile(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO} {
		t.Run(cause.Error(), func(t *testing.T) {
			t.Parallel()
			refuse(t, cause)
		})
	}
}

func refuse(t *testing.T, cause error) {
	ctx := context.Background()
	f := &full{disk: persist.NewCrashFS()}
	var lines atomic.Int64
	r := enginetest.NewRig(t, func(o *engine.Options) {
		o.FS = f.fs()
		o.Logger = slog.New(slog.NewTextHandler(lineCounter{&lines}, nil))
	})
	p := populated{r, t}
	row, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "fw"})
	wants(t, err, nil)
	kept, _ := p.add("192.0.2.1", "4h"), p.add("192.0.2.2", "1m")
	c := &enginetest.Client{Query: r.Ask()}
	hear := func() {
		d, err := c.PollAs(r.Engine, row, r.Now().UnixNano())
		wants(t, err, nil)
		d.Heard()
	}
	hear()
	before := lines.Load()

	f.err.Store(&cause)
	for range 50 {
		ids, err := r.AddAlerts(ctx, "", one(r, "192.0.2.3"), r.Now().UnixNano())
		if ids != nil || !errors.Is(err, engine.ErrDisk) || !errors.Is(err, cause) || err.Error() != "the change could not be stored" {
			t.Fatalf("a write: %v, %v", ids, err)
		}
		r.Step(time.Second)
	}
	r.Step(time.Minute)
	wants(t, r.Snapshot(ctx), engine.ErrDisk)
	q := r.Ask()
	if found := r.View().Find(nil, q); len(found) != 1 || found[0].Value() != "192.0.2.1" {
		t.Errorf("%d decisions run on a full disk", len(found))
	}
	if _, decisions, err := r.Alert(r.View(), kept); err != nil || len(decisions) != 1 {
		t.Errorf("reading an alert: %v", err)
	}
	hear()
	if n := lines.Load() - before; n == 0 || n > 8 {
		t.Errorf("%d lines in the log", n)
	}

	f.err.Store(nil)
	r.Step(2 * time.Second)
	ids, err := r.AddAlerts(ctx, "", one(r, "192.0.2.3"), r.Now().UnixNano())
	if err != nil || len(ids) != 1 || ids[0] != kept+2 {
		t.Fatalf("with room again: %v, %v", ids, err)
	}
	r.Settle()
	hear()
	if want := (enginetest.Target{Scope: "Ip", Value: "192.0.2.2", Type: "ban"}); len(c.Holds) != 2 || c.Holds[want] {
		t.Errorf("the bouncer holds %v", c.Holds)
	}
	wants(t, r.Snapshot(ctx), nil)
	r.Restart()
	r.Stop()
	l := newLife(f.disk.Crash())
	e, err := engine.Open(&engine.Options{Dir: r.Options.Dir, FS: l.disk})
	if err != nil || len(e.View().Find(nil, r.Ask())) != 2 {
		t.Errorf("the next start: %v", err)
	}
	wants(t, e.Close(), nil)
}

type lineCounter struct{ n *atomic.Int64 }

func (c lineCounter) Write(b []byte) (int, error) {
	c.n.Add(int64(bytes.Count(b, []byte("\n"))))
	return len(b), nil
}

// Flipped bits and cut ends, anywhere in any file: the next start finds
// everything all the same, or says what is damaged. It never goes on with less.
//
// Two things cannot be told from a power failure itself, and only after one: damage
// to the very last record, and a log that was cut. Then a start finds a state that
// was true before. A process that was killed leaves enough to tell.
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	want := summaries(t)
	disk := persist.NewCrashFS()
	l := newLife(disk)
	if err := l.begin(); err != nil {
		t.Fatal(err)
	}
	if err := l.live(); err != nil {
		t.Fatal(err)
	}
	crashed := disk.Crash()
	killed := disk.CrashKeeping(100, rand.New(rand.NewPCG(1, 1)))
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	t.Run("after a crash", func(t *testing.T) { t.Parallel(); damageEverything(t, crashed, l, want, true) })
	t.Run("after a kill", func(t *testing.T) { t.Parallel(); damageEverything(t, killed, l, want, false) })
	t.Run("after an orderly end", func(t *testing.T) { t.Parallel(); damageEverything(t, disk, l, want, false) })
}

func damageEverything(t *testing.T, disk *persist.CrashFS, l *life, want []string, crashed bool) {
	outcomes := map[string]int{}
	for _, path := range files(t, disk, "var/store") {
		content := contentOf(t, disk, path)
		for i, d := range damages(len(content)) {
			left := disk.Crash()
			overwrite(t, left, path, d.apply(content))
			inspected := left.Crash()
			least := len(want) - 1
			if crashed && strings.HasSuffix(path, ".log") {
				if least--; d.bit < 0 {
					least = 0
				}
			}
			outcome, err := afterDamage(left, l, want[least:])
			if err != nil {
				t.Errorf("%s of %s: %v", d, path, err)
			}
			outcomes[kindOfFile(path)+": "+outcome]++
			if i%3 == 0 {
				// A table may be damaged where nothing that is read stands.
				must := strings.HasPrefix(outcome, "said") || (outcome == "repaired" && strings.HasSuffix(path, ".snapshot"))
				if err := inspect(inspected, must); err != nil {
					t.Errorf("%s of %s, %s: %v", d, path, outcome, err)
				}
			}
		}
	}
	t.Logf("%v", outcomes)
}

// afterDamage starts from a damaged disk. The state may be any of those wanted.
func afterDamage(disk persist.FS, l *life, want []string) (outcome string, err error) {
	log := &told{}
	again := newLife(disk)
	again.now.Store(l.now.Load())
	again.log = slog.New(log)
	e, err := engine.Open(again.options())
	if err != nil {
		if !errors.Is(err, persist.ErrCorrupt) && !errors.Is(err, persist.ErrFormat) {
			return "", fmt.Errorf("an unclear error: %w", err)
		}
		if !strings.Contains(err.Error(), "var/store") && !strings.Contains(err.Error(), "revision ") && !strings.Contains(err.Error(), "record") {
			return "", fmt.Errorf("an error that names nothing: %w", err)
		}
		return "said", nil
	}
	defer e.Close()
	again.e = e
	if err := e.Check(); err != nil {
		return "", err
	}
	got, err := again.summary()
	said := log.take()
	switch {
	case err != nil:
		return "", err
	case strings.Contains(got, "is lost") && strings.Contains(said, "is lost"):
		return "said when read", nil
	case got == want[len(want)-1] && said != "":
		return "repaired", nil
	case got == want[len(want)-1]:
		return "harmless", nil
	case slices.Contains(want, got):
		return "like an earlier crash", nil
	}
	return "", fmt.Errorf("less was found without a word:\n%s\nlog: %s", got, said)
}

// inspect has the offline check look at a damaged disk: it must name what a
// start would stumble over, and what it would not, and touch nothing.
func inspect(disk *persist.CrashFS, must bool) error {
	i, err := engine.Inspect(context.Background(), newLife(disk).options())
	switch {
	case errors.Is(err, persist.ErrFormat):
		return nil
	case err != nil:
		return err
	case must && len(i.Damage) == 0:
		return errors.New("the check finds nothing")
	}
	again, err := engine.Inspect(context.Background(), newLife(disk).options())
	if err != nil || !slices.Equal(i.Damage, again.Damage) {
		return fmt.Errorf("the check says %q, and the second time %q: %v", i.Damage, again.Damage, err)
	}
	return nil
}

// A sound store passes the check, after an orderly end and after a crash, and
// is the same afterwards.
func TestInspect(t *testing.T) {
	t.Parallel()
	want := summaries(t)
	disk := persist.NewCrashFS()
	l := newLife(disk)
	if err := errors.Join(l.begin(), l.live()); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Inspect(context.Background(), l.options()); !errors.Is(err, persist.ErrLocked) {
		t.Errorf("while a server has it: %v", err)
	}
	crashed, last := disk.Crash(), l.e.View().Revision()
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	for name, disk := range map[string]*persist.CrashFS{"crash": crashed, "end": disk} {
		i, err := engine.Inspect(context.Background(), newLife(disk).options())
		if err != nil || len(i.Damage) > 0 || i.Alerts != 4 || i.Decisions == 0 || i.Revision < last {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
		if err := l.same(disk, want); name == "end" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := engine.Inspect(context.Background(), newLife(persist.NewMemFS()).options()); !errors.Is(err, persist.ErrFormat) {
		t.Errorf("where nothing is: %v", err)
	}
}

// damage flips one bit, or cuts the end off.
type damage struct {
	at  int
	bit int // -1: cut
}

func (d damage) String() string {
	if d.bit < 0 {
		return fmt.Sprintf("cut at %d", d.at)
	}
	return fmt.Sprintf("flip of bit %d at %d", d.bit, d.at)
}

func (d damage) apply(content []byte) []byte {
	b := bytes.Clone(content) // a disk in memory may use what it is given
	if d.bit < 0 {
		return b[:d.at]
	}
	b[d.at] ^= 1 << d.bit
	return b
}

// damages are spread over the file, dense at both ends.
func damages(size int) (list []damage) {
	step := max(size/25, 1)
	for at := 0; at < size; at += step {
		list = append(list, damage{at, at % 8}, damage{at, -1})
	}
	for at := max(0, size-8); at < size; at++ {
		list = append(list, damage{at, at % 8}, damage{at, -1})
	}
	return list
}

func kindOfFile(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if i := strings.LastIndexByte(name, '.'); i > 0 && !strings.HasPrefix(name, "marker") {
		return name[i:]
	}
	return strings.TrimRight(strings.SplitN(name, ".", 2)[0], "-0123456789")
}

// files lists every file below dir.
func files(t *testing.T, disk persist.FS, dir string) (list []string) {
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := disk.PathJoin(dir, name)
		info, err := disk.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			list = append(list, files(t, disk, path)...)
		} else if info.Size() > 0 {
			list = append(list, path)
		}
	}
	return list
}

func contentOf(t *testing.T, disk persist.FS, path string) []byte {
	f, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func overwrite(t *testing.T, disk persist.FS, path string, content []byte) {
	f, err := disk.Create(path, "test")
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	dir, opened := disk.OpenDir(disk.PathDir(path))
	if err = errors.Join(err, opened); err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
