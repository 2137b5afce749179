package admin

import (
	"context"
	"encoding/json"
	"time"

	"lapid/engine"
)

// ClusterVerbs are what a node of a cluster does for operators. Any goroutine may call them.
type ClusterVerbs interface {
	// Status is how the cluster stands, for JSON.
	Status(ctx context.Context) (any, error)
	// Hand has another node write, the most advanced one if none is named. Errors say why it cannot.
	Hand(ctx context.Context, node string) error
	// Forget takes a node that has left for good out of what is shown.
	Forget(ctx context.Context, node string) error
	// Log is the newest n entries of the history after a revision, oldest first, for JSON: what they are made of, and nothing
	// of what they say.
	Log(ctx context.Context, after uint64, n int) (any, error)
	// Compare has all nodes compare what they hold at a revision, which it returns: Status tells what came of it. It is for the
	// node that writes.
	Compare(ctx context.Context) (uint64, error)
}

// Comparison is the revision at which nodes compare what they hold.
type Comparison struct {
	Revision uint64 `json:"revision"`
}

// LogRequest asks for entries of the history.
type LogRequest struct {
	After uint64 `json:"after"` // only later ones
	N     int    `json:"n"`     // at most, the newest
}

// RelayReport is how a relay stands: the status of a server with the section relay.
type RelayReport struct {
	Relay     bool            // true, by which it is told from a node's
	Addresses []string        // of nodes, as configured
	From      string          // the one that is followed, or was last; "": none since the start
	Follows   bool            // at the moment
	History   string          // the name of the history
	Revision  engine.Revision // that is applied
	Newest    engine.Revision // that the node had when it was heard last
	Heard     bool            // of a node since the start
	Age       time.Duration   // how old what is known may be, in nanoseconds; since the start where none was heard
	Problem   string          // why it does not follow; "": it does, or has not tried
}

// errAlone: the server is no node.
var errAlone = &engine.Error{Kind: engine.ErrRefused, Text: "this server is one for itself: its lapid.yaml has no section cluster"}

func (h *Handler) clusterStatus(ctx context.Context, _ *struct{}) (*json.RawMessage, error) {
	if h.Cluster == nil {
		return nil, errAlone
	}
	status, err := h.Cluster.Status(ctx)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(status)
	return (*json.RawMessage)(&text), err
}

func (h *Handler) clusterHand(ctx context.Context, q *Name) (*struct{}, error) {
	if h.Cluster == nil {
		return nil, errAlone
	}
	err := h.Cluster.Hand(ctx, q.Name)
	if err == nil {
		h.logChange(ctx, "had the writing handed over", "to", q.Name)
	}
	return &struct{}{}, err
}

func (h *Handler) clusterForget(ctx context.Context, q *Name) (*struct{}, error) {
	if h.Cluster == nil {
		return nil, errAlone
	}
	err := h.Cluster.Forget(ctx, q.Name)
	if err == nil {
		h.logChange(ctx, "forgot a node that has left", "node", q.Name)
	}
	return &struct{}{}, err
}

func (h *Handler) clusterLog(ctx context.Context, q *LogRequest) (*json.RawMessage, error) {
	if h.Cluster == nil {
		return nil, errAlone
	}
	entries, err := h.Cluster.Log(ctx, q.After, q.N)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(entries)
	return (*json.RawMessage)(&text), err
}

func (h *Handler) clusterCompare(ctx context.Context, _ *struct{}) (*Comparison, error) {
	if h.Cluster == nil {
		return nil, errAlone
	}
	rev, err := h.Cluster.Compare(ctx)
	if err == nil {
		h.logChange(ctx, "has the nodes compare what they hold", "revision", rev)
	}
	return &Comparison{rev}, err
}

// ClusterCompare has the nodes compare what they hold, and returns the revision at which they do.
func (c *Client) ClusterCompare(ctx context.Context) (uint64, error) {
	out, err := ask[Comparison](ctx, c, "/cluster/compare", struct{}{})
	if err != nil {
		return 0, err
	}
	return out.Revision, nil
}

// ClusterLog is Log of the node's ClusterVerbs, as JSON.
func (c *Client) ClusterLog(ctx context.Context, q *LogRequest) (json.RawMessage, error) {
	text, err := ask[json.RawMessage](ctx, c, "/cluster/log", q)
	if err != nil {
		return nil, err
	}
	return *text, nil
}

// ClusterStatus is how the cluster stands, as JSON.
func (c *Client) ClusterStatus(ctx context.Context) (json.RawMessage, error) {
	text, err := ask[json.RawMessage](ctx, c, "/cluster/status", struct{}{})
	if err != nil {
		return nil, err
	}
	return *text, nil
}

// ClusterHand has another node write; "": the most advanced one.
func (c *Client) ClusterHand(ctx context.Context, node string) error {
	_, err := ask[struct{}](ctx, c, "/cluster/hand", &Name{node})
	return err
}

// ClusterForget takes a node that has left out of what is shown.
func (c *Client) ClusterForget(ctx context.Context, node string) error {
	_, err := ask[struct{}](ctx, c, "/cluster/forget", &Name{node})
	return err
}
