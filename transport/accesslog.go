package transport

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"lapid/transport/conn"
	"lapid/transport/visible"
)

// accessLog writes one line per answered request, in the shape that people
// parse: IP - [RFC 1123 time] "METHOD path PROTO status latency "user-agent"
// error". A line is one Write; a writer that fails loses it.
type accessLog struct {
	mu  sync.Mutex
	out io.Writer
	buf []byte
}

func (l *accessLog) line(r *conn.Request, client netip.Addr, now int64, status int, failure string, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := client.AppendTo(l.buf[:0])
	b = append(b, " - ["...)
	b = time.Unix(0, now).AppendFormat(b, time.RFC1123)
	b = append(b, `] "`...)
	b = visible.AppendText(b, r.Method)
	b = append(b, ' ')
	b = visible.AppendText(b, visible.Short(string(r.Target)))
	b = append(b, ' ')
	b = visible.AppendText(b, r.Protocol)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(status), 10)
	b = fmt.Appendf(b, ` %s "`, took)
	b = appendQuoted(b, []byte(visible.Short(string(r.Agent))))
	b = append(b, `" `...)
	b = appendQuoted(b, []byte(visible.Short(failure)))
	b = append(b, "\"\n"...)
	l.buf = keep(b)
	_, _ = l.out.Write(b) // nobody to tell
}

// unread is the line of what could not be read as a request: nothing is known of it
// but from where it came.
func (l *accessLog) unread(client netip.Addr, status int, text string, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := client.AppendTo(l.buf[:0])
	b = append(b, " - ["...)
	b = time.Unix(0, now).AppendFormat(b, time.RFC1123)
	b = fmt.Appendf(b, `] "- - - %d 0s "" "`, status)
	b = appendQuoted(b, []byte(text))
	b = append(b, "\"\n"...)
	l.buf = keep(b)
	_, _ = l.out.Write(b) // nobody to tell
}

// appendQuoted appends what a client sent, within the quotes that stand around
// it: on one line, and with nothing in it that is not seen.
func appendQuoted(dst, s []byte) []byte {
	for i, part := range bytes.Split(s, []byte{'"'}) {
		if i > 0 {
			dst = append(dst, `\"`...)
		}
		dst = visible.AppendText(dst, part)
	}
	return dst
}
