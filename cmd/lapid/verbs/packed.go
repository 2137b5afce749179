package verbs

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
)

// packedRows are the rows of a long table, each text with its length before it. What is
// beyond heldRows is in a file without a name, in the folder for such files, which goes with
// the process; where none can be written, the rest stays in memory. The zero value is ready.
type packedRows struct {
	n      int   // rows
	most   int   // chunks held before there is a file; 0: heldRows
	widths []int // of each column, the widest text; the first row says how many there are

	chunk []byte   // whole rows, the newest
	held  [][]byte // chunks, the oldest
	filed []int    // sizes of those that came then, in file
	file  *os.File
	late  [][]byte // those that came when the file would take no more
	full  bool     // it takes no more
}

// heldRows is how many chunks of rows are held before they go to a file, and rowChunk how
// many bytes one has, about.
const (
	heldRows = 32
	rowChunk = 256 << 10
)

// add puts a row behind the others. Texts have no line ends.
func (p *packedRows) add(texts []string) error {
	if p.n == 0 {
		p.widths = make([]int, len(texts))
	}
	if len(texts) != len(p.widths) {
		return fmt.Errorf("BUG: a row of %d cells in a table of %d columns", len(texts), len(p.widths))
	}
	if len(p.chunk) >= rowChunk {
		p.putAway()
	}
	for i, text := range texts {
		p.widths[i] = max(p.widths[i], textWidth(text))
		p.chunk = binary.AppendUvarint(p.chunk, uint64(len(text)))
		p.chunk = append(p.chunk, text...)
	}
	p.n++
	return nil
}

// putAway begins a new chunk.
func (p *packedRows) putAway() {
	most := p.most
	if most == 0 {
		most = heldRows
	}
	if len(p.held) < most {
		p.held = append(p.held, p.chunk)
		p.chunk = make([]byte, 0, rowChunk+rowChunk/8)
		return
	}
	if p.file == nil && !p.full {
		p.full = !p.makeFile()
	}
	if !p.full {
		if _, err := p.file.Write(p.chunk); err == nil {
			p.filed = append(p.filed, len(p.chunk))
			p.chunk = p.chunk[:0]
			return
		}
		p.full = true // the rest of it is never looked at
	}
	p.late = append(p.late, slices.Clone(p.chunk))
	p.chunk = p.chunk[:0]
}

func (p *packedRows) makeFile() bool {
	f, err := os.CreateTemp("", "lapid-list-")
	if err != nil {
		return false
	}
	_ = os.Remove(f.Name()) // it is left when this process ends
	p.file = f
	return true
}

// each hands over all rows in order, in one slice that is used again. The error is that of reading
// the file.
func (p *packedRows) each(f func(texts []string)) error {
	texts := make([]string, len(p.widths))
	for _, chunk := range p.held {
		eachRow(chunk, texts, f)
	}
	if p.file != nil {
		if _, err := p.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("reading back a long list: %w", err)
		}
	}
	var room []byte
	for _, size := range p.filed {
		room = slices.Grow(room[:0], size)[:size]
		if _, err := io.ReadFull(p.file, room); err != nil {
			return fmt.Errorf("reading back a long list: %w", err)
		}
		eachRow(room, texts, f)
	}
	for _, chunk := range p.late {
		eachRow(chunk, texts, f)
	}
	eachRow(p.chunk, texts, f)
	return nil
}

// eachRow hands over the rows of a chunk.
func eachRow(chunk []byte, texts []string, f func([]string)) {
	for len(chunk) > 0 {
		for i := range texts {
			size, n := binary.Uvarint(chunk)
			texts[i] = string(chunk[n : n+int(size)])
			chunk = chunk[n+int(size):]
		}
		f(texts)
	}
}

// close gives the file back. It may be called at any time.
func (p *packedRows) close() {
	if p.file != nil {
		_ = p.file.Close()
		p.file = nil
	}
}
