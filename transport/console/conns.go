package console

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

const (
	// maxConns bounds the connections; more wait to be accepted.
	maxConns = 512
	// maxOfAddress is how many one address may have, a /64 where it is IPv6; a trusted proxy may have all.
	// For one more the oldest of them ends on which no operator has asked; where there is none it is closed at once.
	maxOfAddress = 128
	// maxStrangers is how many there may be on which no operator has asked yet. For one more the oldest of
	// them ends: who fills them keeps no operator out.
	maxStrangers = 256
)

// crowd is a listener whose connections are counted.
type crowd struct {
	net.Listener
	trusted func(netip.Addr) bool
	room    chan struct{}

	mu        sync.Mutex
	of        map[string]int // by addressKey
	strangers list.List      // of *placed, the oldest first
}

func newCrowd(l net.Listener, trusted func(netip.Addr) bool) *crowd {
	return &crowd{Listener: l, trusted: trusted, room: make(chan struct{}, maxConns), of: map[string]int{}}
}

// Accept gives the next connection for which there is room.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		c.room <- struct{}{}
		conn, err := c.Listener.Accept()
		if err != nil {
			<-c.room
			return nil, err
		}
		if p := c.place(conn); p != nil {
			return p, nil
		}
		_ = conn.Close()
		<-c.room
	}
}

// place enters a connection; nil: its address has too many.
func (c *crowd) place(conn net.Conn) *placed {
	at, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	address := at.Addr().Unmap().WithZone("")
	p := &placed{Conn: conn, crowd: c, key: addressKey(address)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[p.key] >= maxOfAddress && !c.trusted(address) && !c.endStranger(p.key) {
		return nil
	}
	c.of[p.key]++
	p.place = c.strangers.PushBack(p)
	if c.strangers.Len() > maxStrangers {
		c.endStranger("")
	}
	return p
}

// endStranger ends the oldest connection of a stranger, of an address where one is given. mu is held.
func (c *crowd) endStranger(key string) bool {
	for e := c.strangers.Front(); e != nil; e = e.Next() {
		if oldest := e.Value.(*placed); key == "" || oldest.key == key {
			c.known(oldest)
			_ = oldest.Conn.Close() // whoever reads from it sees that, and closes it for good
			return true
		}
	}
	return false
}

// known takes a connection from the strangers. mu is held.
func (c *crowd) known(p *placed) {
	if p.place != nil {
		c.strangers.Remove(p.place)
		p.place = nil
	}
}

// placed is a connection that gives its place back, once.
type placed struct {
	net.Conn
	crowd *crowd
	key   string
	place *list.Element // among the strangers; nil: an operator has asked on it. crowd.mu guards it
	once  sync.Once
}

// Close may be called more than once.
func (p *placed) Close() error {
	defer p.once.Do(func() {
		c := p.crowd
		c.mu.Lock()
		if c.known(p); c.of[p.key] > 1 {
			c.of[p.key]--
		} else {
			delete(c.of, p.key)
		}
		c.mu.Unlock()
		<-c.room
	})
	return p.Conn.Close()
}

// CloseWrite ends what is sent and goes on taking what comes: net/http asks for it before it gives up a client that still sends.
func (p *placed) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type placedKey struct{}

// withConn notes the connection in the context of its requests.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return context.WithValue(ctx, placedKey{}, conn)
}

// noStranger notes that an operator has asked on a request's connection.
func noStranger(r *http.Request) {
	if p, ok := r.Context().Value(placedKey{}).(*placed); ok {
		p.crowd.mu.Lock()
		p.crowd.known(p)
		p.crowd.mu.Unlock()
	}
}
