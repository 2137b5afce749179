package main

import (
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"lapid/transport/visible"
)

// Names of the log files below common.log_dir, which existing log shippers know.
const (
	logName    = "crowdsec.log"
	accessName = "crowdsec_api.log"
)

// Log is where the server writes what happens. Any goroutine may write.
type Log struct {
	*slog.Logger
	level  *slog.LevelVar
	access io.Writer // one line per request; nil: nobody wants them
	files  []*logFile
	forced bool // a flag decided the level: the configuration does not
}

// openLog opens what the configuration names. A level given by flag wins over
// the configuration's.
func openLog(s *Setup, out io.Writer, flag string) (*Log, error) {
	l := &Log{level: new(slog.LevelVar), forced: flag != ""}
	at, err := s.logLevel()
	if l.forced {
		at, err = level(flag)
	}
	if err != nil {
		return nil, err
	}
	l.level.Set(at)
	out = visible.Under(out) // its guard knows of verbs, not of log_format
	var access io.Writer
	switch c := &s.Config.Common; c.Media {
	case "", "stdout":
	case "file":
		if out, err = l.file(c.Dir, logName); err != nil {
			return nil, err
		}
		if s.Own.AccessLog {
			if access, err = l.file(c.Dir, accessName); err != nil {
				return nil, err
			}
		}
	case "syslog":
		if out, err = syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "lapid"); err != nil {
			return nil, fmt.Errorf("opening syslog: %w", err)
		}
	default:
		return nil, s.bad("common.log_media", "unknown log_mode '%s': use stdout, file or syslog", c.Media)
	}
	if access != nil {
		access = visible.NewWriter(access, visible.As(visible.ForPeople))
	}
	handler, err := logHandler(s, out, l.level)
	if err != nil {
		return nil, err
	}
	l.Logger = slog.New(handler)
	if s.Own.AccessLog && access == nil {
		access = &accessLines{l.With("module", "lapi")}
	}
	l.access = access
	return l, nil
}

// logHandler writes lines in the words of the reference: level=warning and not
// level=WARN. What strangers wrote is shown in them as what it is, and the
// beginning of it when it is long.
func logHandler(s *Setup, out io.Writer, at slog.Leveler) (slog.Handler, error) {
	o := &slog.HandlerOptions{Level: at, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey && len(groups) == 0 {
			if l, ok := a.Value.Any().(slog.Level); ok {
				a.Value = slog.StringValue(levelWord(l))
			}
			return a
		}
		return short(a)
	}}
	switch f := s.Config.Common.Format; f {
	case "", "text":
		return slog.NewTextHandler(visible.NewWriter(out, visible.As(visible.ForPeople)), o), nil
	case "json":
		return slog.NewJSONHandler(visible.NewWriter(out, visible.As(visible.ForJSON)), o), nil
	default:
		return nil, s.bad("common.log_format", "unknown log_format '%s': use text or json", f)
	}
}

// short cuts texts, of which a client decides how long they are.
func short(a slog.Attr) slog.Attr {
	text := ""
	switch v := a.Value.Any().(type) {
	case string:
		text = v
	case error:
		text = v.Error()
	}
	if len(text) > visible.LongestInLog {
		a.Value = slog.StringValue(visible.Short(text))
	}
	return a
}

func levelWord(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "trace"
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warning"
	case l < levelFatal:
		return "error"
	}
	return "fatal"
}

// reopen begins new files where a rotation has moved the old ones away.
func (l *Log) reopen() error {
	for _, f := range l.files {
		if err := f.reopen(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) file(dir, name string) (io.Writer, error) {
	if dir == "" {
		dir = "/var/log"
	}
	f := &logFile{path: filepath.Join(dir, name)}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	l.files = append(l.files, f)
	return f, nil
}

// logFile is a file that is written to at its end and can be opened anew.
type logFile struct {
	path string

	mu sync.Mutex // guards f
	f  *os.File
}

func (l *logFile) reopen() error {
	f, err := openPlain(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		_ = l.f.Close()
	}
	l.f = f
	return nil
}

func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Write(b)
}

// accessLines puts lines of the access log into the common log.
type accessLines struct{ log *slog.Logger }

func (a *accessLines) Write(b []byte) (int, error) {
	a.log.Info(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}
