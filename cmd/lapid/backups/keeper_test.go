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
	for _, name := range []string{"lapid-20200101T000000Z-1.backup", "lapid-20200102T000000Z-2.backup", "notes.txt", "lapid-20200101T000000Z-1.backup.old", ".lapid-auto-X.tmp", ".lapid-Y.tmp"} {
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
	if !strings.HasPrefix(names, ".lapid-Y.tmp lapid-20200101T000000Z-1.backup.old lapid-20200102T000000Z-2.backup lapid-2") || !strings.HasSuffix(names, "-1.backup notes.txt") || strings.Count(names, " ") != 4 {
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
