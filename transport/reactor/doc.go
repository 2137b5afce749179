// Package reactor drives connections that ask small questions.
//
// A goroutine for each connection pays for every request with a read that finds
// nothing, a visit to the poller and a switch of goroutines; for an answer that
// takes less than a microsecond to find, that is most of the work. Here a few
// loops, one for each processor, hold the sockets themselves: a loop asks the
// kernel once which of its connections have something to say, reads each once,
// has its Worker answer, and goes on. An idle connection costs the socket and
// some eighty bytes.
//
// The loops are ordinary goroutines. Each waits for its epoll instance with the
// runtime's own poller, so an idle loop holds no thread, and steps back after
// every round, so that a busy one does not keep writers from the processors.
//
// A Worker must neither wait nor work for long: every other connection of the
// loop waits with it. What it does not want to answer, or cannot write at once,
// it hands over: the connection becomes a net.Conn again, with what was read
// and not answered, and somebody with a goroutine goes on. Whoever has finished
// with such a connection gives it back with Adopt.
//
// Only Linux has it; elsewhere New says so with ErrUnsupported, and the caller
// serves every connection with a goroutine.
package reactor

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// ErrUnsupported means that there is no reactor on this system.
var ErrUnsupported = errors.New("no reactor on this system")

// Next is what a Worker wants done with a connection.
type Next uint8

const (
	// Keep waits for more to read.
	Keep Next = iota
	// Close closes it.
	Close
	// Hand gives it to Options.Hand.
	Hand
)

// Worker answers for one loop. Its methods are called by that loop alone.
type Worker interface {
	// Serve answers what came on a connection, with c.Write. It borrows in until
	// it returns. With Hand, rest is what Options.Hand gets besides the
	// connection; with Keep, everything in was answered.
	Serve(c *Conn, in []byte) (next Next, rest Rest)
}

// Rest is what was not finished when a connection changed hands.
type Rest struct {
	Unread []byte // came and was not answered; copied by the reactor
	Unsent []byte // part of an answer that did not leave; the taker's
	Mark   any    // the Worker's own
}

// Options say how a Reactor works. All fields are required.
type Options struct {
	Loops  int           // how many goroutines
	Buffer int           // the most that is read at once, in bytes: one buffer for each loop
	First  time.Duration // how long a new connection may be silent
	Idle   time.Duration // how long it may be between two requests
	// NewWorker makes the worker of one loop.
	NewWorker func() Worker
	// Hand takes a connection over. It is called by a loop and must not wait:
	// h.Conn makes the net.Conn, which takes some system calls.
	Hand func(h *Handed)
	// Closed is told of every connection that a loop closed.
	Closed func()
}

// Conn is a connection that a loop holds.
type Conn struct {
	Peer netip.Addr // the other end, unmapped; invalid on a Unix socket

	fd       int
	deadline time.Duration // since the reactor began: when it has been silent for too long
}

// Handed is a connection on its way out of the reactor.
type Handed struct {
	Peer netip.Addr
	Rest
	fd int
}

// PeerOf is the address at the other end of a TCP connection, unmapped and
// without a zone; invalid for others.
func PeerOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
