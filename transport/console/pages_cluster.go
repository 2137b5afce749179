package console

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// clusterShown is how the cluster stands of which this server is a node, as lapid cluster status tells it in JSON.
type clusterShown struct {
	Prefix   string `json:"prefix"`
	Identity struct {
		Cluster string `json:"cluster"`
	} `json:"identity"`
	Term int64 `json:"term"`
	Head struct {
		Revision uint64 `json:"revision"`
	} `json:"head"`
	Oldest   uint64          `json:"oldest"`
	Nodes    []clusterNode   `json:"nodes"`
	Members  []clusterMember `json:"members"`
	Troubles []string        `json:"troubles"`

	Refused string `json:"-"` // why nothing is known; "": it is
}

type clusterNode struct {
	Node        string        `json:"node"`
	Address     string        `json:"address"`
	Version     string        `json:"version"`
	Applied     uint64        `json:"applied"`
	Lag         uint64        `json:"lag"`
	Heard       time.Duration `json:"heard_ago"`
	Ahead       time.Duration `json:"ahead"`
	Alive       bool          `json:"alive"`
	Writes      bool          `json:"writes"`
	NeverWrites bool          `json:"never_writes"`
}

// Clock is how far its clock is from this server's.
func (n *clusterNode) Clock() string {
	d := n.Ahead.Round(100 * time.Millisecond)
	switch {
	case !n.Alive:
		return "–"
	case d == 0:
		return "alike"
	case d > 0:
		return d.String() + " ahead"
	}
	return (-d).String() + " behind"
}

type clusterMember struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Clients []string `json:"clients"`
	Learner bool     `json:"learner"`
	Leader  bool     `json:"leader"`
	Started bool     `json:"started"`
	Answers bool     `json:"answers"`
	Caught  bool     `json:"caught_up"`
	Version string   `json:"version"`
	Size    int64    `json:"size"`
	InUse   int64    `json:"in_use"`
	Quota   int64    `json:"quota"`
	Error   string   `json:"error"`
}

// clustered reports whether this server is a node of a cluster. A relay is none: what it knows of the nodes is on Health.
func (s *Server) clustered() bool { return s.options.Verbs.Cluster != nil && !s.options.Verbs.Relay }

// clusterWithin is how long the page waits for etcd: without it, it says so.
const clusterWithin = 3 * time.Second

// clusterPage is how the nodes and the etcd behind them stand.
func (s *Server) clusterPage(q *request) error {
	if !s.clustered() {
		return &fault{http.StatusNotFound, "this server is one for itself, and no node of a cluster"}
	}
	ctx, cancel := context.WithTimeout(q.Context(), clusterWithin)
	defer cancel()
	d := clusterShown{}
	text, err := q.admin.ClusterStatus(ctx)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		d.Refused = err.Error()
	}
	return s.page(q, "cluster", "Cluster", &d)
}
