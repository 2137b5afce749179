package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"lapid/engine"
	"lapid/persist/stream"
	"lapid/transport/peer"
)

// campaign is a node's part in its cluster while it runs: who writes, what the others are told, the listener for them.
type campaign struct {
	stop  context.CancelFunc
	ended chan error // of history.Run and peers.Run, one each
}

// formatLevel is which operations and formats this program reads and writes in a shared history.
const formatLevel = compareLevel

// enterCluster begins a cluster where that was wished for, and has this node take part. It returns once there is a history to be
// served: for a node that was one before, at once.
func (p *program) enterCluster(ctx context.Context, ground context.Context) error {
	c := p.cluster
	var err error
	c.peers, err = peer.New(&peer.Options{
		Name: c.settings.Name, Listen: c.settings.Listen, Credentials: c.by, Engine: p.engine, Version: p.version, Writer: c.writer,
		Describe: c.describe, Age: c.age, Hold: c.hold(), Logger: p.log.Logger,
	})
	if err != nil {
		return err
	}
	c.peers.Handle(peer.API, onceThere(&p.helper))
	c.peers.Handle(peer.Note, onceThere(&c.gate))
	c.peers.Handle(peer.Verb, onceThere(&c.verbs))
	c.peers.Handle(peer.Visits, peer.HandlerFunc(p.takeVisits))
	if err := c.peers.Listen(); err != nil {
		return err
	}
	if err := c.fits(ctx); err != nil {
		return err
	}
	if err := c.onlyOne(ctx); err != nil {
		return err
	}
	p.beginHistory(ctx)
	ground, stop := context.WithCancel(ground)
	c.campaign = &campaign{stop, make(chan error, 2)}
	go func() {
		c.campaign.ended <- c.history.Run(ground, p.engine, func() stream.Facts { return p.facts(ground) })
	}()
	go func() { c.campaign.ended <- c.peers.Run(ground) }()
	go c.keepTrace(ground)
	go p.noteVisits(ground)
	go p.keepAlike(ground)
	go c.tellAilments(ground, p.log.Logger)
	for p.engine.View().Revision() == 0 && ctx.Err() == nil {
		p.noteStart("this node waits for the node that writes")
		changed := p.engine.Changed()
		select {
		case <-changed:
		case <-time.After(clusterAgain):
		case <-ctx.Done():
		}
		if err := c.memberFailed(); err != nil {
			return err
		}
	}
	p.condition.cluster.Store(c)
	return nil
}

// onceThere has what is put there answer what another node passes on. Until then this node is not open, and another is asked.
func onceThere[T any, H interface {
	*T
	peer.Handler
}](at *atomic.Pointer[T]) peer.Handler {
	return peer.HandlerFunc(func(ctx context.Context, r *peer.Request, w http.ResponseWriter) error {
		there := at.Load()
		if there == nil {
			return engine.ErrNotWriter
		}
		return H(there).ServePassed(ctx, r, w)
	})
}

// leaveCluster hands the writing over and ends this node's part. The engine runs still.
func (p *program) leaveCluster() {
	if p.cluster == nil || p.cluster.campaign == nil {
		return
	}
	p.lastVisits()
	a := p.cluster.campaign
	a.stop()
	for range 2 {
		if err := <-a.ended; err != nil && !errors.Is(err, context.Canceled) {
			p.log.Warn("a node's part in its cluster has ended", "error", err)
		}
	}
}

func (c *cluster) hold() time.Duration {
	d, _ := c.settings.Hold() // checked when it was read
	return max(d, time.Nanosecond)
}

// facts are what the other nodes are told. What is told to be on this node's disk is there.
func (p *program) facts(ctx context.Context) stream.Facts {
	f := stream.Facts{Store: p.engine.StoreID().String(), Version: p.version, Level: formatLevel}
	if synced, err := p.engine.SyncStore(ctx); err == nil {
		f.Synced = synced
	}
	f.Applied, f.Digests, f.Compared = p.engine.View().Revision(), *p.cluster.alike.Load(), p.cluster.compared(p.engine)
	return f
}

// describe adds to what another node is told over the peers' listener.
func (c *cluster) describe(s *peer.State) {
	trace := c.history.Trace()
	s.Cluster, s.Start, s.Level = trace.Cluster.String(), c.history.Start(), formatLevel
	if w, ok := c.history.Writer(); ok && w.Start == s.Start {
		s.Term = uint64(w.Term)
	}
}

// age is how old what this node knows may be, for relays.
func (c *cluster) age() time.Duration {
	if ago, ok := c.history.Confirmed(); ok {
		return ago
	}
	return time.Since(c.begun)
}

// keepTrace notes what is known of etcd now and then, for the next start.
func (c *cluster) keepTrace(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, traceEvery)
		c.noteTrace()
	}
}

// confirmedWithin is how old what is known of the history may be for a node that is called ready.
const confirmedWithin = 2 * time.Second

// confirmedAgo is how long ago this node knew last that its history was the newest; before the first time, since the start.
func (p *program) confirmedAgo() time.Duration {
	if ago, ok := p.cluster.history.Confirmed(); ok {
		return ago
	}
	return time.Since(p.begun)
}

// trouble is why a node should not be called ready; nil: it should.
func (c *cluster) trouble() *engine.Trouble {
	text := ""
	if err := c.history.Broken(); err != nil {
		text = err.Error()
	} else if doing := c.behind.Load(); doing != nil {
		text = *doing
	} else if ago, ok := c.history.Confirmed(); !ok || ago > confirmedWithin {
		text = "what is answered here grows old, and nothing can be written: " + c.unconfirmed()
	} else if _, ok := c.history.Writer(); !ok {
		text = "no node writes at the moment: another one takes that over within seconds, if one may"
	}
	if text == "" {
		c.troubled.Store(0)
		return nil
	}
	c.troubled.CompareAndSwap(0, time.Now().UnixNano())
	return &engine.Trouble{Kind: engine.TroubleCluster, Text: text, Since: c.troubled.Load()}
}

// unconfirmed is why this node does not know how far its history reaches.
func (c *cluster) unconfirmed() string {
	if err := c.history.Unconfirmed(); err != nil {
		return err.Error()
	}
	return "etcd has not answered yet"
}

// ailments are what is wrong in the cluster though this node serves, the worst first.
func (c *cluster) ailments() []string {
	said := c.history.Ailments()
	if err := c.memberless.Load(); err != nil {
		said = append([]string{fmt.Sprintf("there is no member of etcd in this process: %v", *err)}, said...)
	}
	return said
}

// aside is what wants to be looked at though this node may be ready; nil: nothing.
func (c *cluster) aside() *engine.Trouble {
	said := c.ailments()
	if len(said) == 0 {
		c.ailing.Store(0)
		return nil
	}
	c.ailing.CompareAndSwap(0, time.Now().UnixNano())
	return &engine.Trouble{Kind: engine.TroubleNodes, Text: strings.Join(said, "; "), Since: c.ailing.Load()}
}

// ailmentsEvery is how often is looked for what the log is to tell of them.
const ailmentsEvery = time.Second

// tellAilments tells the log of each once, as it comes, until ctx ends; a measure in it that changes does not make it another.
func (c *cluster) tellAilments(ctx context.Context, log *slog.Logger) {
	told := map[string]bool{}
	for ; ctx.Err() == nil; pause(ctx, ailmentsEvery) {
		now := map[string]bool{}
		for _, said := range c.ailments() {
			name := measures.ReplaceAllString(said, "")
			if now[name] = true; !told[name] {
				log.Warn("the cluster wants to be looked at", "because", said)
			}
		}
		if len(told) > 0 && len(now) == 0 {
			log.Info("what was to be looked at in the cluster is over")
		}
		told = now
	}
}

// measures are times and sizes, which nodes are not called.
var measures = regexp.MustCompile(` -?([0-9.]+(h|ms|m|µs|ns|s))+| [0-9]+ of [0-9]+ MiB`)

// onlyAtWriter does what the history has once for all nodes: exports of lapid.yaml, and what the environment of a container
// gives. It is done by the node that writes, each time that it begins to.
func (p *program) onlyAtWriter(ctx context.Context) {
	p.asWriter(ctx, func(ctx context.Context) {
		p.furnish(ctx)
		for ctx.Err() == nil {
			err := p.declareExports(ctx, p.setup)
			if err == nil || !errors.Is(err, engine.ErrNotWriter) && !errors.Is(err, engine.ErrUnsure) {
				break
			}
			pause(ctx, clusterAgain)
		}
		<-ctx.Done()
	})
}

// clusterVerbs are what operators ask of a node.
type clusterVerbs struct {
	*cluster
	engine *engine.Engine
}

// Status is how the cluster stands.
func (v clusterVerbs) Status(ctx context.Context) (any, error) {
	s, err := v.history.Status(ctx)
	if without := v.memberless.Load(); without != nil && err == nil {
		s.Troubles = append([]string{fmt.Sprintf("there is no member of etcd in the process of node %s: %v", v.settings.Name, *without)}, s.Troubles...)
	}
	return s, err
}

// Hand has another node write.
func (v clusterVerbs) Hand(ctx context.Context, node string) error { return v.history.Hand(ctx, node) }

// Forget takes a node that has left out of what is shown.
func (v clusterVerbs) Forget(ctx context.Context, node string) error {
	return v.history.Forget(ctx, node)
}

// Log is the newest entries of the history.
func (v clusterVerbs) Log(ctx context.Context, after uint64, n int) (any, error) {
	return v.history.Entries(ctx, engine.Revision(after), n)
}

// Compare has all nodes compare what they hold.
func (v clusterVerbs) Compare(ctx context.Context) (uint64, error) {
	rev, err := v.compare(ctx, v.engine)
	return uint64(rev), err
}
