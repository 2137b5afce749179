package export

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// DNS servers.

var rbldnsd = Format{Name: "rbldnsd", Reads: "rbldnsd ip4set; with family ipv6 ip6trie", Comment: "#", PerEntry: 17, OneFamily: true,
	Options: []Option{
		{Name: "a", Usual: "127.0.0.2", Help: "the address that is answered"},
		{Name: "txt", Usual: "blocked", Help: "the text that is answered; $ is the address"},
	},
	head: func(dst []byte, p *page) []byte {
		return fmt.Appendf(dst, ":%s:%s\n", p.option("a"), p.option("txt"))
	},
	line: func(dst []byte, _ *page, e *Entry) []byte { return append(appendBare(dst, e), '\n') }}

var rpz = Format{Name: "rpz", Reads: "BIND, PowerDNS Recursor, Unbound with respip: a response policy zone", Comment: ";", PerEntry: 60, Dated: true,
	Options: []Option{
		{Name: "trigger", Usual: "client", Takes: []string{"client", "answer"}, Help: "client: queries of these addresses; answer: answers that have them"},
		{Name: "action", Usual: "drop", Takes: []string{"drop", "nxdomain"}, Help: "what becomes of them"},
	},
	head: func(dst []byte, p *page) []byte {
		return fmt.Appendf(dst, "$TTL 60\n@ SOA localhost. root.localhost. %d 60 60 604800 60\n@ NS localhost.\n", uint32(p.Revision))
	},
	line: func(dst []byte, p *page, e *Entry) []byte {
		dst = appendReversed(strconv.AppendUint(dst, uint64(e.bits), 10), e)
		if p.option("trigger") == "client" {
			dst = append(dst, ".rpz-client-ip CNAME "...)
		} else {
			dst = append(dst, ".rpz-ip CNAME "...)
		}
		if p.option("action") == "drop" {
			dst = append(dst, "rpz-drop."...)
		} else {
			dst = append(dst, '.')
		}
		return append(dst, '\n')
	}}

// appendReversed writes the parts of an address from the last to the first, and zz for the
// zeroes that are left out.
func appendReversed(dst []byte, e *Entry) []byte {
	text, separator := appendAddress(nil, e), "."
	if e.six {
		separator = ":"
		text = bytes.Replace(text, []byte("::"), []byte(":zz:"), 1)
	}
	parts := strings.Split(strings.Trim(string(text), ":"), separator)
	for i := len(parts) - 1; i >= 0; i-- {
		dst = append(append(dst, '.'), parts[i]...)
	}
	return dst
}
