//go:build clients

package clients

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
)

// countryRange is one line of Debian's tor-geoipdb: the addresses from low to high, both included, are of
// one country. As decisions it becomes the fewest prefixes that cover it.
type countryRange struct {
	low, high netip.Addr
	country   string
	prefixes  []netip.Prefix
}

const (
	tableIPv4 = "/usr/share/tor/geoip"
	tableIPv6 = "/usr/share/tor/geoip6"
)

// readTable reads the lines "low,high,CC" of a file: integers for IPv4, text for IPv6.
func readTable(t *testing.T, file string) []countryRange {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var ranges []countryRange
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := lines.Text(); line != "" && line[0] != '#' {
			ranges = append(ranges, readRange(t, line))
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return ranges
}

func readRange(t *testing.T, line string) countryRange {
	t.Helper()
	fields := strings.Split(line, ",")
	if len(fields) != 3 {
		t.Fatalf("not a range of the table: %q", line)
	}
	r := countryRange{low: readAddress(t, fields[0]), high: readAddress(t, fields[1]), country: fields[2]}
	if r.low.BitLen() != r.high.BitLen() || r.high.Less(r.low) {
		t.Fatalf("not a range of the table: %q", line)
	}
	r.prefixes = cover(r.low, r.high)
	return r
}

func readAddress(t *testing.T, text string) netip.Addr {
	t.Helper()
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(n))))
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		t.Fatalf("not an address of the table: %v", err)
	}
	return address
}

// cover cuts a range into the fewest prefixes: at each step the widest one that begins at low and does
// not reach beyond high.
func cover(low, high netip.Addr) []netip.Prefix {
	var prefixes []netip.Prefix
	for {
		p := netip.PrefixFrom(low, low.BitLen())
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(low, p.Bits()-1)
			if wider.Masked().Addr() != low || high.Less(lastOf(wider)) {
				break
			}
			p = wider
		}
		prefixes = append(prefixes, p)
		if last := lastOf(p); last != high {
			low = last.Next()
			continue
		}
		return prefixes
	}
}

// lastOf is the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// writeTable writes the import file and returns how many decisions it names.
func writeTable(t *testing.T, file string, ranges []countryRange) (rows int) {
	t.Helper()
	var text strings.Builder
	text.WriteString("scope,value,reason,duration\n")
	for _, r := range ranges {
		for _, p := range r.prefixes {
			fmt.Fprintf(&text, "Range,%s,country-%s,24h\n", p, r.country)
			rows++
		}
	}
	mustWrite(t, file, text.String())
	return rows
}

func everyNth(ranges []countryRange, n int) (thin []countryRange) {
	for i := 0; i < len(ranges); i += n {
		thin = append(thin, ranges[i])
	}
	return thin
}
