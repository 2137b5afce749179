package admin

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"lapid/engine"
)

const (
	// maxConns bounds the connections. Beyond it, one without a verb under way is closed:
	// the oldest one of the user that has most of them.
	maxConns = 256

	// maxVerbs bounds the verbs under way; further ones wait. The last of the
	// places, reservedVerbs, are for root and the server's own user: whatever the
	// others of the group do, the operator is let in.
	maxVerbs, reservedVerbs = 64, 16

	// maxLarge bounds the requests at once that have more than smallBody bytes,
	// or do not say how many; further ones wait before they are read. With maxBody
	// it bounds the memory of requests; an import has two chunks and a part of a third.
	maxLarge, smallBody = 8, 1 << 20

	// bodyPace bytes of a body, or its end, must come within bodyStall of the ones
	// before. Within that a body may take as long as it likes.
	bodyStall = 10 * time.Second
	bodyPace  = 64 << 10

	// waitForPlace is how long a verb waits for a place before it is refused.
	waitForPlace = 30 * time.Second

	// readStall is how long a client may take nothing of its answer. A backup may
	// go to a tape or over a slow line.
	readStall = 10 * time.Minute
)

// places are the connections of a server and what they may do at once. Any
// goroutine may use them.
type places struct {
	who     func(net.Conn) (uid int) // whose process a connection is of; -1: unknown
	stall   time.Duration            // bodyStall
	general chan struct{}            // a token for each verb under way
	reserve chan struct{}            // the same, for the operator alone
	large   chan struct{}            // a token for each large request

	mu    sync.Mutex
	conns *list.List // of *caller, the oldest first
}

// newPlaces is empty, with the bounds above.
func newPlaces() *places {
	return &places{
		who: userOf, stall: bodyStall, conns: list.New(), general: make(chan struct{}, maxVerbs-reservedVerbs),
		reserve: make(chan struct{}, reservedVerbs), large: make(chan struct{}, maxLarge),
	}
}

// crowd is a listener whose connections have places.
type crowd struct {
	net.Listener
	places *places
}

// Accept gives the next connection, and closes another when there are too many.
func (l *crowd) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.places.admit(c), nil
}

// admit gives a connection its place. When there are too many, another is closed,
// never this one.
func (p *places) admit(conn net.Conn) *caller {
	c := &caller{Conn: conn, places: p, user: p.who(conn)}
	p.mu.Lock()
	c.entry = p.conns.PushBack(c)
	var gone *caller
	if p.conns.Len() > maxConns {
		gone = p.superfluous()
	}
	p.mu.Unlock()
	if gone != nil {
		_ = gone.Close()
	}
	return c
}

// superfluous is the oldest connection without a verb under way, of the user that has
// most of such. There is one: verbs are fewer than connections. mu is held.
func (p *places) superfluous() *caller {
	oldest, n := map[int]*caller{}, map[int]int{}
	most := 0
	for e := p.conns.Front(); e != nil; e = e.Next() {
		c := e.Value.(*caller)
		if c.running {
			continue
		}
		if n[c.user]++; n[c.user] == 1 {
			oldest[c.user] = c
		}
		most = max(most, n[c.user])
	}
	for e := p.conns.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*caller); n[c.user] == most && oldest[c.user] == c {
			return c
		}
	}
	return nil
}

// caller is one connection.
type caller struct {
	net.Conn
	places  *places
	user    int
	entry   *list.Element
	running bool // guarded by places.mu: it is not closed to make room
	leave   sync.Once
}

// operator tells whether the reserve is for this caller.
func (c *caller) operator() bool { return c.user == 0 || c.user == os.Geteuid() }

// Write gives the client readStall from here.
func (c *caller) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(readStall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// Close may be called more than once.
func (c *caller) Close() error {
	c.leave.Do(func() {
		c.places.mu.Lock()
		c.places.conns.Remove(c.entry)
		c.places.mu.Unlock()
	})
	return c.Conn.Close()
}

// callerKey is where a request's context has its caller.
type callerKey struct{}

// knowCaller is the ConnContext of a server.
func knowCaller(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*caller); ok {
		return context.WithValue(ctx, callerKey{}, c)
	}
	return ctx
}

// operatorOf is the user that asks for a verb, by what the kernel says of the other end
// of the socket: its name, or its number if it has none. Within the command's own
// process it is the user of that.
func operatorOf(ctx context.Context) engine.Actor {
	if r := remoteOf(ctx); r != nil {
		return r.actor()
	}
	if p := passedBy(ctx); p != nil {
		return p.By
	}
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return userActor(c.user)
	}
	return LocalUser()
}

// LocalUser is the user of this process, as the actor of what it changes without a server.
func LocalUser() engine.Actor { return userActor(os.Getuid()) }

// userActor is a user by its number: its name, or the number if it has none.
func userActor(uid int) engine.Actor {
	name := ""
	if uid >= 0 {
		name = strconv.Itoa(uid)
	}
	if who, err := user.LookupId(name); err == nil {
		name = who.Username
	}
	return engine.Actor{Kind: engine.ActorOperator, Name: name}
}

// enter reads the whole body of a request and takes a place for its verb; leave
// gives it back. Within the command's own process there is no wait for a place.
func enter(w http.ResponseWriter, r *http.Request) (leave func(), err error) {
	c, ok := r.Context().Value(callerKey{}).(*caller)
	if !ok {
		return func() {}, nil
	}
	done := func() {}
	if r.ContentLength < 0 || r.ContentLength > smallBody {
		if err := take(r.Context(), c.places.large, nil); err != nil {
			return nil, err
		}
		done = func() { <-c.places.large }
	}
	body, err := readPaced(w, r, c.places.stall)
	if err != nil {
		done()
		return nil, unreadable(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	away, err := c.begin(r.Context())
	if err != nil {
		done()
		return nil, err
	}
	return func() { away(); done() }, nil
}

// enterLarge takes a place for a verb that reads its request by itself, and of a large request;
// leave gives them back. Within the command's own process there is no wait for a place.
func enterLarge(ctx context.Context) (leave func(), err error) {
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return func() {}, nil
	}
	if err := take(ctx, c.places.large, nil); err != nil {
		return nil, err
	}
	away, err := c.begin(ctx)
	if err != nil {
		<-c.places.large
		return nil, err
	}
	return func() { away(); <-c.places.large }, nil
}

// begin takes a place for a verb. It waits waitForPlace at most, then the
// error is an ErrBusy. The operator takes from the reserve when the general
// places are taken.
func (c *caller) begin(ctx context.Context) (leave func(), err error) {
	p, from := c.places, c.places.general
	reserve := p.reserve
	if !c.operator() {
		reserve = nil
	}
	select {
	case from <- struct{}{}:
	default:
		switch err := take(ctx, p.general, reserve); {
		case errors.Is(err, errReserve):
			from = p.reserve
		case err != nil:
			return nil, err
		}
	}
	c.run(true)
	return func() { c.run(false); <-from }, nil
}

// run notes whether a verb is under way, which keeps the connection from being closed
// to make room.
func (c *caller) run(on bool) {
	c.places.mu.Lock()
	defer c.places.mu.Unlock()
	c.running = on
}

// errReserve: the token is one of the reserve.
var errReserve = errors.New("reserve")

// take waits for a token of either kind. A nil channel has none to give.
func take(ctx context.Context, tokens, reserve chan struct{}) error {
	patience := time.NewTimer(waitForPlace)
	defer patience.Stop()
	select {
	case tokens <- struct{}{}:
		return nil
	case reserve <- struct{}{}:
		return errReserve
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return &engine.Error{Kind: engine.ErrBusy, Text: fmt.Sprintf(
			"the server has as many of the operator's verbs under way as it takes (%d, of them %d large ones): try again when some have ended", maxVerbs, maxLarge)}
	}
}

// readPaced reads a body whose bytes keep coming. Its length is bounded by
// the handler. A body that stalls is an error, so a client that has gone
// holds no place.
func readPaced(w http.ResponseWriter, r *http.Request, stall time.Duration) ([]byte, error) {
	deadlines := http.NewResponseController(w)
	var out bytes.Buffer
	for {
		if err := deadlines.SetReadDeadline(time.Now().Add(stall)); err != nil {
			return nil, err
		}
		switch _, err := io.CopyN(&out, r.Body, bodyPace); {
		case errors.Is(err, io.EOF):
			return out.Bytes(), deadlines.SetReadDeadline(time.Time{})
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, fmt.Errorf("less than %d bytes of it came within %v", bodyPace, stall)
		case err != nil:
			return nil, err
		}
	}
}
