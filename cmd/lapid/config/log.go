package config

import (
	"cmp"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
)

// LogLevel is the level of the log: the server's own, else that of all programs.
func (s *Setup) LogLevel() (slog.Level, error) {
	if a := s.Config.API.Server; a != nil && a.LogLevel != "" {
		l, err := Level(a.LogLevel)
		if err != nil {
			return l, s.Bad("api.server.log_level", "%v", err)
		}
		return l, nil
	}
	l, err := Level(s.Config.Common.Level)
	if err != nil {
		return l, s.Bad("common.log_level", "%v", err)
	}
	return l, nil
}

// levelTrace is below debug, LevelFatal above error: the reference has a word for each.
const (
	levelTrace = slog.LevelDebug - 4
	LevelFatal = slog.LevelError + 4
)

// Level reads the words of the reference: trace, debug, info, warn, warning, error, fatal,
// panic. Case does not matter. Without a word it is info; the error of any other lists
// them.
func Level(word string) (slog.Level, error) {
	switch strings.ToLower(word) {
	case "trace":
		return levelTrace, nil
	case "debug":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	case "fatal", "panic":
		return LevelFatal, nil
	}
	return 0, fmt.Errorf("unknown log level %q: use trace, debug, info, warning, error or fatal", word)
}

// Names of the log files below common.log_dir, which existing log shippers know.
const (
	LogName    = "crowdsec.log"
	AccessName = "crowdsec_api.log"
)

// AccessLog tells whether requests have lines in the log: where the log is in files unless
// access_log says no, as in the reference, and elsewhere if it says yes.
func (s *Setup) AccessLog() bool {
	if s.Own.AccessLog != nil {
		return *s.Own.AccessLog
	}
	return s.Config.Common.Media == "file"
}

// LogFiles are the paths of the log, that of requests last; none where it is not in files.
func (s *Setup) LogFiles() (paths []string) {
	if s.Config.Common.Media == "file" {
		paths = append(paths, filepath.Join(s.LogDir(), LogName))
		if s.AccessLog() {
			paths = append(paths, filepath.Join(s.LogDir(), AccessName))
		}
	}
	return paths
}

// LogDir is the folder of the log files: log_dir, or /var/log.
func (s *Setup) LogDir() string { return cmp.Or(s.Config.Common.Dir, "/var/log") }

// Rotation says when a log file is put away and how long it is kept. The
// file that is written to is not among those counted.
type Rotation struct {
	Size     int // in MiB, when the next file is begun
	Files    int // kept besides the one that is written
	Days     int // … and for how long
	Compress bool
}

// Rotation is what the configuration says, with the reference's defaults for
// what it does not. Values that mean nothing are errors with their place.
func (s *Setup) Rotation() (Rotation, error) {
	c := &s.Config.Common
	for _, k := range []struct {
		name  string
		value int
	}{{"log_max_size", c.MaxSize}, {"log_max_files", c.MaxFiles}, {"log_max_age", c.MaxAge}} {
		if k.value < 0 {
			return Rotation{}, s.Bad("common."+k.name, "%s must not be negative, but is %d: leave it out for the default", k.name, k.value)
		}
	}
	return Rotation{
		Size: cmp.Or(c.MaxSize, 500), Files: cmp.Or(c.MaxFiles, 3), Days: cmp.Or(c.MaxAge, 28),
		Compress: c.Compress == nil || *c.Compress,
	}, nil
}
