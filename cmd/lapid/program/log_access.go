package program

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"log/syslog"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/transport"
	"lapid/transport/visible"
)

// accessLines makes lines of the log of what is told about requests, many to a write. It is
// the same line that a record of the log with this message has; what most of them are, plain
// text without anything to escape but quotes, is made without one.
type accessLines struct {
	out    io.Writer
	single bool // a line is a message of its own
	level  slog.Leveler
	slow   slog.Handler // writes to buf
	plain  bool         // lines are text

	buf    bytes.Buffer
	torn   int // bytes in front that are the rest of a line that is written in part
	second int64
	stamp  []byte // what a line of that second begins with
}

var _ transport.AccessLog = (*accessLines)(nil)

func newAccessLines(s *config.Setup, out io.Writer, level slog.Leveler) (*accessLines, error) {
	a := &accessLines{out: out, level: level}
	handler, err := logHandler(s, &a.buf, slog.LevelInfo) // Wanted has asked for the level
	if err != nil {
		return nil, err
	}
	_, a.plain = handler.(*textHandler)
	_, a.single = out.(*syslog.Writer)
	a.slow = handler.WithAttrs([]slog.Attr{slog.String("module", "lapi")})
	return a, nil
}

// Wanted implements transport.AccessLog.
func (a *accessLines) Wanted() bool { return a.level.Level() <= slog.LevelInfo }

// Line implements transport.AccessLog.
func (a *accessLines) Line(at time.Time, line []byte) {
	if !a.plain || len(line) > visible.LongestInLog || !seenAsItIs(line) {
		_ = a.slow.Handle(context.Background(), slog.NewRecord(at, slog.LevelInfo, string(line), 0)) // a buffer takes it
		return
	}
	if second := at.Unix(); second != a.second || a.stamp == nil {
		a.second = second
		a.stamp = append(at.AppendFormat(append(a.stamp[:0], `time="`...), time.RFC3339), `" level=info msg="`...)
	}
	b := append(a.buf.AvailableBuffer(), a.stamp...)
	begin := 0
	for i, c := range line {
		if c == '"' || c == '\\' {
			b = append(append(b, line[begin:i]...), '\\')
			begin = i
		}
	}
	b = append(b, line[begin:]...)
	a.buf.Write(append(b, "\" module=lapi\n"...))
}

// seenAsItIs reports whether all of a line is printable ASCII, or the sign of microseconds,
// which most lines have.
func seenAsItIs(line []byte) bool {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c >= ' ' && c < 0x7f:
		case c == "µ"[0] && i+1 < len(line) && line[i+1] == "µ"[1]:
			i++
		default:
			return false
		}
	}
	return true
}

// Flush implements transport.AccessLog. Of a line that is written in part the rest goes
// first when there is room again, so no two lines are one.
func (a *accessLines) Flush() (lost int, err error) {
	text, torn := a.buf.Bytes(), a.torn
	a.torn = 0
	var left []byte
	for len(text) > 0 {
		one := text
		if a.single {
			one = text[:bytes.IndexByte(text, '\n')+1]
		}
		text = text[len(one):]
		n, failed := a.out.Write(one)
		if failed == nil {
			continue
		}
		err = failed
		rest := one[n:]
		if n < torn || n > 0 && one[n-1] != '\n' {
			end := bytes.IndexByte(rest, '\n') + 1
			left, rest = bytes.Clone(rest[:end]), rest[end:]
		}
		lost += bytes.Count(rest, []byte{'\n'})
	}
	a.buf.Reset()
	if !a.single {
		a.torn, _ = a.buf.Write(left)
	}
	return lost, err
}
