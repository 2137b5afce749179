package verbs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/persist/stream"
	"lapid/transport/admin"
)

// clusterInit is cluster init.
func clusterInit(t *Terminal) *cobra.Command {
	again := false
	c := &cobra.Command{
		Use: "init", Short: "Begin a cluster with the history of this node's store", Args: NoArgs,
		Long: `Makes this node's store, empty or not, the beginning of a cluster's history: it goes into etcd below cluster.etcd.prefix,
and this node writes. It is done once, at one node; the others join with empty data directories.

It is written down first and done by the server: the one that runs and waits for it, or the next start. Nothing is ever
begun by itself, since empty disks must not begin anew while another node holds everything.

--again begins a new history in the place of one that etcd has lost, or was set back behind: run it at the node that has
the highest revision in "lapid cluster status". The others' stores are then of another cluster: they are told so, and
join again with empty data directories. Where etcd has as much of the history as this node, nothing is begun; nor where the prefix is
empty and a cluster of the same seal lies beside it in that etcd: then cluster.etcd.prefix is not the cluster's.`,
		RunE: func(c *cobra.Command, _ []string) error {
			wish := datadir.WishInit
			if again {
				wish = datadir.WishAgain
			}
			return initCluster(c.Context(), t, wish)
		},
	}
	c.Flags().BoolVar(&again, "again", false, "though there is, or was, a history under this prefix: begin anew with this node's")
	return c
}

// wishPatience is how long a server that waits for the wish has to see it and do it, before the verb takes it that none
// runs.
const wishPatience = 3 * time.Second

// errNoCluster: what cluster verbs need.
var errNoCluster = errors.New("lapid.yaml has no section cluster: this server is one for itself (lapid cluster keys makes such sections)")

// errAtRelay: what verbs of nodes say at a relay.
var errAtRelay = errors.New("this is a relay, which follows the nodes without etcd and holds a copy of what they send: run this at a node")

// isNode refuses what is for nodes at another server.
func isNode(s *config.Setup) error {
	switch {
	case s.Own.Relay.On():
		return errAtRelay
	case !s.Own.Cluster.On():
		return errNoCluster
	}
	return nil
}

// initCluster writes the wish down and, where a server runs, waits for what it says.
func initCluster(ctx context.Context, t *Terminal, wish string) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	if err := isNode(s); err != nil {
		return err
	}
	back, err := s.Data().AsOwner()
	if err != nil {
		return err
	}
	defer back()
	n, err := s.Data().Node()
	if err != nil {
		return err
	}
	if n.Cluster != "" && wish == datadir.WishInit {
		return fmt.Errorf("this node is of cluster %s already", n.Cluster)
	}
	if wish == datadir.WishAgain {
		if err := historyLost(ctx, t, s); err != nil {
			return err
		}
	}
	if err := s.Data().MakeFolder(); err != nil {
		return err
	}
	n.Wish, n.Failed = wish, ""
	if err := s.Data().NoteNode(n); err != nil {
		return err
	}
	return awaitWish(ctx, t, s)
}

// historyLost refuses to begin anew where a node writes the history that there is, since what it commits would be lost, and where the
// prefix is empty with another history beside it.
func historyLost(ctx context.Context, t *Terminal, setup *config.Setup) error {
	ctx, cancel := context.WithTimeout(ctx, wishPatience)
	defer cancel()
	if err := withHistory(setup, func(log *stream.Log) error { return emptyBeside(ctx, log) }); err != nil {
		return err
	}
	s, err := clusterNow(ctx, t)
	if err != nil || s.Silent > historySilent || !slices.ContainsFunc(s.Nodes, func(n stream.Node) bool { return n.Alive && n.Writes }) {
		return nil // the start looks once more
	}
	return fmt.Errorf("nothing is lost: node %s writes this cluster's history, at revision %d. A node that lacks something of it gets that at its start; see lapid cluster status", s.Writer.Node, s.Head.Revision)
}

// emptyBeside refuses an empty prefix with another history beside it. What cannot be looked at now is looked at once more by the start.
func emptyBeside(ctx context.Context, log *stream.Log) error {
	if _, err := log.Join(ctx); !errors.Is(err, stream.ErrNotBegun) {
		return nil
	}
	if err := log.NothingBeside(ctx); errors.Is(err, stream.ErrBeside) {
		return err
	}
	return nil
}

// historySilent is for how long a node that writes may have given no sign of life.
const historySilent = 10 * time.Second

// awaitWish waits while a server is at it. A server that cannot be seen is none, or one that is only starting.
func awaitWish(ctx context.Context, t *Terminal, s *config.Setup) error {
	ctx, cancel := context.WithTimeout(ctx, wishPatience)
	defer cancel()
	for {
		n, err := s.Data().Node()
		switch {
		case err != nil:
			return err
		case n.Wish == "":
			t.success("this node began cluster %s", n.Cluster)
			return nil
		case n.Failed != "":
			return fmt.Errorf("the server could not do it, and tries again: %s", n.Failed)
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			if c, err := admin.Dial(context.Background(), s.Socket()); err == nil {
				c.Close()
				return errors.New("the server runs and has not done it: restart it")
			}
			t.success("it is written down: the next start of the server does it")
			return nil
		}
	}
}

// wishBegin has the next start of a node begin a cluster, if its store is of none.
func wishBegin(s *config.Setup) error {
	n, err := s.Data().Node()
	if err != nil || n.Cluster != "" || n.Wish != "" {
		return err
	}
	if err := s.Data().MakeFolder(); err != nil {
		return err
	}
	n.Wish = datadir.WishInit
	return s.Data().NoteNode(n)
}
