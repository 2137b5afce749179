package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestBouncersAreWaitedFor runs a server and bouncers of every kind, and a deployment that
// waits until they have what it has decided.
func TestBouncersAreWaitedFor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "serve", "-c", h.file)
	h.awaitHealth(p)
	wait := func(exit int, says, complains string, args ...string) {
		t.Helper()
		r := h.do("", append([]string{"bouncers", "wait"}, args...)...)
		if r.exit != exit || !strings.Contains(r.out+r.err, says) || !strings.Contains(r.err, complains) {
			t.Fatalf("%q: %d\n%s\n%s\nwant %d, %q and %q", args, r.exit, r.out, r.err, exit, says, complains)
		}
	}
	add := func(value string) (revision string) {
		t.Helper()
		var said struct{ Revision uint64 }
		if r := h.do("", "decisions", "add", "-i", value, "-o", "json"); r.exit != 0 || json.Unmarshal([]byte(r.out), &said) != nil || said.Revision == 0 {
			t.Fatalf("%+v", r)
		}
		return fmt.Sprint(said.Revision)
	}
	poll := func(query string) {
		t.Helper()
		if code, text, err := h.ask("GET", "/v1/decisions/stream"+query, ""); err != nil || code != 200 {
			t.Fatalf("%d %s %v", code, text, err)
		}
	}
	first := add("192.0.2.1")
	for _, wrong := range [][2]string{
		{"", "either --revision or --decision"}, {"--revision 1", "either --all or the names"}, {"--revision 1 --all b", "either --all or the names"},
		{"--revision 1 --decision 1 --all", "either --revision or"}, {"--decision 0 --all", "no decision 0"}, {"--revision 1 --all --timeout 2h", "up to 1h"},
		{"--revision 1 nobody", "there is no bouncer 'nobody'"}, {"--decision 999 --all", "there is no decision 999"}, {"--revision 999999 --all", "the newest is"},
	} {
		wait(exitFails, "", wrong[1], strings.Fields(wrong[0])...)
	}
	wait(0, "b has never asked for decisions", "", "--revision", first, "--all")
	wait(exitFails, "", "b has never asked for decisions", "--revision", first, "b", "--timeout", "0s")
	if code, _, err := h.ask("GET", "/v1/decisions?ip=192.0.2.1", ""); err != nil || code != 200 {
		t.Fatal(code, err)
	}
	wait(0, "nothing to wait for with b", "", "--revision", first, "b")

	poll("?startup=true")
	wait(exitFails, "", "b has acknowledged nothing", "--revision", first, "b", "--timeout", "0s")
	poll("")
	wait(0, "1 bouncer(s) have revision "+first, "", "--revision", first, "b")
	second := add("192.0.2.2")
	wait(exitFails, `"state": "waits"`, "b has acknowledged revision", "--revision", second, "--all", "--timeout", "0s", "-o", "json")
	poll("") // it is told
	wait(exitFails, "", "and not "+second, "--revision", second, "b", "--timeout", "10ms")
	poll("") // it comes back with it
	wait(0, `"done": true`, "", "--revision", second, "b", "-o", "json")
	wait(0, "1 bouncer(s) have decision 2", "", "--decision", "2", "b")

	poll("?origins=CAPI") // it sees nothing of the operator's from now on
	add("192.0.2.3")
	wait(0, "nothing in it concerns b", "", "--decision", "3", "--all")
	if r := h.do("", "decisions", "delete", "--id", "3"); r.exit != 0 {
		t.Fatal(r)
	}
	wait(0, "decision 3 has ended: there is nothing to wait for", "", "--decision", "3", "--all")
	wait(exitFails, "", "there is no bouncer 'nobody'", "--decision", "3", "nobody")

	h.heldWait(add, wait)
	last := add("192.0.2.6")

	r := h.do("", "bouncers", "inspect", "b")
	for _, word := range []string{"Acknowledged", "Last Polls", "heard", "held and woken"} {
		if !strings.Contains(r.out, word) {
			t.Errorf("no %q in\n%s", word, r.out)
		}
	}
	var list []struct {
		Name         string
		Acknowledged uint64
		Expected     int     `json:"expected_decisions"`
		Lag          float64 `json:"lag_seconds"`
	}
	if r := h.do("", "bouncers", "list", "-o", "json"); json.Unmarshal([]byte(r.out), &list) != nil || len(list) != 1 || list[0].Expected != 5 {
		t.Errorf("%+v %s", list, r.out)
	}
	kill(t, p)
	wait(exitFails, "", "without a server none can come for it", "--revision", last, "b", "--timeout", "1h")
}

// heldWait has a client whose polls are held: it has a ban, and has acknowledged it, while
// the deployment waits.
func (h *house) heldWait(add func(string) string, wait func(int, string, string, ...string)) {
	ctx, stop := context.WithCancel(h.t.Context())
	var client sync.WaitGroup
	client.Go(func() {
		for ctx.Err() == nil {
			_, _, _ = h.ask("GET", "/v1/decisions/stream?wait=20s", "")
		}
	})
	wait(0, "1 bouncer(s) have revision", "", "--revision", add("192.0.2.4"), "--all", "--timeout", "5m")
	stop()
	add("192.0.2.5") // lets the last one go
	client.Wait()
}
