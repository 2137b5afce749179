package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stock is a bouncer with a client that knows of no addition: it pulls all once and then
// what changed, and takes what it is told by type and value.
type stock struct {
	h     *house
	holds map[string]bool
}

func (c *stock) poll(query string) {
	c.h.t.Helper()
	code, text, err := c.h.ask("GET", "/v1/decisions/stream"+query, "")
	var said struct {
		New, Deleted []struct{ Scope, Value string }
	}
	if err != nil || code != 200 || json.Unmarshal([]byte(text), &said) != nil {
		c.h.t.Fatalf("stream: %d %s %v", code, text, err)
	}
	if query != "" {
		c.holds = map[string]bool{}
	}
	for _, d := range said.Deleted {
		delete(c.holds, d.Scope+":"+d.Value)
	}
	for _, d := range said.New {
		c.holds[d.Scope+":"+d.Value] = true
	}
}

// has polls until the client holds exactly this, and then what a fresh start gives.
func (c *stock) has(what string, want ...string) {
	c.h.t.Helper()
	slices.Sort(want)
	told := func() []string { return slices.Sorted(maps.Keys(c.holds)) }
	await(c.h.t, fmt.Sprintf("%s: the stream holds %v", what, want), func() bool {
		c.poll("")
		return slices.Equal(told(), want)
	})
	by := maps.Clone(c.holds)
	if c.poll("?startup=true"); !maps.Equal(by, c.holds) {
		c.h.t.Errorf("%s: deltas lead to %v, a full state is %v", what, by, told())
	}
}

// free and banned ask as a live bouncer does, with GET and HEAD.
func (h *house) free(addresses ...string)   { h.t.Helper(); h.live(false, addresses) }
func (h *house) banned(addresses ...string) { h.t.Helper(); h.live(true, addresses) }
func (h *house) live(banned bool, addresses []string) {
	h.t.Helper()
	for _, address := range addresses {
		code, text, err := h.ask("GET", "/v1/decisions?ip="+address, "")
		if err != nil || code != 200 || (text != "null") != banned {
			h.t.Errorf("%s: %d %s %v, banned is to be %v", address, code, text, err, banned)
		}
		if code, text, err = h.ask("HEAD", "/v1/decisions?ip="+address, ""); err != nil || code != 200 || text != "" {
			h.t.Errorf("HEAD %s: %d %q %v", address, code, text, err)
		}
	}
}

// TestAllowlistsWin: a real server, a stock client and live queries, through everything that
// makes an allowlisted address free or not.
func TestAllowlistsWin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	setting := func(on bool) { write(t, h.dir, "lapid.yaml", fmt.Sprintf("allowlist_wins: %v\n", on)) }
	setting(true)
	up := func() *process {
		p := start(t, nil, "serve", "-c", h.file)
		h.awaitHealth(p)
		return p
	}
	p := up()
	c := &stock{h: h}
	await(t, "allowlists win", func() bool { return strings.Contains(p.out.String(), "allowlist_wins") })
	c.poll("?startup=true")

	// The range first, then the item inside; and the other order.
	h.steps([]step{
		{"decisions add -r 192.0.2.0/29 -d 4h -o raw", 0, "", ""},
		{"allowlists create office -d ours", 0, "~", ""},
	})
	c.has("a range", "Range:192.0.2.0/29")
	h.steps([]step{{"allowlists add office 192.0.2.1 198.51.100.6", 0, "~", ""}})
	parts := []string{"Ip:192.0.2.0", "Range:192.0.2.2/31", "Range:192.0.2.4/30"}
	c.has("an item after its range", parts...)
	h.steps([]step{
		{"decisions add -r 198.51.100.4/30 -d 4h", 1, "", "~is allowlisted by item 198.51.100.6"},
		{"decisions add -r 198.51.100.4/30 -d 4h --bypass-allowlist", 0, "", "~allowlist_wins is on: what is allowlisted of 198.51.100.4/30 stays free for bouncers, by item 198.51.100.6"},
		{"decisions list -o raw", 0, "~,Range:192.0.2.0/29,", ""},
		{"decisions list -o raw", 0, "~,Range:198.51.100.4/30,", ""},
		{"config show", 0, "re:allowlist_wins +true", ""},
	})
	parts = append(parts, "Range:198.51.100.4/31", "Ip:198.51.100.7")
	allowed, beside := []string{"192.0.2.1", "198.51.100.6"}, []string{"192.0.2.0", "192.0.2.2", "192.0.2.7", "198.51.100.4", "198.51.100.7"}
	split := func(what string) {
		t.Helper()
		c.has(what, parts...)
		h.free(allowed...)
		h.banned(beside...)
	}
	split("a range after its item")

	// Over an end by signal and by force the cursor stays, and so do the parts.
	_ = p.cmd.Process.Signal(os.Interrupt)
	p.wait(t)
	p = up()
	split("after a restart")
	_ = p.cmd.Process.Kill()
	<-p.ended
	p = up()
	split("after kill -9")

	// Switched off and on between starts: a stored cursor is told the difference.
	for _, on := range []bool{false, true} {
		_ = p.cmd.Process.Signal(os.Interrupt)
		p.wait(t)
		setting(on)
		p = up()
		if on {
			split("switched on")
			continue
		}
		c.has("switched off", "Range:192.0.2.0/29", "Range:198.51.100.4/30")
		h.banned(append(allowed, beside...)...)
	}

	// An item that runs out, one that is removed, a list that is deleted.
	h.steps([]step{{"allowlists add office 192.0.2.5 -e 2s", 0, "~", ""}})
	split("an item has run out")
	h.banned("192.0.2.5")
	h.steps([]step{{"allowlists remove office 198.51.100.6", 0, "~", ""}})
	c.has("an item is removed", "Ip:192.0.2.0", "Range:192.0.2.2/31", "Range:192.0.2.4/30", "Range:198.51.100.4/30")
	h.steps([]step{{"allowlists delete office", 0, "~", ""}})
	c.has("the list is deleted", "Range:192.0.2.0/29", "Range:198.51.100.4/30")
	h.banned(append(allowed, beside...)...)
}

// TestQuickstartHasAllowlistsWin: it is in the file that it makes.
func TestQuickstartHasAllowlistsWin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, nil, "quickstart", "--console", "off", "--dir", dir, "--listen", fmt.Sprint("127.0.0.1:", freePort(t)), "--metrics", fmt.Sprint("127.0.0.1:", freePort(t)))
	await(t, "the lines are printed", func() bool { return strings.Contains(p.out.String(), "Ctrl-C ends it") })
	if text, err := os.ReadFile(filepath.Join(dir, "lapid.yaml")); err != nil || !strings.Contains(string(text), "\nallowlist_wins: true\n") {
		t.Errorf("%s %v", text, err)
	}
}
