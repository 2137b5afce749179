package transport

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// accessLog writes one line per answered request, in the shape that people
// parse: IP - [RFC 1123 time] "METHOD path PROTO status latency "user-agent"
// error". A line is one Write; a writer that fails loses it.
type accessLog struct {
	mu  sync.Mutex
	out io.Writer
	buf []byte
}

func (l *accessLog) line(x *exchange, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &x.ctx.Request
	b := x.client.AppendTo(l.buf[:0])
	b = append(b, " - ["...)
	b = time.Unix(0, x.now).AppendFormat(b, time.RFC1123)
	b = append(b, `] "`...)
	b = append(b, r.Header.Method()...)
	b = append(b, ' ')
	b = append(b, r.Header.RequestURI()...)
	b = append(b, ' ')
	b = append(b, r.Header.Protocol()...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(x.ctx.Response.StatusCode()), 10)
	b = fmt.Appendf(b, ` %s "`, took)
	b = appendPrintable(b, string(r.Header.UserAgent()))
	b = append(b, `" `...)
	b = appendPrintable(b, x.failure)
	b = append(b, "\"\n"...)
	l.buf = keep(b)
	_, _ = l.out.Write(b) // nobody to tell
}

// appendPrintable keeps what a client sent on one line.
func appendPrintable(dst []byte, s string) []byte {
	for _, c := range s {
		if !strconv.IsPrint(c) {
			c = ' '
		}
		dst = append(dst, string(c)...)
	}
	return dst
}
