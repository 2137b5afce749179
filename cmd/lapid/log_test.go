package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// A line does not grow with what a client sent.
func TestLongTextsInTheLog(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("1", 1<<20)
	for _, format := range []string{"text", "json"} {
		s := &Setup{}
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
