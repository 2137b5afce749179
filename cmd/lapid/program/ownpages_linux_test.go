package program

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOwnMapping: code is dropped always, constants where nothing was filled in, and nothing
// else of the process.
func TestOwnMapping(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line  string
		whole bool
		want  bool
	}{
		{"00400000-01a2b000 r-xp 00000000 fe:00 131 /opt/lapid\n", false, true},
		{"01a2b000-03000000 r--p 0162b000 fe:00 131 /opt/lapid\n", true, true},
		{"01a2b000-03000000 r--p 0162b000 fe:00 131 /opt/lapid\n", false, false},
		{"03000000-03100000 rw-p 02c00000 fe:00 131 /opt/lapid\n", true, false},
		{"00400000-01a2b000 r-xp 00000000 fe:00 131 /opt/other/lapid\n", true, false},
		{"7f0000000000-7f0000001000 r-xp 00000000 00:00 0 [vdso]\n", true, false},
		{"01a2b000-00400000 r-xp 00000000 fe:00 131 /opt/lapid\n", true, false},
		{"", true, false},
	} {
		if _, _, ok := ownMapping(c.line, "/opt/lapid", c.whole); ok != c.want {
			t.Errorf("%q, whole %t: %t", c.line, c.whole, ok)
		}
	}
}

// TestDropOwnPages: a program goes on as before, of whatever kind it is. One that is linked with the
// libraries of the system finds them through a table that looks like constants.
func TestDropOwnPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, err := os.ReadFile("ownpages_linux.go")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "ownpages.go", strings.Replace(string(text), "package program", "package main", 1))
	write(t, dir, "main.go", `package main

import (
	"fmt"
	"os/user"
	"runtime"
)

func main() {
	dropOwnPages()
	started := make(chan bool)
	go func() { runtime.LockOSThread(); close(started) }()
	<-started
	_, err := user.LookupId("0")
	fmt.Println("went on", err)
}
`)
	for _, how := range [][]string{{"CGO_ENABLED=0"}, {"CGO_ENABLED=1", "-ldflags=-linkmode=external"}} {
		program := filepath.Join(dir, "program")
		build := exec.Command("go", append(append([]string{"build"}, how[1:]...), "-o", program, filepath.Join(dir, "main.go"), filepath.Join(dir, "ownpages.go"))...)
		build.Env = append(os.Environ(), how[0])
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", how, err, out)
		}
		if out, err := exec.Command(program).CombinedOutput(); err != nil || string(out) != "went on <nil>\n" {
			t.Errorf("%v: %v\n%s", how, err, out)
		}
	}
}
