//go:build clients

package clients

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestCountries: the whole table, imported as decisions of scope Range, answers random addresses exactly
// as a plain linear search over the file does, with the country it came from.
func TestCountries(t *testing.T) {
	t.Parallel()
	needs(t, tableIPv4, tableIPv6)
	ranges := append(readTable(t, tableIPv4), readTable(t, tableIPv6)...)
	flags := []string{"--format", "csv"}
	if reference { // its importer takes no format, overrules the column scope, and would need hours
		ranges = everyNth(ranges, 500)
		flags = []string{"--scope", "Range"}
	}
	table := filepath.Join(t.TempDir(), "countries.csv")
	rows := writeTable(t, table, ranges)

	s := startServer(t)
	began := time.Now()
	r := runFor(t, 10*time.Minute, nil, append(append(s.verb, "decisions", "import", "-i", table), flags...)...)
	if r.exit != 0 {
		t.Fatalf("the import failed: %s", r)
	}
	t.Logf("%d ranges of the file, imported as %d decisions in %s: %s",
		len(ranges), rows, time.Since(began).Round(time.Millisecond), tail(r.stdout+r.stderr, 300))

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	addresses := pickAddresses(rand.New(rand.NewPCG(seed, 0)), ranges, 10_000)
	began = time.Now()
	hits, wrong := compareAnswers(t, s, ranges, addresses)
	t.Logf("%d addresses compared in %s, %d of them inside a range, %d answered otherwise",
		len(addresses), time.Since(began).Round(time.Millisecond), hits, wrong)
	if hits < len(addresses)/2 {
		t.Errorf("only %d of %d addresses lie in a range, want at least half", hits, len(addresses))
	}
}

// pickAddresses draws n addresses: half from ranges of the table drawn at random, a quarter from all of
// IPv4, a quarter from the part of IPv6 that is in use.
func pickAddresses(random *rand.Rand, ranges []countryRange, n int) []netip.Addr {
	addresses := make([]netip.Addr, n)
	for i := range addresses {
		switch i % 4 {
		case 0, 1:
			r := ranges[random.IntN(len(ranges))]
			addresses[i] = within(random, r.prefixes[random.IntN(len(r.prefixes))])
		case 2:
			addresses[i] = within(random, netip.MustParsePrefix("0.0.0.0/0"))
		case 3:
			addresses[i] = within(random, netip.MustParsePrefix("2000::/3"))
		}
	}
	return addresses
}

// within is a random address of a prefix.
func within(random *rand.Rand, p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		if random.IntN(2) == 1 {
			bytes[bit/8] |= 0x80 >> (bit % 8)
		}
	}
	address, _ := netip.AddrFromSlice(bytes)
	return address
}

// compareAnswers asks the server for every address, four at a time, and searches the file for it.
func compareAnswers(t *testing.T, s *server, ranges []countryRange, addresses []netip.Addr) (hits, wrong int) {
	var (
		mu    sync.Mutex
		busy  sync.WaitGroup
		spans = spansOf(ranges)
	)
	for part := range slices.Chunk(addresses, (len(addresses)+3)/4) {
		busy.Go(func() {
			for _, address := range part {
				want := search(spans, ranges, address)
				got, err := s.decisions(address.String())
				mu.Lock()
				if len(want) > 0 {
					hits++
				}
				if seen := held(got); err != nil || !slices.Equal(seen, want) {
					if wrong++; wrong <= 20 {
						t.Errorf("%s: the server holds %v (%v), the file says %v", address, seen, err, want)
					}
				}
				mu.Unlock()
			}
		})
	}
	busy.Wait()
	return hits, wrong
}

// held is what an answer says, one "value reason" for each decision.
func held(ds []decision) []string {
	var lines []string
	for _, d := range ds {
		lines = append(lines, d.Value+" "+d.Scenario)
	}
	slices.Sort(lines)
	return lines
}

// span is a range as numbers, so that looking at every one of them takes a moment and not an hour.
type span struct {
	bits      int
	low, high number
}

type number struct{ upper, lower uint64 }

func numberOf(a netip.Addr) number {
	b := a.As16()
	return number{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (n number) less(m number) bool {
	return n.upper < m.upper || n.upper == m.upper && n.lower < m.lower
}

func spansOf(ranges []countryRange) []span {
	spans := make([]span, len(ranges))
	for i, r := range ranges {
		spans[i] = span{r.low.BitLen(), numberOf(r.low), numberOf(r.high)}
	}
	return spans
}

// search looks at every range of the file, and at every prefix of those that hold the address.
func search(spans []span, ranges []countryRange, address netip.Addr) []string {
	var lines []string
	bits, n := address.BitLen(), numberOf(address)
	for i := range spans {
		if s := &spans[i]; s.bits != bits || n.less(s.low) || s.high.less(n) {
			continue
		}
		for _, p := range ranges[i].prefixes {
			if p.Contains(address) {
				lines = append(lines, p.String()+" country-"+ranges[i].country)
			}
		}
	}
	slices.Sort(lines)
	return lines
}
