package program

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"lapid/cmd/lapid/config"
	"lapid/transport/visible"
)

// textHandler writes a line for each record in the form that people's parsers know
// from the reference:
//
//	time="2026-07-01T12:00:00Z" level=info msg="what happened" key=value other="two words"
//
// Time, in whole seconds and the zone of the system, and message are always
// quoted. A line is one Write, and short (see short). Any goroutine may use
// it: lines under way are each in a buffer of their own, and the writer
// below takes them one by one.
type textHandler struct {
	out   io.Writer
	at    slog.Leveler
	fixed []byte // attributes of the logger, each with a blank before it
	group string // beginning of the keys that follow
}

// Enabled looks at the level at each call, for it may change.
func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.at.Level() }

// lineBuffers are the lines under way; longer ones are left to the collector.
var lineBuffers = sync.Pool{New: func() any { return new([]byte) }}

// longestKeptLine bounds what the pool holds on to for each line under way, in bytes.
const longestKeptLine = 16 << 10

// Handle writes one record. The error is that of the writer, which package slog
// drops.
func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	b := lineBuffers.Get().(*[]byte)
	line := append((*b)[:0], `time="`...)
	line = r.Time.AppendFormat(line, time.RFC3339)
	line = append(line, `" level=`...)
	line = append(line, levelWord(r.Level)...)
	line = append(line, " msg="...)
	line = strconv.AppendQuote(line, visible.Short(r.Message))
	line = append(line, h.fixed...)
	r.Attrs(func(a slog.Attr) bool {
		line = appendAttr(line, h.group, a)
		return true
	})
	_, err := h.out.Write(append(line, '\n'))
	if *b = line; cap(line) <= longestKeptLine {
		lineBuffers.Put(b)
	}
	return err
}

// WithAttrs has every line of the new handler end in these, written out once.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.fixed = append([]byte(nil), h.fixed...)
	for _, a := range attrs {
		next.fixed = appendAttr(next.fixed, h.group, a)
	}
	return &next
}

// WithGroup puts a name and a dot before the keys that follow.
func (h *textHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.group += name + "."
	return &next
}

// appendAttr appends one attribute, or those of a group. An empty attribute
// is left out, as package slog asks for.
func appendAttr(line []byte, group string, a slog.Attr) []byte {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, one := range a.Value.Group() {
			line = appendAttr(line, group, one)
		}
		return line
	}
	if a.Equal(slog.Attr{}) {
		return line
	}
	line = append(line, ' ')
	line = append(line, group...)
	line = append(line, a.Key...)
	line = append(line, '=')
	text := textOf(short(a).Value)
	if bare(text) {
		return append(line, text...)
	}
	return strconv.AppendQuote(line, text)
}

// textOf is a value as text; how long it may be is bounded.
func textOf(v slog.Value) string {
	if v.Kind() == slog.KindTime {
		return v.Time().Format(time.RFC3339)
	}
	if v.Kind() == slog.KindAny {
		return visible.Short(fmt.Sprint(v.Any()))
	}
	return v.String()
}

// bare tells whether a value needs no quotes. Whatever could end the value
// or the line, or is not seen, needs them.
func bare(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool {
		return r <= ' ' || r == '"' || r == '=' || r == '\\' || r == unicode.ReplacementChar || !strconv.IsPrint(r)
	}) < 0
}

// short cuts texts, of which a client decides how long they are. Messages
// and values; what is cut ends in a sign that says so (visible.Short).
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

// levelWord is a level in the words of the reference; levels in between have the word
// of the lower one.
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
	case l < config.LevelFatal:
		return "error"
	}
	return "fatal"
}
