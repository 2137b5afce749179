package export

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Packet filters of Linux: files that fill sets, at once or not at all.

var slackOption = Option{Name: "merge_slack", Usual: "0s", Help: "with aggregate: neighbours are joined whose ends differ by less, and end with the first of them"}

var timeoutOption = Option{Name: "timeout", Usual: "on", Takes: []string{"on", "off"}, Help: "whether entries end by themselves"}

var nftables = Format{
	Name: "nftables", Reads: "nft -f: sets that rules of yours name", Comment: "#", PerEntry: 40, Timed: true,
	Options: []Option{
		{Name: "family", Usual: "inet", Takes: []string{"inet", "ip", "ip6", "netdev", "bridge"}, Help: "of the table"},
		{Name: "table", Usual: "lapid", Help: "name of the table"},
		{Name: "sets", Usual: "two", Takes: []string{"two", "one"}, Help: "two: hosts and ranges in sets of their own, which is four times as quick; one: all in one of intervals"},
		{Name: "chain", Usual: "none", Takes: []string{"none", "input", "forward", "input,forward"}, Help: "base chains that drop what is in the sets, lapid-input and lapid-forward"},
		timeoutOption, slackOption,
	},
	whole: writeNFT,
}

// nftChunk is how many elements one command adds.
const nftChunk = 5000

// nftSet is a set and its elements.
type nftSet struct {
	name, kind string
	interval   bool
	entries    []Entry
}

func writeNFT(dst []byte, p *page) []byte {
	timed, table := p.format.timed(p.x), p.option("family")+" "+p.option("table")
	sets := p.nftSets(timed)
	dst = fmt.Appendf(dst, "table %s {\n", table)
	for i := range sets {
		s := &sets[i]
		dst = fmt.Appendf(dst, "\tset %s { type %s_addr; ", s.name, s.kind)
		switch {
		case s.interval && timed:
			dst = append(dst, "flags interval, timeout; "...)
		case s.interval:
			dst = append(dst, "flags interval; "...)
		case timed:
			dst = append(dst, "flags timeout; "...)
		}
		dst = append(dst, "}\n"...)
	}
	hooks := p.nftHooks()
	for _, hook := range hooks {
		dst = fmt.Appendf(dst, "\tchain lapid-%s { type filter hook %s priority -10; policy accept; }\n", hook, hook)
	}
	dst = append(dst, "}\n"...)
	for _, hook := range hooks { // its rules would be there twice
		dst = fmt.Appendf(dst, "flush chain %s lapid-%s\n", table, hook)
	}
	for i := range sets {
		dst = fmt.Appendf(dst, "flush set %s %s\n", table, sets[i].name)
	}
	dst = p.remark(dst)
	for i := range sets {
		s := &sets[i]
		for from := 0; from < len(s.entries); from += nftChunk {
			dst = fmt.Appendf(dst, "add element %s %s { ", table, s.name)
			for j := from; j < min(from+nftChunk, len(s.entries)); j++ {
				if j > from {
					dst = append(dst, ", "...)
				}
				e := &s.entries[j]
				dst = appendBare(dst, e)
				if timed {
					dst = appendUnits(append(dst, " timeout "...), p.left(e), false)
				}
			}
			dst = append(dst, " }\n"...)
		}
	}
	for _, hook := range hooks {
		for i := range sets {
			if words := p.nftMatch(&sets[i]); words != "" {
				dst = fmt.Appendf(dst, "add rule %s lapid-%s %s saddr @%s drop\n", table, hook, words, sets[i].name)
			}
		}
	}
	return dst
}

// nftHooks are those whose packets the file drops itself.
func (p *page) nftHooks() []string {
	if chain := p.option("chain"); chain != "none" {
		return strings.Split(chain, ",")
	}
	return nil
}

// nftMatch is how a rule names the packets of a set; "": the table has none.
func (p *page) nftMatch(s *nftSet) string {
	family := p.option("family")
	switch {
	case s.kind == "ipv4" && family != "ip6":
		return "ip"
	case s.kind == "ipv6" && family != "ip":
		return "ip6"
	}
	return ""
}

// nftSets shares the entries out. In a set of intervals nothing may overlap.
func (p *page) nftSets(timed bool) []nftSet {
	one := p.option("sets") == "one"
	sets := []nftSet{{name: "hosts4", kind: "ipv4"}, {name: "nets4", kind: "ipv4", interval: true}, {name: "hosts6", kind: "ipv6"}, {name: "nets6", kind: "ipv6", interval: true}}
	if one {
		sets = []nftSet{{name: "lapid4", kind: "ipv4", interval: true}, {name: "lapid6", kind: "ipv6", interval: true}}
	}
	for _, e := range p.Entries {
		at := 0
		switch {
		case one && e.six:
			at = 1
		case one:
		case e.six && e.host():
			at = 2
		case e.six:
			at = 3
		case !e.host():
			at = 1
		}
		sets[at].entries = append(sets[at].entries, e)
	}
	for i := range sets {
		if s := &sets[i]; s.interval && timed {
			s.entries = untangle(s.entries)
		} else if s.interval {
			s.entries = disjoint(s.entries)
		}
	}
	return sets
}

// ipsetMost is the size of the sets. It never changes: a set is only swapped with one of its kind.
const ipsetMost = 4 << 20

var ipset = Format{
	Name: "ipset", Reads: "ipset restore: sets that rules of yours name", Comment: "#", PerEntry: 50, Timed: true, Longest: 2_147_483 * time.Second,
	Options: []Option{{Name: "set", Usual: "lapid", Help: "name of the sets, to which 4 and 6 are added"}, timeoutOption, slackOption},
	whole:   writeIPSet,
}

func writeIPSet(dst []byte, p *page) []byte {
	dst = p.remark(dst)
	timed := p.format.timed(p.x)
	timeout := ""
	if timed {
		timeout = " timeout 0"
	}
	four := 0
	for four < len(p.Entries) && !p.Entries[four].six {
		four++
	}
	for _, half := range [...]struct {
		suffix, family string
		other          bool
		entries        []Entry
	}{{"4", "inet", p.x.Family == 2, p.Entries[:four]}, {"6", "inet6", p.x.Family == 1, p.Entries[four:]}} {
		if half.other {
			continue // the definition has no such addresses: the set is somebody else's
		}
		name := p.option("set") + half.suffix
		next := name + "-next"
		dst = fmt.Appendf(dst, "create %s hash:net family %s hashsize 65536 maxelem %d%s -exist\nflush %s\n", next, half.family, ipsetMost, timeout, next)
		for i := range half.entries {
			e := &half.entries[i]
			dst = append(append(append(append(dst, "add "...), next...), ' '), appendBare(nil, e)...)
			if timed {
				dst = strconv.AppendInt(append(dst, " timeout "...), p.left(e), 10)
			}
			dst = append(dst, " -exist\n"...)
		}
		dst = fmt.Appendf(dst, "create %s hash:net family %s hashsize 65536 maxelem %d%s -exist\nswap %s %s\ndestroy %s\n", name, half.family, ipsetMost, timeout, next, name, next)
	}
	return dst
}

var mikrotik = Format{
	Name: "mikrotik", Reads: "MikroTik RouterOS 7, /import", Comment: "#", PerEntry: 110, Timed: true, Longest: 21_474_836 * time.Second, Words: true,
	Options: []Option{
		{Name: "list", Usual: "lapid", Help: "name of the address list"},
		{Name: "replace", Usual: "none", Takes: []string{"none", "full", "renew", "swap", "mirror"},
			Help: "none: entries are added and end by themselves; full: the list is emptied first; renew: those that are there get the new time; swap: a second list, LIST-next, is filled, and the rules that name the one name the other then; mirror: the shape of the blocklist mirror's file"},
		timeoutOption, slackOption,
	},
	whole: writeMikroTik,
}

func writeMikroTik(dst []byte, p *page) []byte {
	list, how := p.option("list"), p.option("replace")
	dst = p.remark(dst)
	if how == "full" || how == "mirror" {
		dst = fmt.Appendf(dst, "/ip firewall address-list remove [find where list=\"%s\"]\n/ipv6 firewall address-list remove [find where list=\"%s\"]\n", list, list)
	}
	if how == "mirror" {
		for _, f := range [...][2]string{{"CrowdSecAddIP", "/ip"}, {"CrowdSecAddIPv6", "/ipv6"}} {
			dst = fmt.Appendf(dst, ":global %s\n:set %s do={ :do { %s firewall address-list add list=%s address=$1 comment=\"$2\" timeout=$3 } on-error={} }\n", f[0], f[0], f[1], list)
		}
	}
	if how == "swap" {
		dst = appendSwapBegin(dst, list)
		list = "$lapidNext"
	}
	timed, six := p.format.timed(p.x), false
	for i := range p.Entries {
		e := &p.Entries[i]
		if how == "mirror" {
			dst = p.appendMirrored(dst, e)
			continue
		}
		if i == 0 || e.six != six {
			if six = e.six; six {
				dst = append(dst, "/ipv6 firewall address-list\n"...)
			} else {
				dst = append(dst, "/ip firewall address-list\n"...)
			}
		}
		dst = p.appendRouterLine(dst, e, list, how == "renew", timed)
	}
	if how == "swap" {
		dst = appendSwapEnd(dst)
	}
	return dst
}

// routerTables are where rules of a router name lists.
var routerTables = [...]string{"/ip firewall filter", "/ip firewall raw", "/ipv6 firewall filter", "/ipv6 firewall raw"}

// appendSwapBegin finds out which of two lists no rule names, and empties it.
func appendSwapBegin(dst []byte, list string) []byte {
	dst = fmt.Appendf(dst, ":global lapidNext \"%s-next\"\n:global lapidLast \"%s\"\n", list, list)
	for _, table := range routerTables {
		dst = fmt.Appendf(dst, ":if ([:len [%s find src-address-list=\"%s-next\"]] > 0) do={ :set lapidNext \"%s\"; :set lapidLast \"%s-next\" }\n", table, list, list, list)
	}
	return append(dst, "/ip firewall address-list remove [find where list=$lapidNext]\n/ipv6 firewall address-list remove [find where list=$lapidNext]\n"...)
}

// appendSwapEnd has the rules name the list that is full now, and empties the other.
func appendSwapEnd(dst []byte) []byte {
	for _, table := range routerTables {
		dst = fmt.Appendf(dst, "%s set [find src-address-list=$lapidLast] src-address-list=$lapidNext\n", table)
	}
	return append(dst, "/ip firewall address-list remove [find where list=$lapidLast]\n/ipv6 firewall address-list remove [find where list=$lapidLast]\n"...)
}

// appendRouterLine adds an entry. What is there already is an error to the router, and
// otherwise keeps its time.
func (p *page) appendRouterLine(dst []byte, e *Entry, list string, renew, timed bool) []byte {
	left := []byte(nil)
	if timed {
		left = appendUnits(append(left, " timeout="...), p.left(e), true)
	}
	address := appendBare(nil, e)
	dst = append(append(append(dst, ":do { add list="...), list...), " address="...)
	dst = append(append(dst, address...), left...)
	dst = append(append(append(dst, ` comment="`...), p.wordsOf(e).scenario...), `" } on-error={`...)
	if renew && timed {
		if e.six && e.host() {
			address = appendCIDR(nil, e)
		}
		dst = append(append(append(append(dst, " set [find list="...), list...), " address="...), address...)
		dst = append(append(append(dst, ']'), left...), ' ')
	}
	return append(dst, "}\n"...)
}

func (p *page) appendMirrored(dst []byte, e *Entry) []byte {
	name := `$CrowdSecAddIP "`
	if e.six {
		name = `$CrowdSecAddIPv6 "`
	}
	dst = append(appendBare(append(dst, name...), e), `" "`...)
	dst = append(append(dst, p.wordsOf(e).scenario...), `" "`...)
	return append(appendUnits(dst, min(p.left(e), math.MaxInt32), true), "\"\n"...)
}
