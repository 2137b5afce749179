package export

// The plain family: an entry is a line.

func plain(name, reads, comment string) Format {
	return Format{Name: name, Reads: reads, Comment: comment, PerEntry: 16, line: func(dst []byte, _ *page, e *Entry) []byte {
		return append(appendBare(dst, e), '\n')
	}}
}

var (
	plainText = plain("plain_text", "scripts, ModSecurity (@ipMatchFromFile), Squid, Postfix, everything that reads addresses", "")
	paloalto  = plain("paloalto", "Palo Alto external dynamic lists", "")
	fortigate = plain("fortigate", "FortiGate external threat feeds", "")
	cisco     = plain("cisco", "Cisco Security Intelligence feeds", "#")
	opnsense  = plain("opnsense", "OPNsense URL table aliases", "#")
	pfsense   = plain("pfsense", "pfSense URL table aliases", "#")
	sonicwall = plain("sonicwall", "SonicWall dynamic external address groups", "")
	pf        = plain("pf", "pf tables (pfctl -T replace -f)", "#")

	sophos = func() Format {
		f := plain("sophos", "Sophos Firewall third-party feeds: IPv4 hosts alone", "")
		f.NoSix, f.HostsOnly = true, true
		return f
	}()

	juniper = Format{Name: "juniper", Reads: "Juniper SRX dynamic address feeds", PerEntry: 18, line: func(dst []byte, _ *page, e *Entry) []byte {
		return append(appendCIDR(dst, e), '\n')
	}}

	apache = Format{Name: "apache", Reads: "Apache httpd, included in <RequireAll>", Comment: "#", PerEntry: 32, Most: 5000, line: func(dst []byte, _ *page, e *Entry) []byte {
		return append(appendBare(append(dst, "Require not ip "...), e), '\n')
	}}

	caddy = Format{Name: "caddy", Reads: "Caddy, imported into a named matcher; for short lists", PerEntry: 30, line: func(dst []byte, _ *page, e *Entry) []byte {
		return append(appendCIDR(append(dst, "remote_ip "...), e), '\n')
	}}

	haproxyACL = Format{Name: "haproxy_acl", Reads: "HAProxy, acl … src -f", Comment: "#", PerEntry: 16, line: plainText.line}

	haproxyMap = Format{Name: "haproxy_map", Alias: []string{"haproxy"}, Reads: "HAProxy, src,map_ip(…)", Comment: "#", PerEntry: 32, Words: true, line: func(dst []byte, p *page, e *Entry) []byte {
		w := p.wordsOf(e)
		dst = append(append(appendBare(dst, e), ' '), w.kind...)
		return append(append(append(dst, ':'), w.origin...), '\n')
	}}

	f5 = Format{Name: "f5", Reads: "F5 AFM and IP intelligence feed lists", PerEntry: 32, Words: true,
		Options: []Option{{Name: "category", Usual: "crowdsec", Help: "the category, which must be there on the device; scenario: of each entry the scenario's name"}},
		line: func(dst []byte, p *page, e *Entry) []byte {
			dst = append(appendAddress(dst, e), ',')
			dst = append(append(dst, octets[e.bits]...), ",bl,"...)
			if category := p.option("category"); category != "scenario" {
				dst = append(dst, category...)
			} else {
				dst = append(dst, p.wordsOf(e).brief...)
			}
			return append(dst, '\n')
		}}
)
