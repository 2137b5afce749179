package conn

import (
	"bytes"
	"math"
)

// headEnd is where the head that in begins with ends, behind its first empty
// line; 0: not yet. The first from bytes were looked at before.
func headEnd(in []byte, from int) int {
	for at := max(from-2, 0); ; {
		next := bytes.IndexByte(in[at:], '\n')
		if next < 0 {
			return 0
		}
		at += next + 1
		switch rest := in[at:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 2
		}
	}
}

// blankLines is how much of in are empty lines, which may stand before a request.
func blankLines(in []byte) (n int) {
	for {
		switch rest := in[n:]; {
		case len(rest) > 0 && rest[0] == '\n':
			n++
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			n += 2
		default:
			return n
		}
	}
}

// requestLine is the first line of a head, without its end, in three parts.
type requestLine struct{ method, target, version []byte }

// cutLine cuts the first line in three, or says why it is refused. A version is one
// digit, a point and another: all else is none, and so is the line.
func cutLine(line []byte) (l requestLine, refused *Refusal) {
	var first, second bool
	l.method, line, first = bytes.Cut(line, []byte{' '})
	l.target, l.version, second = bytes.Cut(line, []byte{' '})
	switch v := l.version; {
	case !first || !second || len(l.method) == 0 || len(l.target) == 0:
		return l, errNoHTTP
	case spoken(v):
		return l, nil
	case len(v) == len("HTTP/2.0") && bytes.HasPrefix(v, []byte("HTTP/")) && isDigit(v[5]) && v[6] == '.' && isDigit(v[7]):
		return l, errVersion
	}
	return l, errNoHTTP
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// inChunks is the length of a body that comes in chunks.
const inChunks = -1

// survey is what the lines of headers say about how to read them and what comes
// behind them.
type survey struct {
	bad    bool  // they can be read in more than one way, or in none
	bare   bool  // a line ends in LF alone
	last   bool  // the client wants the connection closed
	sized  bool  // there is a Content-Length or a Transfer-Encoding
	length int64 // of the body, or inChunks
	hosts  int   // how many lines are a Host
	noHost bool  // and the last of them is empty

	unread *Refusal // why the first line is refused; nothing else is known then. nil: it is not
}

// look surveys header lines, with the empty one at the end or without it. What it
// does not call bad may still be refused by the HTTP library.
func look(lines []byte) (s survey) {
	for len(lines) > 0 && !s.bad {
		end := bytes.IndexByte(lines, '\n')
		if end < 0 || lines[0] == ' ' || lines[0] == '\t' {
			s.bad = true
			break
		}
		s.line(withoutCR(lines[:end]))
		s.bare = s.bare || end == 0 || lines[end-1] != '\r'
		lines = lines[end+1:]
	}
	if s.bare && s.sized {
		s.bad = true
	}
	if s.bad || s.bare {
		s.last = true
	}
	return s
}

// line takes in one line.
func (s *survey) line(line []byte) {
	if len(line) == 0 {
		return
	}
	switch line[0] | 0x20 {
	case 'c':
		if isHeader(line, contentLength) {
			s.bad = s.bad || s.sized
			s.sized, s.length = true, digits(bytes.Trim(line[len(contentLength)+1:], " \t"))
			s.bad = s.bad || s.length < 0
		} else if isHeader(line, connection) {
			s.last = s.last || hasWord(line[len(connection)+1:], closing)
		}
	case 'h':
		if isHeader(line, hostName) {
			s.hosts++
			s.noHost = len(bytes.Trim(line[len(hostName)+1:], " \t")) == 0
		}
	case 't':
		if isHeader(line, transferEncoding) {
			s.bad = s.bad || s.sized || !bytes.EqualFold(bytes.TrimSpace(line[len(transferEncoding)+1:]), chunked)
			s.sized, s.length = true, inChunks
		}
	}
}

func withoutCR(line []byte) []byte {
	if len(line) > 0 && line[len(line)-1] == '\r' {
		return line[:len(line)-1]
	}
	return line
}

// digits reads a length; negative when it is none.
func digits(text []byte) (n int64) {
	if len(text) == 0 {
		return -1
	}
	for _, b := range text {
		if !isDigit(b) || n > math.MaxInt64/10-1 {
			return -1
		}
		n = 10*n + int64(b-'0')
	}
	return n
}

// originOf is the part of an absolute target, as clients send it that take us for
// a proxy, that says what is asked: the same as if it had come without scheme and
// host, which mean nothing here. false when it is no such target.
func originOf(target []byte) (origin []byte, ok bool) {
	scheme, rest, ok := bytes.Cut(target, schemeMark)
	if !ok || !bytes.EqualFold(scheme, []byte("http")) && !bytes.EqualFold(scheme, []byte("https")) {
		return nil, false
	}
	end := bytes.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if !plainHost(rest[:end]) {
		return nil, false
	}
	if rest = rest[end:]; len(rest) == 0 || rest[0] != '/' {
		return append([]byte{'/'}, rest...), true
	}
	return rest, true
}

// someHost stands for a Host that says nothing, which is allowed; nobody here asks
// which it is.
const someHost = "Host: -"

// rewritten is a head in the one form that the HTTP library reads: lines end in
// CRLF, the target is a path, and the Host is not empty. One whose lines ended in
// LF alone is the last of its connection: what comes behind it might be what
// another reader took for a part of it.
func rewritten(l requestLine, target, lines []byte, s *survey) []byte {
	out := make([]byte, 0, len(l.method)+len(target)+len(lines)+bytes.Count(lines, []byte{'\n'})+64)
	out = append(append(out, l.method...), ' ')
	out = append(append(out, target...), ' ')
	out = append(append(out, l.version...), '\r', '\n')
	for len(lines) > 0 {
		line, rest, _ := bytes.Cut(lines, []byte{'\n'})
		lines = rest
		line = withoutCR(line)
		switch {
		case len(line) == 0:
			continue
		case s.noHost && s.hosts == 1 && isHeader(line, hostName):
			out = append(out, someHost...)
		default:
			out = append(out, line...)
		}
		out = append(out, '\r', '\n')
	}
	if s.bare {
		out = append(out, "Connection: close\r\n"...)
	}
	return append(out, '\r', '\n')
}

// split reads a whole head.
func split(head []byte) (l requestLine, lines []byte, s survey) {
	first, lines, _ := bytes.Cut(head, []byte{'\n'})
	l, refused := cutLine(withoutCR(first))
	if refused != nil {
		return l, lines, survey{bad: true, unread: refused}
	}
	s = look(lines)
	if !bytes.HasSuffix(first, []byte{'\r'}) {
		s.bare = true
		s.bad = s.bad || s.sized
	}
	return l, lines, s
}
