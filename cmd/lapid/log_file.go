package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"gopkg.in/natefinch/lumberjack.v2"
)

// rotation says when a log file is put away and how long it is kept.
type rotation struct {
	size     int // in MiB, when the next file is begun
	files    int // kept besides the one that is written
	days     int // … and for how long
	compress bool
}

// rotation is what the configuration says, with the reference's defaults for what
// it does not.
func (s *Setup) rotation() (rotation, error) {
	c := &s.Config.Common
	for _, k := range []struct {
		name  string
		value int
	}{{"log_max_size", c.MaxSize}, {"log_max_files", c.MaxFiles}, {"log_max_age", c.MaxAge}} {
		if k.value < 0 {
			return rotation{}, s.bad("common."+k.name, "%s must not be negative, but is %d: leave it out for the default", k.name, k.value)
		}
	}
	return rotation{
		size: cmp.Or(c.MaxSize, 500), files: cmp.Or(c.MaxFiles, 3), days: cmp.Or(c.MaxAge, 28),
		compress: c.Compress == nil || *c.Compress,
	}, nil
}

// logFile is a file that is written to at its end, is put away when it is large,
// and can be opened anew. It is made readable by the server's user alone; one that
// is there keeps its mode, and so do those that follow it.
//
// In a folder that somebody else may change it is never put away: there a name may
// come to be a link to anything between two looks at it, so nothing is opened or
// renamed by its name but as openPlain does.
type logFile struct {
	path     string
	rotation rotation

	mu   sync.Mutex // guards what follows
	out  io.WriteCloser
	safe bool // nobody else may change the folder
	log  *slog.Logger
}

// reopen opens what is at the path now, and makes it when missing. After an error
// the old file stays in use.
func (l *logFile) reopen() error {
	f, err := openPlain(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	var folder os.FileInfo
	if err == nil {
		if folder, err = os.Stat(filepath.Dir(l.path)); err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out != nil {
		_ = l.out.Close()
	}
	r := &l.rotation
	if rotated, ok := l.out.(*lumberjack.Logger); ok && unshared(folder) { // closed, it opens what is there at the next write
		l.out = rotated
		_ = f.Close()
	} else if l.out, l.safe = f, unshared(folder); l.safe {
		l.out = &lumberjack.Logger{Filename: l.path, MaxSize: r.size, MaxBackups: r.files, MaxAge: r.days, Compress: r.compress}
		_ = f.Close()
	}
	return nil
}

// Write writes lines. When the file cannot be put away, as in a folder where this
// user may make nothing, it grows: no line is lost for that.
func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.out.Write(b)
	if _, plain := l.out.(*os.File); err == nil || n > 0 || plain {
		return n, err
	}
	f, failed := openPlain(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if failed != nil {
		return 0, errors.Join(err, failed)
	}
	if n, failed = f.Write(b); failed != nil { // a full disk: nothing is wrong with the name
		return n, errors.Join(failed, f.Close())
	}
	_ = l.out.Close()
	l.out = f
	if l.log != nil { // not from here: whoever writes a line holds the log
		go l.log.Error(l.path+" cannot be put away and grows until a SIGHUP or a restart: this user must be able to make files in its folder", "error", err)
	}
	return n, nil
}

// tell says what an operator would not expect of the file.
func (l *logFile) tell(log *slog.Logger) {
	l.mu.Lock()
	l.log = log
	safe := l.safe
	l.mu.Unlock()
	if !safe {
		log.Warn(l.path + " is never put away, however large it gets: somebody else than root and this user may change its folder; " +
			"have another folder as log_dir, or rotate it yourself and send SIGHUP")
	}
	if filepath.Base(l.path) == accessName {
		log.Info("each request has a line in " + l.path + ", which costs more than most answers: access_log: false in lapid.yaml turns that off")
	}
}
