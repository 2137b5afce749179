package verbs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/admin"
)

// Files of relays: the authority's own, which signs nothing but relays, and in the folder of each what it needs.
const (
	relayAuthority    = "relay-ca.pem"
	relayAuthorityKey = "relay-ca-key.pem"
	relayCertificate  = "relay.pem"
	relayKey          = "relay-key.pem"
)

var relayForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// relayWanted checks what the flags say of relays.
func (k *keysFlags) relayWanted(nodes []clusterNode) error {
	if len(k.relays) == 0 && len(k.from) > 0 {
		return fmt.Errorf("--from is for --relay NAME: the addresses of the nodes that it follows")
	}
	taken := map[string]bool{}
	for _, n := range nodes {
		taken[n.name] = true
	}
	for _, name := range k.relays {
		if !relayForm.MatchString(name) || taken[name] {
			return fmt.Errorf("%q cannot be a relay's name: 1 to 32 of a-z, 0-9 and -, and no node's or other relay's", name)
		}
		taken[name] = true
	}
	for _, address := range k.from {
		if !config.NodeAddress(address) {
			return fmt.Errorf("--from %q is no address of a node: write host:port of its cluster.listen, such as 192.0.2.11:7422", address)
		}
	}
	if len(k.relays) > 0 && len(k.from) == 0 && len(nodes) == 0 {
		return fmt.Errorf("whom shall the relay follow? Name the nodes (a=192.0.2.11 …), or their addresses with --from 192.0.2.11:7422,192.0.2.12:7422")
	}
	return nil
}

// makeRelays makes the folders of relays.
func (k *keysFlags) makeRelays(t *Terminal, dir string, nodes []clusterNode, by *authority) error {
	from := k.from
	if len(from) == 0 {
		for _, n := range nodes {
			from = append(from, n.listensAt())
		}
	}
	for _, name := range k.relays {
		folder := filepath.Join(dir, name)
		if err := k.furnishRelay(dir, folder, name, from, by); err != nil {
			return fmt.Errorf("relay %s: %w", name, err)
		}
		at := folder
		if k.at != "" {
			at = k.at
		}
		t.success("made %s: copy it to %s of the relay", folder, at)
	}
	if len(k.relays) > 0 {
		t.success("nodes let relays follow that have %s beside the line relay_ca_file: %s in their section cluster", relayAuthority, relayAuthority)
	}
	return nil
}

func (k *keysFlags) furnishRelay(dir, folder, name string, from []string, by *authority) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, clusterAuthority))
	if err == nil {
		err = datadir.WriteSecret(filepath.Join(folder, clusterAuthority), text)
	}
	if err != nil {
		return err
	}
	certificate, key := filepath.Join(folder, relayCertificate), filepath.Join(folder, relayKey)
	if k.renew || datadir.Missing(certificate) || datadir.Missing(key) {
		if err := by.issueRelay(name, certificate, key); err != nil {
			return err
		}
	}
	file := filepath.Join(folder, nodeSettings)
	if !datadir.Missing(file) {
		return nil
	}
	var b strings.Builder
	b.WriteString("# Written by \"lapid cluster keys\": lapid's own settings, beside config.yaml.\nrelay:\n  from:\n")
	for _, address := range from {
		fmt.Fprintf(&b, "    - %s\n", config.Scalar(address))
	}
	fmt.Fprintf(&b, "  cert_file: %s\n  key_file: %s\n  ca_file: %s\n", relayCertificate, relayKey, clusterAuthority)
	return datadir.WriteSecret(file, []byte(b.String()))
}

// showRelayStatus is cluster status at a relay.
func showRelayStatus(ctx context.Context, t *Terminal, s *config.Setup) error {
	r, err := relayNow(ctx, s)
	if err != nil {
		fmt.Fprintf(t.Err, "Error: %s\n", line(err.Error()))
		return Sick{Broken: true}
	}
	if t.Output == jsonWords {
		err = t.json(r, " ")
	} else {
		t.writeRelay(r)
	}
	if err == nil && !r.Follows {
		return Sick{}
	}
	return err
}

// relayNow asks the relay's server.
func relayNow(ctx context.Context, s *config.Setup) (*admin.RelayReport, error) {
	c, err := admin.Dial(ctx, s.Socket())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	text, err := c.ClusterStatus(ctx)
	if err != nil {
		return nil, err
	}
	r := &admin.RelayReport{}
	return r, json.Unmarshal(text, r)
}

// writeRelay is it for people.
func (t *Terminal) writeRelay(r *admin.RelayReport) {
	switch age := r.Age.Round(100 * time.Millisecond); {
	case r.Follows:
		t.print("this relay follows %s: revision %d, %s old, of history %s\n", r.From, r.Revision, age, r.History)
	case r.Heard:
		t.print("this relay follows nobody: what it knows, revision %d of history %s, is %s old and came from %s\n", r.Revision, r.History, age, r.From)
	default:
		t.print("this relay has heard from no node in the %s since its start: it knows revision %d of history %s\n", age, r.Revision, r.History)
	}
	if behind := int64(r.Newest) - int64(r.Revision); behind > 0 {
		t.print("It is %d revisions behind.\n", behind)
	}
	t.print("Nodes: %s\n", strings.Join(r.Addresses, ", "))
	if r.Problem != "" {
		t.print("\n%s\n", line(r.Problem))
	}
}
