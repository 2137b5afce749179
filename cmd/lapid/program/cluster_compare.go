package program

import (
	"context"
	"time"

	"lapid/engine"
	"lapid/persist/stream"
)

// Pace of comparing what nodes hold.
const (
	compareEvery = 24 * time.Hour
	compareLook  = time.Second     // between two looks at what the others told
	handWithin   = 3 * time.Second // for another node to take the writing over
)

// compareLevel is the first formatLevel that reads the operation that asks for a comparison.
const compareLevel = 3

// compare asks for a comparison now, for the node that writes. Every node that is known must be able to read the operation.
func (c *cluster) compare(ctx context.Context, e *engine.Engine) (engine.Revision, error) {
	if why := c.unreadBy(ctx, compareLevel); why != "" {
		return 0, &engine.Error{Kind: engine.ErrRefused, Text: why}
	}
	return e.Compare(ctx)
}

// keepAlike compares what this node holds with the others, each day if it writes and whenever somebody asks for it, until ctx ends. A
// node that is outside of the majority stops, and joins anew at its next start.
func (p *program) keepAlike(ctx context.Context) {
	c, told, last := p.cluster, engine.Revision(0), time.Now()
	for ; ctx.Err() == nil; pause(ctx, compareLook) {
		if now := p.engine.Compared(); now != nil && now.Revision != told {
			told, last = now.Revision, time.Now()
			c.history.Retell()
		}
		if p.engine.Writes() && time.Since(last) > compareEvery {
			last = time.Now()
			if _, err := c.compare(ctx, p.engine); err != nil {
				p.log.Warn("what the nodes hold is not compared today", "because", err)
			}
		}
		if err := c.history.Differs(); err != nil && c.history.Broken() == nil {
			p.standAside(ctx, err)
		}
	}
}

// standAside notes that this node's store is not to be gone on with, has another node write, and stops.
func (p *program) standAside(ctx context.Context, why error) {
	c := p.cluster
	p.log.Error("this node's store is put aside at the next start, when it joins anew", "because", why)
	if err := c.joinAnew(true); err != nil {
		p.log.Error("that could not be noted, so empty its data directory before the next start", "error", err)
	}
	if p.engine.Writes() {
		ctx, cancel := context.WithTimeout(ctx, handWithin)
		if err := c.history.Hand(ctx, ""); err != nil {
			p.log.Warn("no other node was named to write: one of them takes it within two seconds", "because", err)
		}
		cancel()
	}
	c.history.Stop(why)
}

// joinAnew notes whether the store is to be put aside at the next start.
func (c *cluster) joinAnew(anew bool) error {
	c.noting.Lock()
	defer c.noting.Unlock()
	node, err := c.data.Node()
	if err != nil || node.Anew == anew {
		return err
	}
	node.Anew = anew
	return c.data.NoteNode(node)
}

// compared is what other nodes are told of the last comparison.
func (c *cluster) compared(e *engine.Engine) *stream.Compared {
	last := e.Compared()
	if last == nil {
		return nil
	}
	return &stream.Compared{Revision: last.Revision, Digest: c.seal.Digest("state", last.Digest[:])}
}
