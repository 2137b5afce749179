package persist

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
)

// A snapshot file, drawn in FORMAT.md: a header, sections, an end mark. Every
// checksum starts from the header's, so that no section can wander from one
// snapshot into another, and covers the section's number, so that none can be
// left out or change places.

const (
	snapshotMagic   = "LAPIDSNP"
	snapshotVersion = 1

	headerSize  = 32 // of the file
	sectionSize = 16 // of the head of a section, and of the end mark

	sectionMark = 'S'
	endMark     = 'E'

	// codecPlain is the only way bodies are stored; others may follow.
	codecPlain = 0
)

// appendHeader appends the header of the snapshot of revision rev.
func appendHeader(dst []byte, rev uint64) []byte {
	start := len(dst)
	dst = append(dst, snapshotMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, snapshotVersion)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, rev)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parseHeader is the mirror of appendHeader. seed is where checksums start from.
func parseHeader(b []byte) (rev uint64, seed uint32, err error) {
	if len(b) < headerSize || string(b[:8]) != snapshotMagic {
		return 0, 0, fmt.Errorf("no snapshot header: %w", ErrCorrupt)
	}
	seed = binary.LittleEndian.Uint32(b[28:])
	if seed != crc32.Checksum(b[:28], castagnoli) {
		return 0, 0, fmt.Errorf("header fails its checksum: %w", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != snapshotVersion {
		return 0, 0, fmt.Errorf("snapshot format %d, this program knows %d: %w", v, snapshotVersion, ErrFormat)
	}
	return binary.LittleEndian.Uint64(b[16:]), seed, nil
}

// sectionHead is what stands before a body; the end mark is one without a body,
// numbered with the count of sections.
type sectionHead struct {
	kind   uint16
	mark   byte
	length uint32
	number uint32
}

func (h sectionHead) appendTo(dst []byte, seed uint32, body []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint16(dst, h.kind)
	dst = append(dst, codecPlain, h.mark)
	dst = binary.LittleEndian.AppendUint32(dst, h.length)
	dst = binary.LittleEndian.AppendUint32(dst, h.number)
	return binary.LittleEndian.AppendUint32(dst, sectionSum(seed, dst[start:], body))
}

// parseSectionHead is the mirror of appendTo, but for the checksum, which needs
// the body.
func parseSectionHead(b []byte) (h sectionHead, codec byte, sum uint32) {
	h.kind = binary.LittleEndian.Uint16(b)
	codec, h.mark = b[2], b[3]
	h.length = binary.LittleEndian.Uint32(b[4:])
	h.number = binary.LittleEndian.Uint32(b[8:])
	return h, codec, binary.LittleEndian.Uint32(b[12:])
}

func sectionSum(seed uint32, head, body []byte) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, head), castagnoli, body)
}

// snapshotReader reads one file from front to back. It allocates no more than
// what the file can still hold, and MaxSection, whatever lengths it is told.
type snapshotReader struct {
	rev uint64

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
	var err error
	s.rev, s.seed, err = parseHeader(header[:])
	return s, err
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
	if s.done || s.err != nil {
		return 0, nil, false
	}
	if s.err = s.read(s.head[:]); s.err != nil {
		return 0, nil, false
	}
	h, codec, sum := parseSectionHead(s.head[:])
	if s.err = s.plausible(h, codec); s.err != nil {
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
func (s *snapshotReader) plausible(h sectionHead, codec byte) error {
	switch {
	case h.mark != sectionMark && h.mark != endMark:
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
