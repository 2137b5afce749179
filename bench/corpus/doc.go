// Package corpus makes decision sets to weigh a house with: any size, the same
// for the same seed, and never held in memory.
//
// A Set is arithmetic, not a table. Entry number i is computed from i by
// permutations of address space that can be walked backwards (permute.go), so a
// set of ten million costs as many bytes as one of ten, Contains needs no index,
// and a sampler can promise that an address is a hit, a miss or inside exactly one
// range (sample.go).
//
// Of every hundred entries ninety are IPv4 hosts, five IPv6 hosts, four IPv4
// ranges and one an IPv6 range. Two thirds of the IPv4 hosts stand close
// together in the networks of 16 384 hosting providers, as attackers' addresses
// do; the rest is scattered. Lengths of ranges, scenarios, origins, types and
// durations are drawn from mixes as seen on running servers (mix.go).
//
// Countries reads the table of Debian's tor-geoipdb: ranges that nobody made up.
package corpus
