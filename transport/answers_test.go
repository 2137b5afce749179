package transport

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// banAtOnce adds so many decisions with one alert.
func (h *house) banAtOnce(n int) {
	h.t.Helper()
	at := engine.Stamp{At: h.Engine.Now()}
	a := &engine.Alert{StartAt: at, StopAt: at, Scenario: "s"}
	for i := range n {
		a.Decisions = append(a.Decisions, engine.NewDecision{
			Duration: "4h", Origin: "cscli", Scenario: "s", Scope: "Ip", Type: "ban", Value: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255),
		})
	}
	_, err := h.AddAlerts(h.t.Context(), "", []*engine.Alert{a}, h.Engine.Now())
	h.must(err)
}

// TestUnreadAnswers has many ask for all there is and read nothing of it, over TCP and
// the Unix socket, with a key and a token: whoever does that may have his share of
// the memory for answers and no more, the process takes no more than the bound, and
// others are answered, with long answers too.
func TestUnreadAnswers(t *testing.T) { // not in parallel: it measures the process
	const room, n, readers = 4 << 20, 100_000, 24
	h := newHouse(t, func(b *build) {
		b.server.AnswerMemory, b.server.SharedMemory, b.server.Socket = room, room, filepath.Join(t.TempDir(), "s")
		b.server.MaxConnections = 200
		b.server.answerPatience = time.Millisecond
	})
	h.addBouncer("other", "other-key", true)
	h.banAtOnce(n)
	token := bearer + h.token()
	for _, network := range []string{"tcp", "unix"} {
		for _, c := range []struct{ path, who string }{
			{"/v1/decisions", keyLine},
			{"/v1/decisions?range=10.0.0.0/8&contains=false", keyLine},
			{"/v1/decisions?id_gt=1&origins=cscli", keyLine},
			{"/v1/alerts?limit=0", token},
			{"/v1/alerts/1", token},
			{"/v1/decisions/stream?startup=true", keyLine},
			{"/v1/decisions/stream?startup=true&scopes=ip&x=1", keyLine},
		} {
			h.unread(network, c.path, c.who, readers, 3*room)
		}
	}
	if h.server.refusals.of[noAnswerMemory].count.Load() == 0 {
		t.Error("nobody was refused")
	}
	if !strings.Contains(h.scrape("/metrics"), `lapid_refused_total{reason="answers"}`) {
		t.Error("it is not shown who was refused")
	}
}

// unread has readers not read one answer.
func (h *house) unread(network, path, who string, readers, bound int) {
	h.t.Helper()
	before := inUse()
	var all []net.Conn
	address := h.server.Addr().String()
	if network == "unix" {
		address = h.socket
	}
	for range readers {
		c, err := net.Dial(network, address)
		h.must(err)
		if tcp, ok := c.(*net.TCPConn); ok {
			h.must(tcp.SetReadBuffer(4 << 10))
		}
		all = append(all, c)
		_, err = io.WriteString(c, request("GET", path, who))
		h.must(err)
	}
	good := 0
	for _, c := range all { // each has begun to be answered
		begin := make([]byte, len("HTTP/1.1 200"))
		_, err := io.ReadFull(c, begin)
		h.must(err)
		switch status := string(begin[len("HTTP/1.1 "):]); status {
		case "200":
			good++
		case "503":
		default:
			h.t.Errorf("%s: %q", path, begin)
		}
	}
	if good == 0 {
		h.t.Errorf("%s: all were refused", path)
	}
	if took := inUse() - before; took > bound {
		h.t.Errorf("%s %s: %d of %d readers take %d bytes, more than %d", network, path, good, readers, took, bound)
	} else {
		h.t.Logf("%s %s: %d of %d readers take %d KB", network, path, good, readers, took>>10)
	}
	for path, least := range map[string]int{"/v1/decisions?ip=10.0.0.7": 50, "/v1/decisions": 1 << 20} {
		got := h.ask("GET", path, "", "X-Api-Key: other-key")
		if got.status != http.StatusOK || len(got.body) < least {
			h.t.Errorf("somebody else, %s: %d, %d bytes", path, got.status, len(got.body))
		}
	}
	for _, c := range all {
		c.Close()
	}
	h.eventually("the memory is given back", func() bool { return h.server.feed.Usage().AnswerBytes == 0 })
	h.eventually("the pieces are given back", func() bool {
		h.Advance(5 * time.Second)
		h.server.feed.Sweep(h.Engine.Now())
		return h.server.feed.Usage().SharedBytes == 0
	})
}
