//go:build clients

package clients

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGoLibraries runs the tests of the nested module goclient against a server of its own.
func TestGoLibraries(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.addMachine(t, "edge-2", filepath.Join(s.dir, "credentials-2.yaml"))
	keys := []string{"a-key-of-a-go-bouncer-1", "a-key-of-a-go-bouncer-2", "a-key-of-a-go-bouncer-3"}
	for _, key := range keys {
		s.addBouncer(t, "go-"+key[len(key)-1:], key)
	}
	tests := filepath.Join(workshop, "goclient.test")
	build := runFor(t, 10*time.Minute, nil, "go", "-C", "goclient", "test", "-c", "-o", tests, ".")
	if build.exit != 0 {
		t.Fatalf("cannot build the tests of the Go libraries: %s", build)
	}
	defer os.Remove(tests)
	s.start(t)
	r := runFor(t, 3*time.Minute, []string{
		"LAPID_URL=" + s.url, "LAPID_BOUNCER_KEYS=" + strings.Join(keys, ","),
		"LAPID_MACHINES=" + machineName + ",edge-2", "LAPID_PASSWORD=" + machinePassword,
	}, tests, "-test.v", "-test.timeout=2m")
	if r.exit != 0 {
		t.Errorf("the Go libraries: exit %d\n%s", r.exit, tail(r.stdout+r.stderr, 12000))
	}
}
