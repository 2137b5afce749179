package verbs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/persist/stream"
)

// Files of a cluster, below the folder of cluster keys: the authority's own, and in a folder for each node those
// that the node needs.
const (
	clusterAuthority    = "ca.pem"
	clusterAuthorityKey = "ca-key.pem"
	clusterSeal         = "cluster.key"
	nodeCertificate     = "node.pem"
	nodeKey             = "node-key.pem"
	nodeMember          = "etcd.yaml"
	nodeSettings        = "lapid.yaml"
)

// clusterKeys is cluster keys.
func clusterKeys(t *Terminal) *cobra.Command {
	var k keysFlags
	c := &cobra.Command{
		Use: "keys DIR [NAME=HOST[:LISTEN[:CLIENT[:PEER]]]]...", Short: "Make the certificates, the seal and the configuration of a cluster's nodes", Args: k.args,
		Long: `Makes in DIR an authority for certificates (ca.pem, ca-key.pem) and the key that seals what lies in etcd
(cluster.key), and in DIR/NAME for each node what belongs there: ca.pem, node.pem, node-key.pem, cluster.key, a
lapid.yaml with the section cluster, and etcd.yaml for a member of etcd, in the node's process or beside it.

HOST is the address or name by which the others reach the node, LISTEN the port of nodes among each other (7422),
CLIENT and PEER those of etcd (2379 and 2380). With --etcd the etcd is one that is there already: no etcd.yaml is made.

What is there stays as it is, so a node can be added later: name it alone, with --etcd for the members that there are.
With --renew the certificates of the named nodes are made anew, by the same authority. Keep ca-key.pem and relay-ca-key.pem away from nodes and relays: whoever has them can be one.

With --relay NAME it makes DIR/NAME for a relay at the edge: ca.pem, relay.pem, relay-key.pem and a lapid.yaml with the
section relay. It follows the nodes that are named, or those whose addresses --from gives. Certificates of relays are of an authority
of their own (relay-ca.pem): with them one may follow, and do nothing else, and etcd does not know them.`,
		Example: `  lapid cluster keys /root/cluster a=192.0.2.11 b=192.0.2.12 c=192.0.2.13 --at /etc/lapid
  lapid cluster keys /root/cluster --relay edge1 --from 192.0.2.11:7422,192.0.2.12:7422`,
		RunE: func(_ *cobra.Command, args []string) error { return k.make(t, args[0], args[1:]) },
	}
	c.Flags().StringVar(&k.at, "at", "", "the folder in which the node's files will lie there, such as /etc/lapid; DIR/NAME when it is empty")
	c.Flags().StringVar(&k.data, "member-data", "", "the folder of the member's data there, such as /var/lib/lapid/etcd; etcd in the folder of the node's files when it is empty")
	c.Flags().StringSliceVar(&k.etcd, "etcd", nil, "URLs of an etcd that is there already, instead of members of its own")
	c.Flags().StringVar(&k.prefix, "prefix", "/lapid/main", "what all keys of this cluster in etcd begin with")
	c.Flags().StringSliceVar(&k.relays, "relay", nil, "make what a relay of this name needs")
	c.Flags().StringSliceVar(&k.from, "from", nil, "with --relay: host:port of the nodes that it follows; those that are named when it is empty")
	c.Flags().BoolVar(&k.renew, "renew", false, "make the certificates of the named nodes anew")
	return c
}

// args: a folder, and a node or a relay.
func (k *keysFlags) args(_ *cobra.Command, args []string) error {
	if len(args) < 2 && (len(args) == 0 || len(k.relays) == 0) {
		return errors.New("a folder and a node at least are needed, such as: lapid cluster keys /root/cluster a=192.0.2.11 b=192.0.2.12 c=192.0.2.13")
	}
	return nil
}

// keysFlags are what the flags say.
type keysFlags struct {
	at, data, prefix string
	etcd             []string
	relays, from     []string
	renew            bool
}

// clusterNode is one node of the command line.
type clusterNode struct {
	name, host           string
	listen, client, peer int
}

var nodeForm = regexp.MustCompile(`^([a-z0-9-]{1,32})=(\[[0-9A-Fa-f:.]+\]|[^][:/ ]+)(?::([0-9]+)(?::([0-9]+)(?::([0-9]+))?)?)?$`)

// parseNodes reads NAME=HOST[:LISTEN[:CLIENT[:PEER]]]; an IPv6 address stands in brackets.
func parseNodes(words []string) (nodes []clusterNode, err error) {
	names, places := map[string]bool{}, map[string]string{}
	for _, word := range words {
		m := nodeForm.FindStringSubmatch(word)
		if m == nil {
			return nil, fmt.Errorf("%q is no node: write NAME=HOST[:LISTEN[:CLIENT[:PEER]]], such as a=192.0.2.11, with 1 to 32 of a-z, 0-9 and - as the name and IPv6 addresses in brackets", word)
		}
		n := clusterNode{name: m[1], host: strings.Trim(m[2], "[]"), listen: 7422, client: 2379, peer: 2380}
		for i, port := range []*int{&n.listen, &n.client, &n.peer} {
			if text := m[3+i]; text != "" {
				if *port, err = strconv.Atoi(text); err != nil || *port < 1 || *port > 65535 {
					return nil, fmt.Errorf("%q: %s is no port, they go from 1 to 65535", word, text)
				}
			}
			at := net.JoinHostPort(n.host, strconv.Itoa(*port))
			if other := places[at]; other != "" {
				return nil, fmt.Errorf("%q: %s is given to %s already: each needs a port of its own on one host", word, at, other)
			}
			places[at] = n.name
		}
		if names[n.name] {
			return nil, fmt.Errorf("two nodes are called %s: each needs a name of its own", n.name)
		}
		names[n.name] = true
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// make makes what is missing.
func (k *keysFlags) make(t *Terminal, dir string, words []string) error {
	nodes, err := parseNodes(words)
	if err != nil {
		return err
	}
	if err := k.relayWanted(nodes); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	for _, name := range k.relays {
		if !datadir.Missing(filepath.Join(dir, name, nodeKey)) {
			return fmt.Errorf("%s is the folder of a node, with its secrets: give the relay another name", filepath.Join(dir, name))
		}
	}
	if len(nodes) == 0 && datadir.Missing(filepath.Join(dir, clusterAuthority)) {
		return fmt.Errorf("no cluster was made in %s: there is no %s", dir, clusterAuthority)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	authority, err := openAuthority("lapid cluster", filepath.Join(dir, clusterAuthority), filepath.Join(dir, clusterAuthorityKey))
	if err != nil {
		return err
	}
	ofRelays, err := openAuthority("lapid relays", filepath.Join(dir, relayAuthority), filepath.Join(dir, relayAuthorityKey))
	if err != nil {
		return err
	}
	if err := k.keepSeal(filepath.Join(dir, clusterSeal)); err != nil {
		return err
	}
	members, err := k.members(dir, nodes)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := k.furnish(dir, n, members, authority); err != nil {
			return fmt.Errorf("node %s: %w", n.name, err)
		}
		t.success("made %s: copy it to %s of node %s", filepath.Join(dir, n.name), k.place(dir, n), n.name)
	}
	if err := k.makeRelays(t, dir, nodes, ofRelays); err != nil {
		return err
	}
	t.success("keep %s and %s away from nodes and relays: whoever has them can make himself one", filepath.Join(dir, clusterAuthorityKey), relayAuthorityKey)
	return nil
}

// keepSeal makes the key, or looks at the one that is there.
func (k *keysFlags) keepSeal(file string) error {
	if datadir.Missing(file) {
		return datadir.WriteSecret(file, []byte(stream.NewSealLine()+"\n"))
	}
	text, err := os.ReadFile(file)
	if err == nil {
		_, err = stream.ParseSeal(text)
	}
	if err != nil {
		return fmt.Errorf("%s is there already: %w", file, err)
	}
	return nil
}

// place is where the node's files will lie.
func (k *keysFlags) place(dir string, n clusterNode) string {
	if k.at != "" {
		return k.at
	}
	return filepath.Join(dir, n.name)
}

// members are those of the etcd of these nodes; nil: it is there already. An etcd that was made here before has its
// members: none can be added by a file.
func (k *keysFlags) members(dir string, nodes []clusterNode) ([]clusterNode, error) {
	if k.etcd != nil {
		return nil, nil
	}
	made, err := filepath.Glob(filepath.Join(dir, "*", nodeMember))
	if err != nil {
		return nil, err
	}
	for _, file := range made {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(string(text), "\n"+initialCluster(nodes)) && k.lacksMember(dir, nodes) {
			return nil, fmt.Errorf("%s was made for other members: name the same nodes as then, or give --etcd with the URLs of the members that there are, "+
				"and the new node is a node without a member (a member is added with etcdctl member add)", file)
		}
	}
	return nodes, nil
}

// lacksMember reports whether an etcd.yaml would be made.
func (k *keysFlags) lacksMember(dir string, nodes []clusterNode) bool {
	for _, n := range nodes {
		if datadir.Missing(filepath.Join(dir, n.name, nodeMember)) {
			return true
		}
	}
	return false
}

// initialCluster is the line of etcd.yaml that names all members.
func initialCluster(members []clusterNode) string {
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = m.name + "=" + m.url(m.peer)
	}
	slices.Sort(list)
	return "initial-cluster: " + config.Scalar(strings.Join(list, ",")) + "\n"
}

// furnish makes the folder of a node.
func (k *keysFlags) furnish(dir string, n clusterNode, members []clusterNode, by *authority) error {
	folder := filepath.Join(dir, n.name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for _, name := range []string{clusterAuthority, clusterSeal, relayAuthority} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = datadir.WriteSecret(filepath.Join(folder, name), text)
		}
		if err != nil {
			return err
		}
	}
	certificate, key := filepath.Join(folder, nodeCertificate), filepath.Join(folder, nodeKey)
	if k.renew || datadir.Missing(certificate) || datadir.Missing(key) {
		if err := by.issue(n.name, n.host, certificate, key); err != nil {
			return err
		}
	}
	if file := filepath.Join(folder, nodeMember); members != nil && datadir.Missing(file) {
		if err := datadir.WriteSecret(file, []byte(k.memberText(dir, n, members))); err != nil {
			return err
		}
	}
	if file := filepath.Join(folder, nodeSettings); datadir.Missing(file) {
		return datadir.WriteSecret(file, []byte(k.settingsText(dir, n, members)))
	}
	return nil
}

// settingsText is the lapid.yaml of a node. The files are named without a folder: they lie beside it.
func (k *keysFlags) settingsText(dir string, n clusterNode, members []clusterNode) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by \"lapid cluster keys\": lapid's own settings, beside config.yaml.\nallowlist_wins: true\ncluster:\n  name: %s\n", config.Scalar(n.name))
	b.WriteString("  etcd:\n    endpoints:\n")
	for _, m := range ownFirst(n, members) {
		fmt.Fprintf(&b, "      - %s\n", config.Scalar(m.url(m.client)))
	}
	for _, endpoint := range k.etcd {
		fmt.Fprintf(&b, "      - %s\n", config.Scalar(endpoint))
	}
	fmt.Fprintf(&b, "    prefix: %s\n", config.Scalar(k.prefix))
	if members != nil {
		fmt.Fprintf(&b, "  # Without this line the member is an etcd of its own: etcd --config-file %s\n  member: %s\n", filepath.Join(k.place(dir, n), nodeMember), nodeMember)
	}
	fmt.Fprintf(&b, "  listen: %s\n  cert_file: %s\n  key_file: %s\n  ca_file: %s\n  relay_ca_file: %s\n  seal_file: %s\n",
		config.Scalar(n.listensAt()), nodeCertificate, nodeKey, clusterAuthority, relayAuthority, clusterSeal)
	return b.String()
}

// ownFirst puts a node's own member in front: it is asked first.
func ownFirst(n clusterNode, members []clusterNode) (list []clusterNode) {
	for _, m := range members {
		if m.name == n.name {
			list = append([]clusterNode{m}, list...)
		} else {
			list = append(list, m)
		}
	}
	return list
}

// listensAt is where other nodes, and relays, reach the node.
func (n clusterNode) listensAt() string { return net.JoinHostPort(n.host, strconv.Itoa(n.listen)) }

func (n clusterNode) url(port int) string {
	return "https://" + net.JoinHostPort(n.host, strconv.Itoa(port))
}

// listens is the URL on which etcd listens: it takes addresses there and no names.
func (n clusterNode) listens(port int) string {
	if _, err := netip.ParseAddr(n.host); err == nil {
		return n.url(port)
	}
	return "https://0.0.0.0:" + strconv.Itoa(port)
}

// memberText is etcd's own configuration file, with everything spelt out, so that an etcd of the same version can
// take the member over.
func (k *keysFlags) memberText(dir string, n clusterNode, members []clusterNode) string {
	at, data := k.place(dir, n), k.data
	if data == "" {
		data = filepath.Join(at, "etcd")
	}
	file := func(name string) string { return config.Scalar(filepath.Join(at, name)) }
	tls := fmt.Sprintf("  cert-file: %s\n  key-file: %s\n  trusted-ca-file: %s\n  client-cert-auth: true\n", file(nodeCertificate), file(nodeKey), file(clusterAuthority))
	return fmt.Sprintf(memberWords, config.Scalar(n.name), config.Scalar(data),
		config.Scalar(n.listens(n.client)), config.Scalar(n.url(n.client)), config.Scalar(n.listens(n.peer)), config.Scalar(n.url(n.peer)),
		initialCluster(members), config.Scalar("lapid-"+strings.Trim(strings.ReplaceAll(k.prefix, "/", "-"), "-")), tls)
}

// memberWords: name, folder of data, client and peer URLs, the line of members, token of the cluster, TLS.
const memberWords = `# Written by "lapid cluster keys": a member of etcd, in the process of a node of lapid or as etcd --config-file.
name: %[1]s
data-dir: %[2]s
listen-client-urls: %[3]s
advertise-client-urls: %[4]s
listen-peer-urls: %[5]s
initial-advertise-peer-urls: %[6]s
%[7]sinitial-cluster-token: %[8]s
initial-cluster-state: new
client-transport-security:
%[9]speer-transport-security:
%[9]sheartbeat-interval: 100
election-timeout: 1000
# Entries of the log are large: few are kept in memory.
snapshot-count: 1000
snapshot-catchup-entries: 500
quota-backend-bytes: 2147483648
auto-compaction-mode: periodic
auto-compaction-retention: 5m
logger: zap
log-level: warn
`
