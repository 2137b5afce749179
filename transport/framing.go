package transport

import (
	"bytes"
	"errors"
	"net"

	"github.com/valyala/fasthttp"
)

// What stands between two requests on one connection must be read in one way
// only, or a proxy in front of us and we may disagree on where a request ends.
// The parser below refuses most of what is doubtful (two lengths, a blank
// before a colon, control bytes); this file refuses the rest.

// refusedURI takes the place of the request line of a request that is refused.
const refusedURI = "*"

// headerReceived looks at the headers as they came, before the body is read.
func headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	uri := h.RequestURI()
	good, last := framed(h.RawHeaders())
	if len(uri) == 0 || uri[0] != '/' || !spoken(h.Protocol()) || !good {
		h.SetRequestURI(refusedURI)
		last = true
	} else if bytes.IndexByte(uri, '#') >= 0 || bytes.Contains(uri, schemeMark) {
		// A URL inside a query is text, and there are no fragments here; the
		// parser would look for a host, and cut.
		uri = bytes.ReplaceAll(uri, schemeMark, []byte("%3A//"))
		h.SetRequestURIBytes(bytes.ReplaceAll(uri, []byte("#"), []byte("%23")))
	}
	if last {
		h.SetConnectionClose()
	}
	return fasthttp.RequestConfig{}
}

// spoken reports whether we speak a version of the protocol.
func spoken(version []byte) bool {
	return string(version) == "HTTP/1.1" || string(version) == "HTTP/1.0"
}

var (
	schemeMark       = []byte("://")
	contentLength    = []byte("content-length")
	transferEncoding = []byte("transfer-encoding")
	connection       = []byte("connection")
	chunked          = []byte("chunked")
	closing          = []byte("close")
)

// framed reports whether every header stands on one line that ends in CRLF, and
// at most one of them says how long the body is; and whether the client wants
// the connection closed, in whatever case and company it says so.
func framed(raw []byte) (good, last bool) {
	lengths := 0
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n')
		if end <= 0 || raw[end-1] != '\r' || raw[0] == ' ' || raw[0] == '\t' {
			return false, true
		}
		switch raw[0] | 0x20 {
		case 'c':
			if isHeader(raw[:end], contentLength) {
				lengths++
			} else if isHeader(raw[:end], connection) {
				last = last || hasWord(raw[len(connection)+1:end], closing)
			}
		case 't':
			if isHeader(raw[:end], transferEncoding) {
				lengths++
				if !bytes.EqualFold(bytes.TrimSpace(raw[len(transferEncoding)+1:end]), chunked) {
					return false, true
				}
			}
		}
		raw = raw[end+1:]
	}
	return lengths <= 1, last
}

// hasWord reports whether a comma list holds a word, in any case.
func hasWord(list, word []byte) bool {
	for len(list) > 0 {
		one, rest, _ := bytes.Cut(list, []byte{','})
		if bytes.EqualFold(bytes.TrimSpace(one), word) {
			return true
		}
		list = rest
	}
	return false
}

func isHeader(line, name []byte) bool {
	return len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], name)
}

// badRequest answers what could not be read as a request. The connection is
// closed after it.
func (s *Server) badRequest(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	status := fasthttp.StatusBadRequest
	switch {
	case errors.As(err, &small):
		status = fasthttp.StatusRequestHeaderFieldsTooLarge
	case errors.As(err, &network) && network.Timeout():
		status = fasthttp.StatusRequestTimeout
	}
	ctx.Response.Reset()
	ctx.SetStatusCode(status)
	ctx.SetConnectionClose()
	if c, secure := ctx.Conn().(*secureConn); !secure || !c.failed {
		s.counting.shares[0].answered(status)
	}
}
