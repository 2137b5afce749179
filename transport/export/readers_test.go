//go:build linux

package export_test

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// program finds a reader of a format. Without it the test fails: what nobody has read is not shown.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path := filepath.Join(dir, name); exec.Command(path, "-v").Err == nil {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	t.Fatalf("there is no %s here: .ci/run installs what lists are read back with", name)
	return ""
}

// run gives a program a folder and what is written for it, and has it read that.
func run(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Stdin = bytes.NewReader(stdin)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func put(t *testing.T, dir, name string, body []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, body, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// readers has some lists, and an empty one.
func readers(t *testing.T, run func(t *testing.T, r *enginetest.Rig)) {
	for name, r := range map[string]*enginetest.Rig{"some": some(t), "none": enginetest.NewRig(t, nil)} {
		t.Run(name, func(t *testing.T) { run(t, r) })
	}
}

// nft takes the file twice, and its sets hold what is on the list.
func TestNFTReads(t *testing.T) {
	t.Parallel()
	nft, alone := program(t, "nft"), ownNetwork(t)
	readers(t, func(t *testing.T, r *enginetest.Rig) {
		for _, options := range [][]string{nil, {"sets=one"}, {"timeout=off"}, {"sets=one", "timeout=off"}, {"chain=input,forward"}, {"chain=forward", "sets=one"}} {
			b := write(t, r, &engine.Export{Name: "x", Format: "nftables", Options: options}, "")
			file := put(t, t.TempDir(), "lapid.nft", b.Plain)
			out := run(t, nil, append(alone, "sh", "-c", `"$0" -f "$1" && "$0" -f "$1" && "$0" list ruleset`, nft, file)...)
			for _, want := range []string{"192.0.2.7", "198.51.100.0/24", "2001:db8:0:1::/64", "2001:db8::7"} {
				if b.Count > 0 && !strings.Contains(out, want) {
					t.Errorf("%v: %s is not in\n%s", options, want, out)
				}
			}
		}
		for family, rules := range map[string]int{"inet": 8, "ip": 4, "ip6": 4, "bridge": 8} { // each once, however often it is loaded
			b := write(t, r, &engine.Export{Name: "x", Format: "nftables", Options: []string{"chain=input,forward", "family=" + family}}, "")
			out := run(t, nil, append(alone, "sh", "-c", `"$0" -f "$1" && "$0" -f "$1" && "$0" list ruleset`, nft, put(t, t.TempDir(), "lapid.nft", b.Plain))...)
			if n := strings.Count(out, " drop\n"); n != rules {
				t.Errorf("%s: %d rules\n%s", family, n, out)
			}
		}
	})
}

func TestIPSetReads(t *testing.T) {
	t.Parallel()
	ipset, alone := program(t, "ipset"), ownNetwork(t)
	readers(t, func(t *testing.T, r *enginetest.Rig) {
		for _, options := range [][]string{nil, {"timeout=off"}} {
			b := write(t, r, &engine.Export{Name: "x", Format: "ipset", Options: options}, "")
			file := put(t, t.TempDir(), "lapid.ipset", b.Plain)
			out := run(t, nil, append(alone, "sh", "-c", `"$0" restore <"$1" && "$0" restore <"$1" && "$0" list`, ipset, file)...)
			for _, want := range []string{"192.0.2.7", "198.51.100.0/24", "2001:db8:0:1::/64", "2001:db8::7"} {
				if b.Count > 0 && !strings.Contains(out, want) {
					t.Errorf("%v: %s is not in\n%s", options, want, out)
				}
			}
		}
	})
}

// ownNetwork is how a program is begun in a network of its own, as root or where anybody may have
// one. Elsewhere the test fails, for sets that nobody has filled are not shown.
func ownNetwork(t *testing.T) []string {
	t.Helper()
	var said []byte
	for _, how := range [][]string{{"unshare", "-n"}, {"unshare", "-rn"}} {
		out, err := exec.Command(how[0], append(how[1:], "true")...).CombinedOutput()
		if err == nil {
			return slices.Clip(how)
		}
		said = append(said, out...)
	}
	t.Fatalf("no network of our own is to be had: run it as root, or allow user namespaces\n%s", said)
	return nil
}

func TestNginxReads(t *testing.T) {
	t.Parallel()
	nginx := program(t, "nginx")
	readers(t, func(t *testing.T, r *enginetest.Rig) {
		dir := t.TempDir()
		for _, name := range []string{"nginx_geo4", "nginx_geo6", "nginx_deny"} {
			put(t, dir, name, write(t, r, &engine.Export{Name: "x", Format: name}, "").Plain)
		}
		conf := put(t, dir, "nginx.conf", []byte("pid "+dir+"/pid;\nerror_log stderr;\nevents {}\nhttp { access_log off;\ngeo $four { ranges; default 0; include "+dir+"/nginx_geo4; }\ngeo $six { default 0; include "+
			dir+"/nginx_geo6; }\nclient_body_temp_path "+dir+"/b; proxy_temp_path "+dir+"/p; fastcgi_temp_path "+dir+"/f; uwsgi_temp_path "+dir+"/u; scgi_temp_path "+dir+"/s;\nserver { listen 127.0.0.1:1; include "+dir+"/nginx_deny; } }\n"))
		out := run(t, nil, nginx, "-t", "-p", dir, "-c", conf)
		if strings.Contains(out, "[warn] 1#") || strings.Contains(out, "duplicate") {
			t.Error(out)
		}
	})
}

func TestHAProxyReads(t *testing.T) {
	t.Parallel()
	haproxy := program(t, "haproxy")
	readers(t, func(t *testing.T, r *enginetest.Rig) {
		dir := t.TempDir()
		for _, name := range []string{"haproxy_acl", "haproxy_map"} {
			put(t, dir, name, write(t, r, &engine.Export{Name: "x", Format: name}, "").Plain)
		}
		conf := put(t, dir, "haproxy.cfg", []byte("defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\nfrontend f\n bind 127.0.0.1:1\n http-request deny if { src -f "+dir+
			"/haproxy_acl }\n http-request deny if { src,map_ip("+dir+"/haproxy_map) -m found }\n"))
		run(t, nil, haproxy, "-c", "-f", conf)
	})
}

// rbldnsd prints what it has read.
func TestRBLDNSDReads(t *testing.T) {
	t.Parallel()
	rbldnsd := program(t, "rbldnsd")
	dir := t.TempDir()
	r := some(t)
	four := put(t, dir, "four", write(t, r, &engine.Export{Name: "x", Format: "rbldnsd"}, "").Plain)
	six := put(t, dir, "six", write(t, r, &engine.Export{Name: "x", Format: "rbldnsd", Family: engine.IPv6}, "").Plain)
	out := run(t, nil, rbldnsd, "-d", "bl.test:ip4set:"+four) + run(t, nil, rbldnsd, "-d", "bl.test:ip6trie:"+six)
	for _, want := range []string{"7.2.0.192", "*.100.51.198"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
}

// named-checkzone reads the zone, and the names are those of the addresses.
func TestRPZReads(t *testing.T) {
	t.Parallel()
	body := write(t, some(t), &engine.Export{Name: "x", Format: "rpz"}, "").Plain
	for _, want := range []string{"32.7.2.0.192.rpz-client-ip CNAME rpz-drop.\n", "24.0.100.51.198.rpz-client-ip", "64.zz.1.0.db8.2001.rpz-client-ip", "128.7.zz.db8.2001.rpz-client-ip"} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s is not in\n%s", want, body)
		}
	}
	run(t, nil, program(t, "named-checkzone"), "rpz.test", put(t, t.TempDir(), "zone", body))
}

// jq reads the documents.
func TestJQReads(t *testing.T) {
	t.Parallel()
	jq := program(t, "jq")
	readers(t, func(t *testing.T, r *enginetest.Rig) {
		b := write(t, r, &engine.Export{Name: "x", Format: "json"}, "")
		values := strings.Fields(run(t, b.Plain, jq, "-r", ".entries[].value"))
		lines := strings.Fields(run(t, write(t, r, &engine.Export{Name: "x", Format: "ndjson"}, "").Plain, jq, "-r", ".value"))
		if len(values) != b.Count || len(lines) != b.Count {
			t.Errorf("%d and %d of %d", len(values), len(lines), b.Count)
		}
		for _, v := range values {
			if _, _, err := net.ParseCIDR(v); err != nil {
				if _, err := netip.ParseAddr(v); err != nil {
					t.Error(v)
				}
			}
		}
	})
}
