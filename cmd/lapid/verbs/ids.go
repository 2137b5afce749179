package verbs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxIDs bounds how many numbers one list of them may name. A range is
// written out, and each number is a request.
const maxIDs = 100_000

// ranges writes numbers as short as can be: 41-49,51.
func ranges(ids []uint64) string {
	var parts []string
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		text := id(ids[i])
		if j > i {
			text += "-" + id(ids[j])
		}
		parts = append(parts, text)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// errNoID: some part of the list is no number, or the wrong way round.
var errNoID = errors.New("no number")

// parseRanges reads what ranges writes. Zero is no number. The order is that
// of the text, and a number that occurs twice is there twice. Too many are
// refused before they are made.
func parseRanges(text string) ([]uint64, error) {
	var out []uint64
	for part := range strings.SplitSeq(text, ",") {
		from, to, ok := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.ParseUint(from, 10, 63)
		last := first
		if err == nil && ok {
			last, err = strconv.ParseUint(to, 10, 63)
		}
		if err != nil || first == 0 || last < first {
			return nil, errNoID
		}
		if last-first >= maxIDs || len(out)+int(last-first) >= maxIDs {
			return nil, fmt.Errorf("more than %d numbers", maxIDs)
		}
		for n := first; n <= last; n++ {
			out = append(out, n)
		}
	}
	return out, nil
}
