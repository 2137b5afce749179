//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
)

// Protocol says how answers are told apart.
type Protocol uint8

// What a server speaks.
const (
	HTTP Protocol = iota // HTTP/1.1, with Content-Length or chunked
	RESP                 // the Redis protocol: simple strings, numbers, errors and bulk strings
)

// maxHead bounds the part of an answer that is kept until it is complete: a head,
// a line. A longer one ends the connection.
const maxHead = 64 << 10

var (
	errHead    = errors.New("head of the answer is too long")
	errFraming = errors.New("answer cannot be framed")
)

// answer reads one answer after the other from pieces of any size. It keeps no
// body.
type answer struct {
	protocol Protocol
	state    state
	status   int    // of the answer: an HTTP status; for RESP 200, 404 for nil, 500 for an error
	body     int64  // bytes of body so far
	left     int64  // bytes of body, or of a chunk, still to come
	carry    []byte // beginning of a line or head whose end has not come
	hears    hearer // who is told what it says; nil: nobody
}

// hearer is told what an answer says, as it comes; it keeps nothing of what it is given.
type hearer interface {
	field(line []byte) // of the head, with its end
	text(part []byte)  // of the body, chunks taken apart
}

type state uint8

const (
	inHead state = iota
	inBody
	inChunkSize
	inChunk
	inTrailer
)

// reset makes ready for an answer.
func (a *answer) reset() {
	a.state, a.status, a.body, a.left = inHead, 0, 0, 0
	a.carry = a.carry[:0]
}

// feed takes bytes of the answer and tells how many it used. Once done the answer
// is complete, and what was not used belongs to the next.
func (a *answer) feed(b []byte) (used int, done bool, err error) {
	for {
		n := 0
		if a.state == inBody || a.state == inChunk {
			n, done = a.skip(b[used:])
		} else {
			n, done, err = a.line(b[used:])
		}
		used += n
		if done || err != nil || n == 0 {
			return used, done, err
		}
	}
}

// skip passes over body bytes.
func (a *answer) skip(b []byte) (used int, done bool) {
	n := min(a.left, int64(len(b)))
	if a.hears != nil {
		text := n
		if a.state == inChunk {
			text = min(n, max(a.left-2, 0)) // the line's end behind it is none
		}
		a.hears.text(b[:text])
	}
	a.left -= n
	if a.left > 0 {
		return int(n), false
	}
	if a.state == inChunk {
		a.state = inChunkSize
		return int(n), false
	}
	return int(n), true
}

// line takes a head or a line, once it is whole.
func (a *answer) line(b []byte) (used int, done bool, err error) {
	text := b
	if len(a.carry) > 0 {
		text = append(a.carry, b...)
	}
	end := a.lineEnd(text)
	if end < 0 {
		if len(text) > maxHead {
			return 0, false, errHead
		}
		a.carry = append(a.carry, b...)
		return len(b), false, nil
	}
	used = end - len(a.carry)
	a.carry = a.carry[:0]
	done, err = a.take(text[:end])
	return used, done, err
}

// lineEnd finds the end of what the state waits for, or -1.
func (a *answer) lineEnd(text []byte) int {
	mark := "\r\n"
	if a.state == inHead && a.protocol == HTTP {
		mark = "\r\n\r\n"
	}
	if i := bytes.Index(text, []byte(mark)); i >= 0 {
		return i + len(mark)
	}
	return -1
}

func (a *answer) take(text []byte) (done bool, err error) {
	switch {
	case a.state == inHead && a.protocol == RESP:
		return a.bulk(text)
	case a.state == inHead:
		return a.head(text)
	case a.state == inChunkSize:
		return false, a.chunk(text)
	}
	return len(text) == 2, nil // a trailer ends with an empty line
}

// head reads an HTTP status line and the fields that frame the body.
func (a *answer) head(text []byte) (done bool, err error) {
	if len(text) < len("HTTP/1.1 200") || text[8] != ' ' {
		return false, fmt.Errorf("%w: %.40q", errFraming, text)
	}
	a.status = int(text[9]-'0')*100 + int(text[10]-'0')*10 + int(text[11]-'0')
	a.left = -1
	if a.hears != nil {
		for field := range bytes.Lines(text) {
			a.hears.field(field)
		}
	}
	for rest := text; len(rest) > 2; {
		i := bytes.IndexByte(rest, '\n') + 1
		field := rest[:i]
		rest = rest[i:]
		switch {
		case named(field, "content-length:"):
			a.left = number(field[len("content-length:"):])
		case named(field, "transfer-encoding:"):
			a.state = inChunkSize
			return false, nil
		}
	}
	if a.status == 204 || a.status == 304 {
		return true, nil
	}
	if a.left < 0 {
		return false, fmt.Errorf("%w: neither length nor chunks in %.200q", errFraming, text)
	}
	a.state, a.body = inBody, a.left
	return a.left == 0, nil
}

// named tells whether a field begins with a name, given in small letters.
func named(field []byte, name string) bool {
	if len(field) < len(name) || field[0]|0x20 != name[0] {
		return false
	}
	for i := 1; i < len(name); i++ {
		if c := field[i]; c != name[i] && c|0x20 != name[i] {
			return false
		}
	}
	return true
}

// number reads the first decimal number of a text; -1 when there is none.
func number(text []byte) int64 {
	n, found := int64(0), false
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			n, found = n*10+int64(c-'0'), true
		case found:
			return n
		}
	}
	if !found {
		return -1
	}
	return n
}

// chunk reads the size line of a chunk; the line's end behind the chunk counts
// to it.
func (a *answer) chunk(text []byte) error {
	n := int64(0)
	for i, c := range text {
		switch d := c | 0x20; {
		case c >= '0' && c <= '9':
			n = n<<4 + int64(c-'0')
		case d >= 'a' && d <= 'f':
			n = n<<4 + int64(d-'a') + 10
		case i == 0:
			return fmt.Errorf("%w: chunk size %.20q", errFraming, text)
		}
		if c == '\r' || c == ';' {
			break
		}
	}
	if n == 0 {
		a.state = inTrailer
		return nil
	}
	a.state, a.left = inChunk, n+2
	a.body += n
	return nil
}

// bulk reads the first line of a RESP answer.
func (a *answer) bulk(text []byte) (done bool, err error) {
	a.status = 200
	switch text[0] {
	case '+', ':':
		return true, nil
	case '-':
		a.status = 500
		return true, nil
	case '$':
		if text[1] == '-' {
			a.status = 404
			return true, nil
		}
		a.body = number(text)
		a.state, a.left = inBody, a.body+2
		return false, nil
	}
	return false, fmt.Errorf("%w: %.40q", errFraming, text)
}
