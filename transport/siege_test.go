package transport

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
)

// TestSiege has many connections be a burden at once: idle, in the middle of a
// request, in the middle of a body, and in the middle of a long answer that they
// do not read. The memory that takes stays within the bound that the server
// prints, clients' part included, and others are served. bench's siege is the
// same at full size, with latencies.
func TestSiege(t *testing.T) { // not in parallel: it measures the process
	h := newHouse(t, func(b *build) {
		b.server.MaxConnections, b.server.BodyMemory, b.server.AnswerMemory, b.server.SharedMemory = 600, 8<<20, 8<<20, 8<<20
	})
	h.banMany(20_000)
	token := bearer + h.token()
	before := inUse()
	bound := int(h.server.MemoryBound())
	var all []net.Conn
	lay := func(count int, text string) {
		for range count {
			c, _ := h.dial()
			h.must(c.(*net.TCPConn).SetReadBuffer(4 << 10))
			_, err := io.WriteString(c, text)
			h.must(err)
			all = append(all, c)
		}
	}
	lay(250, health)
	lay(50, live[:len(live)-5])
	lay(100, request("POST", "/v1/alerts", token, "Content-Length: 400000")+"["+strings.Repeat(" ", 30_000))
	first := len(all)
	lay(100, request("GET", "/v1/decisions/stream?startup=true", keyLine))
	for _, c := range all[first:] { // each has begun to be answered
		_, err := io.ReadFull(c, make([]byte, 1))
		h.must(err)
	}
	took := inUse() - before
	t.Logf("%d connections take %d KB of %d KB", len(all), took>>10, bound>>10)
	if took > bound {
		t.Errorf("%d connections take %d bytes, more than %d", len(all), took, bound)
	}
	for i := range 20 {
		if got := h.asBouncer("GET", fmt.Sprintf("/v1/decisions?ip=10.0.0.%d", i)); got.status != 200 || got.body == "null" {
			t.Errorf("somebody else: %d %s", got.status, got.body)
		}
	}
	for _, c := range all {
		c.Close()
	}
	h.eventually("the budget is given back", func() bool { return h.server.front.MemoryInUse() == 0 })
}

// inUse is the memory that is reachable, and that of stacks.
func inUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools held is let go by the second
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
