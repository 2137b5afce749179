package conn

import "bytes"

// What stands between two requests on one connection must be read in one way
// only, or a proxy in front of us and we may disagree on where a request ends.
// What comes over a connection is cut into requests and put into one form before
// the HTTP library's parser sees it (intake.go); that refuses what is doubtful about
// single headers (a blank before a colon, control bytes), and this file refuses what
// came another way.

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

// refusedURI takes the place of the request line of a request that is refused.
const refusedURI = "**"
