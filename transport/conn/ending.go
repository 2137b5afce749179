package conn

import "bytes"

// ending keeps the end of an answer in chunks, from the last chunk on, until all
// of it is there. The HTTP library writes it in three parts.
type ending struct {
	keep bool
	kept []byte
}

var (
	noMoreChunks = []byte("\r\n0\r\n")     // behind it comes an empty line,
	endOfChunks  = []byte("\r\n0\r\n\r\n") // or came with it
)

// write writes, or keeps.
func (e *ending) write(b []byte, write func([]byte) (int, error)) (int, error) {
	if !e.keep {
		return write(b)
	}
	whole := bytes.HasSuffix(e.kept, noMoreChunks)
	if e.kept = append(e.kept, b...); !whole && !bytes.HasSuffix(e.kept, endOfChunks) {
		return len(b), nil
	}
	all := e.kept
	e.keep, e.kept = false, nil
	if _, err := write(all); err != nil {
		return 0, err
	}
	return len(b), nil
}
