package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"reflect"
	"strconv"
)

// RelaySettings make this server a relay: it follows the nodes of a cluster, without etcd, answers bouncers from what it has, also
// while it reaches no node, and takes no changes. It is off unless From is given, here or as LAPID_RELAY_FROM, with commas. What it is sent
// has no passwords, no secrets and nothing of what is in alerts. Names of files are relative to the folder of lapid.yaml.
type RelaySettings struct {
	// From are host:port of nodes' cluster.listen. The first that answers is followed, and the next one when it no longer does.
	From []string `yaml:"from"`
	// CertFile is this relay's certificate, of the authority for relays (lapid cluster keys --relay makes it).
	CertFile string `yaml:"cert_file"`
	// KeyFile is its key.
	KeyFile string `yaml:"key_file"`
	// CAFile has the authority of the nodes' certificates.
	CAFile string `yaml:"ca_file"`
}

const relayVariables = "LAPID_RELAY_"

// relayFromAtMost bounds how many addresses are tried, one after the other.
const relayFromAtMost = 64

// On reports whether this server is a relay.
func (r *RelaySettings) On() bool { return len(r.From) > 0 }

// NodeAddress reports whether a text can be the address of a node for relays: host:port, the port by its number.
func NodeAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// check refuses what would have no effect, or another than is meant.
func (r *RelaySettings) check() (key string, err error) {
	if reflect.ValueOf(*r).IsZero() {
		return "", nil
	}
	if n := len(r.From); n == 0 || n > relayFromAtMost {
		return "relay", fmt.Errorf("relay.from must have 1 to %d addresses of nodes (their cluster.listen), such as 192.0.2.11:7422", relayFromAtMost)
	}
	for _, address := range r.From {
		if !NodeAddress(address) {
			return "relay.from", fmt.Errorf("relay.from must be host:port of nodes, such as 192.0.2.11:7422, not %q", address)
		}
	}
	for _, missing := range [...]struct{ key, value, what string }{
		{"cert_file", r.CertFile, "this relay's certificate"}, {"key_file", r.KeyFile, "the key of this relay's certificate"},
		{"ca_file", r.CAFile, "the authority of the nodes' certificates"},
	} {
		if missing.value == "" {
			return "relay", fmt.Errorf("relay.%s is missing: %s (lapid cluster keys --relay makes all of a relay's files)", missing.key, missing.what)
		}
	}
	return "", nil
}

// followsAlone refuses what cannot be beside a relay.
func (s *Settings) followsAlone() error {
	switch {
	case !s.Relay.On():
		return nil
	case s.Cluster.On():
		return errors.New("relay cannot be beside cluster: a node has the history itself, take one of the two sections away")
	case s.MoveIn == "auto":
		return errors.New("movein: auto cannot be beside relay: move in at a node of the cluster")
	case len(s.Exports) > 0:
		return errors.New("exports cannot be beside relay: a relay serves those of the cluster, declare them at its nodes")
	case s.Sync != nil && !*s.Sync:
		return errors.New("sync: false cannot be beside relay: take it away, it has no effect there")
	case !reflect.ValueOf(s.Backup).IsZero():
		return errors.New("backup cannot be beside relay: a relay has no more than nodes send it, take backups there")
	}
	return nil
}

// Relay is the settings with whole paths. It means nothing unless On.
func (s *Setup) Relay() RelaySettings {
	r := s.Own.Relay
	for _, file := range []*string{&r.CertFile, &r.KeyFile, &r.CAFile} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(filepath.Dir(s.File), *file)
		}
	}
	return r
}
