package visible

import (
	"io"
	"sync"
	"unicode/utf8"
)

// Form is what a stream carries.
type Form uint8

const (
	// ForPeople: lines to be read; escapes are those of Lines.
	ForPeople Form = iota
	// ForJSON: JSON, whose meaning stays the same: what is not seen is written
	// \u0000. Line ends and tabs stay.
	ForJSON
	// AsIs: anything else, passed on unchanged.
	AsIs
)

// Writer stands in front of a terminal or a log file: whatever a message
// was made of, no sign that is not seen leaves through it, but for line ends
// and tabs. Any goroutine may write.
type Writer struct {
	out  io.Writer
	form func() Form

	mu     sync.Mutex // guards what follows, and the order of writes
	half   []byte     // the beginning of a character, at most 3 bytes
	before rune       // the character shown last, 0 for none
	buf    []byte
}

// NewWriter makes a writer; form is asked at each write.
func NewWriter(out io.Writer, form func() Form) *Writer { return &Writer{out: out, form: form} }

// As is a form that stays the same.
func As(f Form) func() Form { return func() Form { return f } }

// Under is what a Writer writes to, and any other writer itself: for callers that
// have to know whether it is a terminal, and for binary output.
func Under(w io.Writer) io.Writer {
	if v, ok := w.(*Writer); ok {
		return v.out
	}
	return w
}

// Write passes text on. A character may come in several writes: its beginning is
// kept until the rest has come or Flush is called. It reports all of p as
// written, or none of it.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	form := w.form()
	if form == AsIs || len(w.half) == 0 && !needs(p, true) {
		if len(p) > 0 {
			w.before = rune(p[len(p)-1])
		}
		return w.pass(p)
	}
	text := append(w.buf[:0], w.half...)
	text = append(text, p...)
	whole := len(text) - begun(text)
	w.half = append(w.half[:0], text[whole:]...)
	err := w.shown(text[:whole], form)
	w.buf = text[:0]
	if cap(w.buf) > mostKept {
		w.buf = nil
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// mostKept is how large a buffer is kept for the next write, in bytes.
const mostKept = 64 << 10

// Flush writes the beginning of a character whose end never came.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	half := w.half
	w.half = nil
	return w.shown(half, w.form())
}

func (w *Writer) pass(p []byte) (int, error) {
	if len(w.half) > 0 {
		if _, err := w.out.Write(w.half); err != nil {
			return 0, err
		}
		w.half = w.half[:0]
	}
	return w.out.Write(p)
}

func (w *Writer) shown(text []byte, form Form) error {
	if len(text) == 0 {
		return nil
	}
	esc := escape(goEscape)
	if form == ForJSON {
		esc = jsonEscape
	}
	out, before := appendShown(make([]byte, 0, len(text)+64), text, w.before, esc, true)
	w.before = before
	_, err := w.out.Write(out)
	return err
}

// begun is how many bytes at the end are the beginning of a character.
func begun(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
