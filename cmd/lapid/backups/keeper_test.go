package backups

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// kept are the names in a folder.
func kept(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// Backups are made, read again and kept as many as is said; what is no backup of this program is not
// touched, and what a kill has left is removed.
func TestKeeper(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	dir := filepath.Join(t.TempDir(), "made", "backups")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lapid-auto-20200101T000000Z-1.backup", "lapid-auto-20200102T000000Z-2.backup", "notes.txt", "lapid-20190101T000000Z-1.backup", "lapid-auto-20200101T000000Z-1.backup.old", "lapid-auto-2020-1.backup", ".lapid-auto-X.tmp", ".lapid-Y.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	k, err := NewKeeper(&Options{Dir: dir, Every: time.Hour, Keep: 2, Backup: r.Backup, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if at := k.Figures().LastSuccess; at != time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC).Unix() {
		t.Errorf("the newest is of %d", at)
	}
	if err := k.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := strings.Join(kept(t, dir), " ")
	if !strings.HasPrefix(names, ".lapid-Y.tmp lapid-20190101T000000Z-1.backup lapid-auto-2020-1.backup lapid-auto-20200101T000000Z-1.backup.old lapid-auto-20200102T000000Z-2.backup lapid-auto-2") ||
		!strings.HasSuffix(names, "-1.backup notes.txt") || strings.Count(names, " ") != 6 {
		t.Errorf("kept: %s", names)
	}
	f := k.Figures()
	if f.Failures != 0 || f.Bytes == 0 || f.Duration <= 0 || time.Since(time.Unix(f.LastSuccess, 0)) > time.Hour || k.Trouble() != nil {
		t.Errorf("figures: %+v, trouble %v", f, k.Trouble())
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "removed=1") {
		t.Errorf("log: %s", text)
	}
}

// A backup that fails, or is not whole when it is read again, is a trouble that ends with the next good one,
// and leaves nothing.
func TestKeeperFails(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	dir, full := t.TempDir(), errors.New("no space left")
	how := "full"
	k, err := NewKeeper(&Options{Dir: dir, Every: time.Hour, Keep: 1, Logger: slog.New(slog.DiscardHandler), Backup: func(ctx context.Context, w io.Writer) (engine.Revision, int64, error) {
		var b bytes.Buffer
		rev, size, err := r.Backup(ctx, &b)
		switch text := b.Bytes(); how {
		case "full":
			_, _ = w.Write(text[:len(text)/2])
			return 0, 0, full
		case "flipped":
			text[len(text)/2] ^= 1
			_, _ = w.Write(text)
		case "short":
			_, _ = w.Write(text[:len(text)-1])
		default:
			_, _ = w.Write(text)
		}
		return rev, size, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range []string{"full", "flipped", "short"} {
		if how = h; k.turn(t.Context()) == nil {
			t.Errorf("%s: it went well", h)
		}
		if names := kept(t, dir); len(names) != 0 {
			t.Errorf("%s: left %q", h, names)
		}
		if tr := k.Trouble(); tr == nil || tr.Kind != engine.TroubleBackup || !tr.Kind.Aside() || k.Figures().Failures != uint64(i+1) {
			t.Errorf("%s: trouble %v, figures %+v", h, tr, k.Figures())
		}
	}
	since := k.Trouble().Since
	how = "flipped"
	if _ = k.turn(t.Context()); k.Trouble().Since != since {
		t.Error("the trouble begins anew with each try")
	}
	how = "well"
	if err := k.turn(t.Context()); err != nil || k.Trouble() != nil || len(kept(t, dir)) != 1 {
		t.Errorf("%v, trouble %v, kept %q", err, k.Trouble(), kept(t, dir))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k.Run(ctx) // ends at once
	if _, err := NewKeeper(&Options{Dir: filepath.Join(dir, kept(t, dir)[0]), Every: time.Hour, Keep: 1, Logger: slog.Default()}); err == nil {
		t.Error("a file is taken for a folder")
	}
}

// After a clock that ran ahead and was set right, the one just made stays, and what is of a time to come goes
// before what is of the past.
func TestKeeperAfterAClockAhead(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	dir := t.TempDir()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	k, err := NewKeeper(&Options{Dir: dir, Every: time.Hour, Keep: 3, Backup: r.Backup, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	at := func(stamps ...string) string {
		for i := range stamps {
			stamps[i] = "-" + stamps[i] + "-1.backup"
		}
		return strings.Join(stamps, " ")
	}
	for _, turn := range []struct {
		at   time.Time
		left string
	}{
		{now, at("20260301T000000Z")},
		{now.AddDate(1, 0, 0), at("20260301T000000Z", "20270301T000000Z")},
		{now.AddDate(1, 0, 1), at("20260301T000000Z", "20270301T000000Z", "20270302T000000Z")},
		{now.AddDate(1, 0, 2), at("20270301T000000Z", "20270302T000000Z", "20270303T000000Z")},
		{now.AddDate(0, 0, 1), at("20260302T000000Z", "20270302T000000Z", "20270303T000000Z")}, // set right
		{now.AddDate(0, 0, 2), at("20260302T000000Z", "20260303T000000Z", "20270303T000000Z")},
		{now.AddDate(0, 0, 3), at("20260302T000000Z", "20260303T000000Z", "20260304T000000Z")},
		{now.AddDate(0, 0, 4), at("20260303T000000Z", "20260304T000000Z", "20260305T000000Z")},
	} {
		now = turn.at
		if err := k.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := stamps(kept(t, dir)); left != turn.left {
			t.Errorf("at %s: %s, want %s", now.Format(stamp), left, turn.left)
		}
	}
	now = now.AddDate(-2, 0, 0)
	k.Close()
	again, err := NewKeeper(&k.options)
	if err != nil {
		t.Fatal(err)
	}
	if at := again.Figures().LastSuccess; at != 0 {
		t.Errorf("the last success is to come: %d", at)
	}
}

// stamps are the ends of names of backups, from the time on.
func stamps(names []string) string {
	var all []string
	for _, name := range names {
		if i := strings.Index(name, "-2"); i >= 0 {
			all = append(all, name[i:])
		}
	}
	return strings.Join(all, " ")
}

// A folder is one server's: another would remove what the first has made. It is free when that has ended.
func TestKeeperHoldsItsFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	open := func(dir string) (*Keeper, error) {
		return NewKeeper(&Options{Dir: dir, Every: time.Hour, Keep: 1, Logger: slog.New(slog.DiscardHandler), Backup: func(ctx context.Context, _ io.Writer) (engine.Revision, int64, error) {
			return 0, 0, ctx.Err()
		}})
	}
	first, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, link} {
		if _, err := open(d); !errors.Is(err, ErrHeld) {
			t.Errorf("a second server on %s: %v", d, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	first.Run(ctx)
	second, err := open(link)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

// Where there is no room for one a little larger than the newest, none is begun; one that grows beyond the
// room breaks off, and leaves nothing. Those that are there stay.
func TestKeeperLeavesRoom(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	dir, free, backups := t.TempDir(), int64(-1), 0
	k, err := NewKeeper(&Options{Dir: dir, Every: time.Hour, Keep: 1, Logger: slog.New(slog.DiscardHandler), Free: func(string) int64 { return free },
		Backup: func(ctx context.Context, w io.Writer) (engine.Revision, int64, error) {
			backups++
			if free == leastRoom+10<<20 {
				free = leastRoom // others write too
				for range 2 * carefulBytes >> 20 {
					if _, err := w.Write(make([]byte, 1<<20)); err != nil {
						return 0, 0, err
					}
				}
			}
			return r.Backup(ctx, w)
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := k.turn(t.Context()); err != nil {
		t.Fatal(err) // it is not known how much is free
	}
	before := kept(t, dir)
	size := k.Figures().Bytes
	for _, c := range []struct {
		free  int64
		begun int
	}{{leastRoom + size, 1}, {0, 1}, {leastRoom + 10<<20, 2}} {
		free = c.free
		if err := k.turn(t.Context()); !errors.Is(err, syscall.ENOSPC) || backups != c.begun {
			t.Errorf("with %d bytes free: %v, %d were begun", c.free, err, backups)
		}
		if tr := k.Trouble(); tr == nil || !strings.Contains(tr.Text, "make room") {
			t.Errorf("with %d bytes free: trouble %v", c.free, tr)
		}
		if left := kept(t, dir); strings.Join(left, " ") != strings.Join(before, " ") {
			t.Errorf("with %d bytes free: left %q of %q", c.free, left, before)
		}
	}
	if free = leastRoom + 1<<20; k.turn(t.Context()) != nil || k.Trouble() != nil {
		t.Errorf("with room again: %v", k.Trouble())
	}
}
