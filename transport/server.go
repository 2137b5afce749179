package transport

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"lapid/transport/conn"
	"lapid/transport/feed"
)

// Server is the Local API on its listeners. Make it with New, bind it with
// Listen, and Run it; it can be run once.
type Server struct {
	*core
	front   *conn.Front
	routes  *routes
	serving chan struct{} // closed by Run
}

// New makes a server. It binds nothing and starts nothing.
func New(o *Options) (*Server, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{core: newCore(&options), serving: make(chan struct{})}
	s.routes = newRoutes(s.core)
	s.counting.start(len(s.routes.lines))
	s.front = s.newFront()
	s.life, s.known = s.front.Life(), s.front.KnownMemory().Most()
	s.feed = s.newFeed()
	return s, nil
}

// newFront makes what requests come in by.
func (s *Server) newFront() *conn.Front {
	o := &s.options
	loops := o.Loops
	if loops == NoLoops {
		loops = 0
	}
	return conn.New(&conn.Options{
		Listen: o.Listen, Socket: o.Socket, SocketMode: o.SocketMode, TLS: o.TLS, Loops: loops, SecureAlone: o.SecureAlone,
		Limits: conn.Limits{
			MaxConnections: o.MaxConnections, MaxServed: o.MaxServed, HeaderBytes: o.HeaderBytes,
			ReadTimeout: o.ReadTimeout, ReadStall: o.ReadStall, UploadLimit: o.UploadLimit, IdleTimeout: o.IdleTimeout, WriteStall: o.WriteStall,
			BodyMemory: o.BodyMemory, StrangerMemory: o.StrangerMemory, Patience: o.patience,
		},
		Routes: s.routes.named(), Owner: owner{s.core}, NewHandler: func() conn.Handler { return newExchange(s.core, s.routes) }, Labour: o.Labour, Now: s.engine.Now, Log: s.log,
	})
}

// newFeed makes what answers polls and long lists.
func (s *Server) newFeed() *feed.Feed {
	o := &s.options
	return feed.New(feed.Options{
		AnswerMemory: o.AnswerMemory, SharedMemory: o.SharedMemory, StreamLimit: o.StreamLimit,
		Patience: o.answerPatience, Life: s.life.Done(), Log: s.log,
		Refused: func(client netip.Addr) { s.refusals.add(noAnswerMemory, client) },
	})
}

// Listen binds the listeners, so that a port that is in use is known before
// anything else happens. In the place of the Unix socket, what a server left
// that has died is removed; a file that is no socket, and a socket that is in
// use, are errors and stay.
func (s *Server) Listen() error { return s.front.Listen() }

// Addr is where the TCP listener is bound; nil without one.
func (s *Server) Addr() net.Addr { return s.front.Addr() }

// Serving is closed when Run serves and has said so in the log.
func (s *Server) Serving() <-chan struct{} { return s.serving }

// Run serves until ctx ends, then stops as Shutdown does, within the drain
// timeout. It is called once. It binds the listeners if Listen was not called. A listener that
// fails ends it with an error.
func (s *Server) Run(ctx context.Context) error {
	stop := make(chan struct{})
	var tick sync.WaitGroup
	tick.Go(func() { s.tick(stop) })
	watching, release := context.WithCancel(ctx)
	defer release()
	tick.Go(func() { s.feed.Watch(watching, s.engine.Changed, s.engine.StreamView, s.front.Rest) })
	if s.confirms != nil {
		tick.Go(func() { s.confirms.run(watching, s.front.Rest) })
	}
	if s.access != nil {
		go s.access.write()
		defer s.access.end()
	}
	err := s.front.Run(ctx, s.options.DrainTimeout, func() {
		s.log.Info("memory for connections and requests is bounded", "bytes", s.MemoryBound(), "longest_head", s.options.HeaderBytes)
		close(s.serving)
	}, s.feed.Close)
	close(stop)
	release()
	tick.Wait()
	s.denials.tellDue(s.engine.Now(), true)
	return err
}

// Shutdown stops accepting, lets requests under way finish until ctx ends, and
// then cuts what is left; a cursor whose answer did not leave does not move.
func (s *Server) Shutdown(ctx context.Context) error {
	s.feed.Release()
	return s.front.Shutdown(ctx, s.feed.Close)
}

// tick keeps the clock of the connections and tidies up every second.
func (s *Server) tick(stop <-chan struct{}) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case now := <-t.C:
			s.front.Tick(now)
			s.feed.Sweep(s.engine.Now())
			s.denials.tellDue(s.engine.Now(), false)
			s.deletions.tellMissed(s.engine.Now())
			if n%60 == 0 {
				s.counting.prune(s.engine.View())
				s.exports.Forget(s.engine.View(), s.engine.Now())
			}
		case <-stop:
			return
		}
	}
}

// Help answers live queries and polls that have come, on the goroutine of a caller
// that computes for long (engine.Options.Yield). It does not wait. It may be called
// at any time by any goroutine, before Run and after it to no effect.
func (s *Server) Help() { s.front.Help() }

// Rest is Help for who has worked for so long at what nobody waits for within milliseconds: after that it leaves
// the processor to live queries and polls for as long, while some come. Any goroutine, at any time, as Help.
func (s *Server) Rest(worked time.Duration) { s.front.Rest(worked) }

// MemoryBound is how much memory connections, requests and the answers to slow
// readers can take together, in bytes. Long heads are paid for out of the same
// memory as bodies.
func (s *Server) MemoryBound() int64 {
	bound := s.front.MemoryBound() + s.options.AnswerMemory + s.options.SharedMemory + s.exports.Bound()
	if s.access != nil {
		bound += linesAtMost
	}
	return bound
}
