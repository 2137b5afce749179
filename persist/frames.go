package persist

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// Snapshots and backups are files of frames, drawn in FORMAT.md: a header,
// sections, an end mark. Every checksum starts from the header's, so that no
// section can wander from one file into another, and covers the section's number,
// so that none can be left out or change places.

const (
	headerSize  = 32 // of the file
	sectionSize = 16 // of the head of a section, and of the end mark

	sectionMark = 'S'
	noteMark    = 'N' // not part of the state
	endMark     = 'E'

	// codecPlain is the only way bodies are stored; others may follow.
	codecPlain = 0
)

// fileKind tells the files that are made of frames from one another.
type fileKind struct {
	magic   string // eight bytes
	version uint32 // the one that is written; all from 1 on are read
	name    string // for messages
	foreign error  // what a file without the magic is
}

// appendHeader appends the header of a file for revision rev.
func (k fileKind) appendHeader(dst []byte, rev uint64) []byte {
	start := len(dst)
	dst = append(dst, k.magic...)
	dst = binary.LittleEndian.AppendUint32(dst, k.version)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, rev)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parseHeader is the mirror of appendHeader, of headerSize bytes. seed is where
// checksums start from.
func (k fileKind) parseHeader(b []byte) (version uint32, rev uint64, seed uint32, err error) {
	if string(b[:8]) != k.magic {
		return 0, 0, 0, k.foreign
	}
	seed = binary.LittleEndian.Uint32(b[28:])
	if seed != crc32.Checksum(b[:28], castagnoli) {
		return 0, 0, 0, fmt.Errorf("header fails its checksum: %w", ErrCorrupt)
	}
	version = binary.LittleEndian.Uint32(b[8:])
	if version < 1 || version > k.version {
		return 0, 0, 0, fmt.Errorf("%s format %d, this program knows %d: %w", k.name, version, k.version, ErrFormat)
	}
	return version, binary.LittleEndian.Uint64(b[16:]), seed, nil
}

// frameWriter writes a file: its header, frames, and the end mark. After an error
// every later call returns the same one.
type frameWriter struct {
	w      *bufio.Writer
	seed   uint32
	number uint32
	size   int64
	head   [sectionSize]byte
	err    error
}

func newFrameWriter(out io.Writer, k fileKind, rev uint64) frameWriter {
	header := k.appendHeader(nil, rev)
	w := frameWriter{w: bufio.NewWriterSize(out, 256<<10), seed: binary.LittleEndian.Uint32(header[28:])}
	w.put(header)
	return w
}

// frame appends one frame. body is borrowed, at most MaxSection bytes: beyond,
// the error is an ErrTooLarge.
func (w *frameWriter) frame(kind uint16, mark byte, body []byte) error {
	if w.err != nil {
		return w.err
	}
	if len(body) > MaxSection {
		w.err = fmt.Errorf("section %d has %d bytes: %w", w.number, len(body), ErrTooLarge)
		return w.err
	}
	h := sectionHead{kind: kind, mark: mark, length: uint32(len(body)), number: w.number}
	w.put(h.appendTo(w.head[:0], w.seed, body))
	w.put(body)
	w.number++
	return w.err
}

// end writes the end mark and everything that is buffered.
func (w *frameWriter) end() error {
	if err := w.frame(0, endMark, nil); err != nil {
		return err
	}
	w.err = w.w.Flush()
	return w.err
}

func (w *frameWriter) put(b []byte) {
	if w.err == nil {
		var n int
		n, w.err = w.w.Write(b)
		w.size += int64(n)
	}
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
