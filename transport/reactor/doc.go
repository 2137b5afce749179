// Package reactor drives connections that ask small questions.
//
// A goroutine for each connection pays for every request with a read that finds
// nothing, a visit to the poller and a switch of goroutines; for an answer that
// takes less than a microsecond to find, that is a good part of the work. Here a
// few loops, one for each processor, hold the sockets themselves: a loop asks the
// kernel which connections have something to say, reads each once, has its Worker
// answer, and goes on. An idle connection costs the socket and some hundred bytes.
//
// The loops share the connections: what comes is taken by whichever looks first.
// (Each with its own was tried: a loop that the kernel kept from running for some
// milliseconds kept all its connections waiting, which tripled the 99th
// percentile.) The loops are ordinary goroutines. They wait for their epoll
// instance with the runtime's own poller, so an idle loop holds no thread, and
// step back from time to time, so that a busy one does not keep writers from the
// processors.
//
// A Worker must neither wait nor work for long: every other connection of the
// loop waits with it. What it does not want to answer, or cannot write at once,
// it hands over: the connection becomes a net.Conn again, with what was read
// and not answered, and a goroutine of its own goes on. When that has finished
// with the connection, it gives it back with Adopt.
//
// A Worker may also park a connection: what came is kept, and served again when its guest
// wakes it or more comes. So a question without an answer yet costs no goroutine either,
// and no answer without an end (Ongoing), which is parked between any two of its parts.
//
// What lies over the bytes of a connection, as TLS does, is a Cover: its Worker sees what was
// opened, and what it writes is sealed. Part of a record waits as little on a loop as part of a
// request: its connection is handed over.
//
// Only Linux has it; elsewhere New says so with ErrUnsupported, and the caller
// serves every connection with a goroutine.
package reactor

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
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
	// Park keeps what came for later: it is served again when the connection is woken, or
	// more comes. It costs what came, of which ParkedAtMost bytes are kept, and no
	// goroutine.
	Park
)

// ParkedAtMost is how much may have come of a connection that is parked. With more it is
// woken for the last time.
const ParkedAtMost = 4 << 10

// Guest is what a parked connection is to whoever will wake it. Its methods are called by
// the one goroutine that has the connection at the time, and must not wait.
type Guest interface {
	// Parked says that the connection may be woken from now on.
	Parked(c *Conn)
	// Left says that it is not parked any more, and is not to be woken: it was served
	// for the last time, changed hands, or (gone) ended.
	Left(c *Conn, gone bool)
}

// Worker answers requests. One goroutine at a time calls its methods.
type Worker interface {
	// Serve answers what came on a connection, with c.Write. It borrows in until
	// it returns. With Hand, rest is what Options.Hand gets besides the
	// connection; with Keep, everything in was answered; with Park, rest has what was
	// not, and the guest.
	Serve(c *Conn, in []byte) (next Next, rest Rest)
}

// Cover is what lies over the bytes of a connection: what comes is opened, and what leaves is
// sealed. It goes with the connection when that changes hands. Its methods are called by the
// one goroutine that has the connection at the time, and must not wait.
type Cover interface {
	// Open puts what can be read of what came, so far and with in, into out. It borrows in
	// until it is called again, or Keep is. When out is full there may be more: it is to be
	// called again, with nothing. io.EOF is the other end's farewell, any other error the end;
	// what was read before either is in out.
	Open(in, out []byte) (int, error)
	// Keep copies what is borrowed.
	Keep()
	// Held is how many bytes have come, at least, and cannot be read yet.
	Held() int
	// Seal puts p, or a farewell, behind what is to be sent.
	Seal(p []byte) error
	Farewell()
	// Sealed is what is to be sent, and Sent forgets the first n bytes of it.
	Sealed() []byte
	Sent(n int)
}

// ErrUnsent is what Conn.Write gives for a connection with a Cover when everything was taken
// and not everything has left: the connection is to be handed over, with what has not.
var ErrUnsent = errors.New("the other end takes no more")

// Ongoing is an answer that has begun and has no end yet, as its Worker remembers it. It
// goes with the connection when that changes hands. While a connection with one is parked,
// what comes is thrown away: nothing is answered behind an answer without an end.
type Ongoing interface {
	// Over says that the connection is closed, and why if that is known; it was not handed
	// over before. It must not wait.
	Over(why error)
}

// Rest is what was not finished when a connection changed hands.
type Rest struct {
	Unread []byte // came and was not answered; copied by the reactor
	Unsent []byte // part of an answer that did not leave; the taker's
	Guest  Guest  // with Park
}

// Mark is what a Worker remembers of a connection from one batch to the next. It
// goes with the connection when that changes hands. Its methods are called by the
// one goroutine that has the connection at the time.
type Mark interface {
	// Held says that a loop holds the connection from now on: it was given back.
	Held(c *Conn)
	// Over says that the socket is about to be closed; broken, that using it
	// failed.
	Over(c *Conn, broken bool)
}

// Sight is what the kernel knows of a connection at one moment.
type Sight struct {
	Ended   bool // the other end says no more
	Broken  bool // it was reset, or has failed in another way
	Waiting int  // bytes that came and were not read
	// Unacked is how many bytes the other end has not acknowledged; over a Unix
	// socket, a measure of what it has not read.
	Unacked int
}

// Options say how a Reactor works. All fields are required.
type Options struct {
	Loops  int           // how many goroutines
	Buffer int           // the most that is read at once, in bytes; each loop has such a buffer
	First  time.Duration // how long a new connection may be silent
	Idle   time.Duration // how long it may be between two requests
	// Doubt is how long a TCP connection with a Mark stays after its peer has said that
	// it says no more: it may still show that it has not read everything, by a reset.
	Doubt time.Duration
	// NewWorker makes a worker, one for each loop and some for the callers that give
	// connections back.
	NewWorker func() Worker
	// Hand takes a connection over. It must not wait:
	// h.Conn makes the net.Conn, which takes some system calls.
	Hand func(h *Handed)
	// Closed is told of every connection that the reactor closed. One with a Mark
	// is not closed for its silence, or at the end, before its peer had a moment to
	// close it.
	Closed func()
}

// Conn is a connection that a loop holds.
type Conn struct {
	Peer netip.Addr // the other end, unmapped; invalid on a Unix socket
	Mark Mark       // the Worker's own; nil: none
	Last bool       // it is not to be parked again: the Worker's to look at
	// Leaving says that it is closed behind what is answered now: the Worker's to say.
	Leaving bool
	// Held is the Worker's own, of what is being served since it was parked first: false when that begins.
	Held bool
	// Since is when what is being served was parked first; zero: it was not. The Worker's to
	// look at.
	Since time.Time
	// Ongoing is the answer that is under way: the Worker's to set and to look at; nil: none.
	Ongoing Ongoing
	Cover   Cover // over the bytes; nil: they are as they are. It is not changed

	fd       int
	group    *group
	station  atomic.Int32 // where it is reported
	watched  bool         // it is reported
	waits    int          // how many more answers leave it there
	state    atomic.Int32
	deadline time.Duration // since the reactor began: when it has been silent for too long
	parting  atomic.Bool   // this side is ended
	began    time.Duration // since the reactor began: when it came
	parked   *parked       // nil: it is not
	noise    int           // bytes that came behind an Ongoing
	last     int           // bytes of a farewell that were sent
	served   atomic.Bool   // a Worker has answered something here, or its goroutine had before Adopt
}

// parked is what a connection waits with.
type parked struct {
	in    []byte
	guest Guest
}

// Unserved is a connection on which nothing was answered yet.
type Unserved struct {
	Peer netip.Addr
	Age  time.Duration

	conn *Conn
}

// Waiting is a connection that is parked.
type Waiting struct {
	Peer  netip.Addr
	Guest Guest
	Since time.Time

	conn *Conn
}

// Arrival is a connection on its way into the reactor, besides the socket.
type Arrival struct {
	Peer    netip.Addr
	Mark    Mark    // nil: none
	Ongoing Ongoing // nil: none. With one, Unread is what the Worker was asked
	Cover   Cover   // nil: none. With one, Unread was opened
	Unread  []byte  // was read and not answered
	Served  bool    // it counts as one on which something was answered
	New     bool    // it may be silent for Options.First instead of Options.Idle
}

// Handed is a connection on its way out of the reactor.
type Handed struct {
	Peer   netip.Addr
	Served bool // a Worker has answered something before
	Mark   Mark
	// Ongoing is now the taker's, to be told its end.
	Ongoing Ongoing
	// Cover is the taker's, too. With one, Unread was opened and Unsent is sealed.
	Cover Cover
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
