//go:build !linux

package reactor

import (
	"net"
	"time"
)

// group does not exist here.
type group struct{}

// Reactor does not exist here.
type Reactor struct{}

// New returns ErrUnsupported.
func New(*Options) (*Reactor, error) { return nil, ErrUnsupported }

// Take does nothing.
func (r *Reactor) Take(net.Conn) error { return ErrUnsupported }

// Adopt does nothing.
func (r *Reactor) Adopt(net.Conn, *Arrival) error { return ErrUnsupported }

// Unserved is empty.
func (r *Reactor) Unserved() []Unserved { return nil }

// Cut does nothing.
func (r *Reactor) Cut(Unserved) bool { return false }

// Wake does nothing.
func (c *Conn) Wake(bool) bool { return false }

// Close does nothing.
func (r *Reactor) Close() {}

// Help does nothing.
func (r *Reactor) Help() {}

// GiveWay does nothing.
func (r *Reactor) GiveWay(time.Duration) {}

// CatchUp does nothing.
func (r *Reactor) CatchUp(time.Duration) {}

// Waiting is empty.
func (r *Reactor) Waiting() []Waiting { return nil }

// Dismiss does nothing.
func (r *Reactor) Dismiss(Waiting) bool { return false }

// Count is nothing.
func (r *Reactor) Count() int { return 0 }

// Write fails.
func (c *Conn) Write([]byte) (int, error) { return 0, ErrUnsupported }

// BoundUnsent does nothing.
func (c *Conn) BoundUnsent(int, time.Duration) {}

// BoundUnsent does nothing.
func BoundUnsent(int, int, time.Duration) {}

// Look sees nothing.
func (c *Conn) Look() Sight { return Sight{} }

// Look sees nothing.
func Look(int) Sight { return Sight{} }

// Conn fails.
func (h *Handed) Conn() (net.Conn, error) { return nil, ErrUnsupported }

// Drop does nothing.
func (h *Handed) Drop() {}
