//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// newNamespace makes a network namespace with nothing but a loopback interface, deletes it at the end of
// the test, and returns what stands in front of a command that runs inside.
func newNamespace(t *testing.T) []string {
	t.Helper()
	needs(t, "ip")
	if os.Getuid() != 0 {
		t.Fatal("a network namespace needs root")
	}
	name := fmt.Sprintf("lapid-%d-%s", os.Getpid(), strings.ToLower(t.Name()))
	mustRun(t, "ip", "netns", "add", name)
	t.Cleanup(func() { mustRun(t, "ip", "netns", "delete", name) })
	inside := []string{"ip", "netns", "exec", name}
	mustRun(t, append(inside, "ip", "link", "set", "lo", "up")...)
	return inside
}

// startFirewallBouncer starts Debian's crowdsec-firewall-bouncer with nftables inside a server's namespace.
func startFirewallBouncer(t *testing.T, s *server, interval string) *program {
	t.Helper()
	needs(t, "crowdsec-firewall-bouncer", "nft")
	dir := t.TempDir()
	config := filepath.Join(dir, "bouncer.yaml")
	mustWrite(t, config, fmt.Sprintf(firewallBouncerConfig, dir, interval, s.url, bouncerKey))
	return start(t, "the firewall bouncer", append(s.inside, "crowdsec-firewall-bouncer", "-c", config)...)
}

const firewallBouncerConfig = `mode: nftables
pid_dir: %s
update_frequency: %s
daemonize: false
log_mode: stdout
log_level: info
api_url: %s/
api_key: %s
disable_ipv6: false
deny_action: DROP
deny_log: false
supported_decisions_types:
  - ban
blacklists_ipv4: crowdsec-blacklists
blacklists_ipv6: crowdsec6-blacklists
nftables:
  ipv4:
    enabled: true
    set-only: false
    table: crowdsec
    chain: crowdsec-chain
  ipv6:
    enabled: true
    set-only: false
    table: crowdsec6
    chain: crowdsec6-chain
prometheus:
  enabled: false
`

// blocked are the addresses in all nftables sets of the namespace, with the seconds each still has.
func blocked(t *testing.T, inside []string) map[string]int {
	t.Helper()
	r := mustRun(t, append(inside, "nft", "-j", "list", "ruleset")...)
	var ruleset struct {
		Nftables []struct {
			Set *struct {
				Elem []struct {
					Elem struct {
						Val     string `json:"val"`
						Expires int    `json:"expires"`
					} `json:"elem"`
				} `json:"elem"`
			} `json:"set"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &ruleset); err != nil {
		t.Fatalf("cannot read the rule set: %v: %s", err, r)
	}
	held := map[string]int{}
	for _, part := range ruleset.Nftables {
		if part.Set == nil {
			continue
		}
		for _, e := range part.Set.Elem {
			held[e.Elem.Val] = e.Elem.Expires
		}
	}
	return held
}

// TestFirewallBouncer: the kernel of a namespace holds what the server holds, for as long as it does.
func TestFirewallBouncer(t *testing.T) {
	t.Parallel()
	inside := newNamespace(t)
	s := newServer(t, inside...)
	s.start(t)
	c := newCscli(t, s, s.credentials())
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.20", "-d", "1h")
	bouncer := startFirewallBouncer(t, s, "200ms")
	awaitBlocked(t, bouncer, inside, "192.0.2.20")

	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.21", "-d", "2h")
	c.expect(t, 0, nil, "decisions", "add", "-i", "2001:db8::21", "-d", "2h")
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.22", "-t", "captcha")
	awaitBlocked(t, bouncer, inside, "192.0.2.20", "192.0.2.21", "2001:db8::21")
	if left := blocked(t, inside)["192.0.2.21"]; left <= 7000 || left > 7200 {
		t.Errorf("192.0.2.21 stays for %d s, want a little under 7200", left)
	}

	c.expect(t, 0, says(`"1 decision\(s\) deleted"`), "decisions", "delete", "-i", "192.0.2.21")
	awaitBlocked(t, bouncer, inside, "192.0.2.20", "2001:db8::21")
	c.expect(t, 0, says(`"1 decision\(s\) deleted"`), "decisions", "delete", "-i", "2001:db8::21")
	awaitBlocked(t, bouncer, inside, "192.0.2.20")
}

// awaitBlocked waits until the sets of the namespace hold exactly these addresses.
func awaitBlocked(t *testing.T, bouncer *program, inside []string, want ...string) {
	t.Helper()
	await(t, fmt.Sprintf("the kernel blocks %v", want), func() (bool, string) {
		if err := bouncer.alive(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for address := range blocked(t, inside) {
			got = append(got, address)
		}
		slices.Sort(got)
		return slices.Equal(got, want), fmt.Sprint(got)
	})
}

// TestHeldFirewallBouncer: one that polls once a minute, and knows nothing of polls that are held,
// has a ban in the kernel as soon as it is there while its poll is held.
func TestHeldFirewallBouncer(t *testing.T) {
	t.Parallel()
	if reference {
		return // it holds none
	}
	inside := newNamespace(t)
	s := newServer(t, inside...)
	metrics := s.measured(t)
	s.operator(t, "bouncers", "edit", "client", "--hold", "25s")
	s.start(t)
	c := newCscli(t, s, s.credentials())
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.20", "-d", "1h")
	bouncer := startFirewallBouncer(t, s, "60s")
	awaitBlocked(t, bouncer, inside, "192.0.2.20")
	held := append(inside, "curl", "-s", metrics)
	isHeld := func() bool { return strings.Contains(mustRun(t, held...).stdout, "\nlapid_held_polls 1\n") }
	for end := time.Now().Add(2 * patience); !isHeld(); time.Sleep(50 * time.Millisecond) { // a minute after its first poll
		if time.Now().After(end) {
			t.Fatal("its poll is never held")
		}
	}
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.21", "-d", "2h")
	begin := time.Now()
	awaitBlocked(t, bouncer, inside, "192.0.2.20", "192.0.2.21")
	t.Logf("in the kernel %v after the ban was answered", time.Since(begin).Round(time.Millisecond))
}
