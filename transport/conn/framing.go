package conn

import (
	"bytes"
	"errors"
	"io"
	"net"

	"github.com/valyala/fasthttp"
)

// What stands between two requests on one connection must be read in one way
// only, or a proxy in front of us and we may disagree on where a request ends.
// What comes over a connection is cut into requests and put into one form before
// the HTTP library's parser sees it (intake.go); that refuses what is doubtful about
// single headers (a blank before a colon, control bytes), and this file refuses what
// came another way.

// refusedURI takes the place of the request line of a request that is refused.
const refusedURI = "**"

// everything is what OPTIONS asks about when it asks about the server.
const everything = "*"

// headerReceived looks at the headers as they came, before the body is read.
// What came over a connection has been looked at before (intake.go).
func headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	uri := h.RequestURI()
	s := look(h.RawHeaders())
	if string(uri) == everything && string(h.Method()) == fasthttp.MethodOptions && !s.bad && !s.bare {
		if s.last {
			h.SetConnectionClose()
		}
		return fasthttp.RequestConfig{}
	}
	if len(uri) == 0 || uri[0] != '/' || !spoken(h.Protocol()) || s.bad || s.bare {
		h.SetRequestURI(refusedURI)
		s.last = true
	} else if bytes.IndexByte(uri, '#') >= 0 || bytes.Contains(uri, schemeMark) {
		// A URL inside a query is text, and there are no fragments here; the
		// parser would look for a host, and cut.
		uri = bytes.ReplaceAll(uri, schemeMark, []byte("%3A//"))
		h.SetRequestURIBytes(bytes.ReplaceAll(uri, []byte("#"), []byte("%23")))
	}
	if s.last {
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
	hostName         = []byte("host")
	chunked          = []byte("chunked")
	closing          = []byte("close")
)

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

// problem is what to say about an error of reading, of the head or of what it says that
// comes behind it.
func problem(err error, atBody bool) (status int, text string) {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	var refused *Refusal
	switch {
	case errors.As(err, &refused):
		return refused.Status, refused.Text
	case errors.As(err, &small):
		return fasthttp.StatusRequestHeaderFieldsTooLarge, "the request line and the headers are too long"
	case errors.As(err, &network) && network.Timeout():
		if atBody {
			return fasthttp.StatusRequestTimeout, TextNoBody
		}
		return fasthttp.StatusRequestTimeout, TextTimeout
	case errors.Is(err, io.ErrUnexpectedEOF) && atBody:
		return fasthttp.StatusBadRequest, TextCutBody
	}
	return fasthttp.StatusBadRequest, TextBadHead
}
