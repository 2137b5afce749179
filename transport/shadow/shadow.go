package shadow

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Shadow stands in front of the old server. Make it with New, bind it with Listen, and Run it once.
type Shadow struct {
	options  Options
	upstream *url.URL
	servers  [2]server
	http     *http.Server
	listener net.Listener
	room     room
	queue    chan *exchange
	queued   atomic.Int64 // how many were put into the queue
	passed   atomic.Int64 // and how many of them are done with
	kept     IDs

	gate      gate
	answering atomic.Pointer[answering]
	tokens    *tokens
	ids       *ids
	shown     *shown
	written   *written
	states    *states
	count     counts
	names     certificateNames
	note      note

	mu      sync.Mutex // holds routes and what voided the comparison
	routes  map[string]*routeCounts
	voided  string
	voidAt  time.Time
	since   time.Time
	lost    []Lost
	lostN   int64
	awayAt  [2]time.Time // the last complaint
	closing chan struct{}
}

// New checks the options. It binds nothing and starts nothing.
func New(o *Options) (*Shadow, error) {
	options, upstream, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Shadow{options: options, upstream: upstream, queue: make(chan *exchange, options.QueueItems), routes: map[string]*routeCounts{},
		closing: make(chan struct{}), since: options.Now()}
	s.room.most = options.QueueBytes
	s.answering.Store(&answering{options.Answer, options.Bouncers})
	s.servers = [2]server{
		{Theirs, newTransport(&s.options), func() *url.URL { return upstream }},
		{Ours, newTransport(&s.options), func() *url.URL { return &url.URL{Scheme: "http", Host: s.options.Ours()} }},
	}
	s.tokens = newTokens(options.Tokens)
	s.shown = newShown(options.Pairs)
	s.written = newWritten(options.Values)
	s.states = newStates(options.States, s.written)
	s.note.dir = options.Dir
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: time.Minute, IdleTimeout: 3 * time.Minute, MaxHeaderBytes: options.HeaderBytes,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // as every known client falls back to 1.1, so do we
		ErrorLog:     quietLog(options.Logger),
	}
	return s, nil
}

// Listen binds the address for clients and makes the folder. It says what an operator should know before
// anything passes.
func (s *Shadow) Listen() error {
	if err := os.MkdirAll(s.options.Dir, 0o700); err != nil {
		return fmt.Errorf("the shadow's folder: %w", err)
	}
	note, killed, err := s.note.begin(s.options.Kept)
	if err != nil {
		return fmt.Errorf("the shadow's note: %w", err)
	}
	s.kept = note
	s.ids = newIDs(s.options.Pairs, note)
	if killed {
		s.void("the last run of the shadow ended before everything had reached both servers: run 'lapid movein' again to bring lapid level, then 'lapid shadow reset'")
	}
	l, err := net.Listen("tcp", s.options.Listen)
	if err != nil {
		return fmt.Errorf("the shadow's listener (--listen): %w", err)
	}
	s.listener = l
	return nil
}

// Addr is where clients connect; nil before Listen.
func (s *Shadow) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Run serves until ctx ends, lets requests under way finish, and gives the second server what waits in the
// queue, each within the farewell limit. What is left is counted, and the note says so to the next run.
func (s *Shadow) Run(ctx context.Context) error {
	s.sayBegin()
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		s.work(work)
	}()
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.crowd()) }()
	var failed error
	select {
	case failed = <-served:
		failed = fmt.Errorf("the shadow's listener: %w", failed)
	case <-ctx.Done():
		patience, cancel := context.WithTimeout(work, s.options.FarewellLimit)
		if s.http.Shutdown(patience) != nil {
			_ = s.http.Close()
		}
		cancel()
		<-served
	}
	close(s.closing)
	late := time.AfterFunc(s.options.FarewellLimit, stopWork)
	defer late.Stop()
	<-worked
	s.note.end(s.voidedBy() == "" && len(s.queue) == 0)
	for i := range s.servers {
		s.servers[i].way.CloseIdleConnections()
	}
	return failed
}

// Close gives the listener up without having served; for a start that failed.
func (s *Shadow) Close() error {
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}

// crowd takes clients' connections up to the bound, or encrypted.
func (s *Shadow) crowd() net.Listener {
	l := net.Listener(&crowd{Listener: s.listener, most: int64(s.options.Connections), refused: &s.count.refused})
	if s.options.TLS != nil {
		l = tls.NewListener(l, s.options.TLS)
	}
	return l
}

// crowd closes connections beyond a number at once, so that those that are there go on.
type crowd struct {
	net.Listener
	now     atomic.Int64
	most    int64
	refused *atomic.Int64
}

func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c.now.Add(1) <= c.most {
			return &one{Conn: conn, leave: sync.OnceFunc(func() { c.now.Add(-1) })}, nil
		}
		c.now.Add(-1)
		c.refused.Add(1)
		_ = conn.Close()
	}
}

// one is a connection that is counted.
type one struct {
	net.Conn
	leave func()
}

func (o *one) Close() error {
	o.leave()
	return o.Conn.Close()
}
