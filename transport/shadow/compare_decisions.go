package shadow

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// entry is one decision of a set: 16 bytes.
type entry struct {
	sum  uint64
	left int32 // seconds; the longest of several
}

// errMany: a list has more entries than are compared.
var errMany = errors.New("it has more decisions than are compared")

// readSet reads a set in order of the sums, without doubles, and says how many there were with them.
func readSet(from source, most int) ([]entry, int, error) {
	var all []entry
	many := false
	err := from(func(d *decision) {
		if len(all) == most {
			many = true
			return
		}
		all = append(all, entry{d.sum(), d.left()})
	})
	if err == nil && many {
		err = errMany
	}
	if err != nil {
		return nil, 0, err
	}
	n := len(all)
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(cmp.Compare(a.sum, b.sum), cmp.Compare(b.left, a.left)) })
	return slices.CompactFunc(all, func(a, b entry) bool { return a.sum == b.sum }), n, nil
}

// uneven are the sums that only one side has, or that run for another time.
type uneven struct {
	only [2]map[uint64]bool
	time map[uint64]bool
	n    int
}

// mostNamed are looked at by name; more than that have one cause, and are counted with it.
const mostNamed = 2000

// diffSets finds what two sets do not have in common. slack is how far apart the ends may be: 2 s and the time between
// the two questions.
func diffSets(theirs, ours []entry, slack int32) *uneven {
	u := &uneven{only: [2]map[uint64]bool{{}, {}}, time: map[uint64]bool{}}
	note := func(set map[uint64]bool, sum uint64) {
		if u.n++; len(set) < mostNamed {
			set[sum] = true
		}
	}
	for len(theirs) > 0 || len(ours) > 0 {
		switch {
		case len(ours) == 0 || len(theirs) > 0 && theirs[0].sum < ours[0].sum:
			note(u.only[Theirs], theirs[0].sum)
			theirs = theirs[1:]
		case len(theirs) == 0 || ours[0].sum < theirs[0].sum:
			note(u.only[Ours], ours[0].sum)
			ours = ours[1:]
		default:
			if d := int64(theirs[0].left) - int64(ours[0].left); d > int64(slack) || d < -int64(slack) {
				note(u.time, theirs[0].sum)
			}
			theirs, ours = theirs[1:], ours[1:]
		}
	}
	return u
}

// question is what was asked, as far as it explains differences.
type question struct {
	cut    bool // limit, offset or id_gt
	filter bool // something that leaves decisions out
	stream bool
}

// knower knows what was written through the shadow.
type knower interface {
	// own tells whether a decision that only the old server has was made there.
	own(d *decision) bool
	// endedThere tells whether one that only lapid has was ended at the old server.
	endedThere(d *decision) bool
	// zoned tells whether one came in an alert with times of another zone.
	zoned(value string) bool
	// halved tells whether one was in a push that the old server refused and carried out in part.
	halved(value string) bool
}

// compareSets compares two lists of decisions as sets of (scope, type, value, origin, scenario), with how long
// each runs. Memory: 16 bytes for each entry of both, and 2 000 decisions by name.
func compareSets(theirs, ours source, lag time.Duration, most int, q question, k knower) ([]difference, error) {
	var sets [2][]entry
	var many [2]int
	for side, from := range []source{theirs, ours} {
		var err error
		if sets[side], many[side], err = readSet(from, most); err != nil {
			return nil, fmt.Errorf("the answer of the server that is %s: %w", Side(side), err)
		}
	}
	slack := int32(lag/time.Second) + 2 + 1 // and one for rounding
	u := diffSets(sets[Theirs], sets[Ours], slack)
	if u.n == 0 {
		return nil, nil
	}
	n := name(u, theirs, ours)
	var list []difference
	for side := range n.only {
		for _, d := range n.only[side] {
			list = append(list, judgeOnly(Side(side), &d, n, slack, q, k, many[Theirs] == many[Ours]))
		}
	}
	for _, d := range n.time {
		one := difference{kind: "a decision runs for another time", what: d}
		list = append(list, one)
	}
	return list, nil
}

// named are the uneven ones by name.
type named struct {
	only    [2][]decision
	time    []string
	targets [2]map[uint64]bool // of the uneven ones, those that the side has
}

// name reads both lists again for what differs.
func name(u *uneven, theirs, ours source) *named {
	n := &named{targets: [2]map[uint64]bool{{}, {}}}
	wanted := map[uint64]bool{}
	times := map[uint64]string{}
	for side, from := range []source{theirs, ours} {
		_ = from(func(d *decision) { // it was read once
			s := d.sum()
			if u.only[side][s] {
				n.only[side] = append(n.only[side], *d)
				wanted[d.targetSum()] = true
				delete(u.only[side], s)
			}
			if u.time[s] {
				times[s] += fmt.Sprintf("%s: %s; ", Side(side), d)
			}
		})
	}
	for _, text := range times {
		n.time = append(n.time, text)
	}
	for side, from := range []source{theirs, ours} {
		_ = from(func(d *decision) {
			if t := d.targetSum(); wanted[t] {
				n.targets[side][t] = true
			}
		})
	}
	return n
}

// judgeOnly says why one side alone may have a decision.
func judgeOnly(side Side, d *decision, n *named, slack int32, q question, k knower, even bool) difference {
	one := difference{kind: "a decision that only " + holder(side), what: d.String()}
	both := n.targets[side.other()][d.targetSum()]
	switch {
	case d.left() <= slack:
		one.reason = whyEnding
	case q.cut && even:
		one.reason = whyLimit
	case both && (q.stream || q.filter):
		one.reason = whyDoubles
	case k.zoned(d.Value):
		one.reason = whyZone
	case side == Theirs && k.halved(d.Value):
		one.reason = whyHalf
	case side == Theirs && k.own(d):
		one.reason = whyOwn
	case side == Ours && k.endedThere(d):
		one.reason = whyEndedThere
	}
	return one
}

// holder is who has what the other has not.
func holder(side Side) string {
	if side == Theirs {
		return "the old server has"
	}
	return "lapid has"
}
