package export

import (
	"cmp"
	"slices"
)

// sortEntries puts entries in order, of one target the one that ends last first. IPv4, which
// is most of every list, is sorted by its digits: comparing takes five times as long.
func sortEntries(list []Entry) {
	four := partition(list)
	sortFour(list[:four])
	slices.SortFunc(list[four:], func(a, b Entry) int { return cmp.Or(inOrder(&a, &b), longer(&a, &b)) })
}

// longer puts the one in front that ends later, of equal ones the newer.
func longer(a, b *Entry) int {
	return cmp.Or(cmp.Compare(b.until, a.until), cmp.Compare(b.id, a.id))
}

// partition puts IPv4 in front, and says how many they are.
func partition(list []Entry) int {
	n := 0
	for i := range list {
		if !list[i].six {
			list[n], list[i] = list[i], list[n]
			n++
		}
	}
	return n
}

// fewEntries are sorted by comparing.
const fewEntries = 1 << 10

// sortFour sorts IPv4 entries: their addresses with their places, digit by digit, and then
// the entries by that.
func sortFour(list []Entry) {
	if len(list) <= fewEntries {
		slices.SortFunc(list, func(a, b Entry) int { return cmp.Or(inOrder(&a, &b), longer(&a, &b)) })
		return
	}
	keys := make([]uint64, len(list))
	for i := range list {
		keys[i] = list[i].hi | uint64(uint32(i)) // the address above, its place below
	}
	keys = byDigits(keys, make([]uint64, len(list)))
	arrange(list, keys)
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && list[to].hi == list[from].hi {
			to++
		}
		if to > from+1 {
			slices.SortFunc(list[from:to], func(a, b Entry) int { return cmp.Or(cmp.Compare(a.bits, b.bits), longer(&a, &b)) })
		}
		from = to
	}
}

// byDigits sorts by the upper 32 bits, the lowest digit first, and returns the one of the two
// slices that has the result.
func byDigits(keys, spare []uint64) []uint64 {
	const digit = 11
	for shift := 32; shift < 64; shift += digit {
		var at [1 << digit]int
		for _, k := range keys {
			at[k>>shift&(1<<digit-1)]++
		}
		sum := 0
		for i, n := range at {
			at[i] = sum
			sum += n
		}
		for _, k := range keys {
			d := k >> shift & (1<<digit - 1)
			spare[at[d]] = k
			at[d]++
		}
		keys, spare = spare, keys
	}
	return keys
}

// arrange puts the entry of each key's place where the key stands, going round each circle of
// places once.
func arrange(list []Entry, keys []uint64) {
	const done = 1<<32 - 1
	for i := range keys {
		if uint32(keys[i]) == done {
			continue
		}
		first, at := list[i], i
		for {
			from := int(uint32(keys[at]))
			keys[at] |= done
			if from == i {
				list[at] = first
				break
			}
			list[at] = list[from]
			at = from
		}
	}
}
