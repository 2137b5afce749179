package feed

import (
	"bytes"
	"testing"
)

// BenchmarkStartup encodes a full state of a hundred thousand decisions, into
// one buffer, for one reader, and as a shared answer that a reader follows.
func BenchmarkStartup(b *testing.B) {
	h := newHouse(b)
	h.banMany(100_000)
	src := &answerSource{view: h.View(), raw: []byte("startup=true"), now: h.Engine.Now()}
	w := &Writer{}
	h.must(src.write(w, place{}))
	size := int64(len(w.Buf))
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			w.Buf = w.Buf[:0]
			h.must(src.write(w, place{}))
		}
	})
	b.Run("alone", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			h.must(writeSolo(func(p []byte, _ bool) error { return nil }, func(w *Writer) error { return src.write(w, place{}) }))
		}
	})
	b.Run("follow", func(b *testing.B) {
		b.SetBytes(size)
		var out bytes.Buffer
		for b.Loop() {
			a := h.start(src, true)
			out.Reset()
			h.must(h.follow(a, func(p []byte, _ bool) error { _, err := out.Write(p); return err }))
		}
	})
}
