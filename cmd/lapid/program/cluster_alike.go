package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/persist/stream"
	"lapid/transport/peer"
)

// readAlike notes what must be the same at all nodes, for the others to compare.
func (c *cluster) readAlike(s *config.Setup) {
	digests := map[string]string{}
	for name, content := range s.Alike() {
		digests[name] = c.seal.Digest(name, content)
	}
	c.alike.Store(&digests)
}

// fitsLook bounds the look at what a node must fit to, so that a start without etcd is not late; heardWithin is how old
// what another node told may be by its clock, to be taken for one that runs.
const (
	fitsLook    = time.Second
	heardWithin = 15 * time.Second
)

// fits refuses a start on an etcd that is known to lose data, and beside nodes with another secret.
func (c *cluster) fits(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fitsLook)
	defer cancel()
	if err := c.history.Check(ctx); errors.Is(err, stream.ErrOldEtcd) {
		return fmt.Errorf("cluster.etcd: %w", err)
	}
	return c.oneSecret(ctx)
}

// oneSecret refuses a start beside nodes that run with another CS_LAPI_SECRET: each would refuse the tokens of the other.
// While etcd does not answer it is not known; status names it later.
func (c *cluster) oneSecret(ctx context.Context) error {
	nodes, err := c.history.Known(ctx)
	if err != nil {
		return nil
	}
	mine := (*c.alike.Load())[config.AlikeSecret]
	for _, n := range nodes {
		if n.Node != c.settings.Name && time.Since(n.Clock) < heardWithin && stream.Differ(n.Digests[config.AlikeSecret], mine) {
			return fmt.Errorf("node %s runs with another CS_LAPI_SECRET than this one (one that is not set is another, too): each would refuse the tokens of the other. "+
				"Give all nodes the same; to change it stop all of them first", n.Node)
		}
	}
	return nil
}

// onlyOne refuses a start beside another process that runs with this node's name. One that was at this node's own address is gone.
func (c *cluster) onlyOne(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fitsLook)
	defer cancel()
	nodes, err := c.history.Known(ctx)
	if err != nil {
		return nil // it is found out later
	}
	for _, n := range nodes {
		if n.Node != c.settings.Name || n.Address == c.settings.Address() || time.Since(n.Clock) > heardWithin {
			continue
		}
		if s, err := c.peers.Ask(ctx, n.Node, n.Address); err == nil && s.Name == n.Node && s.Start == n.Start {
			return fmt.Errorf("another process runs as node %s at %s: stop it, or give this one a name of its own (cluster.name), with a certificate for that (lapid cluster keys)", n.Node, n.Address)
		}
	}
	return nil
}

// tryCluster looks whether a start would find its cluster, and would be let into it. Without an etcd that answers it is not known: the
// members may be in the very processes that are to start.
func (p *program) tryCluster(ctx context.Context) error {
	if !p.setup.Own.Cluster.On() {
		return nil
	}
	o, err := p.setup.ClusterOptions()
	if err != nil {
		return err
	}
	c := &cluster{settings: p.setup.Cluster(), data: p.setup.Data(), seal: o.Seal}
	c.readAlike(p.setup)
	node, err := c.data.Node()
	if err != nil {
		return err
	}
	if node.Trace != nil && node.Wish != datadir.WishAgain {
		_ = json.Unmarshal(node.Trace, &o.Trace) // a start would say so
	}
	if c.history, err = stream.Open(*o); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	defer c.history.Close()
	if err := c.fits(ctx); err != nil {
		return err
	}
	_, err = c.look(ctx)
	switch {
	case errors.Is(err, stream.ErrSeal), errors.Is(err, stream.ErrOtherHistory):
		return err
	case err != nil && node.Wish == "":
		p.log.Warn(fmt.Sprintf("a start would wait, or serve what this node has: %v", err))
	}
	return nil
}

// renewed reads the certificates that other nodes are shown, and changes nothing. A server for itself has none.
func (c *cluster) renewed(s *config.Setup) (*peer.Credentials, error) {
	if c == nil {
		return nil, nil
	}
	now := s.Cluster()
	return nodeCredentials(&now)
}

// renew puts in force what was read at a reload.
func (c *cluster) renew(s *config.Setup, by *peer.Credentials) {
	c.peers.Renew(by)
	c.readAlike(s)
}
