package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"lapid/engine"
	"lapid/persist/stream"
)

// ClusterSettings make this server one of several with one history, which is kept in order by etcd: off
// unless Name is given, here or as LAPID_CLUSTER_NAME. Each value has such a variable, with the keys in
// capitals and underscores between them (LAPID_CLUSTER_ETCD_PREFIX); endpoints have commas between them there.
// Names of files are relative to the folder of lapid.yaml.
type ClusterSettings struct {
	// Name is this node's, no other's of the cluster: 1 to 32 of a-z, 0-9 and -.
	Name string `yaml:"name"`
	// Etcd is where the history is kept in order.
	Etcd EtcdSettings `yaml:"etcd"`
	// Member is etcd's own configuration file, where this process is to be a member of that etcd too. Default: it
	// is none.
	Member string `yaml:"member"`
	// Listen is host:port for the other nodes, which reach this one there: requests that write are passed on, and
	// a newcomer gets its first state. Mutual TLS.
	Listen string `yaml:"listen"`
	// Advertise is host:port by which others reach Listen, where that is another; default Listen.
	Advertise string `yaml:"advertise"`
	// CertFile is this node's certificate, for servers and clients both.
	CertFile string `yaml:"cert_file"`
	// KeyFile is its key.
	KeyFile string `yaml:"key_file"`
	// CAFile has the authority of all nodes' certificates: whoever has one of it is a node.
	CAFile string `yaml:"ca_file"`
	// RelayCAFile has the authority of relays' certificates, which may follow and do nothing else; it must be another than
	// CAFile's. Default: no relay may.
	RelayCAFile string `yaml:"relay_ca_file"`
	// SealFile has the key that seals every value in etcd, the same at all nodes: one line or two of lapid cluster
	// keys; the first writes, both read.
	SealFile string `yaml:"seal_file"`
	// HoldWrites is how long a write waits for a node that writes before it gets 503, such as 8s (default), from 0s
	// to 60s.
	HoldWrites string `yaml:"hold_writes"`
	// NeverWrites keeps this node from ever being the one that writes.
	NeverWrites bool `yaml:"never_writes"`
	// Keep is how much of the history etcd keeps. Nodes that are further behind ask each other.
	Keep KeepSettings `yaml:"keep"`
	// Compact, when false, leaves etcd's own history of its keys to etcd (auto-compaction-retention). Default true.
	Compact *bool `yaml:"compact"`
}

// EtcdSettings say where etcd is and how it lets in.
type EtcdSettings struct {
	// Endpoints are the URLs of etcd's members, such as https://192.0.2.11:2379.
	Endpoints []string `yaml:"endpoints"`
	// Prefix is what all keys of this cluster begin with; default /lapid/main.
	Prefix string `yaml:"prefix"`
	// CertFile is the client certificate for etcd; default that of the node.
	CertFile string `yaml:"cert_file"`
	// KeyFile is its key.
	KeyFile string `yaml:"key_file"`
	// CAFile has the authority of etcd's certificates; default that of the nodes.
	CAFile string `yaml:"ca_file"`
	// User is etcd's user, where it asks for one. It needs readwrite on the prefix, and nothing else.
	User string `yaml:"user"`
	// PasswordFile has the user's password on its first line.
	PasswordFile string `yaml:"password_file"`
}

// KeepSettings are bounds; what is beyond either goes.
type KeepSettings struct {
	// Time is for how long, such as 10m (default), from 10s to 7d.
	Time string `yaml:"time"`
	// Bytes is how much, such as 64MiB (default), from 1MiB to 1GiB.
	Bytes string `yaml:"bytes"`
}

const clusterVariables = "LAPID_CLUSTER_"

// On reports whether this server is a node of a cluster.
func (c *ClusterSettings) On() bool { return c.Name != "" }

// check refuses what would have no effect, or another than is meant.
func (c *ClusterSettings) check() (key string, err error) {
	if reflect.ValueOf(*c).IsZero() {
		return "", nil
	}
	if err := stream.CheckNode(c.Name); err != nil {
		return "cluster.name", fmt.Errorf("cluster.name: %w, and no other node's", err)
	}
	for _, missing := range [...]struct{ key, value, what string }{
		{"listen", c.Listen, "host:port for the other nodes, such as 192.0.2.1:7422"},
		{"cert_file", c.CertFile, "this node's certificate"}, {"key_file", c.KeyFile, "the key of this node's certificate"},
		{"ca_file", c.CAFile, "the authority of all nodes' certificates"}, {"seal_file", c.SealFile, "the key that seals what lies in etcd"},
	} {
		if missing.value == "" {
			return "cluster", fmt.Errorf("cluster.%s is missing: %s (lapid cluster keys makes all of a cluster's files)", missing.key, missing.what)
		}
	}
	for _, a := range [...][2]string{{"listen", c.Listen}, {"advertise", c.Advertise}} {
		if _, _, err := net.SplitHostPort(cmp.Or(a[1], c.Listen)); err != nil {
			return "cluster." + a[0], fmt.Errorf("cluster.%s must be host:port, such as 192.0.2.1:7422, not %q", a[0], a[1])
		}
	}
	if err := c.reachable(); err != nil {
		return "cluster.listen", err
	}
	if err := c.Etcd.check(); err != nil {
		return "cluster.etcd", err
	}
	if _, err := c.Hold(); err != nil {
		return "cluster.hold_writes", err
	}
	if _, _, err := c.Kept(); err != nil {
		return "cluster.keep", err
	}
	return "", nil
}

// reachable: others cannot call an address that stands for all of this machine.
func (c *ClusterSettings) reachable() error {
	host, _, _ := net.SplitHostPort(c.Address())
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return fmt.Errorf("other nodes cannot reach this one at %q: give cluster.advertise, such as 192.0.2.1:7422, or listen on one address", c.Address())
	}
	return nil
}

func (e *EtcdSettings) check() error {
	if len(e.Endpoints) == 0 {
		return errors.New("cluster.etcd.endpoints is missing: the URLs of etcd's members, such as https://192.0.2.11:2379")
	}
	for _, endpoint := range e.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" || u.User != nil || u.RawQuery != "" {
			return fmt.Errorf("cluster.etcd.endpoints are URLs such as https://192.0.2.11:2379, not %q", endpoint)
		}
	}
	switch p := e.Prefix; {
	case p != "" && (!strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || len(p) > 256):
		return fmt.Errorf("cluster.etcd.prefix begins with a slash and ends without, such as /lapid/main, not %q", p)
	case (e.CertFile == "") != (e.KeyFile == ""):
		return errors.New("cluster.etcd.cert_file and key_file go together: give both")
	case (e.User == "") != (e.PasswordFile == ""):
		return errors.New("cluster.etcd.user and password_file go together: give both")
	}
	return nil
}

// Address is how other nodes reach this one.
func (c *ClusterSettings) Address() string { return cmp.Or(c.Advertise, c.Listen) }

// Hold is hold_writes. As with the next one, a Setup that was loaded gives no error.
func (c *ClusterSettings) Hold() (time.Duration, error) {
	if c.HoldWrites == "" {
		return 8 * time.Second, nil
	}
	d, err := engine.ParseDuration(c.HoldWrites)
	if err != nil || d < 0 || d > time.Minute {
		return 0, fmt.Errorf("cluster.hold_writes must be a duration from 0s to 60s, such as 8s, not %q", c.HoldWrites)
	}
	return d, nil
}

// Kept is keep, in bytes the second.
func (c *ClusterSettings) Kept() (age time.Duration, bytes int64, err error) {
	age, bytes = 10*time.Minute, 64<<20
	if c.Keep.Time != "" {
		if age, err = engine.ParseDuration(c.Keep.Time); err != nil || age < 10*time.Second || age > 7*24*time.Hour {
			return 0, 0, fmt.Errorf("cluster.keep.time must be a duration from 10s to 7d, such as 10m, not %q", c.Keep.Time)
		}
	}
	if c.Keep.Bytes != "" {
		n, ok := sizeOf(c.Keep.Bytes)
		if !ok || n < 1<<20 || n > 1<<30 {
			return 0, 0, fmt.Errorf("cluster.keep.bytes must be a number of bytes from 1MiB to 1GiB, such as 64MiB, not %q", c.Keep.Bytes)
		}
		bytes = n
	}
	return age, bytes, nil
}

// Cluster is the settings with their defaults and with whole paths. It means nothing unless On.
func (s *Setup) Cluster() ClusterSettings {
	c := s.Own.Cluster
	e := &c.Etcd
	if e.CertFile == "" {
		e.CertFile, e.KeyFile = c.CertFile, c.KeyFile
	}
	e.CAFile, e.Prefix = cmp.Or(e.CAFile, c.CAFile), cmp.Or(e.Prefix, "/lapid/main")
	for _, file := range []*string{&c.Member, &c.CertFile, &c.KeyFile, &c.CAFile, &c.RelayCAFile, &c.SealFile, &e.CertFile, &e.KeyFile, &e.CAFile, &e.PasswordFile} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(filepath.Dir(s.File), *file)
		}
	}
	return c
}

// alone refuses what cannot be beside a cluster.
func (s *Settings) alone() error {
	switch {
	case !s.Cluster.On():
		return nil
	case s.Sync != nil && !*s.Sync:
		return errors.New("sync: false cannot be beside cluster: take it away, nodes rely on what they have told each other")
	case s.MoveIn == "auto":
		return errors.New("movein: auto cannot be beside cluster: move in first (lapid movein), then make that store the first node (lapid cluster init)")
	}
	return nil
}

// variableTree is what variables say of a section, as if it stood in the file; nil: nothing. Lists have commas.
func variableTree(t reflect.Type, prefix string, env Environment) *node {
	var tree node
	tree.kind, tree.file = isMap, "environment variables "+prefix+"*"
	for _, f := range reflect.VisibleFields(t) {
		key := f.Tag.Get("yaml")
		name := prefix + strings.ToUpper(key)
		var value *node
		if f.Type.Kind() == reflect.Struct {
			value = variableTree(f.Type, name+"_", env)
		} else if text, ok := env(name); ok {
			value = &node{file: "environment variable " + name, kind: isScalar, text: text, plain: true}
			if f.Type.Kind() == reflect.Slice {
				value = value.split()
			}
		}
		if value != nil {
			tree.entries = append(tree.entries, entry{&node{kind: isScalar, text: key}, value})
		}
	}
	if tree.entries == nil {
		return nil
	}
	return &tree
}

// split makes a list of a text with commas.
func (n *node) split() *node {
	list := &node{file: n.file, kind: isList}
	for item := range strings.SplitSeq(n.text, ",") {
		list.items = append(list.items, &node{file: n.file, kind: isScalar, text: strings.TrimSpace(item), plain: true})
	}
	return list
}

// variablesOf are the names that variableTree asks for.
func variablesOf(t reflect.Type, prefix string) (names []string) {
	for _, f := range reflect.VisibleFields(t) {
		name := prefix + strings.ToUpper(f.Tag.Get("yaml"))
		if f.Type.Kind() == reflect.Struct {
			names = append(names, variablesOf(f.Type, name+"_")...)
		} else {
			names = append(names, name)
		}
	}
	return names
}
