package peer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"lapid/engine"
	"lapid/transport/budget"
)

// Bounds of the listener.
const (
	connectionsAtMost = 1024      // one more is closed at once
	servedAtMost      = 512       // requests passed on that are answered at a time; one more is told to come again
	bodyMemory        = 256 << 20 // bytes of their bodies; one that does not fit waits, then is told to come again
	bodyPatience      = 2 * time.Second

	headWithin = 10 * time.Second // the head of a request, or of a handshake
	stall      = 30 * time.Second // a body, or an answer, of which nothing moves for so long, is cut
	idleFor    = 2 * time.Minute  // between two requests
	farewell   = 5 * time.Second  // for requests under way when the node stops
	pieceBytes = 128 << 10        // of which a stall is counted
)

// Node is this node among the others: the listener that they call, and the way to call them.
// Make it with New, bind it with Listen, and Run it once. Its methods may be called from any
// goroutine.
type Node struct {
	options     Options
	log         *slog.Logger
	credentials atomic.Pointer[Credentials]

	// Of the listener.
	listener  net.Listener
	http      *http.Server
	served    chan struct{} // has a token for each request passed on that is answered
	backups   chan struct{} // has one while a backup is sent to a node
	copies    chan struct{} // has one while a backup is sent to a relay: relays keep no node waiting
	memory    *budget.Purse
	followed  *followed // by relays
	strangers *counted
	ofRelays  sync.Map      // authorities of relays, as bytes
	ending    chan struct{} // closed when Run is to end

	links  links
	passed passedCounts
}

// New makes a node. It binds nothing and starts nothing.
func New(o *Options) (*Node, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{options: options, log: options.Logger, served: make(chan struct{}, servedAtMost), backups: make(chan struct{}, 1), copies: make(chan struct{}, 1), memory: budget.NewPurse(bodyMemory, nil), ending: make(chan struct{}), strangers: newCounted(options.Logger)}
	n.noteRelays(options.Credentials)
	n.credentials.Store(options.Credentials)
	n.followed = newFollowed(n)
	n.http = &http.Server{
		Handler: n.handler(), ReadHeaderTimeout: headWithin, IdleTimeout: idleFor, MaxHeaderBytes: 16 << 10,
		ErrorLog: stdlog.New(n.strangers, "", 0),
	}
	return n, nil
}

// handler answers nodes and, with what is for them alone, relays.
func (n *Node) handler() http.Handler {
	nodes, relays := http.NewServeMux(), http.NewServeMux()
	nodes.HandleFunc("POST /pass", n.pass)
	nodes.HandleFunc("GET /state", n.state)
	nodes.HandleFunc("GET /backup", n.backup)
	for _, mux := range []*http.ServeMux{nodes, relays} {
		mux.HandleFunc("GET /follow", n.follow)
		mux.HandleFunc("GET /follow/backup", n.followBackup)
	}
	relays.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		n.strangers.say("a relay asked for what is for nodes alone, and was refused", "relay", caller(r), "path", fmt.Sprintf("%.64q", r.URL.Path))
		http.Error(w, "this is not for relays", http.StatusForbidden)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.isRelay(r) {
			if !n.stillRelay(r) {
				n.strangers.say("a relay shows a certificate of an authority that is no longer one of relays, and was refused", "relay", caller(r))
				w.Header().Set("Connection", "close")
				http.Error(w, errNoLonger.Error(), http.StatusForbidden)
				return
			}
			relays.ServeHTTP(w, r)
			return
		}
		nodes.ServeHTTP(w, r)
	})
}

// Handle sets who answers requests of a kind. To be called before Run.
func (n *Node) Handle(k Kind, h Handler) { n.options.Handlers[k] = h }

// Name is the node's.
func (n *Node) Name() string { return n.options.Name }

// Renew takes other credentials for connections that begin from now on.
func (n *Node) Renew(c *Credentials) {
	n.noteRelays(c)
	n.credentials.Store(c)
	n.links.close()
}

// Listen binds the listener.
func (n *Node) Listen() error {
	l, err := net.Listen("tcp", n.options.Listen)
	if err != nil {
		return fmt.Errorf("listening for other nodes (cluster.listen) on %s: %w", n.options.Listen, err)
	}
	n.listener = l
	return nil
}

// Addr is where it listens; nil before Listen.
func (n *Node) Addr() net.Addr {
	if n.listener == nil {
		return nil
	}
	return n.listener.Addr()
}

// Run answers other nodes until ctx ends, and then lets requests under way finish. It binds the
// listener if Listen was not called.
func (n *Node) Run(ctx context.Context) error {
	if n.listener == nil {
		if err := n.Listen(); err != nil {
			return err
		}
	}
	defer n.links.close()
	ended := make(chan error, 1)
	go func() {
		ended <- n.http.Serve(tls.NewListener(&crowd{Listener: n.listener, room: make(chan struct{}, connectionsAtMost)}, n.server()))
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("listening for other nodes: %w", err)
	case <-ctx.Done():
	}
	close(n.ending)
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	err := n.http.Shutdown(patience)
	if err != nil {
		err = n.http.Close()
	}
	<-ended
	return err
}

// crowd closes connections for which there is no room.
type crowd struct {
	net.Listener
	room chan struct{}
}

// Accept gives the next one that there is room for.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		nc, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case c.room <- struct{}{}:
			return &guest{Conn: nc, room: c.room}, nil
		default:
			_ = nc.Close()
		}
	}
}

// guest gives its room back when it is closed.
type guest struct {
	net.Conn
	room chan struct{}
	once sync.Once
}

// Close closes it.
func (g *guest) Close() error {
	g.once.Do(func() { <-g.room })
	return g.Conn.Close()
}

// Names of lines in the heads of answers.
const (
	statusLine   = "Lapid-Status"   // of the answer that is passed back; the HTTP status is 200 then
	revisionLine = "Lapid-Revision" // the writer's behind the answer, in the trailer
	againLine    = "Lapid-Again"    // why the request is to be sent again, elsewhere: one of the two words
	wordWriter   = "not the writer"
	wordUnsure   = "unsure"
	wordBusy     = "busy"
)

// Again notes in the head of an answer that err is a reason to send the request once more, under
// the same id, if it is. It is for handlers that word errors themselves, before they do.
func Again(head http.Header, err error) {
	switch {
	case errors.Is(err, engine.ErrNotWriter):
		head.Set(againLine, wordWriter)
	case errors.Is(err, engine.ErrUnsure):
		head.Set(againLine, wordUnsure)
	}
}

// pass answers a request that another node passes on.
func (n *Node) pass(w http.ResponseWriter, r *http.Request) {
	a := &passing{w: w, out: http.NewResponseController(w), head: w.Header()}
	in := &patient{r.Body, a.out}
	request, err := readHead(in)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	case !n.options.Engine.Writes():
		n.again(w, wordWriter)
		return
	}
	select {
	case n.served <- struct{}{}:
		defer func() { <-n.served }()
	default:
		n.again(w, wordBusy)
		return
	}
	handler := n.options.Handlers[request.Kind]
	if handler == nil {
		http.Error(w, "nobody answers this kind of request here", http.StatusNotImplemented)
		return
	}
	hold := budget.Hold{From: n.memory, Of: budget.Holder{Name: caller(r)}}
	defer hold.Release()
	if !n.readBody(w, r, in, request, &hold) {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				n.log.Error("a request that was passed on has panicked", "from", caller(r), "method", request.Method, "panic", p, "stack", string(debug.Stack()))
			}
			panic(http.ErrAbortHandler) // the other node must see that it is no answer
		}
	}()
	w.Header().Set("Trailer", revisionLine)
	err = handler.ServePassed(engine.ForRequest(r.Context(), request.ID), request, a)
	switch {
	case err == nil:
		a.end()
		w.Header().Set(revisionLine, strconv.FormatUint(uint64(n.options.Engine.View().Revision()), 10))
	case a.began:
		panic(http.ErrAbortHandler)
	default:
		w.Header().Del("Trailer")
		n.fail(w, err)
	}
}

// readBody reads a body that has a length. False: it was answered.
func (n *Node) readBody(w http.ResponseWriter, r *http.Request, in io.Reader, request *Request, hold *budget.Hold) bool {
	if r.ContentLength < 0 {
		request.Stream = in
		return true
	}
	if r.ContentLength > BodyAtMost+headAtMost+4 {
		http.Error(w, ErrTooLarge.Error(), http.StatusRequestEntityTooLarge)
		return false
	}
	if !hold.Await(r.ContentLength, bodyPatience, r.Context().Done()) {
		n.again(w, wordBusy)
		return false
	}
	request.Body = make([]byte, 0, 512)
	for {
		if len(request.Body) == cap(request.Body) { // not all at once on the word of a head
			request.Body = append(make([]byte, 0, min(2*cap(request.Body), int(r.ContentLength)+1)), request.Body...)
		}
		m, err := in.Read(request.Body[len(request.Body):cap(request.Body)])
		request.Body = request.Body[:len(request.Body)+m]
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return false // and nobody hears an answer
		}
	}
}

// again tells another node to send a request once more. Nothing was done here.
func (n *Node) again(w http.ResponseWriter, why string) {
	w.Header().Set(againLine, why)
	http.Error(w, why, http.StatusServiceUnavailable)
}

func (n *Node) fail(w http.ResponseWriter, err error) {
	Again(w.Header(), err)
	if w.Header().Get(againLine) != "" {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	n.log.Warn("a request that was passed on has failed", "error", err)
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// caller is the name in the certificate of who calls.
func caller(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return fmt.Sprintf("%.64s", r.TLS.PeerCertificates[0].Subject.CommonName)
}

// passing is the answer to a request that was passed on: its status goes as a line of the head, for
// an answer without a body has no trailer.
type passing struct {
	w     http.ResponseWriter
	out   *http.ResponseController
	head  http.Header
	began bool
}

// Header is the answer's.
func (p *passing) Header() http.Header { return p.head }

// Unwrap is for http.ResponseController.
func (p *passing) Unwrap() http.ResponseWriter { return p.w }

// WriteHeader begins the answer, but for those that say that more is to come.
func (p *passing) WriteHeader(status int) {
	if p.began || status < http.StatusOK {
		return
	}
	p.began = true
	p.head.Del("Content-Length")
	p.head.Set(statusLine, strconv.Itoa(status))
	if _, typed := p.head["Content-Type"]; !typed {
		p.head["Content-Type"] = nil // and none is guessed
	}
	p.w.WriteHeader(http.StatusOK)
}

// Write cuts an answer that nobody takes.
func (p *passing) Write(b []byte) (n int, err error) {
	p.WriteHeader(http.StatusOK)
	for first := true; first || len(b) > 0; first = false {
		_ = p.out.SetWriteDeadline(time.Now().Add(stall))
		part := b[:min(len(b), pieceBytes)]
		m, err := p.w.Write(part)
		if n += m; err != nil {
			return n, err
		}
		b = b[len(part):]
	}
	return n, nil
}

// FlushError begins the answer, if it has not, and sends what there is of it. It is for http.ResponseController.
func (p *passing) FlushError() error {
	p.WriteHeader(http.StatusOK)
	_ = p.out.SetWriteDeadline(time.Now().Add(stall))
	return p.out.Flush()
}

func (p *passing) end() {
	p.WriteHeader(http.StatusOK)
	_ = p.out.SetWriteDeadline(time.Now().Add(stall))
}

// patient cuts a body of which nothing comes.
type patient struct {
	io.Reader
	in *http.ResponseController
}

// Read reads.
func (p *patient) Read(b []byte) (int, error) {
	_ = p.in.SetReadDeadline(time.Now().Add(stall))
	return p.Reader.Read(b)
}

// State is what a node says of itself.
type State struct {
	Name     string
	Version  string // of its program
	Store    string // id of its store
	Revision engine.Revision
	Writes   bool
	Now      int64 // its clock, Unix nanoseconds

	// What Options.Describe has to say.
	Cluster string // id of the cluster
	Start   string // of its process
	Term    uint64 // under which it writes
	Level   int    // up to which it understands the history
	Stored  int64  // how long ago the log took something from it, in nanoseconds; below 0: never
}

// stateAtMost bounds it as JSON, in bytes.
const stateAtMost = 16 << 10

// state says what this node is.
func (n *Node) state(w http.ResponseWriter, _ *http.Request) {
	e := n.options.Engine
	s := State{Name: n.options.Name, Version: n.options.Version, Store: e.StoreID().String(), Revision: e.View().Revision(), Writes: e.Writes(), Now: e.Now(), Stored: -1}
	if n.options.Describe != nil {
		n.options.Describe(&s)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stall))
	_ = json.NewEncoder(w).Encode(&s)
}

// backup sends everything to a node.
func (n *Node) backup(w http.ResponseWriter, r *http.Request) {
	n.sendBackup(w, r, "another node", n.backups, n.options.Engine.Backup)
}

// sendBackup sends what write writes. One that fails after it has begun is cut off, so that it has no end mark.
func (n *Node) sendBackup(w http.ResponseWriter, r *http.Request, who string, room chan struct{}, write func(context.Context, io.Writer) (engine.Revision, int64, error)) {
	select {
	case room <- struct{}{}:
		defer func() { <-room }()
	default:
		n.again(w, wordBusy)
		return
	}
	a := &passing{w: w, out: http.NewResponseController(w), head: w.Header()}
	rev, size, err := write(r.Context(), a)
	switch {
	case err == nil:
		n.log.Info(who+" has taken a backup", "name", caller(r), "revision", rev, "bytes", size)
	case a.began:
		n.log.Warn("a backup for "+who+" was cut off", "name", caller(r), "error", err)
		panic(http.ErrAbortHandler)
	default:
		n.fail(w, err)
	}
}
