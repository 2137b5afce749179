package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
)

// What etcd's file leaves open is set for small logs; what it says stays.
func TestRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]uint64{
		"name: a\n": {catchUpEntries, snapshotCount},
		"name: a\nsnapshot-count: 77\n'snapshot-catchup-entries': 88\n":   {88, 77},
		"name: a\n# snapshot-count: 77\nsnapshot-catchup-entries: 5000\n": {5000, snapshotCount},
	} {
		file := filepath.Join(t.TempDir(), "etcd.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := read(file)
		if err != nil || c.SnapshotCatchUpEntries != want[0] || c.SnapshotCount != want[1] || c.Name != "a" {
			t.Errorf("%q: %v, %+v", text, err, c)
		}
	}
}

// A port that somebody else has is told of as that, so that it can be waited for; nothing is left behind that keeps the next start from
// having it.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	file, peer := filepath.Join(dir, "etcd.yaml"), "http://"+taken.Addr().String()
	text := "name: a\ninitial-cluster: a=" + peer + "\ndata-dir: " + filepath.Join(dir, "data") + "\nlisten-client-urls: http://127.0.0.1:0\n" +
		"advertise-client-urls: http://127.0.0.1:0\nlisten-peer-urls: " + peer + "\ninitial-advertise-peer-urls: " + peer + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), file, slog.New(slog.DiscardHandler)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the port is taken: %v", err)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := Start(t.Context(), file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// A file that is not there, or nonsense, is named, and starts nothing.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"missing": "", "nonsense": "\x00\x01", "port": "listen-client-urls: http://127.0.0.1:99999999\n", "list": "- a\n",
		"cluster": "name: a\ninitial-cluster: b=http://127.0.0.1:1\ndata-dir: " + filepath.Join(dir, "data") + "\nlisten-client-urls: http://127.0.0.1:0\n" +
			"advertise-client-urls: http://127.0.0.1:0\nlisten-peer-urls: http://127.0.0.1:0\ninitial-advertise-peer-urls: http://127.0.0.1:1\n",
	} {
		file := filepath.Join(dir, name+".yaml")
		if name != "missing" {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m, err := Start(context.Background(), file, slog.New(slog.DiscardHandler))
		if err == nil {
			_ = m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// etcd's lines are written as ours, its everyday life for debugging alone.
func TestLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := zap.New(&toSlog{log: slog.New(slog.NewTextHandler(&out, nil)), lines: newLines()}).With(zap.String("member", "a"))
	log.Info("everyday")
	log.Warn("slow", zap.Int("ms", 7))
	log.Error("broken")
	got := out.String()
	if strings.Contains(got, "everyday") || !strings.Contains(got, "level=WARN msg=slow member=a ms=7") || !strings.Contains(got, "level=ERROR msg=broken member=a") {
		t.Error(got)
	}
}

// A message that strangers cause over and over has one line at once and one a minute, with how often it came; others are not held up.
func TestLinesAreCounted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	counts := newLines()
	counts.every = time.Hour // the minutes end here by hand
	log := zap.New(&toSlog{log: slog.New(slog.NewTextHandler(&out, nil)), lines: counts})
	const refused = "rejected connection on client endpoint"
	for i := range 1000 {
		log.Warn(refused, zap.Int("i", i))
	}
	log.Error("broken")
	counts.tell(refused)
	counts.tell(refused)
	log.Warn(refused, zap.Int("i", 1000))
	if got := out.String(); strings.Count(got, "\n") != 4 || !strings.Contains(got, "i=999 times=999") || !strings.Contains(got, "msg=broken") || !strings.Contains(got, "i=1000\n") {
		t.Error(got)
	}
	for i := range 2 * messagesAtMost {
		log.Warn(fmt.Sprintf("message %d", i))
	}
	if len(counts.said) > messagesAtMost+1 {
		t.Errorf("%d messages are counted apart", len(counts.said))
	}
}
