package transport

import (
	"io"
	"testing"
)

// BenchmarkStartup has a full state of a hundred thousand decisions asked for over
// a connection; what it takes without one is measured in package feed.
func BenchmarkStartup(b *testing.B) {
	h := newHouse(b, nil)
	h.banMany(100_000)
	for b.Loop() {
		c, r := h.dial()
		io.WriteString(c, "GET /v1/decisions/stream?startup=true HTTP/1.1\r\nHost: x\r\nX-Api-Key: "+testKey+"\r\nConnection: close\r\n\r\n")
		n, err := io.Copy(io.Discard, r)
		if err != nil || n < 10<<20 {
			b.Fatal(n, err)
		}
		b.SetBytes(n)
		c.Close()
	}
}
