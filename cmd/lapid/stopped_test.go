package main

import (
	"encoding/json"
	"fmt"
	"net"
	"syscall"
	"testing"
)

// TestStoppedServer stops a real server for a moment, as a machine that stalls
// would: a bouncer polls, loses its patience and closes before there is an answer.
// What that answer would have told, the next poll tells.
func TestStoppedServer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	port := freePort(t)
	h.file = write(t, h.dir, "config.yaml", fmt.Sprintf(serverConfig, h.dir, port, h.metrics))
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := p.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	told := func() (values []string) {
		t.Helper()
		code, text, err := h.ask("GET", "/v1/decisions/stream", "")
		var d struct{ New []struct{ Value string } }
		if err != nil || code != 200 || json.Unmarshal([]byte(text), &d) != nil {
			t.Fatalf("polling: %d %s %v", code, text, err)
		}
		for _, one := range d.New {
			values = append(values, one.Value)
		}
		return values
	}
	told()
	for round, many := range []int{1, 1, 1, 40, 400, 1, 1, 3000, 1, 1} {
		if code, text, err := h.ask("POST", "/v1/alerts", alertText("stalled", 10_000*round, many)); err != nil || code != 201 {
			t.Fatalf("alert: %d %s %v", code, text, err)
		}
		signal(syscall.SIGSTOP)
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET /v1/decisions/stream HTTP/1.1\r\nHost: x\r\nX-Api-Key: key\r\nUser-Agent: test/1\r\n\r\n")
		if round%3 == 2 {
			_ = c.(*net.TCPConn).SetLinger(0) // it closes in bad order
		}
		c.Close()
		signal(syscall.SIGCONT)
		if got := told(); len(got) != many {
			t.Errorf("round %d: told of %d decisions, want %d", round, len(got), many)
		}
	}
}
