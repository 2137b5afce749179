package corpus

import (
	"encoding/binary"
	"net/netip"
)

const (
	hostingOctets   = 64      // first octets in which the providers' networks lie
	hostingNetworks = 1 << 14 // networks of /20, of 2^18 that these octets hold
	provider6       = 1 << 13 // networks of /48 in which the IPv6 hosts live
)

// special are the first octets of which nothing is drawn: private, documentation,
// shared and link-local networks lie there. That leaves out real networks too,
// which does no harm.
var special = [256]bool{0: true, 10: true, 100: true, 127: true, 169: true, 172: true, 192: true, 198: true, 203: true}

// space is the address space of a seed: which host has which rank, and back.
type space struct {
	octets    []byte      // public first octets; the first hostingOctets are the providers'
	place     [256]int    // octet to its place in octets, or -1
	networks  permutation // of the 2^18 networks of /20
	clustered permutation // of the 2^26 addresses in hosting networks
	scattered permutation // of 32 bits
	ids6      permutation // of 64 bits
	prefixes6 permutation // of 45 bits
}

func newSpace(seed uint64) *space {
	s := &space{
		networks:  newPermutation(18, hash(seed, 1)),
		clustered: newPermutation(26, hash(seed, 2)),
		scattered: newPermutation(32, hash(seed, 3)),
		ids6:      newPermutation(64, hash(seed, 4)),
		prefixes6: newPermutation(45, hash(seed, 5)),
	}
	order := newPermutation(8, hash(seed, 6))
	for i := range s.place {
		s.place[i] = -1
	}
	for i := range uint64(256) {
		octet := order.at(i)
		if octet < 224 && !special[octet] {
			s.place[octet] = len(s.octets)
			s.octets = append(s.octets, byte(octet))
		}
	}
	return s
}

// host4 gives the IPv4 host of a rank: two of three stand in hosting networks.
func (s *space) host4(rank uint64) uint32 {
	if rank%3 < 2 {
		return s.hosted(s.clustered.at(rank/3*2 + rank%3))
	}
	x := s.scattered.below(rank/3, s.scatteredLimit())
	return uint32(s.octets[hostingOctets+x>>24])<<24 | uint32(x&0xffffff)
}

// hosted gives the address at one of the 2^26 places in hosting networks.
func (s *space) hosted(place uint64) uint32 {
	network := s.networks.at(place >> 12)
	return uint32(s.octets[network>>12])<<24 | uint32(network&0xfff)<<12 | uint32(place&0xfff)
}

func (s *space) scatteredLimit() uint64 { return uint64(len(s.octets)-hostingOctets) << 24 }

// rank4 is the inverse of host4; false for an address that no rank has.
func (s *space) rank4(a uint32) (uint64, bool) {
	octet := s.place[a>>24]
	if octet < 0 {
		return 0, false
	}
	if octet >= hostingOctets {
		x := uint64(octet-hostingOctets)<<24 | uint64(a&0xffffff)
		return s.scattered.backBelow(x, s.scatteredLimit())*3 + 2, true
	}
	network := s.networks.back(uint64(octet)<<12 | uint64(a>>12&0xfff))
	if network >= hostingNetworks {
		return 0, false
	}
	r := s.clustered.back(network<<12 | uint64(a&0xfff))
	return r/2*3 + r%2, true
}

// host6 gives the IPv6 host of a rank: the rank is hidden in the interface id,
// from which the network follows.
func (s *space) host6(rank uint64) netip.Addr {
	id := s.ids6.at(rank)
	prefix := 1<<61 | s.prefixes6.at(mix(id)%provider6)<<16 | mix(id+1)&0xffff
	return addr6(prefix, id)
}

// rank6 is the inverse of host6.
func (s *space) rank6(a netip.Addr) (uint64, bool) {
	b := a.As16()
	rank := s.ids6.back(binary.BigEndian.Uint64(b[8:]))
	return rank, s.host6(rank) == a
}

func addr4(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

func addr6(high, low uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], high)
	binary.BigEndian.PutUint64(b[8:], low)
	return netip.AddrFrom16(b)
}
