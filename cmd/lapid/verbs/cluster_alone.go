package verbs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/persist/stream"
)

// clusterAlone is cluster alone.
func clusterAlone(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "alone", Short: "Make this node's store that of a server for itself again", Args: NoArgs,
		Long: `Takes this node out of its cluster: its store, with all that it has, is that of a server for itself from here on, and the others go
on without it. Stop its server first; one that writes hands over as it ends.

The others forget the node. Places in the history have another name from here on, so bouncers that come are told everything once.
What others were told at other nodes and this one has not heard of, they drop by their own timers.

Afterwards take the section cluster out of lapid.yaml and start the server. A member of etcd in its process is taken away with
"etcdctl member remove", before the server starts without it.`,
		RunE: func(c *cobra.Command, _ []string) error { return leaveCluster(c.Context(), t) },
	}
}

// leaveCluster does it. What the others are told comes first: a node that is forgotten and did not leave tells them anew.
func leaveCluster(ctx context.Context, t *Terminal) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	if s.Own.Relay.On() {
		return errors.New("this is a relay: its store is a copy without passwords and what alerts say, and none that a server for itself could go on with. For such a server start with an empty data directory, without the section relay")
	}
	if err := refuseBesideServer(ctx, s, ", it hands the writing over as it ends"); err != nil {
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
	if n.Cluster == "" {
		return fmt.Errorf("the store in %s is of no cluster: it is that of a server for itself already", datadir.Absolute(s.Store()))
	}
	if err := storeThere(s); err != nil {
		return err
	}
	forgetHere(ctx, t, s)
	if err := forgetPlaces(s); err != nil {
		return err
	}
	if err := s.Data().NoteNode(datadir.Node{}); err != nil {
		return err
	}
	t.success("the store is that of a server for itself, and no more of cluster %s: take the section cluster out of lapid.yaml and start the server", n.Cluster)
	if s.Own.Cluster.Member != "" {
		t.success("its member of etcd stays one until it is taken away at another node: etcdctl member remove")
	}
	return nil
}

// forgetHere has the others forget this node, or says how to.
func forgetHere(ctx context.Context, t *Terminal, s *config.Setup) {
	if !s.Own.Cluster.On() {
		t.log("warning", "lapid.yaml has no section cluster any more, so the others are not told: at one of them, lapid cluster forget NODE")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	err := withHistory(s, func(log *stream.Log) error {
		if _, err := log.Join(ctx); err != nil {
			return err
		}
		return log.Forget(ctx, s.Own.Cluster.Name)
	})
	if err != nil {
		t.log("warning", "the others are not told (%s): at one of them, lapid cluster forget %s", line(err.Error()), s.Own.Cluster.Name)
	}
}

// forgetPlaces has bouncers begin anew.
func forgetPlaces(s *config.Setup) error {
	e, err := engine.Open(s.EngineOptions(slog.New(slog.DiscardHandler)))
	if err != nil {
		return fmt.Errorf("opening the store in %s: %w", s.Store(), datadir.Permitted(err, s.Store()))
	}
	return errors.Join(e.ForgetPlaces(), e.Close())
}
