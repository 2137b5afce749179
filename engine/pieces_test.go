package engine

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// Pieces are disjoint, hold no item, and are, with the items, the whole range; and no two of
// them are one: there are as few as possible.
func FuzzPieces(f *testing.F) {
	f.Add(byte(24), []byte{1, 32, 7, 30, 200, 25}, false)
	f.Add(byte(22), []byte{0, 32}, true)
	f.Add(byte(31), []byte{0, 32, 1, 32}, false)
	f.Add(byte(32), []byte{}, false)
	f.Fuzz(func(t *testing.T, length byte, text []byte, six bool) {
		bits := 22 + int(length)%11
		address := func(low uint32) netip.Addr {
			if six {
				return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint32([]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0}, low)))
			}
			return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, low)))
		}
		shift := 0
		if six {
			shift = 96
		}
		p := netip.PrefixFrom(address(10<<24), bits+shift)
		set, lists := &allowlistSet{index: &itemIndex{}, clock: &itemClock{rev: 1}}, []netip.Prefix(nil)
		for ; len(text) >= 2; text = text[2:] {
			it := netip.PrefixFrom(address(10<<24|uint32(text[0])), shift+min(bits+int(text[1])%11, 32)).Masked()
			set.begin("l", &AllowlistItem{Prefix: it})
			lists = append(lists, it)
		}
		set.index.ranges.Publish()
		a := allowances{set: set, at: 1}
		items := a.inside(nil, p)
		var parts []netip.Prefix
		eachPiece(p, items, func(part netip.Prefix) bool {
			parts = append(parts, part)
			return true
		})
		checkPieces(t, p, items, lists, parts)
		if a.touch(p) != slices.ContainsFunc(lists, p.Overlaps) {
			t.Fatalf("%v and %v: touched %v", p, lists, a.touch(p))
		}
	})
}

func checkPieces(t *testing.T, p netip.Prefix, items, lists, parts []netip.Prefix) {
	t.Helper()
	size := func(list []netip.Prefix) (n int) {
		for _, x := range list {
			n += 1 << (x.Addr().BitLen() - x.Bits())
		}
		return n
	}
	if size(items)+size(parts) != size([]netip.Prefix{p}) {
		t.Fatalf("%v without %v is %v", p, items, parts)
	}
	for i, part := range parts {
		if part != part.Masked() || !p.Overlaps(part) || part.Bits() < p.Bits() {
			t.Fatalf("%v is no part of %v", part, p)
		}
		if slices.ContainsFunc(lists, part.Overlaps) {
			t.Fatalf("%v of %v holds one of %v", part, p, lists)
		}
		if i > 0 && (parts[i-1].Overlaps(part) || !parts[i-1].Addr().Less(part.Addr())) {
			t.Fatalf("%v and %v", parts[i-1], part)
		}
		if part != p && !slices.ContainsFunc(lists, wider(part).Overlaps) {
			t.Fatalf("%v of %v without %v could be wider", part, p, items)
		}
	}
}

// A range in too many pieces is told to nobody, so that what is allowlisted stays free.
func TestTooManyPieces(t *testing.T) {
	t.Parallel()
	set := &allowlistSet{index: &itemIndex{}, clock: &itemClock{rev: 1}}
	for i := range uint32(mostPieces / 8) {
		a := netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{0x20, 1, 0, 0, 0, 0, 0, 0}, i*7919), i)))
		set.begin("l", &AllowlistItem{Prefix: netip.PrefixFrom(a, 128)})
	}
	set.index.ranges.Publish()
	s := newState()
	e := era{view: &View{state: s}, wins: allowances{set: set, at: 1}}
	if c := e.cutOf(netip.MustParsePrefix("2001::/16")); c != gone {
		t.Errorf("the range is %d", c)
	}
	if c := e.cutOf(netip.MustParsePrefix("2001::/127")); c == gone {
		t.Errorf("a small one is %d", c)
	}
	if _, known := s.uncut.known[netip.MustParsePrefix("2001::/16")]; !known || len(s.uncut.known) != 1 {
		t.Errorf("noted are %v", s.uncut.known)
	}
}
