package persist

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
)

var snapshotFile = fileKind{"LAPIDSNP", 2, "snapshot", fmt.Errorf("no snapshot header: %w", ErrCorrupt)}

// snapshotReader reads one file from front to back. It allocates no more than
// what the file can still hold, and MaxSection, whatever lengths it is told.
type snapshotReader struct {
	rev    uint64
	origin origin

	r      *bufio.Reader
	left   int64 // bytes of the file not yet read
	seed   uint32
	number uint32
	head   [sectionSize]byte
	done   bool  // the end mark was read
	err    error // why reading stopped before
}

// newSnapshotReader reads the header. size is that of the file.
func newSnapshotReader(r io.Reader, size int64) (*snapshotReader, error) {
	s := &snapshotReader{r: bufio.NewReaderSize(r, 256<<10), left: size}
	var header [headerSize]byte
	if err := s.read(header[:]); err != nil {
		return nil, err
	}
	version, rev, seed, err := snapshotFile.parseHeader(header[:])
	s.rev, s.seed = rev, seed
	if err == nil && version > 1 {
		err = s.readOrigin()
	}
	return s, err
}

// readOrigin reads the note with which every snapshot begins since version 2.
func (s *snapshotReader) readOrigin() error {
	kind, body, ok := s.frame(noteMark, nil)
	if s.err != nil {
		return s.err
	}
	if ok {
		s.origin, ok = parseOrigin(body)
	}
	if !ok || kind != noteOrigin {
		return s.damage("does not say which store it is from")
	}
	return nil
}

// sections yields kinds and bodies until the end mark or the first damage, which
// is then in err. Bodies are the caller's own.
func (s *snapshotReader) sections() iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for {
			kind, body, ok := s.next(nil)
			if !ok || !yield(kind, body) {
				return
			}
		}
	}
}

// drain reads what is left, for its checksums, and returns the first damage.
func (s *snapshotReader) drain() error {
	var buf []byte
	for {
		_, body, ok := s.next(buf)
		if !ok {
			return s.err
		}
		buf = body
	}
}

// next reads one section, into buf if that is large enough.
func (s *snapshotReader) next(buf []byte) (kind uint16, body []byte, ok bool) {
	return s.frame(sectionMark, buf)
}

// frame reads a frame with that mark, or the end mark.
func (s *snapshotReader) frame(mark byte, buf []byte) (kind uint16, body []byte, ok bool) {
	if s.done || s.err != nil {
		return 0, nil, false
	}
	if s.err = s.read(s.head[:]); s.err != nil {
		return 0, nil, false
	}
	h, codec, sum := parseSectionHead(s.head[:])
	if s.err = s.plausible(h, mark, codec); s.err != nil {
		return 0, nil, false
	}
	if uint32(cap(buf)) < h.length {
		buf = make([]byte, h.length)
	}
	body = buf[:h.length]
	if s.err = s.read(body); s.err != nil {
		return 0, nil, false
	}
	switch {
	case sum != sectionSum(s.seed, s.head[:12], body):
		s.err = s.damage("fails its checksum")
	case h.mark == endMark && s.left != 0:
		s.err = s.damage("is followed by more")
	case h.mark == endMark:
		s.done = true
	default:
		s.number++
		return h.kind, body, true
	}
	return 0, nil, false
}

// plausible checks a section head before anything is allocated for it.
func (s *snapshotReader) plausible(h sectionHead, mark, codec byte) error {
	switch {
	case h.mark != mark && h.mark != endMark:
		return s.damage("has no section mark")
	case h.number != s.number:
		return s.damage(fmt.Sprintf("is numbered %d", h.number))
	case codec != codecPlain:
		return s.damage(fmt.Sprintf("is stored in codec %d", codec))
	case h.length > MaxSection, int64(h.length) > s.left, h.mark == endMark && h.length != 0:
		return s.damage(fmt.Sprintf("claims %d bytes", h.length))
	}
	return nil
}

func (s *snapshotReader) damage(what string) error {
	return fmt.Errorf("section %d %s: %w", s.number, what, ErrCorrupt)
}

// read fills b.
func (s *snapshotReader) read(b []byte) error {
	if int64(len(b)) > s.left {
		return fmt.Errorf("file ends in section %d, before its end mark: %w", s.number, ErrCorrupt)
	}
	n, err := io.ReadFull(s.r, b)
	s.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("file ends in section %d, before its end mark: %w", s.number, ErrCorrupt)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return nil
}
