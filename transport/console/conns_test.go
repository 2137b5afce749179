package console

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// One address has so many connections at most; those beyond are closed, and there is room again when others end.
func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", b.server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	conns := make([]net.Conn, 0, maxOfAddress)
	for range maxOfAddress {
		conns = append(conns, dial())
	}
	one := dial()
	_ = one.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := one.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("one more is let in: %v", err)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	for deadline := time.Now().Add(time.Minute); ; {
		r, _ := http.NewRequest("GET", b.url+"/admin/v1/status", nil)
		r.Header.Set("Authorization", "Bearer "+b.tokens[viewer])
		w, err := http.DefaultClient.Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, w.Body)
			_ = w.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// For a stranger beyond the bound the oldest one ends, and who is known stays.
func TestStrangersMakeRoom(t *testing.T) {
	t.Parallel()
	c := newCrowd(nil, func(netip.Addr) bool { return true })
	all := make([]*placed, 0, maxStrangers+1)
	closed := make([]bool, maxStrangers+2)
	add := func() *placed {
		c.room <- struct{}{}
		p := c.place(&fakeConn{closed: &closed[len(all)]})
		all = append(all, p)
		return p
	}
	for range maxStrangers {
		add()
	}
	c.mu.Lock()
	c.known(all[0])
	c.mu.Unlock()
	add()
	add()
	if closed[0] || !closed[1] || closed[2] {
		t.Errorf("closed: %v %v %v", closed[0], closed[1], closed[2])
	}
	for _, p := range all {
		_ = p.Close()
		_ = p.Close()
	}
	if len(c.of) != 0 || c.strangers.Len() != 0 || len(c.room) != 0 {
		t.Errorf("left: %v, %d strangers, %d places", c.of, c.strangers.Len(), len(c.room))
	}
}

// fakeConn is closed.
type fakeConn struct {
	net.Conn
	closed *bool
}

func (f *fakeConn) Close() error         { *f.closed = true; return nil }
func (f *fakeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// One operator's keys are no reason to refuse those of another.
func TestKeysOfOneOperator(t *testing.T) {
	t.Parallel()
	m := &remembered{now: func() int64 { return 1 }}
	for i := range mostOfOneOperator {
		if _, err := m.begin("alice", string(rune('a'+i)), [32]byte{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.begin("alice", "one more", [32]byte{}); err == nil {
		t.Error("one operator fills the table")
	}
	if _, err := m.begin("bob", "first", [32]byte{}); err != nil {
		t.Error(err)
	}
}
