package shadow

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync/atomic"
)

// room is how many bytes of bodies and answers are kept at once, in memory and in files.
type room struct {
	used atomic.Int64
	most int64
}

// take reserves n bytes, or none.
func (r *room) take(n int64) bool {
	if r.used.Add(n) > r.most {
		r.used.Add(-n)
		return false
	}
	return true
}

func (r *room) give(n int64) { r.used.Add(-n) }

// errNoRoom is why a body was not kept whole.
var (
	errNoRoom  = errors.New("there is no room for it in the queue")
	errTooLong = errors.New("it is longer than what is kept of one")
)

// capture keeps what passes: up to a bound in memory, then in a file without a name. What
// does not fit, or cannot be written, is not kept, and err says why; whoever writes never gets an error and
// never waits for more than the disk. It is one goroutine's at a time.
type capture struct {
	room   *room
	memory int64
	most   int64
	dir    string

	head []byte
	file *os.File
	n    int64
	err  error
}

// Write keeps b, if it can.
func (c *capture) Write(b []byte) (int, error) {
	if c.err == nil {
		c.err = c.keep(b)
		if c.err != nil {
			c.release()
		}
	}
	return len(b), nil
}

func (c *capture) keep(b []byte) error {
	if c.n+int64(len(b)) > c.most {
		return errTooLong
	}
	if !c.room.take(int64(len(b))) {
		return errNoRoom
	}
	c.n += int64(len(b))
	if c.file == nil && c.n <= c.memory {
		c.head = append(c.head, b...)
		return nil
	}
	if c.file == nil {
		f, err := os.CreateTemp(c.dir, "body-*")
		if err != nil {
			return err
		}
		c.file = f
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	_, err := c.file.Write(b)
	return err
}

// reader reads what was kept from the beginning. Each reader stands for itself. Call it when nothing more is
// written and err is nil.
func (c *capture) reader() io.Reader {
	if c.file == nil {
		return bytes.NewReader(c.head)
	}
	return io.MultiReader(bytes.NewReader(c.head), io.NewSectionReader(c.file, 0, c.n-int64(len(c.head))))
}

// start is the beginning of it, at most n bytes.
func (c *capture) start(n int) []byte {
	if c.err != nil {
		return nil
	}
	b := make([]byte, min(int64(n), c.n))
	n, _ = io.ReadFull(c.reader(), b)
	return b[:n]
}

// release gives everything back. It may be called again.
func (c *capture) release() {
	c.room.give(c.n)
	c.n, c.head = 0, nil
	if c.file != nil {
		_ = c.file.Close()
		c.file = nil
	}
}
