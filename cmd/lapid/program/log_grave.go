package program

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"syscall"
)

// Who keeps a log beside its words wants to know how grave a line is: a syslog by the priority of its message, journald by
// a number in front of the line, which it takes away. So "journalctl -p err" and a syslog's rules find what they look for.

// grades are the levels of the log from the least on; lines in between have the grade below.
var grades = [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

// grader is what keeps lines by grade.
type grader interface {
	// grade is where lines of a grade, an index of grades, go. Each Write is one line.
	grade(int) io.Writer
}

// gradedHandler gives each line to the handler of its grade. They differ in nothing but where they write.
type gradedHandler [len(grades)]slog.Handler

// byGrade makes a handler for each grade.
func byGrade(to grader, handler func(io.Writer) (slog.Handler, error)) (slog.Handler, error) {
	var h gradedHandler
	for i := range h {
		var err error
		if h[i], err = handler(to.grade(i)); err != nil {
			return nil, err
		}
	}
	return &h, nil
}

// Enabled is that of all of them.
func (h *gradedHandler) Enabled(ctx context.Context, l slog.Level) bool { return h[0].Enabled(ctx, l) }

// Handle writes one record. The error is that of the writer, which package slog drops.
func (h *gradedHandler) Handle(ctx context.Context, r slog.Record) error {
	return h[gradeOf(r.Level)].Handle(ctx, r)
}

// WithAttrs has every line of the new handler end in these.
func (h *gradedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.each(func(one slog.Handler) slog.Handler { return one.WithAttrs(attrs) })
}

// WithGroup puts a name before the keys that follow.
func (h *gradedHandler) WithGroup(name string) slog.Handler {
	return h.each(func(one slog.Handler) slog.Handler { return one.WithGroup(name) })
}

func (h *gradedHandler) each(next func(slog.Handler) slog.Handler) slog.Handler {
	var all gradedHandler
	for i, one := range h {
		all[i] = next(one)
	}
	return &all
}

func gradeOf(l slog.Level) int {
	for i := len(grades) - 1; i > 0; i-- {
		if l >= grades[i] {
			return i
		}
	}
	return 0
}

// journal is journald behind a standard stream. Lines that are written to it as they are, such as those about
// requests, have the grade that the unit gives them, which is info.
type journal struct{ io.Writer }

// underJournal reports whether a stream is the one of which systemd says that it leads to journald
// (JOURNAL_STREAM, systemd.exec(5)): it may have been led elsewhere since.
func underJournal(out io.Writer, named string) bool {
	f, ok := out.(*os.File)
	if !ok || named == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && named == fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}

// journalMarks are the numbers of sd-daemon(3), for each of grades.
var journalMarks = [len(grades)]string{"<7>", "<6>", "<4>", "<3>"}

func (j journal) grade(i int) io.Writer { return &marked{j.Writer, journalMarks[i]} }

// marked puts a mark in front of each line.
type marked struct {
	out  io.Writer
	mark string
}

// Write writes one line. Its number is that of the line's bytes alone.
func (m *marked) Write(line []byte) (int, error) {
	n, err := m.out.Write(append([]byte(m.mark), line...))
	return max(n-len(m.mark), 0), err
}

// syslogKeeper is a syslog.
type syslogKeeper struct{ *syslog.Writer }

func (s syslogKeeper) grade(i int) io.Writer {
	return say([...]func(string) error{s.Debug, s.Info, s.Warning, s.Err}[i])
}

// say writes lines by a method of a syslog.
type say func(string) error

func (s say) Write(line []byte) (int, error) {
	if err := s(string(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}
