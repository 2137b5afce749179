package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// As root, in a control group and with a large state:
//
//	go test ./cmd/lapid -run TestUnreadAnswers -v -unread.group 500 -unread.decisions 1000000
var (
	unreadGroup     = flag.Int("unread.group", 0, "put the server into a control group with so many MiB of memory, as root; 0: only tell it 256 MiB")
	unreadDecisions = flag.Int("unread.decisions", 150_000, "how many decisions there are")
)

// TestUnreadAnswers has a bouncer and a machine ask for all there is, on many
// connections, and read nothing of it: the server takes no more than it was given, and
// answers others.
func TestUnreadAnswers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.steps([]step{{"bouncers add other -k other -o raw", 0, "other", ""}})
	var list strings.Builder
	list.WriteString("value\n")
	for n := range *unreadDecisions {
		fmt.Fprintf(&list, "10.%d.%d.%d\n", n>>16&255, n>>8&255, n&255)
	}
	write(t, h.dir, "list.csv", list.String())
	h.steps([]step{{"decisions import -i @DIR@/list.csv --format csv", 0, "~Imported", "~"}})
	p := h.startUnread()
	h.awaitHealth(p)
	h.login()
	var all []net.Conn
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	for _, path := range []string{
		"/v1/decisions", "/v1/decisions?range=10.0.0.0/8&contains=false", "/v1/alerts?limit=0", "/v1/alerts/1",
		"/v1/decisions/stream?startup=true", "/v1/decisions/stream?startup=true&scopes=ip",
	} {
		for range 24 {
			all = append(all, h.askAndKeepSilent(path))
		}
	}
	answered := map[string]int{}
	for _, c := range all {
		begin := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(c, begin); err != nil {
			t.Fatalf("%v; the server says\n%s", err, p.out)
		}
		answered[string(begin)]++
	}
	if answered["HTTP/1.1 200"]+answered["HTTP/1.1 503"] != len(all) || answered["HTTP/1.1 200"] < 6 {
		t.Errorf("answered: %v", answered)
	}
	h.header = http.Header{"X-Api-Key": {"other"}, "Authorization": nil}
	for path, least := range map[string]int{"/v1/decisions?ip=10.0.0.7": 50, "/v1/decisions": *unreadDecisions * 50} {
		if code, text, err := h.ask("GET", path, ""); err != nil || code != 200 || len(text) < least {
			t.Errorf("somebody else, %s: %d, %d bytes, %v", path, code, len(text), err)
		}
	}
	most, limit := highWater(p), 256<<20
	if *unreadGroup > 0 {
		limit = *unreadGroup << 20
	}
	t.Logf("%v; %d MiB at most", answered, most>>20)
	if most > limit && !underRace {
		t.Errorf("%d bytes were taken, more than %d", most, limit)
	}
	select {
	case <-p.ended:
		t.Fatalf("the server did not survive: %v", p.err)
	default:
	}
}

// startUnread starts the server, in a group if one is wanted.
func (h *house) startUnread() *process {
	h.t.Helper()
	if *unreadGroup == 0 {
		return start(h.t, []string{"LAPID_MEMORY=256MiB"}, "-c", h.file, "serve")
	}
	script := joinGroup(memoryGroup(h.t, *unreadGroup)) + `exec "$0" "$@"`
	return startCommand(h.t, exec.Command("sh", "-c", script, os.Args[0], "-c", h.file, "serve"), nil, nil)
}

// askAndKeepSilent asks over TCP with hardly any room for the answer.
func (h *house) askAndKeepSilent(path string) net.Conn {
	h.t.Helper()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	c, err := d.DialContext(h.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", h.port))
	h.must(err)
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nUser-Agent: test/1\r\nX-Api-Key: key\r\nAuthorization: Bearer %s\r\n\r\n", path, h.token)
	h.must(err)
	return c
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}
