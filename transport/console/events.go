package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lapid/engine"
)

const (
	// mostStreams is how many pages listen at once, mostStreamsOfOne those of one session.
	mostStreams, mostStreamsOfOne = 64, 4
	// newsEvery is the pace: what happens within it is one message.
	newsEvery = 250 * time.Millisecond
	// quietFor is how often a comment is sent, and who listens is looked at again.
	quietFor = 15 * time.Second
	// sendWithin is how long a listener may take for what is sent; one that takes longer is cut off, and comes back.
	sendWithin = 10 * time.Second
	// mostKept is how many messages are kept for listeners that are behind, some 100 bytes each: who needs an
	// older one is told to begin anew.
	mostKept = 4096
	// mostCommits is how many commits one message sums up; the next follows newsEvery later. From mostBehind on
	// the newsroom leaves out what is between, and all begin anew.
	mostCommits, mostBehind = 2000, 50_000
)

// tidings are what happened in a few commits: how often each. They name nothing that strangers wrote.
type tidings struct {
	Revision  engine.Revision `json:"revision"`
	Decision  int             `json:"decision,omitempty"` // begun or ended
	Alert     int             `json:"alert,omitempty"`
	Machine   int             `json:"machine,omitempty"`
	Bouncer   int             `json:"bouncer,omitempty"`
	Allowlist int             `json:"allowlist,omitempty"`
}

// count notes one change.
func (t *tidings) count(k engine.ChangeKind) {
	switch k {
	case engine.DecisionBegun, engine.DecisionEnded:
		t.Decision++
	case engine.AlertStored, engine.AlertDeleted:
		t.Alert++
	case engine.MachinePut, engine.MachineDropped:
		t.Machine++
	case engine.BouncerPut, engine.BouncerDropped:
		t.Bouncer++
	case engine.AllowlistPut, engine.AllowlistExtended, engine.AllowlistReduced, engine.AllowlistDropped:
		t.Allowlist++
	}
}

// of is how often a kind happened.
func (t *tidings) of(kind string) int {
	return map[string]int{"decision": t.Decision, "alert": t.Alert, "machine": t.Machine, "bouncer": t.Bouncer, "allowlist": t.Allowlist}[kind]
}

// newsKinds are the words of ?kinds=.
var newsKinds = map[string]bool{"decision": true, "alert": true, "machine": true, "bouncer": true, "allowlist": true}

// newsroom reads the history for all who listen, while there are any: one reader, which no commit waits for,
// and a shelf of messages on which each listener has a place of its own.
type newsroom struct {
	engine *engine.Engine
	ended  chan struct{} // closed when the server ends

	mu      sync.Mutex
	all     int
	of      map[string]int // streams of a session
	kept    []tidings
	floor   engine.Revision // all that happened after it, up to at, is kept
	at      engine.Revision
	changed chan struct{} // closed by the next message
	stop    context.CancelFunc
}

func newNewsroom(e *engine.Engine) *newsroom {
	return &newsroom{engine: e, ended: make(chan struct{}), of: map[string]int{}, changed: make(chan struct{})}
}

// enter takes a place for a listener that knows everything up to a revision. The first one has the reader begin there,
// if the history reaches back so far.
func (n *newsroom) enter(who string, from engine.Revision) (leave func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.of[who] >= mostStreamsOfOne:
		return nil, &fault{http.StatusTooManyRequests, fmt.Sprintf("%d pages of this session are live already", mostStreamsOfOne)}
	case n.all >= mostStreams:
		return nil, &fault{http.StatusServiceUnavailable, fmt.Sprintf("%d pages are live already", mostStreams)}
	}
	if n.all == 0 {
		newest := n.engine.View().Revision()
		if from > newest || newest-from > mostBehind {
			from = newest
		}
		n.kept, n.floor, n.at = nil, from, from
		ctx, stop := context.WithCancel(context.Background())
		n.stop = stop
		go n.follow(ctx, from)
	}
	n.all++
	n.of[who]++
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.of[who]--; n.of[who] == 0 {
			delete(n.of, who)
		}
		if n.all--; n.all == 0 {
			n.stop()
			n.kept = nil
		}
	}, nil
}

// follow reads the history after a revision until nobody listens any more.
func (n *newsroom) follow(ctx context.Context, at engine.Revision) {
	pace := time.NewTicker(newsEvery)
	defer pace.Stop()
	for {
		changed := n.engine.Changed()
		var more bool
		at, more = n.turn(ctx, at)
		select {
		case <-pace.C:
		case <-ctx.Done():
			return
		}
		if more {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// turn reads on after a revision up to another, and keeps a message when something happened. True: there is more
// to read already.
func (n *newsroom) turn(ctx context.Context, at engine.Revision) (upTo engine.Revision, more bool) {
	newest := n.engine.View().Revision()
	commits, ok := n.engine.Commits(at)
	if !ok || newest-at > mostBehind {
		n.add(ctx, newest, nil)
		return newest, false
	}
	var t tidings
	read := 0
	for rev, c := range commits {
		for change := range c.Changes() {
			t.count(change.Kind)
		}
		at = rev
		n.engine.Pace(read)
		if read++; read == mostCommits || ctx.Err() != nil {
			more = true
			break
		}
	}
	t.Revision = at
	n.add(ctx, at, &t)
	return at, more
}

// add keeps what happened up to a revision; nil: what happened is not known, and all begin anew.
func (n *newsroom) add(ctx context.Context, at engine.Revision, t *tidings) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ctx.Err() != nil {
		return // another reader may be at work by now
	}
	n.at = at
	switch {
	case t == nil:
		n.kept, n.floor = nil, at
	case *t == tidings{Revision: at}:
		return
	default:
		if len(n.kept) == mostKept {
			n.floor = n.kept[0].Revision
			n.kept = append(n.kept[:0], n.kept[1:]...)
		}
		n.kept = append(n.kept, *t)
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// after is what happened after a revision, and what is closed when there is more; lost: it is not kept any more. A
// revision that the reader has not come to yet is a while ahead, and nothing has happened after it.
func (n *newsroom) after(rev engine.Revision) (list []tidings, newest engine.Revision, changed <-chan struct{}, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if rev < n.floor || rev > max(n.at, n.engine.View().Revision()) {
		return nil, n.at, n.changed, true
	}
	for i := len(n.kept); i > 0 && n.kept[i-1].Revision > rev; i-- {
		list = n.kept[i-1:]
	}
	return append([]tidings(nil), list...), n.at, n.changed, false
}

// listener is a page that listens.
type listener struct {
	server *Server
	q      *request
	out    *http.ResponseController
	kinds  []string // none: all
	at     engine.Revision
}

// eventsRoute is what listening needs.
var eventsRoute = &route{method: "GET", path: "/events", role: viewer}

// events sends what happens, as server-sent events whose ids are revisions, until the client leaves, its session is
// over or the server ends.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q := &request{Request: r, w: w, address: s.addressOf(r)}
	q.Header.Set(backgroundHeader, "1")
	l := &listener{server: s, q: q, out: http.NewResponseController(w), at: s.options.Engine.View().Revision()}
	err := s.admit(q, eventsRoute)
	if err == nil {
		err = l.read()
	}
	var leave func()
	if err == nil {
		leave, err = s.newsroom.enter(l.name(), l.at)
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	defer leave()
	_ = l.out.SetReadDeadline(time.Time{})
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	if l.send("retry: 2000\n\n") == nil {
		l.run()
	}
}

// read takes what the request asks for.
func (l *listener) read() error {
	w := l.q.words()
	for kind := range strings.SplitSeq(w.plain("kinds"), ",") {
		if kind != "" && !newsKinds[kind] {
			w.wrong("kinds are decision, alert, machine, bouncer and allowlist, not %.100q", kind)
		}
		if kind != "" {
			l.kinds = append(l.kinds, kind)
		}
	}
	if text := l.q.Header.Get("Last-Event-ID"); text != "" {
		rev, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			w.wrong("Last-Event-ID is a revision")
		}
		l.at = engine.Revision(rev)
	}
	return w.err()
}

// name is by whom streams are counted: the session, or the operator who came without one.
func (l *listener) name() string {
	if l.q.cookie != "" {
		h := hashOf(l.q.cookie)
		return string(h[:])
	}
	return l.q.who.Name
}

func (l *listener) run() {
	n := l.server.newsroom
	still := time.NewTicker(quietFor) // also while there is much to tell: who may not listen any more must not
	defer still.Stop()
	for {
		list, newest, changed, lost := n.after(l.at)
		if lost {
			l.at = newest
			if l.send(fmt.Sprintf("event: reset\nid: %d\ndata: {}\n\n", newest)) != nil {
				return
			}
		}
		for i := range list {
			l.at = list[i].Revision
			if l.tell(&list[i]) != nil {
				return
			}
		}
		select {
		case <-changed:
		case <-still.C:
			if !l.goesOn() || l.send(": still here\n\n") != nil {
				return
			}
		case <-l.q.Context().Done():
			return
		case <-n.ended:
			return
		}
	}
}

// tell sends one message, if it is about what was asked for.
func (l *listener) tell(t *tidings) error {
	for i, kind := range l.kinds {
		if t.of(kind) > 0 {
			break
		}
		if i == len(l.kinds)-1 {
			return nil
		}
	}
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return l.send(fmt.Sprintf("id: %d\ndata: %s\n\n", t.Revision, text))
}

func (l *listener) send(text string) error {
	_ = l.out.SetWriteDeadline(time.Now().Add(sendWithin))
	if _, err := l.q.w.Write([]byte(text)); err != nil {
		return err
	}
	return l.out.Flush()
}

// goesOn is whether who listens may still: a session that is over, or an operator who is gone, hears nothing more.
func (l *listener) goesOn() bool {
	view := l.server.options.Engine.View()
	if l.q.cookie != "" {
		return l.server.sessions.watcher(l.q.cookie, view) != nil
	}
	o := view.Operator(l.q.who.Name)
	if o == nil || o.Disabled || o.CreatedAt != l.q.who.CreatedAt || o.Role < eventsRoute.role {
		return false
	}
	now := l.server.options.Engine.Now()
	return l.q.token == 0 || slices.ContainsFunc(o.Tokens, func(t engine.OperatorToken) bool { return t.ID == l.q.token && !t.Expired(now) })
}
