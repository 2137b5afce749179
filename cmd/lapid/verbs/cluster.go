package verbs

import "github.com/spf13/cobra"

// clusterCommand is the noun cluster: several servers with one history, which etcd keeps in order.
func clusterCommand(t *Terminal) *cobra.Command {
	c := group("cluster", "Several servers with one history, which etcd keeps in order", clusterQuickstart(t), clusterKeys(t), clusterInit(t), clusterStatus(t), clusterCheck(t), clusterHand(t), clusterLog(t), clusterAlone(t), clusterForget(t))
	c.Long = "A server with the section cluster in its lapid.yaml is a node. One node writes, the others follow it and answer\n" +
		"for themselves; whatever writes is passed on. See docs/cluster.md."
	return c
}
