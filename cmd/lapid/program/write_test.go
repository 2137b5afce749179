package program

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"lapid/cmd/lapid/config"
)

// write puts a file into a folder of the test and gives its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// plainConfig is a configuration to which one key is added.
const plainConfig = "config_paths: {data_dir: /x}\n"

// load reads a configuration, with an overlay and variables that need not be.
func load(t *testing.T, text, local string, vars map[string]string) (*config.Setup, error) {
	t.Helper()
	dir := t.TempDir()
	if local != "" {
		write(t, dir, "config.yaml.local", local)
	}
	return config.Load(write(t, dir, "config.yaml", text), func(name string) (string, bool) { v, ok := vars[name]; return v, ok })
}

// read gives what is in a file.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// parsersLine is how people's parsers read a line of the reference's logs.
var parsersLine = regexp.MustCompile(`^time="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d))"\s+level=(\S+)\s+msg="((?:\\.|[^"\\])*)"( \S.*)?$`)

// await looks until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	end := time.After(time.Minute)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-end:
			t.Fatalf("it never happened that %s", what)
		}
	}
}

// safeBuffer collects output while it is being read.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
