package conn

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"time"
)

// Options say what a Front listens on and how much it lets in. All fields without a
// default beside them are required.
type Options struct {
	Listen     string      // host:port of the TCP listener; "": none
	Socket     string      // path of the Unix socket; "": none
	SocketMode fs.FileMode // of Socket, whatever the umask is
	TLS        *tls.Config // of the TCP listener; nil: plain

	// Loops is how many loops hold plain connections; 0: none, as with TLS, and each
	// connection has a goroutine.
	Loops int

	MaxConnections int           // at once, on each listener
	MaxServed      int           // of them all, those that have a goroutine
	HeaderBytes    int           // request line and headers together; see CheckHeaderBytes
	ReadTimeout    time.Duration // for the head of a request
	ReadStall      time.Duration // in which something of a body must come
	UploadLimit    time.Duration // for the whole body of a caller who is known
	IdleTimeout    time.Duration // between two requests
	WriteStall     time.Duration // a peer that takes no 128 KiB in half of this is let go
	BodyMemory     int64         // for the bodies of those who are known, in bytes
	StrangerMemory int64         // for those of all others
	Patience       Patience

	Owner      Owner
	NewHandler func() Handler // one for each loop, and for each request at once; reused
	Labour     func(int)      // told 1 when a body of more than AsIs bytes begins, -1 when it is over
	Now        func() int64   // Unix nanoseconds, for the Date of answers that end a connection
	Log        *slog.Logger
}

// Handler answers requests, one at a time.
type Handler interface {
	// Serve answers r with a. Both are borrowed until it returns. False: it would have
	// to wait, which r.MayWait forbids; then nothing was done, and the request is
	// served again by a goroutine. It recovers from its own panics, and calls r.Drain
	// when it has done with the body.
	Serve(r *Request, a *Answer) (done bool)
}

// Owner is what a Front asks and tells its server. Any goroutine calls it, and it must
// not wait.
type Owner interface {
	// Knows reports whether the store knows somebody at an address: of those who say
	// nothing such connections go last.
	Knows(client netip.Addr) bool
	// MayForward reports whether requests of a peer may name another client.
	MayForward(peer netip.Addr, socket bool) bool
	// PlaceOf gives the addresses that count as one when shares are given out.
	PlaceOf(client netip.Addr) netip.Prefix
	// Certificate is what Request.Certificate gives: it is made once for a connection
	// over TLS.
	Certificate(state *tls.ConnectionState) any

	// Message is the body of an answer that says what is wrong, and its type.
	Message(text string) (body, kind []byte)
	// Refused is told of everything for which there is no room.
	Refused(why Reason, client netip.Addr)
	// TurnedAway is told of a connection that got 503 and nothing else.
	TurnedAway()
	// Unread is told of an answer to what could not be read as a request.
	Unread(client netip.Addr, status int, text string)
	// BadHandshake is told of a TLS handshake that failed.
	BadHandshake(client netip.Addr, why error)
}

// Reason is why there is no room.
type Reason uint8

const (
	NoConnection     Reason = iota // too many connections, all of callers who have shown who they are
	CutConnection                  // a connection was closed for one more: nobody has shown who he is on it
	CutServed                      // the same, for one more with a goroutine
	NoBodyMemory                   // large bodies of machines and bouncers
	NoStrangerMemory               // bodies of those who have not logged in

	Reasons = int(NoStrangerMemory) + 1
)

// Patience is how long is waited for what; the usual times stand beside. Tests have
// less.
type Patience struct {
	Body     time.Duration // a large body for memory (8 s)
	Stranger time.Duration // a request of a caller who has not shown who he is (15 s)
	ShedAge  time.Duration // how old a connection is at least that is closed to make room (250 ms); negative: any
	Doubt    time.Duration // how long a client that has ended its side may still show that it has not heard (1 s)
}

func (p *Patience) withDefaults() {
	for _, one := range []struct {
		is    *time.Duration
		usual time.Duration
	}{{&p.Body, bodyPatience}, {&p.Stranger, strangerPatience}, {&p.ShedAge, shedAge}, {&p.Doubt, doubt}} {
		if *one.is == 0 {
			*one.is = one.usual
		}
	}
}

const (
	// bodyPatience is how long a body waits for memory; log processors give a request
	// ten seconds and more.
	bodyPatience = 8 * time.Second
	// strangerPatience is how long a caller who has not shown who he is may take for a
	// request: nobody logs in at leisure.
	strangerPatience = 15 * time.Second
)

// CheckHeaderBytes says whether so many bytes may be Options.HeaderBytes.
func CheckHeaderBytes(n int) error {
	if n < leastHeaderBytes || n > mostHeaderBytes {
		return fmt.Errorf("a head of %d bytes at most: it must be between %d and %d", n, leastHeaderBytes, mostHeaderBytes)
	}
	return nil
}
