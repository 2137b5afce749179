package stream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
)

// Facts are what a node tells the others of itself. Whoever runs it gathers them, each time they are told.
type Facts struct {
	Store   string          `json:"store"`   // id of its store
	Applied engine.Revision `json:"applied"` // what its view shows
	Synced  engine.Revision `json:"synced"`  // what its own disk has for certain
	Version string          `json:"version"` // of the program
	Level   uint32          `json:"level"`   // which operations and formats it reads
	// Digests are of what must be alike on all nodes, by name; keyed, so that they say nothing of the content. 32 at most.
	Digests map[string]string `json:"digests,omitempty"`
	// Compared is what it held at the last comparison; nil: none since its start.
	Compared *Compared `json:"compared,omitempty"`
}

// Known is a node as it told of itself.
type Known struct {
	Node        string `json:"node"`
	Start       string `json:"start"` // of its process
	Address     string `json:"address,omitempty"`
	NeverWrites bool   `json:"never_writes,omitempty"`
	Facts
	Clock time.Time `json:"clock"` // its wall clock when it told

	// What this node adds, by its own clocks.
	Heard time.Duration `json:"-"` // how long ago that was, or how long it is known to have told nothing new
	Ahead time.Duration `json:"-"` // its wall clock beside this node's, as it arrived; of a node that is not alive it says nothing
	Alive bool          `json:"-"` // it told something within aliveFor
}

const (
	// tellEvery is how often a node tells.
	tellEvery = 5 * time.Second
	// aliveFor is how long it is taken for alive after that.
	aliveFor = 15 * time.Second
	// maxKnown bounds how many nodes are remembered; further ones are passed over.
	maxKnown = 256
)

// told is a Known with when it came.
type told struct {
	Known
	mod  int64
	at   int64 // steady
	gone bool  // it wrote, and was silent; until it tells again it is not alive
}

// Known returns all nodes by name, as Run last heard of them; without Run, and before it has heard, it asks etcd.
func (l *Log) Known(ctx context.Context) ([]Known, error) {
	l.mu.Lock()
	heard := l.known != nil && l.running.Load()
	l.mu.Unlock()
	if !heard {
		if _, err := l.Join(ctx); err != nil {
			return nil, explain(err)
		}
		a, err := l.ask(ctx, request{then: []clientv3.Op{l.getKnown()}})
		if err != nil {
			return nil, explain(err)
		}
		l.sawKnown(a.Responses[0].GetResponseRange().Kvs, true)
	}
	return l.nodes(), nil
}

func (l *Log) getKnown() clientv3.Op {
	return clientv3.OpGet(l.key(underKnow), clientv3.WithRange(l.key(behind(underKnow))), clientv3.WithLimit(maxKnown))
}

// nodes are those that were heard of, by name.
func (l *Log) nodes() []Known {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Known, 0, len(l.known))
	for _, t := range l.known {
		k := t.Known
		k.Heard = time.Duration(steady() - t.at)
		k.Alive = k.Heard < aliveFor && !t.gone
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Known) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// sawKnown takes what nodes told. all: there are no others.
func (l *Log) sawKnown(kvs []*mvccpb.KeyValue, all bool) {
	l.mu.Lock()
	cluster := l.identity.Cluster
	l.mu.Unlock()
	var came []told
	for _, kv := range kvs {
		t := told{mod: kv.ModRevision, at: steady()}
		name := strings.TrimPrefix(string(kv.Key), l.key(underKnow))
		if err := l.unsealJSON(cluster, underKnow+name, kv.Value, &t.Known); err != nil || t.Node != name || CheckNode(name) != nil {
			l.log.Warn("what a node tells of itself cannot be read", "node", name, "error", err)
			continue
		}
		if t.Ahead = time.Until(t.Clock); all && t.Ahead < 0 {
			t.Ahead = 0 // it lay there, nobody knows for how long: only a clock that is ahead shows
		}
		came = append(came, t)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := map[string]told{}
	if !all {
		next = l.known
	}
	if next == nil {
		next = map[string]told{}
	}
	for _, t := range came {
		was, known := l.known[t.Node]
		if known && was.mod >= t.mod {
			t = was // nothing new: it does not live by being read again
		}
		if _, has := next[t.Node]; has || len(next) < maxKnown {
			next[t.Node] = t
		}
	}
	l.known = next
}

// fellSilent notes that a process that wrote showed no sign of life.
func (l *Log) fellSilent(w Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := l.known[w.Node]; ok && t.Start == w.Start && w.Start != l.start {
		t.gone = true
		l.known[w.Node] = t
	}
}

// Forget takes a node out of what is known: it has left. One that runs comes back by itself.
func (l *Log) Forget(ctx context.Context, node string) error {
	if err := CheckNode(node); err != nil {
		return err
	}
	key := l.key(underKnow + node)
	a, err := l.ask(ctx, request{then: []clientv3.Op{clientv3.OpDelete(key)}})
	if err != nil {
		return explain(err)
	}
	l.mu.Lock()
	delete(l.known, node)
	l.mu.Unlock()
	if a.Responses[0].GetResponseDeleteRange().Deleted == 0 {
		return fmt.Errorf("no node %q is known: `lapid cluster status` shows those that are", node)
	}
	return nil
}

// teller tells of this node, and notices when another one has its name.
type teller struct {
	log      *Log
	facts    func() Facts
	last     int64  // mod_revision of what it put; 0: nothing yet
	replaced string // start of the process that had the name before
}

// run tells until ctx ends.
func (t *teller) run(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	said := ""
	for {
		if err := t.tell(ctx); err == nil {
			said = ""
		} else if why := explain(err).Error(); why != said && ctx.Err() == nil {
			said = why // once, for it is tried every few seconds
			t.log.log.Warn("the other nodes cannot be told of this one", "error", why)
		}
		select {
		case <-tick.C:
		case <-t.log.retell:
		case <-ctx.Done():
			return
		}
	}
}

// tell puts what is so now, if nobody else has put anything under the name.
func (t *teller) tell(ctx context.Context) error {
	l := t.log
	ctx, cancel := context.WithTimeout(ctx, tellEvery)
	defer cancel()
	id, err := l.Join(ctx)
	if err != nil {
		return err
	}
	name := underKnow + l.options.Node
	for {
		me := Known{Node: l.options.Node, Start: l.start, Address: l.options.Address, NeverWrites: l.options.NeverWrites, Facts: t.facts(), Clock: time.Now()}
		a, err := l.ask(ctx, request{
			when:      []clientv3.Cmp{l.at(name, t.last), clientv3.Compare(clientv3.CreateRevision(l.key(keyID)), ">", 0)},
			then:      []clientv3.Op{clientv3.OpPut(l.key(name), l.sealJSON(id.Cluster, name, me))},
			otherwise: append([]clientv3.Op{clientv3.OpGet(l.key(name))}, l.gets()...),
		})
		if err != nil {
			return err
		}
		if a.Succeeded {
			t.last = a.Header.Revision
			return nil
		}
		s := standingOf(a)
		if _, err := l.identify(s); err != nil {
			return err
		}
		if err := t.other(id.Cluster, name, one(a.Responses[0])); err != nil {
			return err
		}
	}
}

// other looks who put something under this node's name. A process that is replaced, and comes back, is alive.
func (t *teller) other(cluster ClusterID, name string, there *mvccpb.KeyValue) error {
	l := t.log
	first := t.last == 0
	t.last = mod(there)
	if there == nil {
		return nil // forgotten
	}
	var k Known
	if err := l.unsealJSON(cluster, name, there.Value, &k); err != nil {
		return err
	}
	switch {
	case k.Start == l.start:
	case first:
		t.replaced = k.Start
	case k.Start == t.replaced:
		l.hasNamesake(k)
		return l.stop(fmt.Errorf("another node named %q runs at %s: each node needs a name of its own (cluster.name)", k.Node, k.Address))
	default:
		l.hasNamesake(k)
		l.log.Error("another process tells that it is this node: each node needs a name of its own (cluster.name)", "node", k.Node, "at", k.Address)
	}
	return nil
}
