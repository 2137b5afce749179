package export

import (
	"net/netip"
	"strconv"
)

// Proxies and clouds.

var valueOption = Option{Name: "value", Usual: "1", Takes: []string{"1", "type"}, Help: "what the variable has: 1, or the decision's type"}

var nginxGeo4 = Format{Name: "nginx_geo4", Reads: "nginx: geo $lapid4 { ranges; default 0; include FILE; }", Comment: "#", PerEntry: 34, NoSix: true, Words: true,
	Options: []Option{valueOption},
	line: func(dst []byte, p *page, e *Entry) []byte {
		if e.last() != broadcast {
			dst = appendSpan(dst, e)
		} else if e.host() {
			return dst // nobody comes from there
		} else {
			dst = netip.AddrFrom4([4]byte{255, 255, 255, 254}).AppendTo(append(appendAddress(dst, e), '-'))
		}
		return p.appendValue(dst, e)
	}}

var nginxGeo6 = Format{Name: "nginx_geo6", Reads: "nginx: geo $lapid6 { default 0; include FILE; }", Comment: "#", PerEntry: 30, OneFamily: true, Words: true,
	Options: []Option{valueOption},
	line:    func(dst []byte, p *page, e *Entry) []byte { return p.appendValue(appendBare(dst, e), e) }}

func (p *page) appendValue(dst []byte, e *Entry) []byte {
	dst = append(dst, ' ')
	if p.option("value") == "type" {
		dst = append(dst, p.wordsOf(e).kind...)
	} else {
		dst = append(dst, '1')
	}
	return append(dst, ";\n"...)
}

var nginxDeny = Format{Name: "nginx_deny", Alias: []string{"nginx"}, Reads: "nginx: include FILE in http, server or location", Comment: "#", PerEntry: 24, Most: 10_000,
	line: func(dst []byte, _ *page, e *Entry) []byte {
		if e.host() && e.first() == broadcast {
			return dst
		}
		return append(appendBare(append(dst, "deny "...), e), ";\n"...)
	}}

var awsIPSet = Format{Name: "aws_ipset", Reads: "AWS WAF UpdateIPSet, in chunks of 10 000", Type: "application/json", PerEntry: 24,
	whole: func(dst []byte, p *page) []byte {
		four := 0
		for four < len(p.Entries) && !p.Entries[four].six {
			four++
		}
		dst = appendChunks(append(dst, `{"IPV4":[`...), p.Entries[:four])
		dst = appendChunks(append(dst, `],"IPV6":[`...), p.Entries[four:])
		return append(dst, "]}\n"...)
	}}

// awsChunk is how many addresses one set takes.
const awsChunk = 10_000

func appendChunks(dst []byte, list []Entry) []byte {
	for i := range list {
		switch {
		case i == 0:
			dst = append(dst, '[')
		case i%awsChunk == 0:
			dst = append(dst, "],["...)
		default:
			dst = append(dst, ',')
		}
		dst = append(appendCIDR(append(dst, '"'), &list[i]), '"')
	}
	if len(list) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

// joined writes entries with commas between them.
func joined(dst []byte, p *page, one func(dst []byte, e *Entry) []byte) []byte {
	for i := range p.Entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = one(dst, &p.Entries[i])
	}
	return dst
}

var cloudflare = Format{Name: "cloudflare_list", Reads: "Cloudflare lists, PUT …/rules/lists/ID/items", Type: "application/json", PerEntry: 60, Words: true,
	whole: func(dst []byte, p *page) []byte {
		dst = joined(append(dst, '['), p, func(dst []byte, e *Entry) []byte {
			dst = append(appendBare(append(dst, `{"ip":"`...), e), `","comment":"`...)
			return append(append(dst, p.wordsOf(e).scenario...), `"}`...)
		})
		return append(dst, "]\n"...)
	}}

var envoyRBAC = Format{Name: "envoy_rbac", Reads: "Envoy's RBAC filter; for short lists", Type: "application/json", PerEntry: 70,
	whole: func(dst []byte, p *page) []byte {
		if len(p.Entries) == 0 { // a policy without principals is refused
			return append(dst, "{\"action\":\"DENY\",\"policies\":{}}\n"...)
		}
		dst = append(dst, `{"action":"DENY","policies":{"lapid":{"permissions":[{"any":true}],"principals":[`...)
		dst = joined(dst, p, func(dst []byte, e *Entry) []byte {
			dst = append(appendAddress(append(dst, `{"remote_ip":{"address_prefix":"`...), e), `","prefix_len":`...)
			return append(strconv.AppendUint(dst, uint64(e.bits), 10), "}}"...)
		})
		return append(dst, "]}}}\n"...)
	}}
