package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// block is a block of commands on a page, with the lines that must be shown.
type block struct {
	line     int
	commands string
	shown    []string
}

// blocksOf reads a page: blocks in sh are commands, one in text behind them is what they show, one in
// yaml is a file that its first line names, written where the reader is.
func blocksOf(t *testing.T, page string) (blocks []block) {
	t.Helper()
	named := regexp.MustCompile(`^# ([a-z0-9_.-]+\.yaml): `)
	fence := regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	for _, m := range fence.FindAllStringSubmatchIndex(page, -1) {
		kind, text, line := page[m[2]:m[3]], page[m[4]:m[5]], 1+strings.Count(page[:m[0]], "\n")
		switch {
		case kind == "sh":
			blocks = append(blocks, block{line: line, commands: text})
		case kind == "yaml" && named.MatchString(text):
			const end = "END OF THE FILE"
			blocks = append(blocks, block{line: line, commands: fmt.Sprintf("cat > %s <<'%s'\n%s%s\n", named.FindStringSubmatch(text)[1], end, text, end)})
		case kind == "text" && len(blocks) > 0 && blocks[len(blocks)-1].shown == nil:
			blocks[len(blocks)-1].shown = strings.Split(strings.TrimSpace(text), "\n")
		default:
			t.Errorf("line %d: a block of %q that is neither commands nor what they show", line, kind)
		}
	}
	return blocks
}

// shell is the reader of a page: one shell, into which the blocks are pasted.
type shell struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// newShell starts one, in a process group of its own that ends with the test.
func newShell(t *testing.T, env ...string) *shell {
	t.Helper()
	c := exec.Command("bash", "-e", "-u", "-o", "pipefail")
	c.Env = append(os.Environ(), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = w, w
	if err := launch(c); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	patience := time.AfterFunc(10*deadline, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
	t.Cleanup(func() {
		patience.Stop()
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
		_ = r.Close()
	})
	return &shell{t, in, bufio.NewReader(r)}
}

// paste runs commands and returns what they show.
func (s *shell) paste(commands string) (shown string, ended bool) {
	s.t.Helper()
	const mark = "=== that was the block ==="
	if _, err := io.WriteString(s.in, commands+"\necho '"+mark+"'\n"); err != nil {
		return err.Error(), true
	}
	var b strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if strings.HasPrefix(line, mark) {
			return b.String(), false
		}
		if b.WriteString(line); err != nil {
			return b.String(), true
		}
	}
}

// lacks is the first line that is not shown in its turn; "": none.
func lacks(shown string, lines []string) string {
	left := strings.Split(shown, "\n")
	for _, want := range lines {
		parts := strings.Split(want, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		is := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		at := 0
		for at < len(left) && !is.MatchString(strings.TrimRight(left[at], " ")) {
			at++
		}
		if at == len(left) {
			return want
		}
		left = left[at+1:]
	}
	return ""
}

// TestMovingInPage pastes every block of the page into one shell, beside Debian's crowdsec.
// Only the first block, which says where things are, is another one here.
func TestMovingInPage(t *testing.T) {
	t.Parallel()
	blocks := blocksOf(t, fileOf(t, "docs/moving-in.md"))
	site := newEvening(t)
	places := site.places()
	named := regexp.MustCompile(`(?m)^([A-Za-z_]+)(?:=|\(\))`)
	if got, want := named.FindAllStringSubmatch(places, -1), named.FindAllStringSubmatch(blocks[0].commands, -1); fmt.Sprint(names(got)) != fmt.Sprint(names(want)) {
		t.Fatalf("the page names %v, and this test %v", names(want), names(got))
	}
	blocks[0].commands = places
	sh := newShell(t, "PATH="+site.bin+":/usr/sbin:"+os.Getenv("PATH"))
	for _, b := range blocks {
		shown, ended := sh.paste(b.commands)
		if line := lacks(shown, b.shown); line != "" || ended {
			t.Fatalf("docs/moving-in.md:%d: the block does not show %q, or fails (%v). It shows:\n%s\n%s", b.line, line, ended, shown, site.logs())
		}
	}
	site.old.asBouncer("edge-key")
}

func names(found [][]string) (list []string) {
	for _, m := range found {
		list = append(list, m[1])
	}
	return list
}

// evening is a site that moves: an old server with a bouncer, a machine and some bans.
type evening struct {
	t    *testing.T
	old  *reference
	bin  string // where the programs are
	new  string
	addr string
	api  *fakeCentral
}

func newEvening(t *testing.T) *evening {
	t.Helper()
	e := &evening{t: t, old: newReference(t), bin: t.TempDir(), new: t.TempDir(), addr: fmt.Sprintf("127.0.0.1:%d", freePort(t)), api: startFake(t)}
	write(t, e.bin, "lapid", fmt.Sprintf("#!/bin/sh\nexec env %s=1 %s \"$@\"\n", beLapid, os.Args[0]))
	if err := os.Chmod(filepath.Join(e.bin, "lapid"), 0o755); err != nil {
		t.Fatal(err)
	}
	e.old.cscli("machines", "add", "lp", "-p", "old-password", "-f", filepath.Join(e.old.dir, "credentials.yaml"), "-u", e.url())
	e.old.cscli("bouncers", "add", "edge", "-k", "edge-key")
	e.old.cscli("bouncers", "add", "other", "-k", "other-key")
	account := write(t, e.old.dir, "online.yaml", "url: "+e.api.base+"\nlogin: L0gin\npassword: secret\n") // 1.4 knows nothing more
	text := fileOf(t, e.old.file)
	write(t, e.old.dir, "config.yaml", strings.Replace(text, "log_level: info}\nprometheus", "log_level: info, online_client: {credentials_path: "+account+"}}\nprometheus", 1))
	e.old.begin("-no-capi")
	for i := range 3 {
		e.old.cscli("decisions", "add", "-i", fmt.Sprintf("192.0.2.%d", i), "-d", "4h", "-R", "seen")
	}
	e.old.asBouncer("edge-key")
	e.old.asBouncer("other-key")
	e.old.end()
	write(t, e.old.dir, "bouncer.yaml", "api_url: "+e.url()+"\napi_key: edge-key\n")
	return e
}

func (e *evening) url() string { return fmt.Sprintf("http://127.0.0.1:%d", e.old.port) }

// places is the first block of the page, for this site. Its services are processes; the
// bouncer asks once, and the log processor is cscli, which logs in as one.
func (e *evening) places() string {
	return fmt.Sprintf(`OLD=%[1]s
OLD_DB=%[2]s
OLD_URL=%[3]s
NEW=%[4]s
NEW_DATA=%[4]s/data
NEW_ADDR=%[5]s
BOUNCER=edge
BOUNCER_FILE=%[1]s/bouncer.yaml
restart_bouncer() { curl -sS --fail -o /dev/null -A crowdsec-firewall-bouncer/v0.0.34 -H "X-Api-Key: $(sed -n 's/^api_key: //p' "$BOUNCER_FILE")" "$(sed -n 's/^api_url: //p' "$BOUNCER_FILE")/v1/decisions/stream?startup=true"; }
AGENT_FILE=%[1]s/credentials.yaml
restart_agent() { cscli -c "$OLD/config.yaml" decisions list > /dev/null; }
stop_old() { kill "$old" && wait "$old" || true; }
start_old() { crowdsec -c "$OLD/config.yaml" -no-cs -no-capi >> %[4]s/old.log 2>&1 & old=$!; until curl -s -o /dev/null "$OLD_URL/"; do sleep 0.1; done; }
start_new() { lapid -c "$NEW/config.yaml" serve >> %[4]s/new.log 2>&1 & new=$!; }
stop_new() { kill "$new" && wait "$new"; }
start_old
`, e.old.dir, e.old.db, e.url(), e.new, e.addr)
}

// logs is what the servers wrote.
func (e *evening) logs() (text string) {
	for _, name := range []string{"old.log", "trial.log", "new.log"} {
		b, err := os.ReadFile(filepath.Join(e.new, name))
		if err == nil {
			text += name + ":\n" + string(b)
		}
	}
	return text
}
