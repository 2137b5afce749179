package program

import (
	"lapid/persist/stream"
	"lapid/transport"
)

// clusterFigures are what metrics show of this node. It waits for nobody.
func (p *program) clusterFigures() transport.Cluster {
	now := p.cluster.history.Figures()
	turns, commits := now.Turns, now.Commits
	out := transport.Cluster{
		Node: now.Node, Writes: now.Writes, Term: now.Term, Head: uint64(now.Head), Confirmed: now.Confirmed,
		Turns:   []transport.Count{{What: "won", N: turns.Won}, {What: "named", N: turns.Named}, {What: "handed", N: turns.Handed}, {What: "lost", N: turns.Lost}},
		Commits: []transport.Count{{What: "stored", N: commits.Stored}, {What: "refused", N: commits.Refused}, {What: "unsure", N: commits.Unsure}, {What: "no_room", N: commits.NoRoom}, {What: "failed", N: commits.Failed}},
	}
	if now.Cluster != (stream.ClusterID{}) {
		out.ID = now.Cluster.String()
	}
	for _, m := range now.Members {
		out.Members = append(out.Members, transport.ClusterMember{Endpoint: m.Endpoint, Up: m.Up, Leader: m.Leader, Size: m.Size, InUse: m.InUse, Quota: m.Quota})
	}
	for _, k := range now.Nodes {
		if k.Node == now.Node {
			continue
		}
		out.Nodes = append(out.Nodes, transport.ClusterNode{Name: k.Node, Up: k.Alive, Heard: k.Heard, Lag: uint64(max(now.Head, k.Applied) - k.Applied), Ahead: k.Ahead})
	}
	return out
}
