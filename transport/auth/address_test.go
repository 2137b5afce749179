package auth

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// TestClientAddress holds http-api.md section 4.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	proxies := prefixes("127.0.0.1/32", "10.0.0.0/8", "2001:db8:ffff::/48")
	for _, c := range []struct {
		name           string
		trusted        []netip.Prefix
		peer           string
		socket         bool
		xff, real, got string
	}{
		{"nobody trusted", nil, "127.0.0.1", false, "203.0.113.9", "203.0.113.8", "127.0.0.1"},
		{"no header", proxies, "127.0.0.1", false, "", "", "127.0.0.1"},
		{"one", proxies, "127.0.0.1", false, "203.0.113.9", "", "203.0.113.9"},
		{"blanks", proxies, "127.0.0.1", false, "  203.0.113.9  ", "", "203.0.113.9"},
		{"forged by an untrusted peer", proxies, "198.51.100.7", false, "203.0.113.9", "203.0.113.8", "198.51.100.7"},
		{"rightmost untrusted", proxies, "127.0.0.1", false, "203.0.113.1, 203.0.113.9, 10.1.2.3", "", "203.0.113.9"},
		{"forged on the left", proxies, "127.0.0.1", false, "127.0.0.1, 203.0.113.9", "", "203.0.113.9"},
		{"all trusted", proxies, "127.0.0.1", false, "10.9.9.9, 10.1.2.3", "", "10.9.9.9"},
		{"spoilt", proxies, "127.0.0.1", false, "203.0.113.9, nonsense", "", "127.0.0.1"},
		{"spoilt on the left is not looked at", proxies, "127.0.0.1", false, "nonsense, 203.0.113.9", "", "203.0.113.9"},
		{"spoilt with another header", proxies, "127.0.0.1", false, "203.0.113.9,", "203.0.113.8", "203.0.113.8"},
		{"real", proxies, "127.0.0.1", false, "", "203.0.113.8", "203.0.113.8"},
		{"a port spoils", proxies, "127.0.0.1", false, "203.0.113.9:80", "", "127.0.0.1"},
		{"a zone spoils", proxies, "127.0.0.1", false, "fe80::1%eth0", "", "127.0.0.1"},
		{"IPv6", proxies, "2001:db8:ffff::1", false, "2001:db8::7", "", "2001:db8::7"},
		{"mapped peer", proxies, "::ffff:127.0.0.1", false, "203.0.113.9", "", "203.0.113.9"},
		{"mapped entry", proxies, "127.0.0.1", false, "::ffff:203.0.113.9", "", "203.0.113.9"},
		{"socket", proxies, "", true, "203.0.113.9", "", "203.0.113.9"},
		{"socket without proxies", nil, "", true, "203.0.113.9", "", "127.0.0.1"},
		{"every IPv4 peer", prefixes("0.0.0.0/0"), "198.51.100.7", false, "203.0.113.9, 203.0.113.8", "", "203.0.113.9"},
		{"no IPv6 peer", prefixes("0.0.0.0/0"), "2001:db8::1", false, "203.0.113.9", "", "2001:db8::1"},
	} {
		d := newDoor(t, func(o *Options) { o.Rules.TrustedProxies = c.trusted })
		var peer netip.Addr
		if c.peer != "" {
			peer = netip.MustParseAddr(c.peer)
		}
		if got := d.ClientAddress(peer, c.socket, []byte(c.xff), []byte(c.real)); got.String() != c.got {
			t.Errorf("%s: %s, want %s", c.name, got, c.got)
		}
	}
}

func TestClientAddressAllocatesNothing(t *testing.T) {
	d := newDoor(t, func(o *Options) { o.Rules.TrustedProxies = prefixes("127.0.0.1/32") })
	xff := []byte("203.0.113.9, 127.0.0.1")
	if n := testing.AllocsPerRun(100, func() { d.ClientAddress(loopback, false, xff, nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMayDeleteAlerts(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *Options) { o.Rules.TrustedIPs = prefixes("192.0.2.0/24", "2001:db8::/32") })
	for _, c := range []struct {
		from   string
		socket bool
		may    bool
	}{
		{"127.0.0.1", false, true}, {"::1", false, true}, {"127.0.0.2", false, false},
		{"192.0.2.200", false, true}, {"192.0.3.1", false, false},
		{"2001:db8:1::1", false, true}, {"2001:db9::1", false, false},
		{"203.0.113.9", true, true}, {"203.0.113.9", false, false},
	} {
		if got := d.MayDeleteAlerts(netip.MustParseAddr(c.from), c.socket); got != c.may {
			t.Errorf("%s over socket %v: %v", c.from, c.socket, got)
		}
	}
}

// TestAddressSet compares the tree with a loop.
func TestAddressSet(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	address := func() netip.Addr {
		if r.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(256))})
		}
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(r.IntN(4)), 15: byte(r.IntN(256))})
	}
	var list []netip.Prefix
	for range 40 {
		a := address()
		list = append(list, netip.PrefixFrom(a, a.BitLen()-r.IntN(20)))
	}
	s, err := newAddressSet(list)
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		a := address()
		if s.holds(a) != covers(list, a) {
			t.Fatalf("%s: the tree says %v", a, s.holds(a))
		}
	}
}

// FuzzForwarded feeds headers: whatever comes is an address, and never one of
// the trusted peers' unless the header names it.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"", "203.0.113.9", "a, b", "127.0.0.1,127.0.0.1", ",,,", "::1%x", "203.0.113.9, 10.0.0.1"} {
		f.Add(s, s)
	}
	d := newDoor(f, func(o *Options) { o.Rules.TrustedProxies = prefixes("127.0.0.1/32", "10.0.0.0/8") })
	f.Fuzz(func(t *testing.T, xff, real string) {
		a := d.ClientAddress(loopback, false, []byte(xff), []byte(real))
		if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
			t.Errorf("%q %q: %v", xff, real, a)
		}
		if got := d.ClientAddress(there, false, []byte(xff), []byte(real)); got != there {
			t.Errorf("an untrusted peer became %v", got)
		}
	})
}
