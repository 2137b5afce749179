package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// Bounds of calling others.
const (
	dialWithin    = time.Second
	connsPerPeer  = 256              // at a time; one request more waits for one
	idlePerPeer   = 32               // of them, those that are kept
	answerWithin  = 30 * time.Second // for an answer of a writer that stays the writer
	streamWithin  = 15 * time.Minute // the same, for what has no length
	reachWithin   = time.Second      // for what was stored there to be applied here
	lookEvery     = 50 * time.Millisecond
	pauseAtMost   = 200 * time.Millisecond
	answerAtOnce  = 4 << 20 // of an answer that is read before it is passed back
	linksAtMost   = 64      // peers, by name and address; of more the pools are closed
	failureAtMost = 4 << 10 // of what another node says that is no answer
)

// Pass has the writer answer r, and writes the answer to w. It waits for a writer for Options.Hold,
// and then until this node has applied what was stored, for a second at most. An error is one of
// ErrHere, ErrNoWriter, ErrPerhaps, ErrTooLarge or that of ctx, and nothing was written then. An answer
// that is cut off after it has begun panics with http.ErrAbortHandler.
func (n *Node) Pass(ctx context.Context, r *Request, w http.ResponseWriter) error {
	return n.passWithin(ctx, r, w, n.options.Hold)
}

// PassSoon is Pass for what need not be stored: it waits for so long at most in all.
func (n *Node) PassSoon(ctx context.Context, r *Request, w http.ResponseWriter, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return n.passWithin(ctx, r, w, within)
}

func (n *Node) passWithin(ctx context.Context, r *Request, w http.ResponseWriter, hold time.Duration) error {
	err := n.send(ctx, r, w, hold)
	n.passed.note(err)
	return err
}

// Passed is what became of requests that were to be passed on, since New.
type Passed struct {
	Answered uint64 // by another node
	Here     uint64 // this node wrote meanwhile, and was asked instead
	NoWriter uint64 // none took it in time
	Perhaps  uint64 // one may have stored it, and did not say
	Failed   uint64 // the caller went away, or the request was too large
}

// Passed returns the counts of now.
func (n *Node) Passed() Passed {
	p := &n.passed
	return Passed{p.answered.Load(), p.here.Load(), p.noWriter.Load(), p.perhaps.Load(), p.failed.Load()}
}

type passedCounts struct{ answered, here, noWriter, perhaps, failed atomic.Uint64 }

func (p *passedCounts) note(err error) {
	switch {
	case err == nil:
		p.answered.Add(1)
	case errors.Is(err, ErrHere):
		p.here.Add(1)
	case errors.Is(err, ErrNoWriter):
		p.noWriter.Add(1)
	case errors.Is(err, ErrPerhaps):
		p.perhaps.Add(1)
	default:
		p.failed.Add(1)
	}
}

func (n *Node) send(ctx context.Context, r *Request, w http.ResponseWriter, hold time.Duration) error {
	if len(r.Body) > BodyAtMost {
		return ErrTooLarge
	}
	head, err := r.append(nil)
	if err != nil {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, hold)
	defer cancel()
	perhaps := false // a node has it, and did not say what became of it
	for pause := lookEvery / 4; ; pause = min(2*pause, pauseAtMost) {
		name, address, ok := n.awaitWriter(patience)
		switch {
		case !ok && ctx.Err() != nil && !perhaps:
			return ctx.Err()
		case !ok && perhaps:
			return ErrPerhaps
		case !ok:
			return ErrNoWriter
		case name == n.options.Name:
			return ErrHere
		}
		err := n.attempt(ctx, patience, &link{name, address}, head, r, w)
		var again *sendAgain
		if !errors.As(err, &again) {
			return err
		}
		n.log.Debug("a request is passed on again", "node", name, "because", again.why)
		if perhaps = perhaps || again.perhaps; perhaps && r.ID.IsZero() || again.spent {
			return ErrPerhaps
		}
		wait(patience, pause)
	}
}

// awaitWriter waits until a writer is known.
func (n *Node) awaitWriter(ctx context.Context) (name, address string, ok bool) {
	for {
		if ctx.Err() != nil {
			return "", "", false
		}
		if name, address, ok = n.options.Writer(); ok && (name != n.options.Name || n.options.Engine.Writes()) {
			return name, address, true
		}
		wait(ctx, lookEvery)
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// sendAgain is why an attempt came to nothing.
type sendAgain struct {
	why     string
	perhaps bool // the other node may have done it
	spent   bool // what there was to send is gone
}

func (s *sendAgain) Error() string { return s.why }

// attempt sends r to one node, once.
func (n *Node) attempt(ctx, patience context.Context, to *link, head []byte, r *Request, w http.ResponseWriter) error {
	within := n.options.answerWithin
	if r.Stream != nil {
		within = streamWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if r.Stream == nil {
		go n.giveUpOn(ctx, patience, to, cancel)
	}
	// What was read of a stream is gone, also when nobody took it.
	spent := &noted{Reader: r.Stream}
	body, length := io.Reader(bytes.NewReader(r.Body)), int64(len(head)+len(r.Body))
	if r.Stream != nil {
		body, length = spent, -1
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+to.address+"/pass", io.MultiReader(bytes.NewReader(head), body))
	if err != nil {
		return err
	}
	request.ContentLength = length
	answer, err := n.links.of(n, to).Do(request)
	if err != nil {
		var dial *net.OpError
		refused := errors.As(err, &dial) && dial.Op == "dial"
		return &sendAgain{why: err.Error(), perhaps: !refused, spent: spent.read.Load()}
	}
	defer answer.Body.Close()
	if why := answer.Header.Get(againLine); why != "" {
		return &sendAgain{why: why, perhaps: why == wordUnsure, spent: spent.read.Load()}
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, failureAtMost))
		return &sendAgain{why: fmt.Sprintf("node %s: %s: %.200s", to.name, answer.Status, bytes.TrimSpace(text)), perhaps: answer.StatusCode >= http.StatusInternalServerError, spent: true}
	}
	return n.passBack(answer, r, w)
}

// giveUpOn ends an attempt once another node writes than the one that was asked.
func (n *Node) giveUpOn(ctx, patience context.Context, asked *link, cancel func()) {
	for {
		wait(ctx, lookEvery)
		if ctx.Err() != nil {
			return
		}
		name, address, ok := n.options.Writer()
		if ok && (name != asked.name || address != asked.address) || !ok && patience.Err() != nil {
			cancel()
			return
		}
	}
}

// passBack writes an answer out. One that is short is read to its end before, so that the request
// can be sent again if it is cut off.
func (n *Node) passBack(answer *http.Response, r *Request, w http.ResponseWriter) error {
	status, err := strconv.Atoi(answer.Header.Get(statusLine))
	if err != nil || status < 200 || status > 999 {
		return &sendAgain{why: "an answer without a status", perhaps: true, spent: true}
	}
	var whole []byte
	if r.Stream == nil {
		if whole, err = io.ReadAll(io.LimitReader(answer.Body, answerAtOnce)); err != nil {
			return &sendAgain{why: err.Error(), perhaps: true}
		}
		if len(whole) < answerAtOnce {
			n.reach(answer)
		}
	}
	for name, values := range answer.Header {
		if !ours[name] {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(status)
	_, err = w.Write(whole)
	if err == nil && (r.Stream != nil || len(whole) == answerAtOnce) {
		n.passOn(answer, w)
	}
	return nil
}

// heldBack is how much of the end of an answer waits until what it was made on is applied here: who has all of it reads what he wrote.
const heldBack = 64

// passOn writes the rest of an answer as it comes, but its end.
func (n *Node) passOn(answer *http.Response, w http.ResponseWriter) {
	out := http.NewResponseController(w)
	_ = out.Flush() // the head: who sends a stream may wait for it
	piece, held := make([]byte, heldBack+32<<10), 0
	for {
		m, err := answer.Body.Read(piece[held:])
		held += m
		if over := held - heldBack; over > 0 {
			if _, failed := w.Write(piece[:over]); failed != nil {
				return // the client has gone
			}
			_ = out.Flush()
			held = copy(piece, piece[over:held])
		}
		switch {
		case errors.Is(err, io.EOF):
			n.reach(answer)
			_, _ = w.Write(piece[:held])
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
	}
}

// ours are lines of a head that are between nodes, or of the connection.
var ours = map[string]bool{statusLine: true, revisionLine: true, againLine: true, "Trailer": true, "Date": true, "Content-Length": true, "Transfer-Encoding": true, "Connection": true}

// reach waits until what an answer was made on is applied here.
func (n *Node) reach(answer *http.Response) {
	rev, err := strconv.ParseUint(answer.Trailer.Get(revisionLine), 10, 64)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), reachWithin)
	defer cancel()
	if err := n.options.Engine.Reach(ctx, engine.Revision(rev)); err != nil {
		n.log.Debug("an answer goes out before it is applied here", "revision", rev)
	}
}

// Ask is a sign of life of another node.
func (n *Node) Ask(ctx context.Context, name, address string) (*State, error) {
	answer, err := n.get(ctx, &link{name, address}, "/state")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	s := &State{}
	if err := json.NewDecoder(io.LimitReader(answer.Body, stateAtMost)).Decode(s); err != nil {
		return nil, fmt.Errorf("node %s at %s: its state cannot be read: %w", name, address, err)
	}
	if s.Name != name {
		return nil, fmt.Errorf("at %s is node %q, and not %q", address, s.Name, name)
	}
	return s, nil
}

// Backup asks another node for everything as it is there at one moment. The caller closes it. It was
// cut off if it has no end mark, which engine.Restore sees.
func (n *Node) Backup(ctx context.Context, name, address string) (io.ReadCloser, error) {
	answer, err := n.get(ctx, &link{name, address}, "/backup")
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

func (n *Node) get(ctx context.Context, to *link, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+to.address+path, nil)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", to.name, err)
	}
	answer, err := n.links.of(n, to).Do(request)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", to.name, err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, failureAtMost))
		return nil, fmt.Errorf("node %s at %s: %s: %.200s", to.name, to.address, answer.Status, bytes.TrimSpace(text))
	}
	return answer, nil
}

// link names a peer.
type link struct{ name, address string }

// links are the pools of connections, one for each peer.
type links struct {
	mu sync.Mutex
	to map[link]*http.Client
}

// of gives the pool of a peer.
func (l *links) of(n *Node, to *link) *http.Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.to[*to]; c != nil {
		return c
	}
	if len(l.to) >= linksAtMost {
		l.drop()
	}
	if l.to == nil {
		l.to = map[link]*http.Client{}
	}
	config := n.client(to.name, to.address)
	c := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialWithin}, Config: config}
				ctx, cancel := context.WithTimeout(ctx, 2*dialWithin) // the handshake, too
				defer cancel()
				c, err := d.DialContext(ctx, network, address)
				if err != nil {
					return nil, &net.OpError{Op: "dial", Net: network, Err: err} // nothing was sent
				}
				return c, nil
			},
			MaxConnsPerHost: connsPerPeer, MaxIdleConnsPerHost: idlePerPeer, IdleConnTimeout: idleFor / 2,
			DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		},
	}
	l.to[*to] = c
	return c
}

// close closes all pools; what is under way goes on.
func (l *links) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

func (l *links) drop() {
	for _, c := range l.to {
		c.CloseIdleConnections()
	}
	l.to = nil
}

// noted knows whether anything was read.
type noted struct {
	io.Reader
	read atomic.Bool
}

// Read notes it.
func (n *noted) Read(b []byte) (int, error) {
	n.read.Store(true)
	return n.Reader.Read(b)
}
