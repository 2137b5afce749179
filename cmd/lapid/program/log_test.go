package program

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"lapid/cmd/lapid/config"
)

// TestLogWords: what the log cannot be opened with is refused, with its key.
func TestLogWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"common: {log_level: loud}\n":                                      `unknown log level "loud"`,
		"common: {log_format: xml}\n":                                      "unknown log_format",
		"common: {log_media: radio}\n":                                     "unknown log_mode",
		"api: {server: {log_level: loud}}\n":                               `api.server`,
		"common: {log_media: file, log_dir: /nowhere/at/all}\n":            "opening the log",
		"common: {log_media: file, log_dir: /nowhere, log_format: json}\n": "opening the log",
	} {
		s, err := load(t, plainConfig+text, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openLog(s, os.Stderr, ""); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(want, "api.server")) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// A line does not grow with what a client sent.
func TestLongTextsInTheLog(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("1", 1<<20)
	for _, format := range []string{"text", "json"} {
		s := &config.Setup{}
		s.Config.Common.Format = format
		var out bytes.Buffer
		h, err := logHandler(s, &out, slog.LevelInfo)
		if err != nil {
			t.Fatal(err)
		}
		slog.New(h).With("machine", long).Error("refused: "+long, "error", errors.New(long), "value", long, "n", 1)
		if line := out.String(); len(line) > 20<<10 || strings.Count(line, "(1048576 bytes)") != 3 || !strings.Contains(line, "(1048585 bytes)") {
			t.Errorf("%s: %d bytes: %.300s", format, len(line), line)
		}
	}
}

// TestTextLines: a line is in the form of the reference, whatever is in it.
func TestTextLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h, err := logHandler(&config.Setup{}, &out, slog.LevelInfo)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(h)
	at := time.Date(2026, 7, 1, 12, 0, 0, 5, time.FixedZone("", 7200))
	log.Debug("no")
	log.Info("one", "n", 1, "word", "w/x:1", "words", "a b", "none", "", "quote", `a"b\c`, "equals", "a=b", "line", "a\nb\x1b\u202e", "at", at,
		"for", 90*time.Second, "address", netip.MustParseAddr("::1"), "error", errors.New("e f"), "yes", true)
	log.With("module", "lapi").WithGroup("request").Warn("two\n\"words\"", slog.Group("of", "x", 1), slog.Group("", "y", 2))
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{
		`level=info msg="one" n=1 word=w/x:1 words="a b" none="" quote="a\"b\\c" equals="a=b" line="a\nb\x1b\u202e" at=2026-07-01T12:00:00+02:00 for=1m30s address=::1 error="e f" yes=true`,
		`level=warning msg="two\n\"words\"" module=lapi request.of.x=1 request.y=2`,
	} {
		if m := parsersLine.FindStringSubmatch(lines[i]); m == nil || !strings.HasSuffix(lines[i], want) {
			t.Errorf("%s\nwant %s", lines[i], want)
		}
	}
}
