package inputs

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// sniffed is how much of an input is looked at to find its format.
const sniffed = 64 << 10

// errNoUTF8 refuses what no reader takes.
var errNoUTF8 = errors.New("the input is no text in UTF-8 (Windows' \"Unicode\" is UTF-16): save it as UTF-8")

// FormatOf is the format that the extension of a file tells, also before .gz; "" where it
// tells nothing.
func FormatOf(file string) string {
	file = strings.TrimSuffix(strings.ToLower(file), ".gz")
	switch filepath.Ext(file) {
	case ".csv":
		return CSV
	case ".json":
		return JSON
	case ".ndjson", ".jsonl":
		return NDJSON
	}
	return ""
}

// guess is the format that the beginning of an input looks like. An input without any
// content is a list of values, of which it has none.
func guess(start []byte) string {
	for line := range bytes.Lines(start) {
		text := strings.TrimSpace(string(line))
		switch {
		case text == "" || text[0] == '#':
			continue
		case text[0] == '[' || text == "null":
			return JSON
		case text[0] == '{':
			return NDJSON
		}
		var names []string
		for _, name := range strings.Split(strings.ToLower(text), ",") {
			names = append(names, strings.Trim(strings.TrimSpace(name), `"`))
		}
		if slices.Contains(names, "value") || slices.Contains(names, "ip") {
			return CSV
		}
		return Values
	}
	return Values
}

// Text gives an input as readers take it: unpacked if it is a gzip file, without a
// byte order mark. A gzip file that was cut off, or damaged, ends with an error.
func Text(input io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReaderSize(input, sniffed)
	if start, _ := in.Peek(2); len(start) == 2 && start[0] == 0x1f && start[1] == 0x8b {
		packed, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("unpacking the input: %w", err)
		}
		in = bufio.NewReaderSize(&unpacked{packed}, sniffed)
	}
	start, err := in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if bytes.HasPrefix(start, []byte("\ufeff")) {
		_, _ = in.Discard(3)
	}
	if bytes.HasPrefix(start, []byte{0xff, 0xfe}) || bytes.HasPrefix(start, []byte{0xfe, 0xff}) {
		return nil, errNoUTF8
	}
	return in, nil
}

// unpacked says what an error is about.
type unpacked struct{ io.Reader }

func (u *unpacked) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the gzip file was cut off")
	} else if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("the gzip file is damaged: %w", err)
	}
	return n, err
}

// Recognize tells by its beginning which format a text has, of which nothing is taken.
func Recognize(in *bufio.Reader) (string, error) {
	start, err := in.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the input: %w", err)
	}
	if bytes.IndexByte(start, 0) >= 0 {
		return "", errNoUTF8
	}
	return guess(start), nil
}

// Expected are what the formats are, for who gave another.
var Expected = map[string]string{
	CSV: "csv has a header line with a column 'value'", JSON: "json is one list of objects",
	NDJSON: "ndjson has one whole object on each line (as jq -c writes it)", Values: "values has one value on each line",
}

// rationed is a reader of which no one thing may have more than most bytes; next begins
// another. It is exact to what its reader takes ahead.
type rationed struct {
	in         io.Reader
	left, most int64
}

// ErrTooLong: one line, record or object is longer than may be.
var ErrTooLong = errors.New("one entry is too long")

func (r *rationed) next() { r.left = r.most }

func (r *rationed) Read(b []byte) (int, error) {
	if r.left <= 0 {
		return 0, fmt.Errorf("%w: at most %d MiB are taken", ErrTooLong, r.most>>20)
	}
	n, err := r.in.Read(b[:min(int64(len(b)), r.left)])
	r.left -= int64(n)
	return n, err
}

// uncommented leaves out the lines of a JSON text that begin with #, and keeps their ends,
// so that lines count as before. No text in JSON goes over a line end, so they are none.
type uncommented struct {
	in   *bufio.Reader
	rest []byte
	cut  bool // the line goes on, and is one to leave out
	on   bool // it goes on, and is not
}

func (u *uncommented) Read(b []byte) (int, error) {
	for len(u.rest) == 0 {
		piece, err := u.in.ReadSlice('\n')
		if len(piece) == 0 {
			return 0, err
		}
		if !u.on && !u.cut {
			u.cut = bytes.HasPrefix(bytes.TrimLeft(piece, " \t"), []byte("#"))
		}
		ended := piece[len(piece)-1] == '\n'
		switch {
		case !u.cut:
			u.rest = piece
		case ended:
			u.rest = piece[len(piece)-1:]
		}
		u.on, u.cut = !ended && !u.cut, !ended && u.cut
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && len(u.rest) == 0 {
			return 0, err
		}
	}
	n := copy(b, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}
