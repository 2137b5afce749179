package conn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/transport/budget"
	"lapid/transport/reactor"
	"lapid/transport/socket"
)

// Front is everything by which requests come in: the listeners, their loops, and the
// HTTP library for what is not for a loop. Make it with New, bind it with Listen, and
// Run it; it can be run once. Its methods may be called from any goroutine.
type Front struct {
	core
	library library
	options Options

	tcp, unix *listener
}

// New makes a Front. It binds nothing and starts nothing.
func New(o *Options) *Front {
	f := &Front{options: *o}
	f.options.Patience.withDefaults()
	f.Limits, f.owner, f.log, f.loops, f.now = f.options.Limits, o.Owner, o.Log, o.Loops, o.Now
	f.secureAlone = o.SecureAlone
	f.life, f.end = context.WithCancel(context.Background())
	f.memory = newMemory(o.BodyMemory, o.StrangerMemory, o.Labour)
	f.drains.New = func() any { return new([drainStep]byte) }
	f.library.start(&f.core, o.NewHandler, o.Routes)
	return f
}

// Life ends when requests must not wait any longer.
func (f *Front) Life() context.Context { return f.life }

// Listen binds the listeners, so that a port that is in use is known before
// anything else happens. In the place of the Unix socket, what a server left
// that has died is removed; a file that is no socket, and a socket that is in
// use, are errors and stay.
func (f *Front) Listen() error {
	o := &f.options
	if o.Listen != "" {
		l, err := net.Listen("tcp", o.Listen)
		if err != nil {
			return fmt.Errorf("listening on %s: %w", o.Listen, err)
		}
		f.tcp = newListener(&f.library, l, o.TLS)
	}
	if o.Socket != "" {
		l, err := socket.Listen(o.Socket, o.SocketMode)
		if err != nil {
			f.closeListeners()
			return err
		}
		f.unix = newListener(&f.library, l, nil)
	}
	return nil
}

// listeners are those that are bound.
func (f *Front) listeners() (list []*listener) {
	for _, l := range []*listener{f.tcp, f.unix} {
		if l != nil {
			list = append(list, l)
		}
	}
	return list
}

func (f *Front) closeListeners() {
	for _, l := range f.listeners() {
		l.Close()
	}
}

// Addr is where the TCP listener is bound; nil without one.
func (f *Front) Addr() net.Addr {
	if f.tcp == nil {
		return nil
	}
	return f.tcp.Addr()
}

// Run serves until ctx ends, or a listener fails, which is its error, and then stops
// as Shutdown does, within drain. It is called once. It binds the listeners if Listen
// was not called. ready is called when connections are accepted, released as by
// Shutdown.
func (f *Front) Run(ctx context.Context, drain time.Duration, ready, released func()) error {
	if f.tcp == nil && f.unix == nil {
		if err := f.Listen(); err != nil {
			return err
		}
	}
	f.Tick(time.Now()) // from the first connection on there is a deadline to each write
	for _, l := range f.listeners() {
		if err := l.open(); err != nil {
			f.closeListeners()
			return err
		}
	}
	failed := make(chan error, 2)
	serving := 0
	for _, l := range f.listeners() {
		serving++
		f.log.Info("serving the Local API", "address", l.Addr().String(), "tls", l.tls != nil)
		go func() { failed <- f.library.http.Serve(l) }()
	}
	ready()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		serving--
		if f.stopping.Load() {
			err = nil
		} else if err == nil {
			err = errors.New("a listener was closed")
		}
	}
	late, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	_ = f.Shutdown(late, released) // says in the log what it cut off
	for ; serving > 0; serving-- {
		<-failed
	}
	return err
}

// Shutdown stops accepting, lets requests under way finish until ctx ends, and
// then cuts what is left; a cursor whose answer did not leave does not move. released
// is called when requests must not wait any longer, before they are cut.
func (f *Front) Shutdown(ctx context.Context, released func()) error {
	f.stopping.Store(true)
	f.closeListeners() // also those that are not being served yet
	f.open.rouse()
	strangers := time.AfterFunc(strangersGrace, f.cutStrangers)
	defer strangers.Stop()
	err := errors.Join(f.library.http.ShutdownWithContext(ctx), f.awaitOngoing(ctx))
	f.end()
	released()
	f.open.cut()
	if errors.Is(err, context.DeadlineExceeded) {
		f.log.Warn("requests under way were cut off")
		return err
	}
	return nil
}

// awaitOngoing waits for the ends of answers without an end, as their handlers give them.
func (f *Front) awaitOngoing(ctx context.Context) error {
	for ; f.going.Load() > 0; time.Sleep(time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// strangersGrace is how long the end waits for a request of somebody who has not shown
// who he is: long enough for one that has come, and no reason to wait for the rest of
// one that has not.
const strangersGrace = 300 * time.Millisecond

// cutStrangers ends the connections on which nobody has shown who he is, but for those
// whose password is being checked.
func (f *Front) cutStrangers() {
	for _, u := range f.unproven(func(c *conn) bool { return !c.atDesk.Load() }) {
		u.cut()
	}
}

// Tick sets the clock of the connections. It is to be called every second.
func (f *Front) Tick(now time.Time) { f.clock.Store(&now) }

// Help answers what has come to the loops, on the goroutine of a caller that computes
// for long. It does not wait.
func (f *Front) Help() {
	for _, l := range f.listeners() {
		if loops := l.loops.Load(); loops != nil {
			loops.Help()
		}
	}
}

// Rest is Help for who has news for thousands and has worked for so long: after that it leaves the processor to
// small questions for as long, while some come.
func (f *Front) Rest(worked time.Duration) {
	for _, l := range f.listeners() {
		if loops := l.loops.Load(); loops != nil {
			loops.Help()
			loops.GiveWay(worked)
		}
	}
}

// Counts are connections, at one moment.
type Counts struct {
	Looped int // on loops
	Served int // with a goroutine
	Inside int // came in and are not closed, wherever they are, or wait to be served
}

// Counts may be a little off while connections change hands.
func (f *Front) Counts() Counts {
	c := Counts{Served: f.open.count()}
	for _, l := range f.listeners() {
		c.Inside += int(l.count.Load())
		if loops := l.loops.Load(); loops != nil {
			c.Looped += loops.Count()
		}
	}
	return c
}

const (
	// perConnection is what a connection takes besides what it has sent: on a loop,
	// or while it waits for a goroutine.
	perConnection = 1 << 10
	// perSecure is what one over TLS takes more, wherever it is: 8 KiB for its state and the
	// client's certificate, and what crypto/tls keeps of the longest record that came, which
	// is less than 40 KiB. Idle ones of clients that send short requests were measured at less
	// than 32 KiB each, with what the collector had yet to take.
	perSecure = 48 << 10
	// perServed is what one with a goroutine takes besides its read buffer and what
	// has come in part: stack, write buffer, request and response.
	perServed = 16 << 10
)

// MemoryBound is how much memory connections and requests can take together, in
// bytes. Long heads are paid for out of the same memory as bodies (longheads.go). In
// the kernel come on top up to unsentAtMost for a connection that is sent a long
// answer.
func (f *Front) MemoryBound() int64 {
	o := &f.options
	listeners := int64(1)
	if o.Listen != "" && o.Socket != "" {
		listeners = 2
	}
	served := int64(o.MaxServed)
	if o.Loops == 0 || o.TLS != nil && o.SecureAlone {
		served *= listeners
	}
	secure := int64(0)
	if o.TLS != nil {
		secure = int64(o.MaxConnections) * perSecure
	}
	return secure + listeners*int64(o.MaxConnections)*int64(readBuffer+perConnection) + served*int64(2*readBuffer+perServed+AsIs) +
		o.BodyMemory + o.StrangerMemory + 2*wideBody
}

// KnownMemory is the purse of those who have shown who they are, StrangerMemory those
// of all others: at addresses where the store knows nobody, and where it does.
func (f *Front) KnownMemory() *budget.Purse { return f.memory.known }

// StrangerMemory: see KnownMemory.
func (f *Front) StrangerMemory() [2]*budget.Purse { return f.memory.strangers }

// MemoryInUse is how much is taken of all, in bytes.
func (f *Front) MemoryInUse() int64 {
	m := &f.memory
	return m.known.InUse() + m.strangers[0].InUse() + m.strangers[1].InUse()
}

// ServeConn serves one connection that no listener accepted, until it ends, which it
// waits for.
func (f *Front) ServeConn(c net.Conn) error { return f.library.serveConn(c) }

// Do answers a request that the HTTP library has read.
func (f *Front) Do(ctx *fasthttp.RequestCtx) { f.library.do(ctx) }

// Rehearse gives a function that answers one raw request as a loop would, again and
// again, and does not send the answer: it is for tests of what that takes. False: the
// request is not for a loop.
func (f *Front) Rehearse(request string, peer netip.Addr) func() (answer []byte, done bool) {
	e := newExpress(newRequest(&f.core, f.options.NewHandler()), false)
	c, in := &reactor.Conn{Peer: peer}, []byte(request)
	return func() ([]byte, bool) {
		e.out = e.out[:0]
		done := e.plain.read(in) && e.answer(c, len(in))
		return e.out, done
	}
}
