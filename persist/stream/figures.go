package stream

import (
	"errors"
	"net/url"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// Figures are what a node knows of its cluster at one moment, for metrics. Nothing is asked for them: what they tell of etcd
// and of other nodes is what Run last heard.
type Figures struct {
	Cluster   ClusterID // zero: not known yet
	Node      string    // this one
	Writes    bool
	Term      int64           // the newest that was seen; 0: none
	Head      engine.Revision // the newest that was seen in etcd
	Confirmed time.Duration   // since the end of the history was last confirmed; since Open if it never was
	Turns     Turns
	Commits   Commits
	Members   []MemberFigures // of etcd, as this node's endpoints say, in their order
	Nodes     []Known         // by name, this one among them
}

// Turns is how often this node became the writer and ceased to be it, since Open.
type Turns struct {
	Won    uint64 // nobody showed a sign of life
	Named  uint64 // another handed over to it
	Handed uint64 // it handed over to another
	Lost   uint64 // another took it, or it gave it up
}

// Commits is what became of those that this node appended, since Open.
type Commits struct {
	Stored  uint64
	Refused uint64 // another node writes
	Unsure  uint64 // it is not known
	NoRoom  uint64 // etcd's quota
	Failed  uint64 // too large, or etcd was away before anything was sent
}

// MemberFigures is what one endpoint of etcd last told. Sizes are bytes, 0 while it does not answer.
type MemberFigures struct {
	Endpoint           string // host and port
	Up, Leader         bool
	Size, InUse, Quota int64
	Version            string
	Alarms             []string // as etcd words them
	silent             int      // looks in a row that it has not answered
}

// counts are the sources of Figures, for any goroutine.
type counts struct {
	won, named, handed, lost                atomic.Uint64
	stored, refused, unsure, noRoom, failed atomic.Uint64
}

// appended counts how an Append ended.
func (c *counts) appended(err error) {
	switch {
	case err == nil:
		c.stored.Add(1)
	case errors.Is(err, engine.ErrUnsure):
		c.unsure.Add(1)
	case errors.Is(err, engine.ErrNotWriter):
		c.refused.Add(1)
	case errors.Is(err, ErrNoRoom):
		c.noRoom.Add(1)
	default:
		c.failed.Add(1)
	}
}

// Figures returns those of now. It does not wait for etcd.
func (l *Log) Figures() Figures {
	c := &l.counts
	f := Figures{
		Node: l.options.Node, Head: engine.Revision(l.newest.Load()), Confirmed: time.Duration(steady() - max(l.confirmed.Load(), l.opened)),
		Turns:   Turns{c.won.Load(), c.named.Load(), c.handed.Load(), c.lost.Load()},
		Commits: Commits{c.stored.Load(), c.refused.Load(), c.unsure.Load(), c.noRoom.Load(), c.failed.Load()},
		Nodes:   l.nodes(),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.identity != nil {
		f.Cluster = l.identity.Cluster
	}
	f.Writes, f.Term, f.Members = l.reign != nil, l.writer.Term, l.etcds
	return f
}

// figuresOf is what an endpoint said, or that it said nothing.
func figuresOf(is *is) MemberFigures {
	f := MemberFigures{Endpoint: is.endpoint.url, Up: is.err == nil}
	if u, err := url.Parse(is.endpoint.url); err == nil {
		f.Endpoint = u.Host // and nothing that may be secret
	}
	if f.Up {
		r := roomOf(is.status)
		f.Leader = is.status.Leader == is.status.Header.MemberId
		f.Size, f.InUse, f.Quota = r.size, r.inUse, r.quota
		f.Version, f.Alarms = is.status.Version, is.status.Errors
	}
	return f
}
