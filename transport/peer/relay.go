package peer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"lapid/engine"
)

// Bounds of following.
const (
	quietAtMost   = 5 * aliveEvery         // without a byte, and a node is given up
	frameAtMost   = 512 << 20              // bytes of a commit: more than the largest
	followPause   = 250 * time.Millisecond // before the next address is tried; doubled after each round, with jitter
	followPauses  = 5 * time.Second        // at most
	strangerAfter = time.Minute            // for which only one other history answers before that is taken
	backupWithin  = 15 * time.Minute       // for everything, from one node
)

// Failures of a relay's requests.
var (
	// ErrOtherHistory: that node has another one.
	ErrOtherHistory = errors.New("this address has another history")
	// ErrTooOld: what is sent is newer than what this program reads.
	ErrTooOld = errors.New("this program is too old")
	errGone   = errors.New("the journal there does not reach back so far")
)

// RelayOptions say what a Relay follows.
type RelayOptions struct {
	From        []string     // host:port of nodes, one at least
	Credentials *Credentials // LoadRelayCredentials
	Version     string       // of the program
	Logger      *slog.Logger // nil: silence

	// Anew is called when what the relay has does not lead on: the address has everything, and history is whose. It makes
	// that the relay's, and ends the engine that follows. An error is told, and it is called again.
	Anew func(ctx context.Context, address string, history engine.HistoryName) error

	patience time.Duration // for tests: strangerAfter
}

// Relay is the history as nodes send it, redacted, to one that only follows. It implements engine.Journal. Follow asks one address
// after the other, for ever. Its methods may be called from any goroutine.
type Relay struct {
	options RelayOptions
	log     *slog.Logger
	calls   *Node
	unpack  *zstd.Decoder
	level   string // that it reads

	mu      sync.Mutex
	history engine.HistoryName // that is followed; zero: any
	status  RelayStatus
	heard   time.Time     // when a node last said how old what it knows is; zero: never
	behind  time.Duration // what it said
	other   stranger
}

// stranger is another history that answers while none of its own does.
type stranger struct {
	name  engine.HistoryName
	since time.Time
}

// RelayStatus is how a relay stands.
type RelayStatus struct {
	From      string // address that it follows, or followed last; "": none yet
	Connected bool
	History   string          // E
	Newest    engine.Revision // that the node has said to have
	Age       time.Duration   // how old what the relay knows may be; below 0: it has heard nobody since the start
	Problem   string          // why the last attempt failed; "": it did not
}

// NewRelay makes a relay of a history; with the zero name it takes the first that answers.
func NewRelay(o *RelayOptions, history engine.HistoryName) (*Relay, error) {
	if len(o.From) == 0 || o.Credentials == nil {
		return nil, errors.New("a relay needs addresses and credentials")
	}
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(frameAtMost), zstd.WithDecoderMaxWindow(1<<20))
	if err != nil {
		return nil, fmt.Errorf("unpacking commits: %w", err)
	}
	r := &Relay{options: *o, log: o.Logger, unpack: unpack, level: strconv.Itoa(RelayLevel), history: history}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.options.patience <= 0 {
		r.options.patience = strangerAfter
	}
	r.calls, err = New(&Options{Name: "relay", Credentials: o.Credentials, Version: o.Version, Logger: r.log, Writer: func() (string, string, bool) { return "", "", false }})
	return r, err
}

// SetHistory says which history is followed, before Follow is called.
func (r *Relay) SetHistory(name engine.HistoryName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = name
}

// Status is how it stands.
func (r *Relay) Status() RelayStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.History, s.Age = r.history.String(), -1
	if !r.heard.IsZero() {
		s.Age = time.Since(r.heard) + r.behind
	}
	return s
}

// Append refuses: a relay writes nothing.
func (r *Relay) Append(context.Context, engine.Revision, []byte) error { return engine.ErrNotWriter }

// Newest is the newest revision that a node has told of. It asks nobody: a relay never waits for one.
func (r *Relay) Newest(context.Context) (engine.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status.Newest, nil
}

// Trim does nothing: the history is the nodes'.
func (r *Relay) Trim(engine.Revision) error { return nil }

// Follow hands over what nodes send, from one of them after the other, until ctx ends or deliver fails.
func (r *Relay) Follow(ctx context.Context, after engine.Revision, deliver func(engine.Revision, []byte) error) error {
	for round := 0; ; round++ {
		for _, address := range r.options.From {
			began := after
			err := r.followOne(ctx, address, &after, deliver)
			if failed := (*notTaken)(nil); errors.As(err, &failed) {
				return failed.error
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if after > began {
				round = 0
			}
			r.failed(address, err)
			if r.anew(ctx, address, err) {
				<-ctx.Done() // the engine ends, and another one goes on
				return ctx.Err()
			}
			pause := min(followPause<<min(round, 8), followPauses)
			wait(ctx, pause/2+rand.N(pause))
		}
	}
}

// notTaken is why deliver has failed.
type notTaken struct{ error }

// failed notes why an address came to nothing, and says so where it is news.
func (r *Relay) failed(address string, err error) {
	r.mu.Lock()
	told := r.status.Problem
	r.status.Connected, r.status.Problem = false, fmt.Sprintf("%s: %v", address, err)
	news := told != r.status.Problem
	r.mu.Unlock()
	if news {
		r.log.Warn("this relay does not follow: the next address is tried, for ever", "address", address, "because", err)
	}
}

// anew has the relay begin anew from an address where that is what a failure means, and reports whether it does.
func (r *Relay) anew(ctx context.Context, address string, err error) bool {
	var is *otherHistory
	switch {
	case errors.As(err, &is):
		if !r.takes(is.name) {
			return false
		}
		r.log.Error("for a minute only another history has answered: this relay takes that, as after a cluster that began again", "was", r.Status().History, "is", is.name.String(), "address", address)
	case errors.Is(err, errGone):
		r.mu.Lock()
		is = &otherHistory{r.history}
		r.mu.Unlock()
		r.log.Warn("this relay was away for longer than the journal there goes back: it gets everything anew, and serves what it has meanwhile", "address", address)
	default:
		return false
	}
	if r.options.Anew == nil {
		return false
	}
	if err := r.options.Anew(ctx, address, is.name); err != nil {
		r.log.Warn("this relay could not get everything anew, and tries again", "address", address, "error", err)
		return false
	}
	return true
}

// otherHistory is ErrOtherHistory with its name.
type otherHistory struct{ name engine.HistoryName }

func (o *otherHistory) Error() string {
	return fmt.Sprintf("%v, %s: it is passed by", ErrOtherHistory, o.name)
}
func (o *otherHistory) Is(err error) bool { return err == ErrOtherHistory }

// takes notes that another history has answered, and reports whether it is to be taken: only that one has, for long enough.
func (r *Relay) takes(name engine.HistoryName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.other.name != name {
		r.other = stranger{name, time.Now()}
		return false
	}
	return time.Since(r.other.since) >= r.options.patience
}

// followOne follows one node until that fails.
func (r *Relay) followOne(ctx context.Context, address string, after *engine.Revision, deliver func(engine.Revision, []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(2*quietAtMost, cancel) // for the head of the answer
	defer quiet.Stop()
	answer, err := r.ask(ctx, address, "/follow?after="+strconv.FormatUint(uint64(*after), 10))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	r.log.Info("this relay follows", "address", address, "after", uint64(*after))
	in := &frames{from: bufio.NewReaderSize(&listened{answer.Body, quiet}, 64<<10)}
	for {
		kind, rev, body, err := in.next()
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("nothing was heard for %s", quietAtMost)
		} else if err != nil {
			return fmt.Errorf("it was cut off: %w", err)
		}
		switch kind {
		case frameAlive:
			if len(body) < 8 {
				return errFrame
			}
			r.hears(address, rev, time.Duration(binary.BigEndian.Uint64(body)))
		case frameCommit, framePacked:
			if err := r.take(kind, rev, body, after, deliver); err != nil {
				return err
			}
		default: // of a newer program, which says by its level what must be read
		}
	}
}

// listened gives a sender up from whom nothing comes while it is listened to.
type listened struct {
	io.Reader
	quiet *time.Timer
}

// Read reads.
func (l *listened) Read(b []byte) (int, error) {
	l.quiet.Reset(quietAtMost)
	defer l.quiet.Stop()
	return l.Reader.Read(b)
}

// take hands a commit over.
func (r *Relay) take(kind byte, rev engine.Revision, body []byte, after *engine.Revision, deliver func(engine.Revision, []byte) error) error {
	if rev <= *after {
		return nil
	}
	if rev != *after+1 {
		return fmt.Errorf("%w: revision %d after %d", errFrame, rev, *after)
	}
	if kind == framePacked {
		var err error
		if body, err = r.unpack.DecodeAll(body, nil); err != nil {
			return fmt.Errorf("%w: %w", errFrame, err)
		}
	}
	if err := deliver(rev, body); err != nil {
		return &notTaken{err}
	}
	*after = rev
	return nil
}

// hears notes what a node has said.
func (r *Relay) hears(address string, newest engine.Revision, behind time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.From, r.status.Connected, r.status.Newest, r.status.Problem = address, true, newest, ""
	r.heard, r.behind = time.Now(), behind
}

// Backup asks an address for everything, redacted. The caller closes it; what was cut off has no end mark, which engine.Adopt sees.
// name is whose history it is: with the zero one, any, which is returned.
func (r *Relay) Backup(ctx context.Context, address string, name engine.HistoryName) (io.ReadCloser, engine.HistoryName, error) {
	ctx, cancel := context.WithTimeout(ctx, backupWithin)
	answer, err := r.askAs(ctx, address, "/follow/backup", name)
	if err != nil {
		cancel()
		return nil, name, err
	}
	copy(name[:], answer.Header.Get(historyLine))
	return &ending{answer.Body, cancel}, name, nil
}

// ending ends what was for a body with it.
type ending struct {
	io.ReadCloser
	end func()
}

// Close closes it.
func (e *ending) Close() error {
	defer e.end()
	return e.ReadCloser.Close()
}

// ask asks in the name of the history that is followed.
func (r *Relay) ask(ctx context.Context, address, path string) (*http.Response, error) {
	r.mu.Lock()
	name := r.history
	r.mu.Unlock()
	answer, err := r.askAs(ctx, address, path, name)
	if err == nil {
		r.mu.Lock()
		r.other = stranger{} // its own answers
		r.mu.Unlock()
	}
	return answer, err
}

func (r *Relay) askAs(ctx context.Context, address, path string, name engine.HistoryName) (*http.Response, error) {
	u, err := url.Parse("https://" + address + path)
	if err != nil {
		return nil, err
	}
	request := (&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}).WithContext(ctx)
	request.Header.Set(levelLine, r.level)
	request.Header.Set(versionLine, r.options.Version)
	if name != (engine.HistoryName{}) {
		request.Header.Set(historyLine, name.String())
	}
	answer, err := r.calls.links.of(r.calls, &link{address: address}).Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, failureAtMost))
	said := fmt.Sprintf("%s: %.300s", answer.Status, bytes.TrimSpace(text))
	switch answer.StatusCode {
	case http.StatusConflict:
		other := &otherHistory{}
		if copy(other.name[:], answer.Header.Get(historyLine)) == len(other.name) {
			return nil, other
		}
	case http.StatusGone:
		return nil, fmt.Errorf("%w: %s", errGone, said)
	case http.StatusUpgradeRequired:
		return nil, fmt.Errorf("%w: %s", ErrTooOld, said)
	}
	return nil, errors.New(said)
}

// frames are read one by one.
type frames struct {
	from *bufio.Reader
	body bytes.Buffer
}

var errFrame = errors.New("what was sent cannot be read")

// next reads one; body is borrowed until the next. Memory is taken as bytes come, not on the word of a head.
func (f *frames) next() (kind byte, rev engine.Revision, body []byte, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(f.from, head[:]); err != nil {
		return 0, 0, nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[9:]))
	if n > frameAtMost {
		return 0, 0, nil, fmt.Errorf("%w: a frame of %d bytes", errFrame, n)
	}
	if f.body.Cap() > 4<<20 {
		f.body = bytes.Buffer{} // one giant must not hold its memory for ever
	}
	f.body.Reset()
	if _, err := io.CopyN(&f.body, f.from, n); err != nil {
		return 0, 0, nil, err
	}
	return head[0], engine.Revision(binary.BigEndian.Uint64(head[1:])), f.body.Bytes(), nil
}
