package stream

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// clocksApart is how far off this node's another node's clock is before that is told.
	clocksApart = time.Second
	// namesakeFor is how long is told that another process had this node's name.
	namesakeFor = 10 * time.Minute
	// silentLooks is at how many looks in a row a member of etcd does not answer before that is told: they are tellEvery apart.
	silentLooks = 3
)

// namesake is another process that told that it is this node.
type namesake struct {
	address string
	at      int64 // when, steady; 0: never
}

// Ailments are what is wrong in the cluster though this node may be well, one sentence each with what to do, the worst first: by what
// Run last heard of etcd's members and of other nodes. Nothing is asked for them. Status tells the same of the moment, and more.
func (l *Log) Ailments() (said []string) {
	l.mu.Lock()
	members, w := l.etcds, l.writer
	l.mu.Unlock()
	s := Status{Writer: w}
	s.nodes(l.nodes(), true)
	said = append(l.namesakes(), silent(members)...)
	for i := range members {
		said = append(said, members[i].ailments(members[i].Endpoint)...)
	}
	said = append(said, clocks(s.Nodes)...)
	return append(said, unlike(s.Nodes)...)
}

// Unconfirmed is why nobody said how far the history reaches when that was last asked, with what to do about it; nil: somebody did,
// or nobody has asked yet.
func (l *Log) Unconfirmed() error {
	if err := l.unconfirmed.Load(); err != nil {
		return *err
	}
	return nil
}

// silent names members of etcd that do not answer while others do: without any that answers nothing is confirmed, which Unconfirmed tells.
func silent(members []MemberFigures) (said []string) {
	some := slices.ContainsFunc(members, func(m MemberFigures) bool { return m.Up })
	for i := range members {
		if m := &members[i]; some && m.silent >= silentLooks {
			said = append(said, fmt.Sprintf("etcd's member at %s does not answer: start it, or see to the network between; one that is gone for good is taken away with `etcdctl member remove` "+
				"and out of cluster.etcd.endpoints", m.Endpoint))
		}
	}
	return said
}

// ailments are those of a member of etcd.
func (m *MemberFigures) ailments(name string) (said []string) {
	for _, alarm := range m.Alarms {
		switch {
		case strings.Contains(alarm, "NOSPACE"):
			said = append(said, fmt.Sprintf("etcd's member %s: %s", name, noSpace))
		case strings.Contains(alarm, "CORRUPT"):
			said = append(said, fmt.Sprintf("etcd's member %s: %s", name, corrupt))
		default:
			said = append(said, fmt.Sprintf("etcd's member %s says: %s", name, alarm))
		}
	}
	if err := oldEtcd(m.Version); err != nil {
		said = append(said, fmt.Sprintf("etcd's member %s: %v", name, err))
	}
	r := room{quota: m.Quota, size: m.Size, inUse: m.InUse}
	switch {
	case r.over(fullAbove):
		said = append(said, fmt.Sprintf("etcd's member %s uses %d of %d MiB, and above 80 %% nothing is stored, so writes get 503: %s", name, m.InUse>>20, m.Quota>>20, makeRoom))
	case r.over(warnedAbove):
		said = append(said, fmt.Sprintf("etcd's member %s uses %d of %d MiB, and above 80 %% nothing more is stored: %s", name, m.InUse>>20, m.Quota>>20, makeRoom))
	case m.Size*100 > m.Quota*fullAbove && m.Quota > 0:
		said = append(said, fmt.Sprintf("the file of etcd's member %s has %d of %d MiB, with less in use: `etcdctl defrag`, one member after the other", name, m.Size>>20, m.Quota>>20))
	}
	return said
}

// clocks names nodes whose clock is off this node's.
func clocks(nodes []Node) (said []string) {
	for _, n := range nodes {
		if n.Alive && (n.Ahead > clocksApart || n.Ahead < -clocksApart) {
			said = append(said, fmt.Sprintf("the clock of node %s is %v off this node's: set the wrong one right (chronyc tracking, timedatectl); ends of decisions go by that of the node that writes", n.Node, n.Ahead.Round(time.Millisecond)))
		}
	}
	return said
}

// hasNamesake notes another process with this node's name.
func (l *Log) hasNamesake(k Known) {
	l.mu.Lock()
	l.namesake = namesake{k.Address, steady()}
	l.mu.Unlock()
}

func (l *Log) namesakes() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.namesake.at == 0 || steady()-l.namesake.at > int64(namesakeFor) {
		return nil
	}
	return []string{fmt.Sprintf("another process, at %s, tells that it is node %s, as this one does: stop it, and give it a name of its own (cluster.name)", l.namesake.address, l.options.Node)}
}
