package peer

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// However many strangers connect, the log has one line at once and one a minute, with how many.
func TestStrangersAreCounted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := newCounted(slog.New(slog.NewTextHandler(&out, nil)))
	c.every = time.Hour // the minutes end here by hand
	for range 1000 {
		_, _ = c.Write([]byte("http: TLS handshake error from 192.0.2.7:1: EOF\n" + strings.Repeat("x", 10_000)))
	}
	c.say("another message")
	_, _ = c.Write([]byte("http: panic serving 192.0.2.7: BUG"))
	if got := strings.Count(out.String(), "\n"); got != 3 || !strings.Contains(out.String(), "level=ERROR") || out.Len() > 2000 {
		t.Errorf("%d lines of %d bytes for a thousand strangers", got, out.Len())
	}
	message := ""
	for m := range c.said {
		if m != "another message" {
			message = m
		}
	}
	c.tell(message)
	if !strings.Contains(out.String(), "times=999") || !strings.Contains(out.String(), "192.0.2.7") {
		t.Errorf("the minute's line: %s", out.String())
	}
	c.tell(message)
	if _, _ = c.Write([]byte("EOF")); strings.Count(out.String(), "\n") != 5 {
		t.Errorf("after a quiet minute the next one has no line: %s", out.String())
	}
}
