package program

import (
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"path/filepath"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/transport"
	"lapid/transport/visible"
)

// Log is where the server writes what happens. Any goroutine may write.
// level may be changed while it is used; a reload does.
type serverLog struct {
	*slog.Logger
	level  *slog.LevelVar
	access transport.AccessLog // nil: none is wanted
	files  []*logFile
	forced bool // a flag decided the level: the configuration does not
}

// openLog opens what the configuration names. A level given by flag wins
// over the configuration's. Lines about requests go to a file of their own
// where the log is in files, and between the others elsewhere. What it opens
// is never closed: the log is the last to go. Errors name the key to change.
func openLog(s *config.Setup, out io.Writer, flag string) (*serverLog, error) {
	l := &serverLog{level: new(slog.LevelVar), forced: flag != ""}
	at, err := s.LogLevel()
	if l.forced {
		at, err = config.Level(flag)
	}
	if err != nil {
		return nil, err
	}
	l.level.Set(at)
	out, requests, err := l.sinks(s, visible.Under(out)) // its guard knows of verbs, not of log_format
	if err != nil {
		return nil, err
	}
	handler, err := logHandler(s, out, l.level)
	if err != nil {
		return nil, err
	}
	l.Logger = slog.New(handler)
	if s.AccessLog() {
		if requests == nil {
			requests = out
		}
		if l.access, err = newAccessLines(s, requests, l.level); err != nil {
			return nil, err
		}
	}
	for _, f := range l.files {
		f.warnOf(l.Logger)
	}
	return l, nil
}

// sinks opens what lines go to, and those about requests if that is another
// one: else it is nil. An unknown word is refused here and by serve -t, not
// passed over.
func (l *serverLog) sinks(s *config.Setup, terminal io.Writer) (out, requests io.Writer, err error) {
	switch c := &s.Config.Common; c.Media {
	case "", "stdout":
		if underJournal(terminal, os.Getenv("JOURNAL_STREAM")) {
			terminal = journal{terminal}
		}
		return terminal, nil, nil
	case "file":
		if out, err = l.file(s, config.LogName); err == nil && s.AccessLog() {
			requests, err = l.file(s, config.AccessName)
		}
		return out, requests, err
	case "syslog":
		w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "lapid")
		if err != nil {
			return nil, nil, s.Bad("common.log_media", "opening syslog: %v: start one, or write log_media: stdout or file", err)
		}
		return syslogKeeper{w}, nil, nil
	default:
		return nil, nil, s.Bad("common.log_media", "unknown log_mode '%s': use stdout, file or syslog", c.Media)
	}
}

// logHandler writes lines in the form and the words of the reference. What
// clients wrote is shown in them as what it is, and the beginning of it when it
// is long.
func logHandler(s *config.Setup, out io.Writer, at slog.Leveler) (slog.Handler, error) {
	if to, ok := out.(grader); ok {
		return byGrade(to, func(out io.Writer) (slog.Handler, error) { return logHandler(s, out, at) })
	}
	switch f := s.Config.Common.Format; f {
	case "", "text":
		return &textHandler{out: visible.NewWriter(out, visible.As(visible.ForPeople)), at: at}, nil
	case "json":
		return slog.NewJSONHandler(visible.NewWriter(out, visible.As(visible.ForJSON)), &slog.HandlerOptions{Level: at, ReplaceAttr: reworded}), nil
	default:
		return nil, s.Bad("common.log_format", "unknown log_format '%s': use text or json", f)
	}
}

// reworded has time and level as the reference writes them: level=warning and not
// level=WARN.
func reworded(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 {
		switch v := a.Value.Any().(type) {
		case slog.Level:
			if a.Key == slog.LevelKey {
				return slog.String(a.Key, levelWord(v))
			}
		case time.Time:
			if a.Key == slog.TimeKey {
				return slog.String(a.Key, v.Format(time.RFC3339))
			}
		}
	}
	return short(a)
}

// reopen begins new files where a rotation has moved the old ones away.
// Any goroutine. The first failure ends it, and the old file stays in use.
func (l *serverLog) reopen() error {
	for _, f := range l.files {
		if err := f.reopen(); err != nil {
			return err
		}
	}
	return nil
}

// file opens one of the files. It is opened for appending, mode 0600 where
// it is new (log_file.go).
func (l *serverLog) file(s *config.Setup, name string) (io.Writer, error) {
	r, err := s.Rotation()
	if err != nil {
		return nil, err
	}
	f := &logFile{path: filepath.Join(s.LogDir(), name), rotation: r}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	l.files = append(l.files, f)
	return f, nil
}

// logWarnings puts the warnings of a configuration into the log. They are said at
// every start and reload: what is wrong with a configuration does not become
// right by being old.
func logWarnings(s *config.Setup, log *slog.Logger) {
	for _, w := range s.Warnings {
		log.Warn(w)
	}
	if s.Found {
		log.Info(s.Origin())
	}
	if s.File == "" {
		log.Info(fmt.Sprintf("no configuration file: built-in defaults, store in %s", s.Data().Folder()))
	}
}
