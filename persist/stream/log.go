package stream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"lapid/engine"
)

// Log is one node's end of a history in etcd. It is an engine.Journal, and its contract is that of one: Append is
// for one goroutine at a time, all else for any. What Journal does not have says who may write: Claim, Run, Hand.
type Log struct {
	options   Options
	log       *slog.Logger
	start     string // tells this process from others of the same node
	endpoints *endpoints
	pace      pace
	packer    packer

	life    context.Context // ends with Close
	end     context.CancelFunc
	closed  atomic.Bool
	running atomic.Bool // Run is

	etcd struct {
		cluster  atomic.Uint64
		revision atomic.Int64 // the highest that was seen
	}
	confirmed   atomic.Int64          // when a confirm was last answered, steady; 0: never
	confirmedAt atomic.Int64          // when the last one began
	unconfirmed atomic.Pointer[error] // why the last one was not answered; nil: it was
	newest      atomic.Uint64         // the highest revision of the history that was seen
	advanced    signal                // given when newest grows
	confirms    confirms

	mu       sync.Mutex
	identity *Identity       // nil until it was read
	broken   error           // why this log does nothing any more
	reign    *reign          // nil: another writes, or nobody
	places   places          // of commits that went through here
	ledger   ledger          // of the same: what trimming goes by
	writer   Writer          // who writes, as last seen; zero: not known
	known    map[string]told // nodes by name; nil: not heard of yet
	signs    signs
	room     room            // in etcd
	etcds    []MemberFigures // of etcd, when they were last asked; replaced, never changed
	looked   []*syncs        // at them, by endpoint, when that was last; nil: never
	synced   []Syncs         // what came of it; replaced, never changed
	namesake namesake

	opened int64 // when, steady
	counts counts

	deposed signal        // given when reign ends
	signed  signal        // given when signs has something new
	blind   signal        // given to have the keys looked at anew
	orders  chan order    // of Hand, for Run
	retell  chan struct{} // has Run tell of this node now
}

// reign is the right to write, from when it was won until something takes it.
type reign struct {
	term   int64        // mod_revision of writer, and of id
	stored atomic.Int64 // when etcd last stored something of it, steady

	// Append's own.
	head   Place
	mod    int64 // mod_revision of head
	mended int64 // when head was last put back, steady; 0: never

	handed bool // another was named; Run's own
}

// Identity is whose history a prefix holds.
type Identity struct {
	Cluster ClusterID `json:"cluster"`
	// Base is where the log began: what is before it was never in etcd.
	Base Place `json:"base"`
	// Epoch is what cursors of bouncers are told by, of the store that the cluster began with.
	Epoch uint64 `json:"epoch"`
	// Level is which operations and formats may be written: all nodes read them.
	Level uint32 `json:"level"`
}

// Writer is who writes, or wrote last.
type Writer struct {
	Node    string `json:"node"`
	Start   string `json:"start"` // of its process
	Address string `json:"address,omitempty"`
	Term    int64  `json:"-"`
}

// Trace is what a node should still know after a restart, to see that etcd holds another history than its own.
// All that is zero is not known.
type Trace struct {
	Cluster      ClusterID `json:"cluster"`
	EtcdCluster  uint64    `json:"etcd_cluster,string"`
	EtcdRevision int64     `json:"etcd_revision"`
	Place        Place     `json:"place"`
}

// Failures that an operator has to look at.
var (
	// ErrOtherHistory: what etcd holds is not what this node has: it is of another cluster, was restored from an
	// older state, or was altered. The log does nothing any more; text and docs/cluster.md say what to do.
	ErrOtherHistory = errors.New("etcd holds another history than this node")
	// ErrNotBegun: there is no history under the prefix.
	ErrNotBegun = errors.New("no cluster has begun under this prefix of etcd: if its other nodes run, cluster.etcd.prefix must be the one that they have; if none has begun, run `lapid cluster init` on the node that has the store, and only there")
	// ErrSeal: the values in etcd were closed with another seal.
	ErrSeal = errors.New("what is in etcd was closed with another seal: cluster.seal_file must be the same on all nodes")

	errClosed = errors.New("the log is closed")
)

// Open makes a log. It asks etcd nothing, so it works while etcd is away; Join does. Close ends it.
func Open(options Options) (*Log, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	l := &Log{options: options, log: options.Log, packer: newPacker(),
		orders: make(chan order), retell: make(chan struct{}, 1), opened: steady()}
	var start [8]byte
	_, _ = rand.Read(start[:])
	l.start = hex.EncodeToString(start[:])
	l.life, l.end = context.WithCancel(context.Background())
	l.endpoints = newEndpoints(&l.options)
	t := options.Trace
	l.etcd.cluster.Store(t.EtcdCluster)
	l.etcd.revision.Store(t.EtcdRevision)
	l.places.add(t.Place)
	l.confirms.init(l)
	return l, nil
}

// Close ends all that is asked, and the connections. An Append under way returns engine.ErrUnsure. It says nothing to other
// nodes: Run hands over when its context ends.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.end()
	l.depose(l.reigning())
	l.endpoints.close()
	return nil
}

// Start tells this process of the node from earlier ones: 16 hexadecimal digits of chance.
func (l *Log) Start() string { return l.start }

// Trace returns what the node should keep for its next start, as Options.Trace.
func (l *Log) Trace() Trace {
	t := Trace{EtcdCluster: l.etcd.cluster.Load(), EtcdRevision: l.etcd.revision.Load()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Cluster = l.options.Trace.Cluster; l.identity != nil {
		t.Cluster = l.identity.Cluster
	}
	t.Place = l.places.last()
	return t
}

// Join reads whose history it is, for the first time; later it returns what is known. Errors: ErrNotBegun, ErrSeal,
// ErrOtherHistory, and that of ctx when no etcd answers.
func (l *Log) Join(ctx context.Context) (Identity, error) {
	l.mu.Lock()
	known := l.identity
	l.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	s, err := l.look(ctx)
	if err != nil {
		return Identity{}, explain(err)
	}
	return l.identify(s)
}

// Writer returns who writes as it was last seen, without asking; ok is false while that is not known.
func (l *Log) Writer() (w Writer, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writer, l.writer.Node != ""
}

// Writes reports whether this node has the right to write.
func (l *Log) Writes() bool { return l.reigning() != nil }

func (l *Log) reigning() *reign {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reign
}

// depose ends a reign, if it is still the one of now.
func (l *Log) depose(r *reign) {
	l.mu.Lock()
	ended := l.reign == r && r != nil
	if ended {
		l.reign = nil
	}
	l.mu.Unlock()
	if ended {
		l.deposed.give()
	}
}

// stop ends the work of a log for ever, loudly.
func (l *Log) stop(err error) error {
	l.mu.Lock()
	first := l.broken == nil
	if first {
		l.broken = err
	}
	err = l.broken
	r := l.reign
	l.mu.Unlock()
	if first {
		l.log.Error("this node neither writes nor follows the history of the cluster any more", "error", err)
	}
	l.depose(r)
	return err
}

// over reports why nothing can be asked any more.
func (l *Log) over() error {
	if l.closed.Load() {
		return errClosed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// until returns a context that ends with Close too.
func (l *Log) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.life, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// saw notes a revision of the history that etcd was seen to have.
func (l *Log) saw(rev engine.Revision) {
	for {
		was := l.newest.Load()
		if uint64(rev) <= was {
			return
		}
		if l.newest.CompareAndSwap(was, uint64(rev)) {
			l.advanced.give()
			return
		}
	}
}

// key is a key with the prefix.
func (l *Log) key(name string) string { return l.options.Prefix + "/" + name }

// places are the chains after the newest commits that went through here.
type places struct {
	ring [512]Place
	next int
}

func (p *places) add(at Place) {
	if at.Chain == (Chain{}) || p.last() == at {
		return
	}
	p.ring[p.next%len(p.ring)] = at
	p.next++
}

func (p *places) last() Place {
	if p.next == 0 {
		return Place{}
	}
	return p.ring[(p.next-1)%len(p.ring)]
}

func (p *places) find(rev engine.Revision) (Chain, bool) {
	for i := range min(p.next, len(p.ring)) {
		if at := p.ring[(p.next-1-i)%len(p.ring)]; at.Revision == rev {
			return at.Chain, true
		}
	}
	return Chain{}, false
}

// passed notes a commit that was stored or delivered here, and how many bytes it has in etcd.
func (l *Log) passed(at Place, size int) {
	l.mu.Lock()
	l.places.add(at)
	l.ledger.add(at.Revision, size)
	l.mu.Unlock()
	l.saw(at.Revision)
}

// chainAfter is the chain after a revision of this node's own history, if it is known.
func (l *Log) chainAfter(rev engine.Revision) (Chain, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.places.find(rev); ok {
		return c, true
	}
	if l.identity != nil && rev == l.identity.Base.Revision {
		return l.identity.Base.Chain, true
	}
	return Chain{}, false
}

// signal tells any number of goroutines that something has happened.
type signal struct {
	mu sync.Mutex
	c  chan struct{}
}

// next returns a channel that the next give closes.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

func (s *signal) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}

// belongs explains a history that is not the one expected.
func belongs(prefix string, here, there ClusterID) error {
	return fmt.Errorf("%w: the prefix %s holds cluster %s, this node is of %s: give the right cluster.etcd.prefix, or set this node's store aside "+
		"and let it join with an empty one", ErrOtherHistory, prefix, there, here)
}
