package main

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestLoudLines: the same lines come in a test of the configuration and at the
// start; a notification also has one when it would have been sent.
func TestLoudLines(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	write(t, h.dir, "config.yaml.local", "api: {server: {online_client: {credentials_path: /x}}}\n")
	write(t, h.dir, "profiles.yaml", fmt.Sprintf(rule, "first", "ban")+"notifications: [slack_default]\n")
	lines := []string{"there is no connection to the Central API", "names the notification 'slack_default'",
		"LAPID_ACESS_LOG is no setting and has no effect; did you mean LAPID_ACCESS_LOG?"}
	env := []string{"LAPID_ACESS_LOG=true"}
	test := start(t, env, "-c", h.file, "-t")
	if code := test.wait(t); code != exitGood {
		t.Errorf("-t ends with %d", code)
	}
	p := start(t, env, "-c", h.file, "serve")
	h.awaitHealth(p)
	for _, line := range lines {
		for what, out := range map[string]string{"-t": test.out.String(), "serve": p.out.String()} {
			if strings.Count(out, line) != 1 {
				t.Errorf("%s does not say once %q:\n%s", what, line, out)
			}
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, "a reload says it again", func() bool {
		return strings.Count(p.out.String(), lines[2]) == 2 && strings.Contains(p.out.String(), "reloaded: ")
	})
	h.login()
	const due = "a notification was due and was not sent"
	if strings.Contains(p.out.String(), due) {
		t.Error("said before there was an alert")
	}
	for i := range 2 {
		if code, text, err := h.ask("POST", "/v1/alerts", alertText(fmt.Sprint("test/due", i), 0, 0)); err != nil || code != 201 {
			t.Fatal(code, text, err)
		}
	}
	await(t, "the line is there", func() bool { return strings.Contains(p.out.String(), due) })
	if n := bytes.Count([]byte(p.out.String()), []byte(due)); n != 1 {
		t.Errorf("said %d times", n)
	}
}
