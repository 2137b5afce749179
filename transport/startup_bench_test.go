package transport

import (
	"bytes"
	"io"
	"testing"

	"lapid/transport/budget"
)

// BenchmarkStartup encodes a full state of a hundred thousand decisions, into
// one buffer, and as a body that a reader follows.
func BenchmarkStartup(b *testing.B) {
	h := newHouse(b, nil)
	h.banMany(100_000)
	src := &source{view: h.View(), raw: []byte("startup=true"), now: h.Engine.Now()}
	w := &pieceWriter{}
	h.must(src.write(w, position{}))
	size := int64(len(w.buf))
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			w.buf = w.buf[:0]
			h.must(src.write(w, position{}))
		}
	})
	b.Run("alone", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			h.must(h.server.alone(func(p []byte, _ bool) error { return nil }, func(w *pieceWriter) error { return src.write(w, position{}) }))
		}
	})
	b.Run("follow", func(b *testing.B) {
		b.SetBytes(size)
		var out bytes.Buffer
		for b.Loop() {
			body := newBody(question{}, src, true, budget.Hold{From: h.server.bodies.room})
			out.Reset()
			h.must(h.server.follow(body, reader{}, func(p []byte, _ bool) error { _, err := out.Write(p); return err }))
		}
	})
	b.Run("whole way", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			c, r := h.dial()
			io.WriteString(c, "GET /v1/decisions/stream?startup=true HTTP/1.1\r\nHost: x\r\nX-Api-Key: "+testKey+"\r\nConnection: close\r\n\r\n")
			if n, err := io.Copy(io.Discard, r); err != nil || n < size {
				b.Fatal(n, err)
			}
			c.Close()
		}
	})
}
