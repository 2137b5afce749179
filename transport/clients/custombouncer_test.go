//go:build clients

package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// customBouncer is Debian's crowdsec-custom-bouncer with a hook that writes down how it was called.
type customBouncer struct {
	*program
	calls string // one line for each call of the hook: its arguments
}

// startCustomBouncer starts it with credentials in the words of its configuration file: an API key, or
// the files of a certificate.
func startCustomBouncer(t *testing.T, s *server, credentials string) *customBouncer {
	t.Helper()
	needs(t, "crowdsec-custom-bouncer")
	dir := t.TempDir()
	hook, config := filepath.Join(dir, "hook"), filepath.Join(dir, "bouncer.yaml")
	b := &customBouncer{calls: filepath.Join(dir, "calls")}
	mustWrite(t, b.calls, "")
	mustWrite(t, hook, fmt.Sprintf("#!/bin/sh\necho \"$1 $2 $3 $4 $5\" >>%s\n", b.calls))
	if err := os.Chmod(hook, 0o700); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, config, fmt.Sprintf(customBouncerConfig, hook, dir, s.url, credentials))
	b.program = start(t, "the custom bouncer", "crowdsec-custom-bouncer", "-c", config)
	return b
}

const customBouncerConfig = `bin_path: %s
feed_via_stdin: false
piddir: %s
update_frequency: 200ms
cache_retention_duration: 10s
daemonize: false
log_mode: stdout
log_level: info
api_url: %s/
%s
prometheus:
  enabled: false
`

// called are the argument lines of the hook so far, in order.
func (b *customBouncer) called(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(b.calls)
	if err != nil {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}

// awaitCall waits until the hook has been called with arguments that begin so, and returns the line.
func (b *customBouncer) awaitCall(t *testing.T, prefix string) string {
	t.Helper()
	var line string
	await(t, "the hook is called with "+prefix, func() (bool, string) {
		if err := b.alive(); err != nil {
			t.Fatal(err)
		}
		calls := b.called(t)
		for _, line = range calls {
			if strings.HasPrefix(line, prefix) {
				return true, ""
			}
		}
		return false, strings.Join(calls, "\n")
	})
	return line
}

// TestCustomBouncer: the hook is called with add and then with del for the same decision.
func TestCustomBouncer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := newCscli(t, s, s.credentials())
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.10", "-d", "1h", "-R", "there-before")
	b := startCustomBouncer(t, s, "api_key: "+bouncerKey)
	b.awaitCall(t, "add 192.0.2.10 ")

	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.11", "-d", "2h", "-R", "news")
	line := b.awaitCall(t, "add 192.0.2.11 ")
	fields := strings.SplitN(line, " ", 5)
	if len(fields) != 5 || fields[3] != "news" || !strings.Contains(fields[4], `"value":"192.0.2.11"`) {
		t.Errorf("the hook was called with %q, want add 192.0.2.11 SECONDS news {...}", line)
	}
	if left, err := strconv.Atoi(fields[2]); err != nil || left <= 7100 || left > 7200 {
		t.Errorf("the hook was told of %s s, want a little under 7200", fields[2])
	}
	c.expect(t, 0, says(`"1 decision\(s\) deleted"`), "decisions", "delete", "-i", "192.0.2.11")
	b.awaitCall(t, "del 192.0.2.11 ")
	c.expect(t, 0, says(`"1 decision\(s\) deleted"`), "decisions", "delete", "-i", "192.0.2.10")
	b.awaitCall(t, "del 192.0.2.10 ")

	var order []string
	for _, call := range b.called(t) {
		order = append(order, strings.Join(strings.Fields(call)[:2], " "))
	}
	want := "add 192.0.2.10, add 192.0.2.11, del 192.0.2.11, del 192.0.2.10"
	if got := strings.Join(order, ", "); got != want {
		t.Errorf("the hook was called with %s, want %s", got, want)
	}
}
