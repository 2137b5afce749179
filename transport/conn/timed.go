package conn

import "time"

// timed is a connection with deadlines. They cost a timer each time they are set, twice
// per request. So they are set lazily: a read deadline only when it comes before the one
// that is set, and when that one strikes too early it is moved and the read goes on; a
// write deadline only when less than half of it is left. They are the serving
// goroutine's.
type timed struct {
	sock
	readWanted, readSet time.Time
	writeSet            time.Time
}

// wantRead has reads end at t.
func (c *timed) wantRead(t time.Time) error {
	c.readWanted = t
	if !t.IsZero() && !c.readSet.IsZero() && !t.Before(c.readSet) {
		return nil
	}
	c.readSet = t
	return c.Conn.SetReadDeadline(t)
}

// early reports whether a deadline that has passed is not the one that is wanted, which
// is set then.
func (c *timed) early() (bool, error) {
	if !c.readWanted.After(c.readSet) {
		return false, nil
	}
	c.readSet = c.readWanted
	return true, c.Conn.SetReadDeadline(c.readSet)
}

// SetDeadline takes effect at once.
func (c *timed) SetDeadline(t time.Time) error {
	c.readWanted, c.readSet, c.writeSet = t, t, time.Time{}
	return c.Conn.SetDeadline(t)
}

// extend moves the write deadline when less than half of it is left.
func (c *timed) extend() error {
	stall := c.core.WriteStall
	now := c.core.clock.Load()
	if now == nil || c.writeSet.Sub(*now) >= stall/2 {
		return nil
	}
	c.writeSet = now.Add(stall)
	return c.Conn.SetWriteDeadline(c.writeSet)
}

// stretch is how much a peer has to take in half of Options.WriteStall, in
// bytes.
const stretch = 128 << 10
