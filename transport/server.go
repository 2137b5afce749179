package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/feed"
	"lapid/transport/socket"
)

// Server is the Local API on its listeners. Make it with New, bind it with
// Listen, and Run it; it can be run once.
type Server struct {
	options Options
	engine  *engine.Engine
	gate    *auth.Gate
	log     *slog.Logger

	routes []route
	router *router.Router
	http   *fasthttp.Server
	long   longLibraries

	serving chan struct{} // closed by Run

	// life ends when requests must not wait any longer.
	life context.Context
	end  context.CancelFunc

	bodyPatience     time.Duration // how long a large body waits for memory
	shedAge          time.Duration // see shed.go
	doubt            time.Duration // how long a client that has ended its side may still show that it has not heard
	strangerPatience time.Duration // for a request of somebody who has not shown who he is

	tcp, unix *doorway
	clock     atomic.Pointer[time.Time] // to the second, while running
	open      openConns
	stopping  atomic.Bool

	// Scratch and shared answers.
	exchanges sync.Pool
	drains    sync.Pool
	purses    purses
	refusals  refusals
	denials   *denials
	deletions deletions
	feed      *feed.Feed

	complained, complaints atomic.Int64 // the second of the last failure in the log, and how many there were in it

	strays   []route // what is counted as no line of the table, by method
	counting counting
	access   *accessLog
}

// New makes a server. It binds nothing and starts nothing.
func New(o *Options) (*Server, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		serving: make(chan struct{}),
		options: options,
		engine:  options.Engine,
		gate:    options.Gate,
		log:     options.Logger,
		routes:  table(),
		purses:  newPurses(options.BodyMemory, options.StrangerMemory, options.Labour),
		denials: newDenials(),

		bodyPatience:     loginPatience,
		shedAge:          shedAge,
		strangerPatience: strangerPatience,
		doubt:            doubt,
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.feed = s.newFeed()
	s.router = s.newRouter()
	s.addStrays()
	s.counting.start(len(s.routes) + len(s.strays))
	s.exchanges.New = func() any { return &exchange{server: s, counters: s.counting.share()} }
	s.drains.New = func() any { return new([drainStep]byte) }
	if options.AccessLog != nil {
		s.access = &accessLog{out: options.AccessLog}
	}
	s.http = s.newHTTP(readBuffer)
	return s, nil
}

// newFeed makes what answers polls and long lists.
func (s *Server) newFeed() *feed.Feed {
	o := &s.options
	return feed.New(feed.Options{
		AnswerMemory: o.AnswerMemory, SharedMemory: o.SharedMemory, StreamLimit: o.StreamLimit,
		Patience: o.answerPatience, Life: s.life.Done(), Log: s.log,
		Refused: func(client netip.Addr) { s.refused(noAnswerMemory, client) },
	})
}

// readAhead is how much of a body with a length the library reads before the handler
// has it, in bytes: as little as it can be told. Until then nobody knows whose it is,
// and how long to wait for it. What a body may have at most is the handler's business.
const readAhead = 1

// newHTTP makes an HTTP library that reads heads of so many bytes.
func (s *Server) newHTTP(buffer int) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:               s.router.Handler,
		HeaderReceived:        s.received,
		ExpectHandler:         s.expected,
		ErrorHandler:          s.badRequest,
		Concurrency:           math.MaxInt32, // connections are counted at the door; the library's count lags behind ends
		ReadBufferSize:        buffer,
		ReadTimeout:           s.options.ReadTimeout,
		IdleTimeout:           s.options.IdleTimeout,
		MaxRequestBodySize:    readAhead,
		StreamRequestBody:     true,
		CloseOnShutdown:       true,
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		SecureErrorLogMessage: true,

		DisablePreParseMultipartForm: true,
		Logger:                       httpLog{s.log},
	}
}

// httpLog puts what the HTTP library has to say into our log. It speaks of
// single connections, so nobody needs to see it by default.
type httpLog struct{ log *slog.Logger }

func (l httpLog) Printf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }

// addStrays makes a line for requests that match none, one for each method and
// one for all others.
func (s *Server) addStrays() {
	for _, m := range append([]string{"PUT", "PATCH", "OPTIONS", "other"}, methods...) {
		s.strays = append(s.strays, route{method: m, number: len(s.routes) + len(s.strays), label: strayLabel})
	}
}

func (s *Server) stray(method string) *route {
	other := &s.strays[3]
	for i := range s.strays {
		if s.strays[i].method == method {
			return &s.strays[i]
		}
	}
	return other
}

// Listen binds the listeners, so that a port that is in use is known before
// anything else happens. In the place of the Unix socket, what a server left
// that has died is removed; a file that is no socket, and a socket that is in
// use, are errors and stay.
func (s *Server) Listen() error {
	if s.options.Listen != "" {
		l, err := net.Listen("tcp", s.options.Listen)
		if err != nil {
			return fmt.Errorf("listening on %s: %w", s.options.Listen, err)
		}
		s.tcp = s.newDoorway(l, s.options.TLS)
	}
	if s.options.Socket != "" {
		l, err := socket.Listen(s.options.Socket, s.options.SocketMode)
		if err != nil {
			s.closeListeners()
			return err
		}
		s.unix = s.newDoorway(l, nil)
	}
	return nil
}

func (s *Server) closeListeners() {
	for _, d := range []*doorway{s.tcp, s.unix} {
		if d != nil {
			d.Close()
		}
	}
}

// Addr is where the TCP listener is bound; nil without one.
func (s *Server) Addr() net.Addr {
	if s.tcp == nil {
		return nil
	}
	return s.tcp.Addr()
}

// Serving is closed when Run serves and has said so in the log.
func (s *Server) Serving() <-chan struct{} { return s.serving }

// Run serves until ctx ends, then stops as Shutdown does, within the drain
// timeout. It is called once. It binds the listeners if Listen was not called. A listener that
// fails ends it with an error.
func (s *Server) Run(ctx context.Context) error {
	if s.tcp == nil && s.unix == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	started := time.Now() // from the first connection on there is a deadline to each write
	s.clock.Store(&started)
	for _, d := range []*doorway{s.tcp, s.unix} {
		if d == nil {
			continue
		}
		if err := d.open(); err != nil {
			s.closeListeners()
			return err
		}
	}
	stop := make(chan struct{})
	var tick sync.WaitGroup
	tick.Go(func() { s.tick(stop) })
	failed := make(chan error, 2)
	serving := 0
	for _, d := range []*doorway{s.tcp, s.unix} {
		if d != nil {
			serving++
			s.log.Info("serving the Local API", "address", d.Addr().String(), "tls", d.tls != nil)
			go func() { failed <- s.http.Serve(d) }()
		}
	}
	s.log.Info("memory for connections and requests is bounded", "bytes", s.MemoryBound(), "longest_head", s.options.HeaderBytes)
	close(s.serving)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		serving--
		if s.stopping.Load() {
			err = nil
		} else if err == nil {
			err = errors.New("a listener was closed")
		}
	}
	late, cancel := context.WithTimeout(context.Background(), s.options.DrainTimeout)
	defer cancel()
	_ = s.Shutdown(late) // says in the log what it cut off
	for ; serving > 0; serving-- {
		<-failed
	}
	close(stop)
	tick.Wait()
	s.sweepDenials(true)
	return err
}

// Shutdown stops accepting, lets requests under way finish until ctx ends, and
// then cuts what is left; a cursor whose answer did not leave does not move.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopping.Store(true)
	s.closeListeners() // also those that are not being served yet
	s.open.rouse()
	strangers := time.AfterFunc(strangersGrace, s.cutStrangers)
	defer strangers.Stop()
	err := s.http.ShutdownWithContext(ctx)
	s.end()
	s.feed.Close()
	s.open.cut()
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests under way were cut off")
		return err
	}
	return nil
}

// strangersGrace is how long the end waits for a request of somebody who has not shown
// who he is: long enough for one that has come, and no reason to wait for the rest of
// one that has not.
const strangersGrace = 300 * time.Millisecond

// cutStrangers ends the connections on which nobody has shown who he is, but for those
// whose password is being checked.
func (s *Server) cutStrangers() {
	for _, u := range s.open.unproven(func(c *conn) bool { return !c.atDesk.Load() }) {
		u.cut()
	}
}

// tick keeps the clock of the connections and tidies up every second.
func (s *Server) tick(stop <-chan struct{}) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case now := <-t.C:
			s.clock.Store(&now)
			s.feed.Sweep(s.engine.Now())
			s.sweepDenials(false)
			s.tellMissedDeletions(s.engine.Now())
			if n%60 == 0 {
				s.pruneVisitors(s.engine.View())
			}
		case <-stop:
			return
		}
	}
}

// Help answers live queries and polls that have come, on the goroutine of a caller
// that computes for long (engine.Options.Yield). It does not wait. It may be called
// at any time by any goroutine, before Run and after it to no effect.
func (s *Server) Help() {
	for _, d := range []*doorway{s.tcp, s.unix} {
		if d == nil {
			continue
		}
		if loops := d.loops.Load(); loops != nil {
			loops.Help()
		}
	}
}

// connections is how many there are, on loops and with goroutines.
func (s *Server) connections() int {
	n := s.open.count()
	for _, d := range []*doorway{s.tcp, s.unix} {
		if d == nil {
			continue
		}
		if loops := d.loops.Load(); loops != nil {
			n += loops.Count()
		}
	}
	return n
}

const (
	// perConnection is what a connection takes besides what it has sent: on a loop,
	// or while it waits for a goroutine.
	perConnection = 1 << 10
	// perServed is what one with a goroutine takes besides its read buffer and what
	// has come in part: stack, write buffer, request and response.
	perServed = 16 << 10
)

// MemoryBound is how much memory connections, requests and the answers to slow
// readers can take together, in bytes. Long heads are paid for out of the same
// memory as bodies (longheads.go). In the kernel come on top up to unsentAtMost
// for a connection that is sent a long answer.
func (s *Server) MemoryBound() int64 {
	o := &s.options
	listeners := int64(1)
	if o.Listen != "" && o.Socket != "" {
		listeners = 2
	}
	served := int64(o.MaxServed)
	if o.TLS != nil || !o.looped() {
		served *= listeners
	}
	return listeners*int64(o.MaxConnections)*int64(readBuffer+perConnection) + served*int64(2*readBuffer+perServed+largestAsIs) +
		o.BodyMemory + o.StrangerMemory + 2*wideBody + o.AnswerMemory + o.SharedMemory
}
