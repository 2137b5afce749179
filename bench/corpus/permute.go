package corpus

import "math/bits"

// permutation is a bijection of the numbers of width bits, fixed by a seed. It
// spreads neighbours far apart and is no cipher.
type permutation struct {
	mask  uint64
	shift uint
	steps [3]step
}

type step struct{ mul, add, inverse uint64 }

// newPermutation makes one for 2 to 64 bits.
func newPermutation(width uint, seed uint64) permutation {
	p := permutation{mask: ^uint64(0) >> (64 - width), shift: (width + 1) / 2}
	for i := range p.steps {
		seed = mix(seed + 1)
		mul := seed | 1
		seed = mix(seed)
		p.steps[i] = step{mul: mul, add: seed, inverse: inverse(mul)}
	}
	return p
}

// at gives the place of x, which is at most mask.
func (p *permutation) at(x uint64) uint64 {
	for _, s := range p.steps {
		x = (x*s.mul + s.add) & p.mask
		x ^= x >> p.shift // its own inverse: the shift is half of the width or more
	}
	return x
}

// back is the inverse of at.
func (p *permutation) back(x uint64) uint64 {
	for i := len(p.steps) - 1; i >= 0; i-- {
		s := p.steps[i]
		x ^= x >> p.shift
		x = (x - s.add) * s.inverse & p.mask
	}
	return x
}

// below walks the cycle of x until it is below limit again: a permutation of the
// numbers below limit. Both x and some place on its cycle, x itself, are below.
func (p *permutation) below(x, limit uint64) uint64 {
	for {
		if x = p.at(x); x < limit {
			return x
		}
	}
}

// backBelow is the inverse of below.
func (p *permutation) backBelow(x, limit uint64) uint64 {
	for {
		if x = p.back(x); x < limit {
			return x
		}
	}
}

// inverse gives the number that makes one with odd, modulo 2^64. Each round of
// Newton's iteration doubles the number of right bits, from three.
func inverse(odd uint64) uint64 {
	x := odd
	for range 5 {
		x *= 2 - odd*x
	}
	return x
}

// mix is a bijection of 64 bits after which every bit depends on every other.
func mix(x uint64) uint64 {
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

// hash gives a number for a pair.
func hash(a, b uint64) uint64 { return mix(mix(a) + bits.RotateLeft64(b, 17)) }
