package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// filesOf writes the programs of a page into a folder, each under the name that its first
// line says, and gives the page without them, with its lines where they were.
func filesOf(t *testing.T, page, dir string) (rest string) {
	t.Helper()
	program := regexp.MustCompile("(?ms)^```(?:bash|go|python)\n(?:#|//) (\\S+) .*?^```$")
	return program.ReplaceAllStringFunc(page, func(block string) string {
		name := program.FindStringSubmatch(block)[1]
		_, text, _ := strings.Cut(strings.TrimSuffix(block, "```"), "\n")
		write(t, dir, name, text)
		return strings.Repeat("\n", strings.Count(block, "\n"))
	})
}

// programOfLapid is a folder with this program in it, under the name of lapid.
func programOfLapid(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	write(t, dir, "lapid", fmt.Sprintf("#!/bin/sh\nexec env %s=1 %s \"$@\"\n", beLapid, os.Args[0]))
	if err := os.Chmod(filepath.Join(dir, "lapid"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runPage pastes the blocks of a page into one shell in a folder. Only the first block, which
// says where things are, is another one here, and names the same.
func runPage(t *testing.T, name, page, dir, places string) {
	t.Helper()
	blocks := blocksOf(t, filesOf(t, page, dir))
	named := regexp.MustCompile(`(?m)^([A-Za-z_]+)(?:=|\(\))`)
	if got, want := named.FindAllStringSubmatch(places, -1), named.FindAllStringSubmatch(blocks[0].commands, -1); fmt.Sprint(names(got)) != fmt.Sprint(names(want)) {
		t.Fatalf("the page names %v, and this test %v", names(want), names(got))
	}
	blocks[0].commands = "cd " + dir + "\n" + places
	sh := newShell(t, "PATH="+programOfLapid(t)+":"+os.Getenv("PATH"))
	for _, b := range blocks {
		shown, ended := sh.paste(b.commands)
		if line := lacks(shown, b.shown); line != "" || ended {
			t.Fatalf("docs/%s:%d: the block does not show %q, or fails (%v). It shows:\n%s\n%s", name, b.line, line, ended, shown, logsOf(dir))
		}
	}
}

// logsOf is the end of what was written down in a folder.
func logsOf(dir string) (text string) {
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log")) // the pattern is good
	for _, log := range logs {
		b, err := os.ReadFile(log)
		if err == nil {
			text += filepath.Base(log) + ":\n" + string(b[max(0, len(b)-4<<10):])
		}
	}
	return text
}

// TestWriteABouncerPage pastes every block of the page into one shell: what is asked by hand,
// and three bouncers, which hold what the server says after bans came and went, the server
// was killed, and a full list came in parts.
func TestWriteABouncerPage(t *testing.T) {
	t.Parallel()
	page, dir := fileOf(t, "docs/write-a-bouncer.md"), t.TempDir()
	runPage(t, "write-a-bouncer.md", page, dir, fmt.Sprintf(`DIR=%s/try
ADDR=127.0.0.1:%d
METRICS=127.0.0.1:%d
start_server() { lapid quickstart --console off --dir "$DIR" --listen "$ADDR" --metrics "$METRICS" >> server.log 2>&1 & server=$!; }
`, dir, freePort(t), freePort(t)))
	if out, err := exec.Command("go", "vet", filepath.Join(dir, "bouncer.go")).CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
	if out, err := exec.Command("gofmt", "-l", dir).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("gofmt: %v\n%s", err, out)
	}
}

// TestPushPage pastes every block of the page into one shell, beside a server.
func TestPushPage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	runPage(t, "push.md", fileOf(t, "docs/push.md"), t.TempDir(), fmt.Sprintf("CONFIG=%s\nURL=http://127.0.0.1:%d\nMETRICS=http://127.0.0.1:%d\n", h.file, h.port, h.metrics))
}

// TestOperatorsPage does the same for operators over HTTP.
func TestOperatorsPage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	port := freePort(t)
	write(t, h.dir, "lapid.yaml", fmt.Sprintf("console:\n  listen: 127.0.0.1:%d\n", port))
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	runPage(t, "operators.md", fileOf(t, "docs/operators.md"), t.TempDir(), fmt.Sprintf("CONFIG=%s\nCONSOLE=http://127.0.0.1:%d\n", h.file, port))
}

// TestExportsPage does the same for lists of devices. What is for the devices themselves is left out.
func TestExportsPage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	others := regexp.MustCompile("(?ms)^```(?:conf|yaml)\n.*?^```$")
	page := others.ReplaceAllStringFunc(fileOf(t, "docs/exports.md"), func(block string) string { return strings.Repeat("\n", strings.Count(block, "\n")) })
	runPage(t, "exports.md", page, t.TempDir(), fmt.Sprintf("CONFIG=%s\nURL=http://127.0.0.1:%d\n", h.file, h.port))
}
