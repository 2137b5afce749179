package verbs

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sniffed is how much of an input is looked at to find its format.
const sniffed = 64 << 10

// errNoUTF8 refuses what no reader takes.
var errNoUTF8 = errors.New("the input is no text in UTF-8 (Windows' \"Unicode\" is UTF-16): save it as UTF-8")

// formatOf is the format that the extension of a file tells, also before .gz; "" where it
// tells nothing.
func formatOf(file string) string {
	file = strings.TrimSuffix(strings.ToLower(file), ".gz")
	switch filepath.Ext(file) {
	case ".csv":
		return formatCSV
	case ".json":
		return formatJSON
	case ".ndjson", ".jsonl":
		return formatNDJSON
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
			return formatJSON
		case text[0] == '{':
			return formatNDJSON
		}
		var names []string
		for _, name := range strings.Split(strings.ToLower(text), ",") {
			names = append(names, strings.Trim(strings.TrimSpace(name), `"`))
		}
		if slices.Contains(names, "value") || slices.Contains(names, "ip") {
			return formatCSV
		}
		return formatValues
	}
	return formatValues
}

// text gives the input from its beginning: unpacked if it is a gzip file, without a
// byte order mark. A gzip file that was cut off, or damaged, ends with an error.
func text(input *os.File) (*bufio.Reader, error) {
	if _, err := input.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the input: %w", err)
	}
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

// recognize finds out the format where neither a flag nor the extension tells it.
func (i *importing) recognize(input *os.File) error {
	if i.format != "" {
		return nil
	}
	in, err := text(input)
	if err != nil {
		return err
	}
	start, err := in.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the input: %w", err)
	}
	if bytes.IndexByte(start, 0) >= 0 {
		return errNoUTF8
	}
	i.format, i.guessed = guess(start), true
	return nil
}

// expected are what the formats are, for who gave another.
var expected = map[string]string{
	formatCSV: "csv has a header line with a column 'value'", formatJSON: "json is one list of objects",
	formatNDJSON: "ndjson has one whole object on each line (as jq -c writes it)", formatValues: "values has one value on each line",
}

// readAs says how the input was read, behind an error that may come from that.
func (i *importing) readAs() string {
	if !i.guessed {
		return ""
	}
	return fmt.Sprintf(" (it was read as %s, by its beginning: %s; --format says what it is)", i.format, expected[i.format])
}

// rationed is a reader of which no one thing may have more than most bytes; next begins
// another. It is exact to what its reader takes ahead.
type rationed struct {
	in         io.Reader
	left, most int64
}

// errTooLong: one line, record or object is longer than may be.
var errTooLong = errors.New("one entry is too long")

func (r *rationed) next() { r.left = r.most }

func (r *rationed) Read(b []byte) (int, error) {
	if r.left <= 0 {
		return 0, fmt.Errorf("%w: at most %d MiB are taken", errTooLong, r.most>>20)
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

// ending notes the last byte of what was read.
type ending struct {
	in   io.Reader
	last byte
}

func (e *ending) Read(b []byte) (int, error) {
	n, err := e.in.Read(b)
	if n > 0 {
		e.last = b[n-1]
	}
	return n, err
}
