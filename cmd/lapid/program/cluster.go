package program

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/persist/stream"
	"lapid/persist/stream/member"
	"lapid/transport/admin"
	"lapid/transport/auth"
	"lapid/transport/peer"
)

// cluster is what a node has that a server for itself has not: a history in etcd, other nodes, and perhaps a member
// of etcd in this process. It is open before the store is.
type cluster struct {
	settings config.ClusterSettings
	data     datadir.Dir
	history  *stream.Log
	by       *peer.Credentials
	peers    *peer.Node // nil until the engine is there
	begun    time.Time

	seal   stream.Seal
	noting sync.Mutex                        // held while the file of the node is read and written, by whoever runs beside
	alike  atomic.Pointer[map[string]string] // digests of what must be the same at all nodes, as it was last read

	campaign *campaign                     // nil: not yet
	verbs    atomic.Pointer[admin.Handler] // nil: not yet
	gate     atomic.Pointer[auth.Gate]     // likewise

	*ownMember
	behind   atomic.Pointer[string] // what is done because etcd no longer has what follows; nil: nothing
	troubled atomic.Int64           // since when, Unix nanoseconds; 0: it is not
	ailing   atomic.Int64           // since when something wants to be looked at, likewise
}

// ownMember is the member of etcd in this process, which lives as long as that, whichever program runs in it.
type ownMember struct {
	member     atomic.Pointer[member.Member] // nil: none, or not yet
	memberless atomic.Pointer[error]         // why there is no member; nil: there is, or not yet, or none is to be
	ended      chan error                    // of the member's start; has room for one
	stop       context.CancelFunc            // of it; nil: there is none
}

// Pace of a start in a cluster.
const (
	clusterAgain = 250 * time.Millisecond // between two looks at what is not there yet
	clusterLook  = 5 * time.Second        // that one look may take
	traceEvery   = 30 * time.Second       // between two notes of what is known of etcd
)

// openCluster reads what a node needs, starts the member and finds out which history this node has. It makes nothing
// in etcd. Nothing happens to a server for itself.
func (p *program) openCluster(ctx context.Context) error {
	if !p.setup.Own.Cluster.On() {
		return nil
	}
	if p.shadowing != nil {
		return errors.New("a node of a cluster cannot be in front of another server (lapid shadow): take the section cluster away")
	}
	c := &cluster{settings: p.setup.Cluster(), data: p.setup.Data(), begun: time.Now(), ownMember: p.estate.member}
	var err error
	if c.by, err = nodeCredentials(&c.settings); err != nil {
		return err
	}
	o, err := p.setup.ClusterOptions()
	if err != nil {
		return err
	}
	o.Log, c.seal = p.log.Logger, o.Seal
	c.readAlike(p.setup)
	node, err := c.data.Node()
	if err != nil {
		return err
	}
	if node.Trace != nil {
		if err := json.Unmarshal(node.Trace, &o.Trace); err != nil {
			return fmt.Errorf("%s: what was known of etcd cannot be read: %w", c.data.NodeFile(), err)
		}
	}
	if node.Wish == datadir.WishAgain {
		o.Trace = stream.Trace{} // it was of what is to be replaced
	}
	if c.history, err = stream.Open(*o); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	p.cluster = c
	if c.settings.Member != "" && c.stop == nil {
		c.startMember(ctx, p)
	}
	return nil
}

// checkCluster reads the files of a node: what is wrong with them is found before anything is opened.
func checkCluster(s *config.Setup) error {
	if !s.Own.Cluster.On() {
		return nil
	}
	if _, err := s.ClusterOptions(); err != nil {
		return err
	}
	c := s.Cluster()
	_, err := nodeCredentials(&c)
	return err
}

// nodeCredentials are those of lapid.yaml.
func nodeCredentials(c *config.ClusterSettings) (*peer.Credentials, error) {
	by, err := peer.LoadCredentials(c.CertFile, c.KeyFile, c.CAFile, time.Now())
	if err == nil && c.RelayCAFile != "" {
		err = by.AdmitRelays(c.RelayCAFile)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := by.IsFor(c.Name, c.Address()); err != nil {
		return nil, fmt.Errorf("cluster.cert_file %s: %w: give this node its own files (lapid cluster keys DIR %s=HOST makes them where the cluster's were made), or correct cluster.name and cluster.listen", c.CertFile, err, c.Name)
	}
	return by, nil
}

// leaveHistory has a server for itself go its own way, if its store, which is open, was that of a node: what it commits from here
// on the others do not know, and what they told its bouncers it does not know.
func (p *program) leaveHistory() error {
	node, err := p.setup.Data().Node()
	if err != nil || node.Cluster == "" && node.Wish == "" {
		return err
	}
	if err := p.engine.ForgetPlaces(); err != nil && !errors.Is(err, engine.ErrDisk) { // which /ready tells of
		return err
	}
	p.log.Warn("this server was a node of a cluster and is one for itself from here on: to be a node again it needs an empty data directory, or it begins another cluster (lapid cluster init)", "cluster", node.Cluster)
	return p.setup.Data().NoteNode(datadir.Node{})
}

// startMember starts the member beside everything else: one of several is there only once most of them are.
func (c *cluster) startMember(ctx context.Context, p *program) {
	ctx, c.stop = context.WithCancel(ctx)
	p.noteStart("the member of etcd in this process waits for the others")
	go func() {
		m, err := c.tryMember(ctx, p)
		switch {
		case err == nil:
			c.member.Store(m)
			p.log.Info("the member of etcd in this process is ready", "file", c.settings.Member)
		case ctx.Err() == nil:
			c.memberless.Store(&err)
			p.log.Error("there is no member of etcd in this process: mend that and start again; until then the others must be most of them", "error", err)
		}
		c.ended <- err
	}()
}

// memberPatience is for how long a port that is taken is waited for: a process that ends has it, or a connection of somebody
// else for a moment.
const memberPatience = time.Minute

// tryMember starts it, and again while somebody else has its port.
func (c *cluster) tryMember(ctx context.Context, p *program) (m *member.Member, err error) {
	for began, told := time.Now(), false; ; pause(ctx, clusterAgain) {
		m, err = member.Start(ctx, c.settings.Member, p.log.Logger)
		if !errors.Is(err, syscall.EADDRINUSE) || ctx.Err() != nil || time.Since(began) > memberPatience {
			return m, err
		}
		if !told {
			told = true
			p.log.Warn("a port of the member of etcd in this process is taken: it is tried again for a while", "error", err, "for", memberPatience)
		}
	}
}

// memberFailed is why there is no member, once; nil: there is, or not yet.
func (c *cluster) memberFailed() error {
	select {
	case err := <-c.ended:
		c.ended <- nil // close waits for it
		return err
	default:
		return nil
	}
}

// closeCluster is the last that is taken down.
func (p *program) closeCluster() {
	c := p.cluster
	if c == nil {
		return
	}
	c.noteTrace()
	_ = c.history.Close()
}

// close ends the member, if there is one.
func (m *ownMember) close() {
	if m.stop == nil {
		return
	}
	m.stop()
	<-m.ended
	if there := m.member.Load(); there != nil {
		_ = there.Close()
	}
}

// noteTrace writes down what is known of etcd now, for the next start.
func (c *cluster) noteTrace() {
	c.noting.Lock()
	defer c.noting.Unlock()
	node, err := c.data.Node()
	trace := c.history.Trace()
	if err != nil || node.Cluster != trace.Cluster.String() {
		return // it is of another history
	}
	node.Trace, _ = json.Marshal(trace) // it has nothing that cannot be
	_ = c.data.NoteNode(node)           // or the next time
}

// joinHistory finds out, before the store is opened, that this node has a history or is to begin one, and gets it
// from another node where there is one and the store is empty. It waits for etcd, and for somebody to begin, as long as
// it takes: until ctx ends, which is no error.
func (p *program) joinHistory(ctx context.Context) error {
	c := p.cluster
	for told := ""; ctx.Err() == nil; {
		node, err := c.data.Node()
		if err != nil {
			return err
		}
		if node.Wish != "" || node.Cluster != "" && !p.storeEmpty() {
			return nil
		}
		id, err := c.look(ctx)
		if err == nil {
			return p.becomeNode(ctx, id)
		}
		if errors.Is(err, stream.ErrSeal) || errors.Is(err, stream.ErrOtherHistory) {
			return err
		}
		if err.Error() != told && ctx.Err() == nil {
			told = err.Error()
			p.log.Warn("this node waits for its cluster", "because", told)
		}
		p.noteStart("this node waits for its cluster: " + told)
		if err := c.memberFailed(); err != nil {
			return err
		}
		pause(ctx, clusterAgain)
	}
	return nil
}

// look asks once whose history there is.
func (c *cluster) look(ctx context.Context) (stream.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterLook)
	defer cancel()
	return c.history.Join(ctx)
}

// storeEmpty reports whether there is nothing in the place of the store: it was never there, or a node that was to get another
// one ended in between.
func (p *program) storeEmpty() bool {
	names, err := os.ReadDir(p.setup.Store())
	return errors.Is(err, os.ErrNotExist) || err == nil && len(names) == 0
}

// becomeNode has an empty store get the history that there is.
func (p *program) becomeNode(ctx context.Context, id stream.Identity) error {
	c, store := p.cluster, p.setup.Store()
	if !p.storeEmpty() {
		return fmt.Errorf("the store in %s has a history of its own, and there is cluster %s at %s: this node can join it with an empty data directory (move %s away); "+
			"a store becomes the beginning of a cluster with 'lapid%s cluster init', at a prefix at which there is none; without the section cluster in lapid.yaml this server is one for itself", store, id.Cluster, c.settings.Etcd.Prefix, c.data.Folder(), p.setup.Named())
	}
	if id.Base.Revision > 0 || !c.reaches(ctx, 0) {
		if err := p.adopt(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	node, err := c.data.Node()
	if err != nil {
		return err
	}
	node.Cluster = id.Cluster.String()
	if err := c.data.MakeFolder(); err != nil {
		return err
	}
	p.log.Info("this node joins a cluster", "cluster", node.Cluster, "prefix", c.settings.Etcd.Prefix)
	return c.data.NoteNode(node)
}

// errReached ends a look at whether the log reaches back to a revision.
var errReached = errors.New("it does")

// reaches reports whether etcd still has what follows a revision. While etcd does not answer it is taken to.
func (c *cluster) reaches(ctx context.Context, after engine.Revision) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := c.history.Follow(ctx, after, func(engine.Revision, []byte) error { return errReached })
	return !errors.Is(err, engine.ErrForgotten)
}

// adopt gets everything from the node that writes into a store beside, and puts that into the place of this one.
func (p *program) adopt(ctx context.Context) error {
	asker, err := p.cluster.asker(p.log.Logger)
	if err != nil {
		return err
	}
	for told := ""; ctx.Err() == nil; pause(ctx, clusterAgain) {
		err := p.adoptFrom(ctx, asker)
		if err == nil {
			return nil
		}
		if err.Error() != told {
			told = err.Error()
			p.log.Warn("this node waits for another one to give it what there is", "because", told)
		}
		p.noteStart("this node waits for another one to give it what there is: " + told)
	}
	return nil
}

// asker is this node as one that only asks others.
func (c *cluster) asker(log *slog.Logger) (*peer.Node, error) {
	return peer.New(&peer.Options{Name: c.settings.Name, Credentials: c.by, Logger: log, Writer: c.writer})
}

// adoptFrom tries it once.
func (p *program) adoptFrom(ctx context.Context, asker *peer.Node) error {
	c := p.cluster
	w, err := c.otherWriter(ctx)
	if err != nil {
		return err
	}
	p.noteStart("this node gets what there is from node " + w.Node)
	beside, rev, err := p.adoptOf(ctx, asker, w)
	if err != nil {
		return err
	}
	if err := os.Remove(p.setup.Store()); err != nil && !errors.Is(err, os.ErrNotExist) { // it is empty
		return err
	}
	if err := os.Rename(beside, p.setup.Store()); err != nil {
		return err
	}
	p.log.Info("this node has what there is", "from", w.Node, "revision", uint64(rev))
	return datadir.SyncFolder(c.data.Folder())
}

// otherWriter is the node that writes, which is not this one.
func (c *cluster) otherWriter(ctx context.Context) (stream.Writer, error) {
	if _, err := c.history.Confirm(ctx); err != nil { // who writes is seen by it
		return stream.Writer{}, err
	}
	w, ok := c.history.Writer()
	if !ok || w.Node == c.settings.Name {
		return w, errors.New("no other node writes at the moment")
	}
	return w, nil
}

// adoptOf makes a store beside this one of what another node has.
func (p *program) adoptOf(ctx context.Context, asker *peer.Node, w stream.Writer) (beside string, rev engine.Revision, err error) {
	backup, err := asker.Backup(ctx, w.Node, w.Address)
	if err != nil {
		return "", 0, err
	}
	defer backup.Close()
	return p.adoptBeside(backup, "node "+w.Node)
}

// adoptBeside makes a store of what another gave, beside this one. After an error nothing of it is left.
func (p *program) adoptBeside(backup io.Reader, from string) (beside string, rev engine.Revision, err error) {
	beside = p.setup.Store() + ".joining"
	if err := errors.Join(p.setup.Data().MakeFolder(), os.RemoveAll(beside)); err != nil {
		return "", 0, err
	}
	o := p.setup.EngineOptions(p.log.Logger)
	o.Dir = beside
	if rev, err = engine.Adopt(o, backup); err != nil {
		_ = os.RemoveAll(beside)
		return "", 0, fmt.Errorf("what %s gave cannot be taken: %w", from, err)
	}
	return beside, rev, nil
}

// writer is who writes, for those who pass something on.
func (c *cluster) writer() (name, address string, ok bool) {
	w, ok := c.history.Writer()
	return w.Node, w.Address, ok
}

// catchUp looks, once the store is open, whether etcd still has what follows it. A store that is further behind is put
// aside, and another node's state into its place; likewise one that was found to differ from what most nodes have.
func (p *program) catchUp(ctx context.Context) error {
	c := p.cluster
	rev := p.engine.View().Revision()
	node, err := c.data.Node()
	if err != nil || node.Wish != "" || rev == 0 || !node.Anew && c.reaches(ctx, rev) {
		return err
	}
	err = p.engine.Close()
	if p.engine = nil; err != nil {
		return err
	}
	aside, why := fmt.Sprintf("%s.differs-%d", p.setup.Store(), rev), "it held something else than most nodes"
	if !node.Anew {
		aside, why = p.behindAside(rev), "it was away for longer than etcd keeps the history"
	}
	p.log.Warn("the store of this node is put aside, and it gets what there is from another node", "because", why, "revision", uint64(rev), "aside", aside)
	if err := p.putAside(aside); err != nil {
		return err
	}
	if err := c.joinAnew(false); err != nil {
		return err
	}
	if err := p.adopt(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	return p.openEngine(ctx)
}

// putAside gives the store, which is closed, another name.
func (p *program) putAside(aside string) error {
	if err := os.Remove(p.cluster.data.MadeFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // it names the store that goes; before that, so that a start that is interrupted here goes on at the next
	}
	return os.Rename(p.setup.Store(), aside)
}

// named is the id of the cluster whose history the store has; "": it has its own.
func (c *cluster) named() string {
	node, _ := c.data.Node() // what cannot be read was told at the start
	return node.Cluster
}

// beginHistory does what was wished for: it makes this store's history the cluster's. It is tried until it is done.
func (p *program) beginHistory(ctx context.Context) {
	c := p.cluster
	for told := ""; ctx.Err() == nil; pause(ctx, clusterAgain) {
		node, err := c.data.Node()
		if err == nil && node.Wish == "" {
			return
		}
		if err == nil {
			err = c.begin(ctx, &node, p.engine.View().Revision())
		}
		if err == nil {
			p.log.Info("this node began a cluster", "cluster", node.Cluster, "prefix", c.settings.Etcd.Prefix, "revision", uint64(p.engine.View().Revision()))
			return
		}
		if errors.Is(err, stream.ErrNothingLost) || errors.Is(err, stream.ErrBeside) {
			p.log.Error("no cluster is begun anew, and that is not tried again", "error", err)
			if err := c.data.NoteNode(datadir.Node{Cluster: node.Cluster, Trace: node.Trace}); err != nil {
				p.log.Error("the wish for it stays written down, and the next start tries again", "error", err)
			}
			return
		}
		if err.Error() != told && ctx.Err() == nil {
			told = err.Error()
			p.log.Warn("the cluster could not begin yet", "error", err)
			node.Failed = told
			_ = c.data.NoteNode(node)
		}
		p.noteStart("the cluster could not begin yet: " + told)
	}
}

// begin does it once. What the cluster is to be called is written down before.
func (c *cluster) begin(ctx context.Context, node *datadir.Node, rev engine.Revision) error {
	var b stream.Beginning
	if node.Next == "" {
		_, _ = rand.Read(b.Cluster[:]) // never fails
		node.Next = b.Cluster.String()
		if err := c.data.NoteNode(*node); err != nil {
			return err
		}
	}
	if err := b.Cluster.UnmarshalText([]byte(node.Next)); err != nil {
		return fmt.Errorf("%s: %w", c.data.NodeFile(), err)
	}
	if node.Cluster != "" {
		if err := b.Was.UnmarshalText([]byte(node.Cluster)); err != nil {
			return fmt.Errorf("%s: %w", c.data.NodeFile(), err)
		}
	}
	b.Place.Revision, b.Again = rev, node.Wish == datadir.WishAgain
	ctx, cancel := context.WithTimeout(ctx, clusterLook)
	defer cancel()
	id, err := c.history.Init(ctx, b)
	if err != nil {
		return err
	}
	*node = datadir.Node{Cluster: id.Cluster.String()}
	return c.data.NoteNode(*node)
}

// confirm returns when this node's view is as new as any was anywhere when it was called. It is for nodes of a cluster. Errors:
// no etcd answers, or that of ctx.
func (p *program) confirm(ctx context.Context) error {
	rev, err := p.cluster.history.Confirm(ctx)
	if err != nil {
		return err
	}
	return p.engine.Reach(ctx, rev)
}

// asWriter runs what only the node that writes does: while this one does, again and again, until ctx ends. A server for
// itself always writes, a relay never.
func (p *program) asWriter(ctx context.Context, run func(context.Context)) {
	if p.relay != nil {
		<-ctx.Done()
		return
	}
	if p.cluster == nil {
		run(ctx)
		return
	}
	for ctx.Err() == nil {
		if !p.engine.Writes() {
			pause(ctx, clusterAgain)
			continue
		}
		reign, over := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			run(reign)
		}()
		for p.engine.Writes() && reign.Err() == nil {
			pause(reign, clusterAgain)
		}
		over()
		<-done
	}
}

// settled does what needs the writer, or what the writer has done already: it tries until that is so.
func (p *program) settled(ctx context.Context, do func() error) error {
	for {
		err := do()
		if p.cluster == nil || ctx.Err() != nil || !errors.Is(err, engine.ErrNotWriter) && !errors.Is(err, engine.ErrUnsure) {
			return err
		}
		pause(ctx, clusterAgain)
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
