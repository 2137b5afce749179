package verbs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/persist/stream"
	"lapid/transport/admin"
)

// clusterStatus is cluster status.
func clusterStatus(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the nodes, who writes, how far each is, and the etcd behind them", Args: NoArgs,
		Long: `Shows what there is to know of a cluster, on one screen: the nodes, who writes, revisions and how far each is behind,
clocks, versions, the members of etcd with their leader and their size beside the quota, and what is wrong.

Exit code 0: all nodes are alive and have what the newest commit brought, or nearly, and all members take part; 1: something
of that is not so; 2: etcd has no majority, or does not answer, so nothing is written.

At a relay it says from whom that gets what it knows, and how old that is. Exit code 0: it follows a node; 1: it does not; 2: it
does not run.

The node's server is asked. Where none runs, etcd is asked from here, with the node's settings.`,
		RunE: func(c *cobra.Command, _ []string) error { return showClusterStatus(c.Context(), t) },
	}
}

// nearly is how many revisions a node may be behind and still be called caught up: it tells how far it is each five seconds.
const nearly = 100_000

func showClusterStatus(ctx context.Context, t *Terminal) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	if t.Remote.URL == "" {
		if setup, err := t.Setup(); err == nil && setup.Own.Relay.On() {
			return showRelayStatus(ctx, t, setup)
		}
	}
	s, err := clusterNow(ctx, t)
	if err != nil {
		fmt.Fprintf(t.Err, "Error: %s\n", line(err.Error()))
		return Sick{Broken: true}
	}
	if t.Output == jsonWords {
		err = t.json(s, " ")
	} else {
		t.writeCluster(s)
	}
	if err == nil && !clusterWell(s) {
		return Sick{}
	}
	return err
}

// clusterNow asks the server, or etcd.
func clusterNow(ctx context.Context, t *Terminal) (*stream.Status, error) {
	s := &stream.Status{}
	return s, t.ofHistory(ctx, s, func(c *admin.Client) (json.RawMessage, error) { return c.ClusterStatus(ctx) },
		func(log *stream.Log) (err error) { *s, err = log.Status(ctx); return err })
}

// ofHistory asks the node's server for what into is made of or, where none runs, etcd from here with the node's settings.
func (t *Terminal) ofHistory(ctx context.Context, into any, server func(*admin.Client) (json.RawMessage, error), etcd func(*stream.Log) error) error {
	if t.Remote.URL != "" {
		return errors.New("this is not answered over HTTP: run it at a node")
	}
	setup, err := t.Setup()
	if err != nil {
		return err
	}
	if err := isNode(setup); err != nil {
		return err
	}
	c, err := admin.Dial(ctx, setup.Socket())
	if errors.Is(err, admin.ErrNotRunning) {
		return withHistory(setup, etcd)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	text, err := server(c)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// withHistory runs something on the history in etcd, from here.
func withHistory(setup *config.Setup, run func(*stream.Log) error) error {
	o, err := setup.ClusterOptions()
	if err != nil {
		return err
	}
	log, err := stream.Open(*o)
	if err != nil {
		return err
	}
	defer log.Close()
	return run(log)
}

// clusterWell is whether nothing wants to be looked at.
func clusterWell(s *stream.Status) bool {
	for _, m := range s.Members {
		if !m.Started || !m.Answers || !m.Caught {
			return false
		}
	}
	writes := false
	for _, n := range s.Nodes {
		if !n.Alive || n.Lag > nearly {
			return false
		}
		writes = writes || n.Writes
	}
	return writes && len(s.Troubles) == 0
}

// clusterLine is the cluster in one line.
func clusterLine(s *stream.Status) string {
	var follow []string
	writer := "nobody writes"
	for _, n := range s.Nodes {
		switch {
		case n.Writes:
			writer = "node " + n.Node + " writes"
		case n.Alive:
			follow = append(follow, n.Node)
		}
	}
	switch len(follow) {
	case 0:
	case 1:
		writer += ", " + follow[0] + " follows"
	default:
		writer += ", " + strings.Join(follow, " and ") + " follow"
	}
	return fmt.Sprintf("%s, revision %d", writer, s.Head.Revision)
}

// writeCluster is status for people.
func (t *Terminal) writeCluster(s *stream.Status) {
	t.print("%s: cluster %s at %s\n\n", clusterLine(s), s.Identity.Cluster.String(), s.Prefix)
	nodes := lightTable()
	nodes.head(left, "Node", "Role", "Revision", "Behind", "Address", "Version", "Clock", "Heard")
	nodes.body()
	for _, n := range s.Nodes {
		nodes.row(n.Node, nodeRole(n), fmt.Sprint(n.Applied), fmt.Sprint(n.Lag), n.Address, n.Version, aheadWords(n.Ahead), n.HeardAgo.Round(time.Second).String())
	}
	t.show(nodes)
	t.print("How far each is, it tells every five seconds.\n\n")
	members := lightTable()
	members.head(left, "Member of etcd", "State", "Version", "In use", "File", "Quota", "Clients")
	members.body()
	for _, m := range s.Members {
		members.row(m.Name, memberRole(m), m.Version, memberSize(m.InUse), memberSize(m.Size), memberSize(m.Quota), strings.Join(m.Clients, " "))
	}
	t.show(members)
	for _, trouble := range s.Troubles {
		t.print("\n%s\n", trouble)
	}
	for i := range s.Members { // worth a word, and no trouble yet: writes are taken
		if said := s.Members[i].Ails(memberName(&s.Members[i])); said != "" {
			t.print("\n%s\n", said)
		}
	}
}

func nodeRole(n stream.Node) string {
	switch {
	case n.Writes:
		return "writes"
	case !n.Alive:
		return "not heard of"
	case n.NeverWrites:
		return "follows, never writes"
	}
	return "follows"
}

func memberRole(m stream.Member) string {
	switch {
	case !m.Started:
		return "never started"
	case !m.Answers:
		return "does not answer"
	case !m.Caught:
		return "catches up"
	case m.Leader:
		return "leader"
	case m.Learner:
		return "learner"
	}
	return "well"
}

// aheadWords is a clock beside this node's.
func aheadWords(d time.Duration) string {
	if d = d.Round(100 * time.Millisecond); d == 0 {
		return "alike"
	}
	return fmt.Sprintf("%+v", d)
}

// memberSize is a number of bytes; "" where it is not known.
func memberSize(n int64) string {
	if n <= 0 {
		return ""
	}
	return mebibytes(uint64(n))
}

// clusterHand is cluster hand.
func clusterHand(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "hand [NODE]", Short: "Have another node write", Args: cobra.MaximumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Has this node, which writes, finish what it is at, and another one write: the one that is named or, without a name, the most
advanced. Writes wait meanwhile and are not refused. It is done by itself when a server ends.`,
		RunE: func(c *cobra.Command, args []string) error {
			node := ""
			if len(args) > 0 {
				node = args[0]
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				err := client.ClusterHand(c.Context(), node)
				if err == nil {
					t.success("%s", writesNow(c.Context(), t))
				}
				return err
			})
		},
	}
}

// writesNow says who writes after the writing was handed over.
func writesNow(ctx context.Context, t *Terminal) string {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	if s, err := clusterNow(ctx, t); err == nil && s.Writer.Node != "" {
		return fmt.Sprintf("node %s writes now", s.Writer.Node)
	}
	return "another node writes now: lapid cluster status says which"
}

// clusterForget is cluster forget.
func clusterForget(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "forget NODE", Short: "Take a node that has left for good out of what status shows", Args: exactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Takes a node that was taken away for good out of what status shows, and out of what the history in etcd is kept for. Its member
of etcd, if it had one, is taken out with etcdctl member remove. One that runs comes back by itself within seconds: stop it first.`,
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				err := client.ClusterForget(c.Context(), args[0])
				if err == nil {
					t.success("node %s is forgotten", args[0])
				}
				return err
			})
		},
	}
}
