package stream

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
)

// Status is what an operator looks at. Times are by this node's clocks.
type Status struct {
	Prefix   string          `json:"prefix"`
	Identity Identity        `json:"identity"`
	Writer   Writer          `json:"writer"`
	Term     int64           `json:"term"`
	Silent   time.Duration   `json:"silent"` // since the last sign of life of the writer, where Run hears of it
	Head     Place           `json:"head"`
	Oldest   engine.Revision `json:"oldest"` // in etcd; 0: none
	Revision int64           `json:"etcd_revision"`
	Cluster  uint64          `json:"etcd_cluster,string"`
	Members  []Member        `json:"members"`
	Nodes    []Node          `json:"nodes"`
	// Compared is the newest comparison of what they hold; nil: none that is known.
	Compared *Comparison `json:"compared,omitempty"`
	// OldSeal are keys that only the second line of the seal opens. When there are none, the line can go.
	OldSeal []string `json:"old_seal,omitempty"`
	// Troubles are sentences for the operator, the worst first.
	Troubles []string `json:"troubles,omitempty"`
}

// Node is a Known with what is seen only from outside.
type Node struct {
	Known
	HeardAgo time.Duration `json:"heard_ago"`
	Ahead    time.Duration `json:"ahead"`
	Alive    bool          `json:"alive"`
	Writes   bool          `json:"writes"`
	Lag      uint64        `json:"lag"` // revisions behind head, when it told
}

// Member is a member of etcd.
type Member struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"`
	Clients []string `json:"clients,omitempty"` // where it listens for them
	Learner bool     `json:"learner,omitempty"`
	Leader  bool     `json:"leader,omitempty"`
	Started bool     `json:"started"`   // it has taken part at least once
	Answers bool     `json:"answers"`   // it answered this node
	Caught  bool     `json:"caught_up"` // it has applied all but a moment's worth
	Version string   `json:"version,omitempty"`
	Size    int64    `json:"size,omitempty"`   // of the database file, bytes
	InUse   int64    `json:"in_use,omitempty"` // of that
	Quota   int64    `json:"quota,omitempty"`
	Index   uint64   `json:"index,omitempty"` // of what it has applied
	Alarms  []string `json:"alarms,omitempty"`
	Error   string   `json:"error,omitempty"` // why it does not answer
	Syncs            // in the last minute or, where no node runs here, since its start
}

// caughtUp is how many entries of raft a member may be behind another and still be called caught up.
const caughtUp = 1000

// statusWithin is how long etcd has to say what lies in it: whoever asks is told in time that it does not.
const statusWithin = 2 * mostPatience

// Status asks etcd and its members. What does not answer is told in it; an error is returned only when not even the
// history can be read.
func (l *Log) Status(ctx context.Context) (Status, error) {
	s := Status{Prefix: l.options.Prefix}
	bounded, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	if _, err := l.Join(bounded); err != nil {
		return s, explain(err)
	}
	a, err := l.ask(bounded, request{then: append([]clientv3.Op{
		l.getKnown(),
		clientv3.OpGet(l.key(underLog), clientv3.WithRange(l.key(behind(underLog))), clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend), clientv3.WithLimit(1)),
		clientv3.OpGet(l.key(keyLog(engine.Revision(l.newest.Load())))), // or one that is a moment older
	}, l.gets()...)})
	if err != nil {
		return s, explain(err)
	}
	now := standingOf(a)
	if s.Identity, err = l.identify(now); err != nil {
		return s, err
	}
	if err := l.attend(now); err != nil {
		return s, err
	}
	known := a.Responses[0].GetResponseRange().Kvs
	l.mu.Lock()
	heard := l.known != nil && l.running.Load()
	l.mu.Unlock()
	l.sawKnown(known, true)
	s.Revision, s.Cluster = a.Header.Revision, a.Header.ClusterId
	s.Writer, _ = l.Writer()
	s.Term = s.Writer.Term
	s.Silent = time.Duration(steady() - l.lastSign())
	if now.head != nil {
		s.Head, _ = parsePlace(now.head.Value)
	}
	oldest, newest := one(a.Responses[1]), one(a.Responses[2])
	if oldest != nil {
		s.Oldest, _ = parseRevision(path.Base(string(oldest.Key)))
	}
	for _, kv := range slices.Concat([]*mvccpb.KeyValue{now.id, now.writer, oldest, newest}, known) {
		l.oldSeal(&s, kv)
	}
	s.nodes(l.nodes(), heard)
	s.compare()
	l.members(ctx, &s)
	s.look(l)
	return s, nil
}

// oldSeal notes a value that the second line opens.
func (l *Log) oldSeal(s *Status, kv *mvccpb.KeyValue) {
	if kv == nil {
		return
	}
	name, cluster := strings.TrimPrefix(string(kv.Key), l.key("")), s.Identity.Cluster
	if name == keyID {
		cluster = ClusterID{}
	}
	if _, old, err := l.options.Seal.open(cluster, name, kv.Value); old && err == nil {
		s.OldSeal = append(s.OldSeal, name)
	}
}

func (s *Status) nodes(all []Known, heard bool) {
	for _, k := range all {
		n := Node{Known: k, HeardAgo: k.Heard, Ahead: k.Ahead, Alive: k.Alive, Writes: k.Start == s.Writer.Start}
		if !heard { // read a moment ago: its own clock is all there is
			n.HeardAgo = max(0, time.Since(k.Clock))
			n.Alive = n.HeardAgo < aliveFor
		}
		if s.Head.Revision > k.Applied {
			n.Lag = uint64(s.Head.Revision - k.Applied)
		}
		s.Nodes = append(s.Nodes, n)
	}
}

// compare compares what those that are alive hold.
func (s *Status) compare() {
	all := make([]Known, len(s.Nodes))
	for i, n := range s.Nodes {
		all[i] = n.Known
		all[i].Alive = n.Alive
	}
	if s.Compared = compare(all); s.Compared.said() != "" {
		s.Troubles = append(s.Troubles, s.Compared.said())
	}
}

// members asks for the members of etcd, and each of them what it is. The endpoints of this node stand for themselves where
// the list is refused.
func (l *Log) members(ctx context.Context, s *Status) {
	byID := map[uint64]*Member{}
	if c, err := l.endpoints.ready(ctx, l.endpoints.pick()); err == nil {
		bounded, cancel := context.WithTimeout(ctx, mostPatience)
		list, err := c.MemberList(bounded)
		cancel()
		if err != nil {
			s.Troubles = append(s.Troubles, fmt.Sprintf("etcd does not list its members: %v", explain(err)))
		} else {
			for _, m := range list.Members {
				byID[m.ID] = &Member{ID: fmt.Sprintf("%x", m.ID), Name: m.Name, Clients: m.ClientURLs, Learner: m.IsLearner, Started: m.Name != "",
					Error: "none of this node's endpoints leads to it"}
			}
		}
	}
	var leader, top uint64
	kept := l.syncsKnown(ctx)
	for i, is := range l.statuses(ctx) {
		e, st := is.endpoint, is.status
		if is.err != nil {
			s.Troubles = append(s.Troubles, fmt.Sprintf("etcd does not answer: %v", explain(is.err)))
			continue
		}
		id := st.Header.MemberId
		m := byID[id]
		if m == nil {
			m = &Member{ID: fmt.Sprintf("%x", id), Started: true, Clients: []string{e.url}}
			byID[id] = m
		}
		r := roomOf(st)
		m.Answers, m.Error, m.Version, m.Learner = true, "", st.Version, st.IsLearner
		m.Size, m.InUse, m.Quota, m.Index = r.size, r.inUse, r.quota, st.RaftAppliedIndex
		if m.Alarms = st.Errors; i < len(kept) {
			m.Syncs = kept[i]
		}
		leader, top = max(leader, st.Leader), max(top, st.RaftAppliedIndex)
	}
	for id, m := range byID {
		m.Leader = id == leader && leader != 0
		m.Caught = m.Answers && m.Index+caughtUp >= top
		s.Members = append(s.Members, *m)
	}
	slices.SortFunc(s.Members, func(a, b Member) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	if leader == 0 {
		s.Troubles = append(s.Troubles, "etcd has no leader: a majority of its members must run")
	}
}

// look adds what follows from all that.
func (s *Status) look(l *Log) {
	s.Troubles = append(s.Troubles, l.namesakes()...)
	for _, m := range s.Members {
		name := m.Name
		if name == "" {
			name = m.ID
		}
		f := MemberFigures{Size: m.Size, InUse: m.InUse, Quota: m.Quota, Version: m.Version, Alarms: m.Alarms}
		s.Troubles = append(s.Troubles, f.ailments(name)...)
	}
	for _, n := range s.Nodes {
		if !n.Alive {
			s.Troubles = append(s.Troubles, fmt.Sprintf("node %s has told nothing for %v (`lapid cluster forget %s` if it has left)", n.Node, n.HeardAgo.Round(time.Second), n.Node))
		}
	}
	s.Troubles = append(s.Troubles, clocks(s.Nodes)...)
	s.Troubles = append(s.Troubles, unlike(s.Nodes)...)
	if l.roomIs().noCompact {
		s.Troubles = append(s.Troubles, "etcd does not let this user compact: run it with auto-compaction-mode: periodic and auto-compaction-retention: 5m, and set cluster.compact: false")
	}
}
