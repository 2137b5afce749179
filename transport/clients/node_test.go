//go:build clients

package clients

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nodeHome is the folder outside the repository that install.sh fills, and the environment that tells it
// to the scripts.
func nodeHome(t *testing.T) (env string) {
	t.Helper()
	dir := os.Getenv("LAPID_CLIENTS_DIR")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(home, ".cache", "lapid-clients")
	}
	modules := filepath.Join(dir, "node", "node_modules")
	needs(t, "node", filepath.Join(modules, "crowdsec-client"), filepath.Join(modules, "@crowdsec", "nodejs-bouncer"))
	return "LAPID_CLIENTS_DIR=" + dir
}

// script runs one of the scripts to its end and returns the lines it wrote, without the JSON lines of the
// bouncer's own log.
func script(t *testing.T, args ...string) []string {
	t.Helper()
	r := runFor(t, verbTime, []string{nodeHome(t)}, append([]string{"node", filepath.Join("node", args[0])}, args[1:]...)...)
	if r.exit != 0 {
		t.Fatalf("failed: %s", r)
	}
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "{") })
}

func checkLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the script wrote\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestNodeStream: crowdsec-client, which gives up on an answer after two seconds, hears of what is added
// and deleted.
func TestNodeStream(t *testing.T) {
	t.Parallel()
	env := nodeHome(t)
	s := startServer(t)
	c := newCscli(t, s, s.credentials())
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.30", "-R", "there-before")
	p := start(t, "the node stream", "env", env, "node", "node/stream.mjs", s.url, bouncerKey)
	p.says(t, "added 192.0.2.30 ip ban cscli there-before\n")
	c.expect(t, 0, nil, "decisions", "add", "-r", "198.51.100.0/24", "-t", "captcha", "-R", "news")
	p.says(t, "added 198.51.100.0/24 range captcha cscli news\n")
	c.expect(t, 0, says(`"1 decision\(s\) deleted"`), "decisions", "delete", "-i", "192.0.2.30")
	p.says(t, "deleted 192.0.2.30 ip ban cscli there-before\n")
	c.expect(t, 0, says(`"1 decision\(s\) deleted"`), "decisions", "delete", "-r", "198.51.100.0/24")
	p.says(t, "deleted 198.51.100.0/24 range captcha cscli news\n")
	if wrote := p.output.String(); strings.Contains(wrote, "error") || strings.Count(wrote, "added ") != 2 {
		t.Errorf("the stream wrote\n%s", wrote)
	}
}

// TestNodeStreamHeld: a client that gives up on an answer after two seconds, with a bouncer's row that
// holds its polls for far longer. It hears of what comes while it waits and of what comes between its
// polls, each once; after three polls that it has given up it is not held any more, and the log says so.
func TestNodeStreamHeld(t *testing.T) {
	t.Parallel()
	if reference {
		return // it holds none
	}
	env := nodeHome(t)
	s := newServer(t)
	s.operator(t, "bouncers", "edit", "client", "--hold", "25s")
	served := s.start(t)
	c := newCscli(t, s, s.credentials())
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.40", "-R", "there-before")
	p := start(t, "the node stream", "env", env, "node", "node/stream.mjs", s.url, bouncerKey)
	p.says(t, "added 192.0.2.40 ip ban cscli there-before\n")
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.41", "-R", "while-held")
	p.says(t, "added 192.0.2.41 ip ban cscli while-held\n")
	await(t, "its polls are not held any more", func() (bool, string) {
		return strings.Contains(served.output.String(), "a bouncer gives up its polls before they are answered"), served.output.String() + p.output.String()
	})
	given := strings.Count(p.output.String(), "error ")
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.42", "-R", "after-that")
	p.says(t, "added 192.0.2.42 ip ban cscli after-that\n")
	c.expect(t, 0, says(`"1 decision\(s\) deleted"`), "decisions", "delete", "-i", "192.0.2.41")
	p.says(t, "deleted 192.0.2.41 ip ban cscli while-held\n")
	wrote := p.output.String()
	if strings.Count(wrote, "added ") != 3 || strings.Count(wrote, "deleted ") != 1 {
		t.Errorf("each is not told once:\n%s", wrote)
	}
	if now := strings.Count(wrote, "error "); now > given+1 { // the one it gave up may have been said later
		t.Errorf("it still gave up polls (%d, then %d):\n%s", given, now, wrote)
	}
	if n := strings.Count(served.output.String(), "a bouncer gives up its polls"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
}

// TestNodeWatcher: crowdsec-client in the role of a log processor.
func TestNodeWatcher(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	lines := script(t, "watcher.mjs", s.url, machineName, machinePassword, "192.0.2.31")
	checkLines(t, lines, "logged in", "pushed 1", "found 1 192.0.2.31 ban", "ended 1", "deleted 1")
}

// TestNodeBouncer: the official bouncer, asking for each address and with the whole table in its cache.
func TestNodeBouncer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := newCscli(t, s, s.credentials())
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.32")
	c.expect(t, 0, nil, "decisions", "add", "-i", "2001:db8::32", "-t", "captcha")
	c.expect(t, 0, nil, "decisions", "add", "-r", "198.51.100.0/24", "-t", "captcha")
	c.expect(t, 0, nil, "decisions", "add", "-i", "198.51.100.9")
	// In live mode the bouncer keeps the range it was told of for the next visitor, so .9 comes first.
	visitors := []string{"2001:db8::32", "192.0.2.32", "198.51.100.9", "198.51.100.8", "192.0.2.33"}
	verdicts := []string{"2001:db8::32 captcha cscli", "192.0.2.32 ban cscli", "198.51.100.9 ban cscli",
		"198.51.100.8 captcha cscli", "192.0.2.33 bypass clean"}

	lines := script(t, append([]string{"live.mjs", s.url, bouncerKey, "live"}, visitors...)...)
	checkLines(t, lines, append([]string{"health OK null"}, verdicts...)...)
	// Its stream cache keeps an IPv6 address under the text it came with and looks it up under the long
	// form, so it finds none: only IPv4 is asked for here.
	lines = script(t, append([]string{"live.mjs", s.url, bouncerKey, "stream"}, visitors[1:]...)...)
	checkLines(t, lines, append([]string{"health OK null", "refreshed 4 0"}, verdicts[1:]...)...)

	c.expect(t, 0, says(`"1 decision\(s\) deleted"`), "decisions", "delete", "-i", "192.0.2.32")
	lines = script(t, "live.mjs", s.url, bouncerKey, "live", "192.0.2.32")
	checkLines(t, lines, "health OK null", "192.0.2.32 bypass clean")
	lines = script(t, "live.mjs", s.url, "guessed", "live")
	checkLines(t, lines, "health ERROR INVALID_API_TOKEN")
}
