package inputs

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// blockOfLines is how many bytes of lines become one text, of which each is a part: a line costs no
// memory of its own, and one that is kept keeps so much.
const blockOfLines = 64 << 10

// inputLines cuts an input into lines of at most maxLine bytes.
type inputLines struct {
	in    *bufio.Reader
	block string // whole lines, or the last one
}

func newInputLines(in io.Reader) *inputLines {
	return &inputLines{in: bufio.NewReaderSize(in, MaxLine)}
}

// next is the next line, without its end; io.EOF, or errTooLong.
func (l *inputLines) next() (string, error) {
	if l.block == "" {
		if err := l.fill(); err != nil {
			return "", err
		}
	}
	line, rest, _ := strings.Cut(l.block, "\n")
	l.block = rest
	return strings.TrimSuffix(line, "\r"), nil
}

// fill reads lines, as many as have come with the first of them.
func (l *inputLines) fill() error {
	first, err := l.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("%w: at most %d MiB are taken", ErrTooLong, MaxLine>>20)
	case err != nil && (len(first) == 0 || !errors.Is(err, io.EOF)):
		return err
	}
	more, _ := l.in.Peek(min(l.in.Buffered(), blockOfLines))
	more = more[:bytes.LastIndexByte(more, '\n')+1]
	l.block = string(first) + string(more)
	_, _ = l.in.Discard(len(more))
	return nil
}

// rest is all that was not given yet.
func (l *inputLines) rest() io.Reader {
	return io.MultiReader(strings.NewReader(l.block), l.in)
}

// csvReader reads records as encoding/csv does, with blanks before a field left out and lines that begin
// with # passed over. What has no quotes is a matter of commas, and is cut here; from
// the first line with a quote on, encoding/csv reads all of the rest.
type csvReader struct {
	line int // where the last record began, or was no CSV

	plain  *inputLines // nil: encoding/csv reads
	fields []string

	quoted *csv.Reader
	ration *rationed
	before int // lines that quoted has not seen
}

func newCSVReader(in io.Reader) *csvReader { return &csvReader{plain: newInputLines(in)} }

// next is the next record, which is only good until the one behind it; its fields may be kept. The
// error is a csv.ParseError for a line that is none, io.EOF, or another, which ends it.
func (r *csvReader) next() ([]string, error) {
	for r.plain != nil {
		line, err := r.plain.next()
		if err != nil {
			return nil, err
		}
		if line == "" || line[0] == '#' {
			r.line++
			continue
		}
		if strings.IndexByte(line, '"') >= 0 {
			r.quote(line)
			break
		}
		r.line++
		r.fields = r.fields[:0]
		for more := true; more; {
			var field string
			field, line, more = strings.Cut(line, ",")
			if field != "" && (field[0] == ' ' || field[0] == '\t') {
				field = strings.TrimLeft(field, " \t")
			}
			r.fields = append(r.fields, field)
		}
		return r.fields, nil
	}
	return r.nextQuoted()
}

// quote has encoding/csv go on with a line.
func (r *csvReader) quote(line string) {
	r.ration = &rationed{in: io.MultiReader(strings.NewReader(line+"\n"), r.plain.rest()), most: MaxLine}
	r.ration.next()
	r.quoted = csv.NewReader(bufio.NewReaderSize(r.ration, 1<<16))
	r.quoted.ReuseRecord, r.quoted.TrimLeadingSpace, r.quoted.FieldsPerRecord, r.quoted.Comment = true, true, -1, '#'
	r.plain, r.before = nil, r.line
}

func (r *csvReader) nextQuoted() ([]string, error) {
	r.ration.next()
	record, err := r.quoted.Read()
	var wrong *csv.ParseError
	switch {
	case errors.As(err, &wrong):
		r.line = r.before + wrong.Line
	case err == nil:
		at, _ := r.quoted.FieldPos(0)
		r.line = r.before + at
	}
	return record, err
}
