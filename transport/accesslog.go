package transport

import (
	"bytes"
	"log/slog"
	"net/netip"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"lapid/transport/conn"
	"lapid/transport/visible"
)

// AccessLog takes the lines about answered requests. Line and Flush are called by one
// goroutine alone, which waits for nothing else, so they may take as long as a disk does.
type AccessLog interface {
	// Wanted tells whether there is a line about what is answered at this moment. It is
	// asked for each request, by any goroutine: it must neither wait nor allocate.
	Wanted() bool
	// Line takes a line, without its end, and when its answer was ready. It keeps nothing
	// of line.
	Line(at time.Time, line []byte)
	// Flush writes what Line has taken since, and says how many of these lines are lost,
	// with the reason.
	Flush() (lost int, err error)
}

const (
	// linesAtMost bounds the lines that wait to be written, in bytes. What comes when
	// there is no room is lost, and counted: no request waits for a log.
	linesAtMost = 4 << 20
	// lineNap is for how long lines gather before they are written. Those of a process
	// that is killed are lost, with those that wait for the disk.
	lineNap = 20 * time.Millisecond
	// linesAtOnce is how many bytes of lines are written at once, about.
	linesAtOnce = 32 << 10
	// lastLinesPatience is how long the end of the server waits for the log.
	lastLinesPatience = 5 * time.Second
	// lossesEvery is how often the log says that lines are lost.
	lossesEvery = time.Minute
)

// accessLog has one line for each answered request, in the shape that people
// parse: IP - [RFC 1123 time] "METHOD path PROTO status latency "user-agent"
// error". Whoever answers makes the line and leaves it in a ring; one goroutine
// writes. Lines are in the order in which they were left, so those of a connection are in
// the order of its answers.
type accessLog struct {
	out  AccessLog
	log  *slog.Logger
	ring *lineRing

	lost    atomic.Uint64 // lines that there is no more than this number of
	written atomic.Uint64
	idle    atomic.Bool   // the writer is to be woken
	wake    chan struct{} // has one when it is
	over    atomic.Bool   // nobody writes any more
	stop    chan struct{}
	ended   chan struct{}

	// The writer's.
	room   []byte
	told   uint64 // of lost
	toldAt time.Time
	why    error // of the last loss
}

func newAccessLog(out AccessLog, log *slog.Logger) *accessLog {
	return &accessLog{
		out: out, log: log, ring: newLineRing(linesAtMost),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
}

// accessLine is where one caller makes its lines, again and again.
type accessLine struct {
	text   []byte
	second int64
	stamp  []byte // how a moment in that second is written
}

// line leaves the line about an answer, made in w.
func (l *accessLog) line(w *accessLine, r *conn.Request, client netip.Addr, now int64, status int, failure string, took time.Duration) {
	if !l.out.Wanted() {
		return
	}
	b := w.begin(client, now)
	b = visible.AppendText(b, r.Method)
	b = append(b, ' ')
	b = appendTarget(b, r)
	b = append(b, ' ')
	b = visible.AppendText(b, r.Protocol)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, took.String()...)
	b = append(b, ` "`...)
	if len(r.Agent) <= visible.LongestInLog {
		b = appendQuoted(b, r.Agent)
	} else {
		b = appendQuoted(b, visible.Short(string(r.Agent)))
	}
	b = append(b, `" `...)
	b = appendQuoted(b, visible.Short(failure))
	b = append(b, '"')
	l.leave(r.Began.Add(took), b)
	w.text = keep(b)
}

// unread is the line of what could not be read as a request: nothing is known of it
// but from where it came.
func (l *accessLog) unread(client netip.Addr, status int, text string, now int64) {
	if !l.out.Wanted() {
		return
	}
	var w accessLine
	b := append(w.begin(client, now), "- - - "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ` 0s "" "`...)
	b = appendQuoted(b, text)
	l.leave(time.Now(), append(b, '"'))
}

// begin is a line up to the method.
func (w *accessLine) begin(client netip.Addr, now int64) []byte {
	if second := now / int64(time.Second); second != w.second || w.stamp == nil {
		w.second = second
		w.stamp = append(time.Unix(0, now).AppendFormat(append(w.stamp[:0], " - ["...), time.RFC1123), `] "`...)
	}
	return append(client.AppendTo(w.text[:0]), w.stamp...)
}

// appendShort appends the beginning of what a client sent, and how long it is.
func appendShort(dst, s []byte) []byte {
	if len(s) <= visible.LongestInLog {
		return visible.AppendText(dst, s)
	}
	return visible.AppendText(dst, visible.Short(string(s)))
}

// appendTarget appends what lines tell of a request's target.
func appendTarget(dst []byte, r *conn.Request) []byte {
	target, hidden := toldTarget(r)
	if dst = appendShort(dst, target); hidden {
		dst = append(dst, hiddenQuery...)
	}
	return dst
}

// hiddenQuery stands for a query that is not told.
const hiddenQuery = "?..."

// toldTarget is what lines tell of a request's target, and whether it had a query that they do not. A query is
// hidden where it may hold a secret of somebody: the token of an export; at a door, what the client of a proxy
// asked for; and where there is nothing, for that may be either, in another spelling.
func toldTarget(r *conn.Request) (target []byte, hidden bool) {
	at := bytes.IndexByte(r.Target, '?')
	if at < 0 {
		return r.Target, false
	}
	nowhere := r.Kind == conn.Other && r.Line == conn.NoLine
	if nowhere || string(r.Path) == doorPath || hasToken(r.Target[at+1:]) {
		return r.Target[:at], true
	}
	return r.Target, false
}

// hasToken reports whether the word token is in a query, in capitals or not, and with any letter of it escaped.
func hasToken(query []byte) bool {
	const word = "token"
	for ; len(query) > 0; query = query[1:] {
		rest, n := query, 0
		for n < len(word) && len(rest) > 0 {
			c := rest[0]
			if c == '%' && len(rest) > 2 {
				c, rest = hexDigit(rest[1])<<4|hexDigit(rest[2]), rest[2:]
			}
			if c|0x20 != word[n] {
				break
			}
			rest, n = rest[1:], n+1
		}
		if n == len(word) {
			return true
		}
	}
	return false
}

// hexDigit is the value of a digit, or of what is none something that is no letter's.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0
}

// appendQuoted appends what a client sent, within the quotes that stand around
// it: on one line, and with nothing in it that is not seen.
func appendQuoted[T string | []byte](dst []byte, s T) []byte {
	begin := 0
	for i := range len(s) {
		if s[i] == '"' {
			dst = append(visible.AppendText(dst, s[begin:i]), `\"`...)
			begin = i + 1
		}
	}
	return visible.AppendText(dst, s[begin:])
}

// leave has a line written. It never waits.
func (l *accessLog) leave(at time.Time, line []byte) {
	if l.over.Load() || !l.ring.put(at.UnixNano(), line) {
		l.lost.Add(1)
		return
	}
	if l.idle.Load() && l.idle.CompareAndSwap(true, false) {
		select {
		case l.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// write writes lines until end is called, and then those that are left.
func (l *accessLog) write() {
	defer close(l.ended)
	minute := time.NewTicker(lossesEvery)
	defer minute.Stop()
	nap := time.NewTimer(lineNap)
	defer nap.Stop()
	for {
		some := l.drain()
		l.tellLost(time.Now())
		if !some && l.sleep(minute.C) {
			return
		}
		nap.Reset(lineNap)
		select {
		case <-nap.C:
		case <-l.stop:
			l.drain()
			return
		}
	}
}

// sleep waits for the next line; true when there are to be no more.
func (l *accessLog) sleep(minute <-chan time.Time) bool {
	l.idle.Store(true)
	defer l.idle.Store(false)
	if !l.ring.empty() { // it came before anybody knew
		return false
	}
	select {
	case <-l.wake:
	case <-minute:
	case <-l.stop:
		l.drain()
		return true
	}
	return false
}

// drain writes what waits; false when that was nothing.
func (l *accessLog) drain() (some bool) {
	lines, size := 0, 0
	for {
		at, line, ok := l.ring.take(l.room[:0])
		if !ok {
			break
		}
		l.room = keep(line)
		l.out.Line(time.Unix(0, at), line)
		lines, size, some = lines+1, size+len(line), true
		if size >= linesAtOnce {
			l.flush(lines)
			lines, size = 0, 0
			runtime.Gosched() // those who answer come first
		}
	}
	if lines > 0 {
		l.flush(lines)
	}
	return some
}

func (l *accessLog) flush(lines int) {
	lost, err := l.out.Flush()
	if lost > 0 {
		l.lost.Add(uint64(lost))
		l.why = err
	}
	l.written.Add(uint64(lines - lost))
}

// tellLost says that lines are lost, once a minute.
func (l *accessLog) tellLost(now time.Time) {
	lost := l.lost.Load()
	if lost == l.told || now.Sub(l.toldAt) < lossesEvery {
		return
	}
	args := []any{"lost", lost - l.told, "since_start", lost}
	if l.why != nil {
		args = append(args, "error", l.why)
	}
	l.told, l.toldAt, l.why = lost, now, nil
	l.log.Error("lines about requests are lost: they come faster than their log takes them, or it takes none; "+
		"free or change its disk, or turn them off with access_log: false in lapid.yaml", args...)
}

// end has what is left written. A log that takes nothing is not waited for for long.
func (l *accessLog) end() {
	l.over.Store(true)
	close(l.stop)
	patience := time.NewTimer(lastLinesPatience)
	defer patience.Stop()
	select {
	case <-l.ended:
	case <-patience.C:
	}
}
