package program

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lapid/cmd/lapid/config"
)

// accessLinesTo makes them for a format.
func accessLinesTo(t *testing.T, format string, out *bytes.Buffer) *accessLines {
	t.Helper()
	s := &config.Setup{}
	s.Config.Common.Format = format
	a, err := newAccessLines(s, out, new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAccessLines: a line in the log of requests is, byte for byte, that of a record of the log
// with the same words.
func TestAccessLines(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(rand.Uint64(), 5))
	for _, format := range []string{"text", "json"} {
		var got, want bytes.Buffer
		a := accessLinesTo(t, format, &got)
		s := &config.Setup{}
		s.Config.Common.Format = format
		handler, err := logHandler(s, &want, slog.LevelInfo)
		if err != nil {
			t.Fatal(err)
		}
		handler = handler.WithAttrs([]slog.Attr{slog.String("module", "lapi")})
		at := time.Unix(1782907200, 0)
		for range 500 {
			line := ""
			for range chance.IntN(6) {
				parts := []string{`127.0.0.1 - [Wed] "GET`, `\"`, `"`, `\`, "é", "\xc2", "6.2µs", "\u202e", "✔️", "\ufe0f", "\xff", "\x1b", strings.Repeat("y", 3000), " "}
				line += parts[chance.IntN(len(parts))]
			}
			at = at.Add(time.Duration(chance.Int64N(2e9)))
			a.Line(at, []byte(line))
			if err := handler.Handle(t.Context(), slog.NewRecord(at, slog.LevelInfo, line, 0)); err != nil {
				t.Fatal(err)
			}
			if chance.IntN(9) == 0 {
				if lost, err := a.Flush(); lost != 0 || err != nil {
					t.Fatal(lost, err)
				}
			}
		}
		_, _ = a.Flush()
		if got.String() != want.String() {
			g, w := strings.Split(got.String(), "\n"), strings.Split(want.String(), "\n")
			for i := range g {
				if g[i] != w[i] {
					t.Fatalf("%s: %s\nwant %s", format, g[i], w[i])
				}
			}
		}
	}
}

// TestAccessLinesAtALevel: a level above info has no lines, from the moment that it is set.
func TestAccessLinesAtALevel(t *testing.T) {
	t.Parallel()
	level := new(slog.LevelVar)
	a, err := newAccessLines(&config.Setup{}, new(bytes.Buffer), level)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[slog.Level]bool{slog.LevelDebug: true, slog.LevelInfo: true, slog.LevelWarn: false, slog.LevelError: false} {
		if level.Set(at); a.Wanted() != want {
			t.Errorf("%v: %v", at, !want)
		}
	}
}

// smallDisk takes so many bytes, and then none until it is emptied.
type smallDisk struct {
	taken bytes.Buffer
	room  int
}

func (d *smallDisk) Write(b []byte) (int, error) {
	n := min(len(b), d.room)
	d.room -= n
	d.taken.Write(b[:n])
	if n < len(b) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// TestAccessLinesOnAFullDisk: wherever the disk ends, each line is there whole or counted as
// lost, and none runs into another.
func TestAccessLinesOnAFullDisk(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(rand.Uint64(), 9))
	for range 200 {
		disk := &smallDisk{room: chance.IntN(600)}
		a, err := newAccessLines(&config.Setup{}, disk, new(slog.LevelVar))
		if err != nil {
			t.Fatal(err)
		}
		all, lost := 0, 0
		for range 12 {
			for range chance.IntN(5) {
				a.Line(time.Now(), fmt.Appendf(nil, "line %d end", all))
				all++
			}
			n, _ := a.Flush()
			lost += n
			disk.room += chance.IntN(200)
		}
		disk.room = 1 << 20
		n, err := a.Flush()
		if lost += n; err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(disk.taken.String(), "\n")
		for _, line := range lines[:len(lines)-1] {
			if !strings.HasPrefix(line, `time="`) || !strings.HasSuffix(line, " end\" module=lapi\n") || strings.Count(line, "line ") != 1 {
				t.Fatalf("%q", line)
			}
		}
		if whole := len(lines) - 1; whole+lost != all || lines[len(lines)-1] != "" {
			t.Fatalf("%d lines and %d lost of %d, then %q", whole, lost, all, lines[len(lines)-1])
		}
	}
}

// BenchmarkAccessLines is what a line costs the writer, into a file that is put away as ever.
func BenchmarkAccessLines(b *testing.B) {
	l := &logFile{path: filepath.Join(b.TempDir(), config.AccessName), rotation: config.Rotation{Size: 500, Files: 1, Days: 1}}
	if err := l.reopen(); err != nil {
		b.Fatal(err)
	}
	a, err := newAccessLines(&config.Setup{}, l, new(slog.LevelVar))
	if err != nil {
		b.Fatal(err)
	}
	line := []byte(`192.0.2.1 - [Wed, 01 Jul 2026 12:00:00 UTC] "GET /v1/decisions?ip=192.0.2.1 HTTP/1.1 200 6.2µs "lua-bouncer/v1.0.5" "`)
	at := time.Now()
	b.ReportAllocs()
	for i := range b.N {
		a.Line(at, line)
		if i%200 == 199 {
			_, _ = a.Flush()
		}
	}
}
