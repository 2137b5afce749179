package program

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapid/cmd/lapid/config"
)

// TestLogThatCannotBePutAway: it goes on in the same file, and says so once.
func TestLogThatCannotBePutAway(t *testing.T) {
	t.Parallel()
	var said safeBuffer
	dir := t.TempDir()
	l := &logFile{path: filepath.Join(dir, config.LogName), rotation: config.Rotation{Size: 1}, log: slog.New(slog.NewTextHandler(&said, nil))}
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	l.size = 2 << 20
	l.path = filepath.Join(dir, "no", "such", config.LogName) // renaming fails, and so does looking for another file
	l.next()
	l.path = filepath.Join(dir, config.LogName)
	for _, line := range []string{"one\n", "two\n"} {
		l.size = 2 << 20
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("%d %v", n, err)
		}
	}
	if got := read(t, l.path); got != "one\ntwo\n" {
		t.Errorf("%q", got)
	}
	await(t, "it is told", func() bool { return strings.Contains(said.String(), "cannot be put away") })
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("three\n")); err != nil || read(t, l.path) != "one\ntwo\nthree\n" || strings.Count(said.String(), "\n") != 1 {
		t.Errorf("%v %q %s", err, read(t, l.path), said.String())
	}
}

// TestLogOfTwo: what another program writes to a file that was put away is kept,
// whether it is seen to have it open or not; and when it moves the file, our lines go
// to the new one.
func TestLogOfTwo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, config.LogName)
	write(t, dir, config.LogName, strings.Repeat("x", 1<<20))
	other, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l := &logFile{path: path, rotation: config.Rotation{Size: 1, Files: 1, Days: 1, Compress: true}}
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	full := []byte(strings.Repeat("y", 1<<20))
	for range 4 {
		if _, err := l.Write(full); err != nil {
			t.Fatal(err)
		}
		if _, err := other.WriteString("a line of the other\n"); err != nil {
			t.Fatal(err)
		}
		l.tidy()
	}
	list := l.putAwayFiles()
	oldest := list[len(list)-1]
	if oldest.packed || strings.Count(read(t, oldest.path), "a line of the other\n") != 4 {
		t.Fatalf("lines of the other are lost: %v", list)
	}
	if n := len(list); n != 2 { // the newest, and the one that is in use
		t.Errorf("%d files are kept: %v", n, list)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("ours\n")); err != nil || read(t, path) != "ours\n" {
		t.Errorf("our line went with the file that was moved: %v", err)
	}
}
