package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"lapid/cmd/lapid/datadir"
	"lapid/engine"
)

// A node that runs, and finds that etcd no longer has what follows its store, as one that was cut off or frozen for long, gets everything
// from the node that writes into a store beside, and answers from what it has meanwhile. Then its program ends, and another one begins in the
// same process on that store, as a relay's does; the store of before is put aside. A member of etcd in the process goes on through it.

// estate is what the programs of one process leave to each other.
type estate struct {
	member *ownMember
	behind *engine.Revision // of the store that the one which was fetched is to take the place of; nil: none was fetched
}

func newEstate() *estate { return &estate{member: &ownMember{ended: make(chan error, 1)}} }

// errAnew: the program has ended so that another one begins at once, with another store.
var errAnew = errors.New("another program begins in this process")

// beginAnew ends this program in good order, and has another one begin. run must have begun.
func (p *program) beginAnew() {
	p.anew.Store(true)
	p.again()
}

// nodeJournal is the history in etcd as a node's engine follows it.
type nodeJournal struct {
	engine.Journal
	behind func(context.Context) error // called where the journal does not lead on; after nil another program begins
}

// Follow follows, and gets everything anew where that does not lead on. An error of that is returned with the journal's: the engine tells
// of it and asks again.
func (j *nodeJournal) Follow(ctx context.Context, after engine.Revision, deliver func(engine.Revision, []byte) error) error {
	err := j.Journal.Follow(ctx, after, deliver)
	if !errors.Is(err, engine.ErrForgotten) || ctx.Err() != nil {
		return err
	}
	if failed := j.behind(ctx); failed != nil {
		return fmt.Errorf("%w; everything is to be got anew from the node that writes, and that failed: %w", err, failed)
	}
	<-ctx.Done() // the engine ends, and another one goes on
	return ctx.Err()
}

// getAnew gets everything from the node that writes into the place where the next program finds it, and has that begin.
func (p *program) getAnew(ctx context.Context) error {
	c, rev := p.cluster, p.engine.View().Revision()
	node, err := c.data.Node()
	if err != nil {
		return err
	}
	if node.Wish != "" {
		return errors.New("this node's own history is to be the beginning of a cluster")
	}
	w, err := c.otherWriter(ctx)
	if err != nil {
		return err
	}
	doing := fmt.Sprintf("this node was away for longer than etcd keeps the history: it gets everything anew from node %s, and answers from what it had at revision %d until it has that", w.Node, rev)
	if c.behind.Swap(&doing) == nil {
		p.log.Warn("this node was away for longer than etcd keeps the history: it gets everything anew, and serves what it has meanwhile", "from", w.Node, "revision", uint64(rev))
	}
	if err := p.passVisitsOnce(ctx); err != nil {
		p.log.Warn("places of bouncers could not be handed over: they may hear again what they heard here in the last minute", "error", err)
	}
	asker, err := c.asker(p.log.Logger)
	if err != nil {
		return err
	}
	beside, now, err := p.adoptOf(ctx, asker, w)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(p.fetched()), os.Rename(beside, p.fetched())); err != nil {
		return err
	}
	p.log.Info("this node has what there is, and begins with it", "from", w.Node, "revision", uint64(now))
	p.estate.behind = &rev
	p.beginAnew()
	return nil
}

// takeFetched puts the store that the program before this one has got in the place of its own, which is put aside. What lies there from a
// process that ended in between goes: its node may have another history by now, and gets everything once more.
func (p *program) takeFetched() error {
	rev := p.estate.behind
	if rev == nil {
		return os.RemoveAll(p.fetched())
	}
	p.estate.behind = nil
	aside := p.behindAside(*rev)
	if err := p.putAside(aside); err != nil {
		return err
	}
	if err := os.Rename(p.fetched(), p.setup.Store()); err != nil {
		return err
	}
	p.log.Warn("the store that this node had is put aside", "revision", uint64(*rev), "aside", aside)
	return datadir.SyncFolder(p.cluster.data.Folder())
}

// behindAside is where a store is put that was too far behind. Those of before go, for they hold the beginning of the same history: a node
// that is away again and again does not fill its disk.
func (p *program) behindAside(rev engine.Revision) string {
	const named = ".behind-"
	aside := fmt.Sprintf("%s%s%d", p.setup.Store(), named, rev)
	entries, _ := os.ReadDir(filepath.Dir(aside)) // what cannot be listed stays
	for _, e := range entries {
		if old := filepath.Join(filepath.Dir(aside), e.Name()); strings.HasPrefix(old, p.setup.Store()+named) {
			if err := os.RemoveAll(old); err != nil {
				p.log.Warn("a store that was put aside before cannot be removed", "error", err)
			}
		}
	}
	return aside
}
