package export

import (
	"cmp"
	"slices"
)

// sortEntries puts entries in order, of one target the one that ends last first, and returns
// them; list is scratch from then on. Long lists are sorted by their digits: comparing takes
// five times as long.
func sortEntries(list []Entry) []Entry {
	if len(list) <= fewEntries {
		slices.SortFunc(list, compareAll)
		return list
	}
	four := partition(list)
	out := make([]Entry, len(list))
	sortFamily(out[:four], list[:four])
	sortFamily(out[four:], list[four:])
	return out
}

func compareAll(a, b Entry) int { return cmp.Or(inOrder(&a, &b), longer(&a, &b)) }

// longer puts the one in front that ends later, of equal ones the newer.
func longer(a, b *Entry) int {
	return cmp.Or(cmp.Compare(b.until, a.until), cmp.Compare(b.id, a.id))
}

// partition puts IPv4 in front, and says how many they are.
func partition(list []Entry) int {
	n := 0
	for i := range list {
		if !list[i].six {
			if n != i {
				list[n], list[i] = list[i], list[n]
			}
			n++
		}
	}
	return n
}

// fewEntries are sorted by comparing.
const fewEntries = 1 << 10

// digits are the upper half of an entry's address, and where it stands.
type digits struct {
	hi uint64
	at uint32
}

// sortFamily sorts entries of one family from one slice into another: the upper halves of
// their addresses digit by digit, and what is equal there by comparing.
func sortFamily(to, from []Entry) {
	keys := make([]digits, len(from))
	for i := range from {
		keys[i] = digits{from[i].hi, uint32(i)}
	}
	keys = byDigits(keys, make([]digits, len(from)))
	for i := range keys {
		to[i] = from[keys[i].at]
	}
	for from := 0; from < len(to); {
		next := from + 1
		for next < len(to) && to[next].hi == to[from].hi {
			next++
		}
		if next > from+1 {
			slices.SortFunc(to[from:next], compareAll)
		}
		from = next
	}
}

// byDigits sorts, the lowest digit first, and returns the one of the two slices that has the
// result. A digit that all have is passed over, as the lower ones of IPv4 are.
func byDigits(keys, spare []digits) []digits {
	const digit = 11
	for shift := 0; shift < 64; shift += digit {
		var at [1 << digit]int
		for i := range keys {
			at[keys[i].hi>>shift&(1<<digit-1)]++
		}
		if len(keys) == 0 || at[keys[0].hi>>shift&(1<<digit-1)] == len(keys) {
			continue
		}
		sum := 0
		for i, n := range at {
			at[i] = sum
			sum += n
		}
		for _, k := range keys {
			d := k.hi >> shift & (1<<digit - 1)
			spare[at[d]] = k
			at[d]++
		}
		keys, spare = spare, keys
	}
	return keys
}
