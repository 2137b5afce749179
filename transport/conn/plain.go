package conn

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// plain is a request that a loop may answer, as far as its handlers care: a GET
// of live decisions or of a stream that can be read in one way only and says
// nothing about bodies or its connection. The slices point into what was read.
//
// It is deliberately narrow. What is odd in any way, also where it would be
// allowed, is not plain, and the HTTP library decides what it means: nothing is
// refused here, so there are no two opinions about what is.
type plain struct {
	kind Kind
	size int // of the whole request, in bytes

	target    []byte
	query     []byte // behind the question mark
	key       []byte // X-Api-Key
	agent     []byte // User-Agent
	forwarded []byte // X-Forwarded-For
	real      []byte // X-Real-Ip
	match     []byte // If-None-Match
	prefer    []byte // Prefer
	accept    []byte // Accept
	lastEvent []byte // Last-Event-ID

	authorization []byte // Authorization
	packing       []byte // Accept-Encoding
	since         []byte // If-Modified-Since
}

// Kind is what a request is about, as far as the plain reader knows.
type Kind uint8

const (
	Other   Kind = iota // everything that is not for a loop
	Address             // GET of live decisions
	Changes             // GET of a stream
	List                // GET of an export by its name, with nothing else asked
	Verdict             // GET of whether a proxy's client may pass

	kinds // how many there are
)

// Kinds is how many kinds there are.
const Kinds = int(kinds)

var (
	plainMethod   = []byte("GET")
	plainProtocol = []byte("HTTP/1.1")

	plainStart = []byte("GET /v1/decisions")
	listStart  = []byte("GET /exports/")
	askStart   = []byte("GET /auth")
	streamWord = []byte("/stream")
	plainEnd   = []byte(" HTTP/1.1\r")
	keepAlive  = []byte("keep-alive")
)

// read reads the request that a batch begins with, and reports whether it is
// plain and whole. It allocates nothing.
func (p *plain) read(in []byte) bool {
	*p = plain{}
	if !bytes.HasPrefix(in, plainStart) && !bytes.HasPrefix(in, listStart) && !bytes.HasPrefix(in, askStart) {
		return false
	}
	end := bytes.IndexByte(in, '\n')
	if end < 0 || !p.line(in[:end]) {
		return false
	}
	host := false
	for at := end + 1; ; at += end + 1 {
		rest := in[at:]
		end = bytes.IndexByte(rest, '\n')
		if end < 1 || rest[end-1] != '\r' {
			return false
		}
		if end == 1 {
			p.size = at + 2
			return host
		}
		name, value, ok := header(rest[:end-1])
		if !ok || !p.header(name, value, &host) {
			return false
		}
	}
}

// line reads the request line, which begins with plainStart, listStart or askStart.
func (p *plain) line(line []byte) bool {
	if !bytes.HasSuffix(line, plainEnd) {
		return false
	}
	p.target = line[len(plainMethod)+1 : len(line)-len(plainEnd)]
	if bytes.HasPrefix(line, listStart) {
		p.kind = List
		return plainName(line[len(listStart) : len(line)-len(plainEnd)])
	}
	rest := line[:len(line)-len(plainEnd)]
	switch {
	case bytes.HasPrefix(line, askStart):
		p.kind, rest = Verdict, rest[min(len(askStart), len(rest)):]
	default:
		p.kind, rest = Address, rest[min(len(plainStart), len(rest)):]
		if bytes.HasPrefix(rest, streamWord) {
			p.kind, rest = Changes, rest[len(streamWord):]
		}
	}
	switch {
	case len(rest) > 0 && rest[0] == '?':
		p.query = rest[1:]
	case len(rest) > 0 || p.kind == Address:
		return false
	}
	return printable(p.query) && bytes.IndexByte(p.query, ' ') < 0 && bytes.IndexByte(p.query, '#') < 0 &&
		!bytes.Contains(p.query, schemeMark)
}

// plainName reports whether a name is one that exports can have.
func plainName(name []byte) bool {
	for _, b := range name {
		if !inName[b] && b != '.' && b != '_' {
			return false
		}
	}
	return len(name) > 0 && name[0] != '.'
}

// header splits a line; false when a byte of it is doubtful.
func header(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || !printable(line[colon:]) {
		return nil, nil, false
	}
	name = line[:colon]
	for _, b := range name {
		if !inName[b] {
			return nil, nil, false
		}
	}
	return name, trimBlanks(line[colon+1:]), true
}

// header takes in one header; false when it is not for a loop. Those that are
// looked at must not be there twice.
func (p *plain) header(name, value []byte, host *bool) bool {
	switch name[0] | 0x20 {
	case 'a':
		if bytes.EqualFold(name, []byte("accept")) {
			return once(&p.accept, value)
		}
		if bytes.EqualFold(name, []byte("authorization")) {
			return p.kind != List || once(&p.authorization, value)
		}
		if bytes.EqualFold(name, []byte("accept-encoding")) {
			return p.kind != List || once(&p.packing, value)
		}
	case 'c':
		if bytes.EqualFold(name, connection) {
			return bytes.EqualFold(value, keepAlive)
		}
		return !startsFold(name, "content-")
	case 'e':
		return !bytes.EqualFold(name, []byte("expect"))
	case 'h':
		if bytes.EqualFold(name, []byte("host")) {
			twice := *host
			*host = true
			return !twice && plainHost(value)
		}
		return !startsFold(name, "http2-")
	case 'i':
		if bytes.EqualFold(name, []byte("if-none-match")) {
			return once(&p.match, value)
		}
		if bytes.EqualFold(name, []byte("if-modified-since")) {
			return p.kind != List || once(&p.since, value)
		}
	case 'l':
		if bytes.EqualFold(name, []byte("last-event-id")) {
			return once(&p.lastEvent, value)
		}
	case 'p':
		if bytes.EqualFold(name, []byte("prefer")) {
			return once(&p.prefer, value)
		}
	case 't':
		return !startsFold(name, "transfer-") && !startsFold(name, "trailer") && len(name) > len("te")
	case 'u':
		if bytes.EqualFold(name, []byte("user-agent")) {
			return once(&p.agent, value)
		}
		return !bytes.EqualFold(name, []byte("upgrade"))
	case 'x':
		switch {
		case bytes.EqualFold(name, []byte("x-api-key")):
			return once(&p.key, value)
		case bytes.EqualFold(name, []byte("x-forwarded-for")):
			return once(&p.forwarded, value)
		case bytes.EqualFold(name, []byte("x-real-ip")):
			return once(&p.real, value)
		}
	}
	return true
}

// once sets a value that is not empty and was not set.
func once(to *[]byte, value []byte) bool {
	if *to != nil || len(value) == 0 {
		return false
	}
	*to = value
	return true
}

// plainHost reports whether a Host is a name or an address with or without a
// port, spelled without anything that needs thought.
func plainHost(host []byte) bool {
	name, port := host, []byte(nil)
	if len(host) > 0 && host[0] == '[' {
		end := bytes.IndexByte(host, ']')
		if end < 0 {
			return false
		}
		if a, err := netip.ParseAddr(string(host[1:end])); err != nil || !a.Is6() || a.Zone() != "" {
			return false
		}
		name, port = host[1:end], host[end+1:]
	} else {
		if colon := bytes.IndexByte(host, ':'); colon >= 0 {
			name, port = host[:colon], host[colon:]
		}
		for _, b := range name {
			if b != '.' && !inName[b] {
				return false
			}
		}
	}
	if len(name) == 0 || len(port) == 1 || len(port) > 6 || len(port) > 0 && port[0] != ':' {
		return false
	}
	for _, b := range port[min(1, len(port)):] {
		if b < '0' || b > '9' {
			return false
		}
	}
	return true
}

// inName are the bytes of a plain header name.
var inName = func() (in [256]bool) {
	for _, b := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") {
		in[b] = true
	}
	return in
}()

func startsFold(name []byte, prefix string) bool {
	return len(name) >= len(prefix) && bytes.EqualFold(name[:len(prefix)], []byte(prefix))
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// printable reports whether all bytes are from 0x20 to 0x7e. It looks at eight
// at a time.
func printable(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*ones // 0 where the byte is 0x7f
		if (x|(x-0x20*ones)|(del-ones))&tops != 0 {
			return false
		}
	}
	for _, c := range b {
		if c < 0x20 || c >= 0x7f {
			return false
		}
	}
	return true
}
