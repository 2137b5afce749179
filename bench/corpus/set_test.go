package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A thousandth more than a round number, so that the last hundred is cut.
const some = 20_077

func TestShares(t *testing.T) {
	t.Parallel()
	count := map[string]int{}
	for e := range New(100_000, 1).All() {
		family := "4"
		if e.Prefix.Addr().Is6() {
			family = "6"
		}
		count[e.Scope()+family]++
	}
	want := map[string]int{"Ip4": 90_000, "Ip6": 5_000, "Range4": 4_000, "Range6": 1_000}
	if fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", count, want)
	}
}

func TestDistinctAndContained(t *testing.T) {
	t.Parallel()
	s, longer := New(some, 5), New(3*some, 5)
	seen := map[netip.Prefix]int{}
	i := 0
	for e := range longer.All() {
		if e.Prefix != e.Prefix.Masked() || !e.Prefix.IsValid() {
			t.Fatalf("entry %d: %v is not masked", i, e.Prefix)
		}
		if old, twice := seen[e.Prefix]; twice {
			t.Fatalf("entries %d and %d are both %v", old, i, e.Prefix)
		}
		seen[e.Prefix] = i
		if e.Prefix.IsSingleIP() {
			if host, _ := s.Contains(e.Prefix.Addr()); host != (i < some) {
				t.Fatalf("entry %d, %v: host %v in a set of %d", i, e.Prefix, host, some)
			}
		}
		i++
	}
}

// The ranges that Contains counts are those that a loop over all entries finds.
func TestContainsBesideLoop(t *testing.T) {
	t.Parallel()
	s := New(2_933, 9)
	var ranges []netip.Prefix
	hosts := map[netip.Addr]bool{}
	for e := range s.All() {
		if e.Prefix.IsSingleIP() {
			hosts[e.Prefix.Addr()] = true
		} else {
			ranges = append(ranges, e.Prefix)
		}
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 4000 {
		a := within(ranges[r.IntN(len(ranges))], r)
		if r.IntN(2) == 0 {
			a = s.candidate(Kinds[r.IntN(len(Kinds))], r)
		}
		want := 0
		for _, p := range ranges {
			if p.Contains(a) {
				want++
			}
		}
		if host, got := s.Contains(a); got != want || host != hosts[a] {
			t.Fatalf("seed %d, %v: host %v in %d ranges, want %v in %d", seed, a, host, got, hosts[a], want)
		}
	}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	s := New(some, 2)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for _, kind := range Kinds {
		for range 1000 {
			a := s.Draw(kind, r)
			host, ranges := s.Contains(a)
			if host != (kind == Hit) || (ranges == 1) != (kind == Inside) || ranges > 1 {
				t.Fatalf("seed %d, %s drew %v: host %v, %d ranges", seed, kind, a, host, ranges)
			}
		}
	}
}

// The same seed gives the same bytes, for ever: results of two days can be compared.
func TestFrozen(t *testing.T) {
	t.Parallel()
	sum := fnv.New64a()
	if err := WriteCSV(sum, New(10_000, 42).All()); err != nil {
		t.Fatal(err)
	}
	if got, want := sum.Sum64(), uint64(0xd743d3e7144d3239); got != want {
		t.Errorf("set of seed 42 has sum %#x, want %#x", got, want)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	s := New(1000, 3)
	var csv, list, geo, redis bytes.Buffer
	for _, err := range []error{WriteCSV(&csv, s.All()), WriteJSON(&list, s.All()), WriteNginx(&geo, s.All()), WriteRedis(&redis, s.All())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var items []map[string]string
	if err := json.Unmarshal(list.Bytes(), &items); err != nil || len(items) != 1000 {
		t.Errorf("JSON: %d items, %v", len(items), err)
	}
	for name, got := range map[string]int{"csv": bytes.Count(csv.Bytes(), []byte("\n")) - 1, "nginx": bytes.Count(geo.Bytes(), []byte(";\n"))} {
		if got != 1000 {
			t.Errorf("%s: %d lines", name, got)
		}
	}
	if got := bytes.Count(redis.Bytes(), []byte("SET\r\n")); got != 950 {
		t.Errorf("redis: %d commands", got)
	}
	var alert struct {
		Decisions []map[string]string
	}
	body := AppendAlert(nil, s.Part(0, 50), time.Unix(1e9, 0))
	if err := json.Unmarshal(body, &alert); err != nil || len(alert.Decisions) != 50 {
		t.Errorf("alert: %d decisions, %v", len(alert.Decisions), err)
	}
	for _, d := range alert.Decisions {
		if _, err := time.ParseDuration(d["duration"]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPermutations(t *testing.T) {
	t.Parallel()
	for _, width := range []uint{2, 9, 10, 18, 26, 45, 61, 64} {
		p := newPermutation(width, uint64(width))
		for x := range uint64(4) {
			if x = p.mask / 3 * x; p.back(p.at(x)) != x || p.at(x) > p.mask {
				t.Errorf("%d bits: %d goes to %d and back to %d", width, x, p.at(x), p.back(p.at(x)))
			}
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ low, high, want string }{
		{"0.0.0.0", "255.255.255.255", "[0.0.0.0/0]"},
		{"1.0.0.1", "1.0.0.6", "[1.0.0.1/32 1.0.0.2/31 1.0.0.4/31 1.0.0.6/32]"},
		{"255.255.255.254", "255.255.255.255", "[255.255.255.254/31]"},
		{"2001::", "2001::ffff", "[2001::/112]"},
		{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "[::/0]"},
	} {
		var got []netip.Prefix
		cut(netip.MustParseAddr(c.low), netip.MustParseAddr(c.high), func(p netip.Prefix) bool {
			got = append(got, p)
			return true
		})
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s to %s: %v, want %s", c.low, c.high, got, c.want)
		}
	}
}

func TestCountriesMissing(t *testing.T) {
	t.Parallel()
	var errs []error
	for _, err := range Countries(t.TempDir() + "/none") {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], ErrNoTable) {
		t.Errorf("got %v", errs)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	s := New(1000, 1)
	table := s.NewTable(Hit, 300, 7)
	again := s.NewTable(Hit, 300, 7)
	for i := range table.Len() {
		a, err := netip.ParseAddr(string(table.At(i)))
		if err != nil {
			t.Fatal(err)
		}
		if host, _ := s.Contains(a); !host || !slices.Equal(table.At(i), again.At(i)) {
			t.Fatalf("address %d is %v, then %s", i, a, again.At(i))
		}
	}
}

func BenchmarkAt(b *testing.B) {
	s := New(10_000_000, 1)
	for i := 0; b.Loop(); i++ {
		s.At(i % s.Len())
	}
}
