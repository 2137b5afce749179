//go:build linux

package load

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		protocol Protocol
		text     string
		status   int
		body     int64
	}{
		{"length", HTTP, "HTTP/1.1 200 OK\r\nContent-Type: x\r\ncontent-LENGTH:  4\r\n\r\nnull", 200, 4},
		{"nothing", HTTP, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 201, 0},
		{"no content", HTTP, "HTTP/1.1 204 No Content\r\n\r\n", 204, 0},
		{"chunks", HTTP, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n1A;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n", 200, 30},
		{"trailer", HTTP, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nA: b\r\n\r\n", 200, 1},
		{"bulk", RESP, "$5\r\nab\r\nc\r\n", 200, 5},
		{"nil", RESP, "$-1\r\n", 404, 0},
		{"simple", RESP, "+OK\r\n", 200, 0},
		{"error", RESP, "-ERR no\r\n", 500, 0},
	} {
		for size := 1; size <= len(c.text); size++ {
			t.Run(fmt.Sprintf("%s/%d", c.name, size), func(t *testing.T) {
				t.Parallel()
				checkAnswers(t, c.protocol, strings.Repeat(c.text, 3), size, c.status, c.body)
			})
		}
	}
}

// checkAnswers feeds three equal answers in pieces of a size.
func checkAnswers(t *testing.T, p Protocol, text string, size, status int, body int64) {
	a := answer{protocol: p}
	complete := 0
	for len(text) > 0 {
		piece := []byte(text[:min(size, len(text))])
		text = text[len(piece):]
		for len(piece) > 0 {
			n, done, err := a.feed(piece)
			if err != nil {
				t.Fatal(err)
			}
			piece = piece[n:]
			if done {
				complete++
				if a.status != status || a.body != body {
					t.Fatalf("status %d, %d bytes; want %d, %d", a.status, a.body, status, body)
				}
				a.reset()
			} else if n == 0 {
				t.Fatal("no progress")
			}
		}
	}
	if complete != 3 {
		t.Fatalf("%d answers", complete)
	}
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"HTTP/1.1 200 OK\r\nX: y\r\n\r\n":                             errFraming,
		"hello, this is no HTTP\r\n\r\n":                              errFraming,
		strings.Repeat("x", 2*maxHead):                                errHead,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": errFraming,
	} {
		a := answer{}
		if _, _, err := a.feed([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.30q: %v, want %v", text, err, want)
		}
	}
}
