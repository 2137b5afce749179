package transport

import (
	"time"

	"lapid/transport/peer"
)

// Cluster is what metrics tell of a node, beside what it passes on.
type Cluster struct {
	ID, Node  string // of the cluster, "" while it is not known, and the node's own
	Writes    bool
	Term      int64
	Head      uint64        // the newest revision that was seen where the nodes share it
	Confirmed time.Duration // since the view was last known to be the newest
	Turns     []Count       // how this node began and ceased to write
	Commits   []Count       // that it appended, by how that ended
	Members   []ClusterMember
	Nodes     []ClusterNode // the others
}

// Count is one of several counts of a kind, since the start.
type Count struct {
	What string
	N    uint64
}

// ClusterMember is a member of etcd.
type ClusterMember struct {
	Endpoint           string
	Up, Leader         bool
	Size, InUse, Quota int64 // bytes; while it is not up they are not known
}

// ClusterNode is another node as it last told of itself.
type ClusterNode struct {
	Name  string
	Up    bool // it told something just now
	Heard time.Duration
	Lag   uint64        // revisions behind Head, by what it told
	Ahead time.Duration // its clock, beside this node's
}

var (
	clusterWrites    = desc("lapid_cluster_writes", "1 while this node writes.", "cluster", "node")
	clusterTerm      = desc("lapid_cluster_term", "Number of the newest term that this node saw; each change of who writes begins one with a larger number.")
	clusterApplied   = desc("lapid_cluster_applied_revision", "The newest commit that this node shows.")
	clusterHead      = desc("lapid_cluster_head_revision", "The newest commit that this node saw in etcd.")
	clusterLag       = desc("lapid_cluster_lag_revisions", "Commits that this node saw in etcd and does not show yet.")
	clusterConfirmed = desc("lapid_cluster_confirmed_seconds", "Since etcd last said how far the history reaches: it is asked each second, so more than two are a node that is cut off.")
	clusterTurns     = desc("lapid_cluster_turns_total", "How often this node became the writer (won: nobody showed a sign of life; named: another handed over to it) and ceased to be it (handed, lost), since the start.", "how")
	clusterCommits   = desc("lapid_cluster_commits_total", "Commits that this node appended since the start: stored, refused (another node writes), unsure (not known), no_room (etcd's quota), failed.", "result")
	clusterPassed    = desc("lapid_cluster_passed_total", "Requests that this node had to pass on to the writer since the start: answered, here (it wrote itself meanwhile), no_writer, perhaps (stored or not), failed.", "outcome")
	clusterEtcdUp    = desc("lapid_cluster_etcd_up", "1 while a member of etcd answers this node.", "endpoint")
	clusterEtcdLeads = desc("lapid_cluster_etcd_leader", "1 for the member that is etcd's leader.", "endpoint")
	clusterEtcdInUse = desc("lapid_cluster_etcd_in_use_bytes", "Of a member's database file, what is in use.", "endpoint")
	clusterEtcdFile  = desc("lapid_cluster_etcd_file_bytes", "Size of a member's database file.", "endpoint")
	clusterEtcdQuota = desc("lapid_cluster_etcd_quota_bytes", "What that file may take: at the end of it etcd takes no writes, of nobody.", "endpoint")
	clusterNodeUp    = desc("lapid_cluster_node_up", "1 while another node tells of itself, which it does each five seconds.", "node")
	clusterNodeHeard = desc("lapid_cluster_node_heard_seconds", "Since another node last told of itself.", "node")
	clusterNodeLag   = desc("lapid_cluster_node_lag_revisions", "Commits that another node lacks, by what it last told, up to five seconds ago.", "node")
	clusterNodeClock = desc("lapid_cluster_node_clock_seconds", "How far the clock of another node is ahead of this one's, as what it tells arrives; missing while it tells nothing.", "node")
)

// cluster sends what a node has to tell; a server for itself has none of it.
func (c collectorOf) cluster(m measure) {
	if c.s.options.Cluster == nil {
		return
	}
	now, applied := c.s.options.Cluster(), uint64(c.s.engine.View().Revision())
	m.gauge(clusterWrites, number(now.Writes), now.ID, now.Node)
	m.gauge(clusterTerm, float64(now.Term))
	m.gauge(clusterApplied, float64(applied))
	m.gauge(clusterHead, float64(now.Head))
	m.gauge(clusterLag, float64(max(now.Head, applied)-applied))
	m.gauge(clusterConfirmed, now.Confirmed.Seconds())
	for _, one := range now.Turns {
		m.counter(clusterTurns, float64(one.N), one.What)
	}
	for _, one := range now.Commits {
		m.counter(clusterCommits, float64(one.N), one.What)
	}
	if c.s.options.Peers != nil {
		c.passed(m, c.s.options.Peers.Passed())
	}
	for i := range now.Members {
		m.member(&now.Members[i])
	}
	for i := range now.Nodes {
		n := &now.Nodes[i]
		m.gauge(clusterNodeUp, number(n.Up), n.Name)
		m.gauge(clusterNodeHeard, n.Heard.Seconds(), n.Name)
		m.gauge(clusterNodeLag, float64(n.Lag), n.Name)
		if n.Up {
			m.gauge(clusterNodeClock, n.Ahead.Seconds(), n.Name)
		}
	}
}

func (collectorOf) passed(m measure, p peer.Passed) {
	m.counter(clusterPassed, float64(p.Answered), "answered")
	m.counter(clusterPassed, float64(p.Here), "here")
	m.counter(clusterPassed, float64(p.NoWriter), "no_writer")
	m.counter(clusterPassed, float64(p.Perhaps), "perhaps")
	m.counter(clusterPassed, float64(p.Failed), "failed")
}

func (m measure) member(one *ClusterMember) {
	m.gauge(clusterEtcdUp, number(one.Up), one.Endpoint)
	if !one.Up {
		return
	}
	m.gauge(clusterEtcdLeads, number(one.Leader), one.Endpoint)
	m.gauge(clusterEtcdInUse, float64(one.InUse), one.Endpoint)
	m.gauge(clusterEtcdFile, float64(one.Size), one.Endpoint)
	m.gauge(clusterEtcdQuota, float64(one.Quota), one.Endpoint)
}
