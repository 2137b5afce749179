//go:build clients

package clients

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for one condition before it fails.
const patience = 60 * time.Second

// await asks the question again and again until its answer is true; after the deadline the test fails
// with what was expected and what was seen last.
func await(t *testing.T, expected string, question func() (done bool, seen string)) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		done, seen := question()
		if done {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s; last seen: %s", patience, expected, tail(seen, 4000))
		}
	}
}

// needs fails the test with one line when a program or file of a client is not on this machine.
func needs(t *testing.T, things ...string) {
	t.Helper()
	for _, thing := range things {
		if strings.HasPrefix(thing, "/") {
			if _, err := os.Stat(thing); err == nil {
				continue
			}
		} else if _, err := exec.LookPath(thing); err == nil {
			continue
		}
		t.Fatalf("%s is missing: run transport/clients/install.sh", thing)
	}
}

func tail(text string, n int) string {
	if len(text) > n {
		return "..." + text[len(text)-n:]
	}
	return text
}
