package corpus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/bits"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// CountryFiles are the tables of Debian's package tor-geoipdb.
var CountryFiles = []string{"/usr/share/tor/geoip", "/usr/share/tor/geoip6"}

// ErrNoTable: the package tor-geoipdb is not installed.
var ErrNoTable = errors.New("no country table: install tor-geoipdb")

// Countries reads a table of address ranges and countries and yields it as
// ranges, each from its first to its last address cut into the fewest prefixes;
// the scenario is the country's code. It stops at the first error, which comes
// with an empty entry.
func Countries(file string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNoTable
		}
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer f.Close()
		in := bufio.NewScanner(f)
		for number := 1; in.Scan(); number++ {
			if text := in.Text(); text != "" && text[0] != '#' {
				low, high, country, err := countryLine(text)
				if err != nil {
					yield(Entry{}, fmt.Errorf("%s, line %d: %w", file, number, err))
					return
				}
				if !cut(low, high, func(p netip.Prefix) bool { return yield(ofCountry(p, country), nil) }) {
					return
				}
			}
		}
		if err := in.Err(); err != nil {
			yield(Entry{}, fmt.Errorf("%s: %w", file, err))
		}
	}
}

// ofCountry is an entry as a list of countries brings it.
func ofCountry(p netip.Prefix, country string) Entry {
	return Entry{Prefix: p, Origin: "lists", Scenario: "country/" + country, Type: "ban", Duration: 24 * time.Hour}
}

// countryLine reads "first,last,CC"; IPv4 addresses are written as numbers.
func countryLine(text string) (low, high netip.Addr, country string, err error) {
	field := strings.Split(text, ",")
	if len(field) != 3 {
		return low, high, "", fmt.Errorf("%d fields instead of 3", len(field))
	}
	if low, err = countryAddr(field[0]); err == nil {
		high, err = countryAddr(field[1])
	}
	if err == nil && (low.BitLen() != high.BitLen() || high.Less(low)) {
		err = fmt.Errorf("range from %s to %s", low, high)
	}
	return low, high, field[2], err
}

// countryAddr reads one end of a range.
func countryAddr(text string) (netip.Addr, error) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return addr4(uint32(n)), nil
	}
	return netip.ParseAddr(text)
}

// cut yields the fewest prefixes that make up low to high; false when yield had
// enough.
func cut(low, high netip.Addr, yield func(netip.Prefix) bool) bool {
	for {
		free := trailing(low)
		p := netip.PrefixFrom(low, low.BitLen()-free)
		for last(p).Compare(high) > 0 {
			free--
			p = netip.PrefixFrom(low, low.BitLen()-free)
		}
		if !yield(p) {
			return false
		}
		end := last(p)
		if end == high {
			return true
		}
		low = end.Next()
	}
}

// trailing counts the zero bits at the end of an address.
func trailing(a netip.Addr) int {
	b := a.As16()
	n := bits.TrailingZeros64(binary.BigEndian.Uint64(b[8:]))
	if n == 64 {
		n += bits.TrailingZeros64(binary.BigEndian.Uint64(b[:8]))
	}
	return min(n, a.BitLen())
}

// last gives the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().As16()
	from := p.Bits()
	if p.Addr().Is4() {
		from += 96
	}
	for i := from; i < 128; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a := netip.AddrFrom16(b)
	if p.Addr().Is4() {
		return a.Unmap()
	}
	return a
}
